"""Clusters of records by their words: what they find, what they are called, and that nothing but the texts decides."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.report import topics

STOP = frozenset("và của là có các một cho thể bạn hãy".split())
THEMES = {
    "bếp": "nấu canh chua cá lóc nước mắm hành lá ớt tỏi phi thơm rau muống",
    "sông": "dòng sông cửa biển phù sa thuyền buồm bến cảng hải đăng thủy triều",
    "máy": "máy tính phần mềm mật khẩu trình duyệt bàn phím chuột dây mạng internet",
    "nhạc": "bài hát nốt nhạc sáo trúc đàn bầu ca sĩ giai điệu nhịp phách sân khấu",
}


def texts(count: int = 400) -> tuple[list[list[str]], list[str]]:
    """Records of four themes, with function words between, and the theme of each."""
    drawn = random.Random(7)
    themes = [drawn.choice(list(THEMES)) for _ in range(count)]
    found = []
    for theme in themes:
        words = THEMES[theme].split()
        start = drawn.randrange(len(words) - 6)
        found.append([*drawn.sample(sorted(STOP), 3), *words[start : start + 6], drawn.choice(sorted(STOP)), "12"])
    return found, themes


def test_each_cluster_holds_one_theme_and_is_named_by_its_words() -> None:
    found, themes = texts()
    clusters = topics.fit(found, STOP)
    placed = topics.assign(clusters, found)
    told = {cluster: {themes[row] for row, own in enumerate(placed) if own == cluster} for cluster in set(placed)}
    assert -1 not in told and all(len(inside) == 1 for inside in told.values())
    assert set().union(*told.values()) == set(THEMES)
    for cluster, (theme,) in ((cluster, tuple(inside)) for cluster, inside in told.items()):
        assert clusters.names[cluster]
        assert {part for word in clusters.names[cluster] for part in word.split()} <= set(THEMES[theme].split())


def test_syllables_that_come_together_are_one_word_and_the_firmer_bond_wins() -> None:
    # "tên" stands before many words, "thủ" before "đô" alone; "và" stands by all
    rows = [["tên", "thủ", "đô", "và", "mây"], ["tên", "gọi", "của", "thủ", "đô"]] * 9
    rows += [["và", letters, "mây", "và", "gió"] for letters in ("".join(chr(97 + n) * 3) for n in range(26))] * 20
    clusters = topics.fit(rows, STOP)
    assert set(topics.spellings(clusters.known, clusters.pairs)[len(clusters.known) + 1 :]) >= {"thủ đô"}
    flat, owners = topics.read([["tên", "thủ", "đô", "và", "mây"]], clusters.known)
    base = len(clusters.known) + 1
    words, _ = topics.join(flat, owners, clusters.pairs, clusters.bonds, base, clusters.empty)
    spelt = topics.spellings(clusters.known, clusters.pairs)
    assert [spelt[word] for word in words] == ["tên", "thủ đô", "mây"]


@pytest.mark.parametrize(
    ("rows", "assigned"),
    [([], []), ([[]], [-1]), ([["và", "12"], []], [-1, -1]), ([["sông"]], [0])],
)
def test_records_without_a_telling_word_are_of_no_cluster(rows: list[list[str]], assigned: list[int]) -> None:
    assert topics.assign(topics.fit(rows, STOP), rows) == assigned


def test_what_was_not_in_the_sample_is_told_too() -> None:
    found, themes = texts()
    clusters = topics.fit(found[:300], STOP)
    placed = topics.assign(clusters, found)
    apart = [topics.assign(clusters, [row])[0] for row in found[300:]]
    assert placed[300:] == apart  # whatever the batch
    owner = {cluster: theme for cluster, theme in zip(placed[:300], themes, strict=False)}
    assert [owner[cluster] for cluster in apart] == themes[300:]


def test_the_sample_is_all_of_a_small_table_and_the_same_rows_of_a_large_one() -> None:
    assert topics.rows(5) == [0, 1, 2, 3, 4]
    drawn = topics.rows(10 * topics.SAMPLE)
    assert drawn == topics.rows(10 * topics.SAMPLE) == sorted(set(drawn)) and len(drawn) == topics.SAMPLE
    assert abs(np.mean(drawn) / (5 * topics.SAMPLE) - 1) < 0.02  # from all of it


def test_neither_the_hash_seed_nor_the_processor_changes_a_cluster() -> None:
    code = (
        "from tests.test_topics import texts, STOP; from stages.lib.report import topics; found = texts()[0];"
        "clusters = topics.fit(found, STOP); print(clusters.names, topics.assign(clusters, found))"
    )
    said = set()
    # the kernels of OpenBLAS, which is not asked for anything, and those of numpy itself
    for seed, core, without in (("1", "Haswell", ""), ("2", "Nehalem", "X86_V3 X86_V4 AVX512_ICL")):
        env = {"PYTHONHASHSEED": seed, "OPENBLAS_CORETYPE": core, "NPY_DISABLE_CPU_FEATURES": without}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1


@given(st.lists(st.lists(st.text(min_size=1, max_size=4), max_size=12), max_size=40))
def test_no_records_make_it_raise(rows: list[list[str]]) -> None:
    placed = topics.assign(topics.fit(rows, STOP), rows)
    assert len(placed) == len(rows)
