"""Records that say the same in other words, with a toy encoder that knows which words are one."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from stages import dedup
from stages.lib import params, records
from stages.lib.dedup import semantic
from stages.lib.params import Dedup
from stages.lib.records import Message, Record
from stages.lib.text import embedding
from tests import toy_encoders

SAME = [("xe", "oto"), ("nhanh", "mau"), ("to", "lớn"), ("nhìn", "trông"), ("quả", "trái"), ("đẹp", "xinh")]
WORDS = "sông núi biển trời mây gió mưa nắng cây lá hoa chim cá trâu bò lúa ngô khoai sắn bếp lửa khói tre".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_encoders.encoder(tmp_path_factory.mktemp("encoder"), SAME, WORDS)


def dials(folder: Path, threshold: float = 0.98) -> Dedup:
    model = params.Semantic(model=str(folder), threshold=threshold, compute=toy_encoders.COMPUTE)
    return Dedup(shingle=3, permutations=128, bands=32, threshold=0.7, semantic=model)


def record(text: str, kind: str = "text", group: str = "", **roles: str) -> Record:
    messages: list[Message] = [{"role": role, "content": content} for role, content in roles.items()]
    messages = messages or [{"role": "text", "content": text}]
    return records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1", group=group)


def sift(tmp_path: Path, rows: list[Record], dials: Dedup) -> dict[str, tuple[str, str]]:
    table, kept, dropped = tmp_path / "t", tmp_path / "k", tmp_path / "d"
    records.write(table, rows)
    dedup.main(table, kept, dropped, engine="local", dedup=dials)
    lost = {row["id"]: (str(dict(row)["reason"]), str(dict(row)["detail"])) for row in records.read(dropped)}
    left = {row["id"] for row in records.read(kept)}
    assert len(lost) + len(left) == len(rows)
    assert {detail.split()[0] for _, detail in lost.values()} <= left
    return lost


def test_vectors_have_length_one_and_texts_of_any_length_count_whole(folder: Path) -> None:
    texts = ["xe nhanh", "oto mau", "sông núi", "xe nhanh " * 100, "sông " * 90 + "núi " * 90, ""]
    found = embedding.encoder(folder, toy_encoders.COMPUTE)(texts)
    assert found.shape == (6, toy_encoders.WIDTH) and np.allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 1, 1, 0])
    assert np.allclose(found[0], found[1], atol=1e-5) and np.allclose(found[0], found[3], atol=1e-5)
    assert np.allclose(found[2], found[4], atol=1e-5) and found[0] @ found[2] < 0.9
    assert np.allclose(embedding.encoder(folder, toy_encoders.COMPUTE)(texts[:1]), found[:1], atol=1e-6)


def test_what_says_the_same_is_dropped_under_its_name_and_points_at_its_keeper(tmp_path: Path, folder: Path) -> None:
    one = record("xe to nhìn đẹp quả nhanh sông núi")
    long = record("oto lớn trông xinh trái mau núi sông sông núi nhìn nhìn xe xe đẹp to quả nhanh")
    other = record("mây gió mưa nắng cây lá hoa chim")
    assert sift(tmp_path, [one, long, other], dials(folder).model_copy(update={"semantic": None})) == {}
    lost = sift(tmp_path, [one, long, other], dials(folder, 0.9))
    assert lost[one["id"]][0] == "says the same" and lost[one["id"]][1].split()[0] == long["id"] and len(lost) == 1


def test_families_of_copies_are_joined_whole(tmp_path: Path, folder: Path) -> None:
    text = "xe to nhìn đẹp quả nhanh sông núi biển trời mây gió mưa nắng cây lá hoa chim cá trâu"
    words = text.split()
    other = " ".join(dict(SAME).get(word, word) for word in words)
    copy, near = record(text.upper() + "!"), record(text + " bò")
    rows = [record(text), copy, near, record(other)]
    lost = sift(tmp_path, rows, dials(folder))
    assert [lost.get(row["id"], ("kept", ""))[0] for row in rows] == [
        "near duplicate", "near duplicate", "kept", "says the same"
    ]  # fmt: skip
    assert {detail.split()[0] for _, detail in lost.values()} == {near["id"]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record("xe 2 sông"), record("oto 5 sông")),
        (record("xe nhanh sông"), record("", "instruction", user="oto mau", assistant="sông")),
        (
            record("", "preference", "g", user="xe", chosen="nhanh", rejected="sông"),
            record("", "preference", "g", user="oto", chosen="mau", rejected="sông"),
        ),
        (record("", "verdict", user="xe", chosen="nhanh"), record("", "verdict", user="oto", rejected="mau")),
    ],
    ids=["other numbers", "other kinds", "one prompt", "other verdicts"],
)
def test_what_is_meant_to_differ_is_not_joined(tmp_path: Path, folder: Path, one: Record, other: Record) -> None:
    assert sift(tmp_path, [one, other], dials(folder)) == {}


def test_blocks_give_the_families_of_all_pairs_in_any_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, 24))
    points = centres[rng.integers(0, 40, 300)] + rng.normal(scale=0.12, size=(300, 24))
    vectors = np.rint(points / np.linalg.norm(points, axis=1, keepdims=True) * semantic.SCALE).astype(np.int16)
    none = np.zeros(300, dtype=np.uint64)
    model = dials(folder, 0.95).semantic
    assert model
    exact = vectors.astype(np.int64) @ vectors.astype(np.int64).T >= 0.95 * semantic.SCALE**2
    true = np.arange(300, dtype=np.uint32)
    for one, other in itertools.combinations(range(300), 2):
        if exact[one, other]:
            low, high = sorted((true[one], true[other]))
            true[true == high] = low
    assert 40 <= len(set(true.tolist())) < 250
    for size in (7, 64, 2048):
        monkeypatch.setattr(semantic, "BLOCK", size)
        assert semantic.connected(vectors, none, none, model).tolist() == true.tolist()
    order = random.Random(2).sample(range(300), 300)
    shuffled = semantic.connected(vectors[order], none, none, model)
    pairs = {(true[order[place]], first) for place, first in enumerate(shuffled.tolist())}
    assert len(pairs) == len(set(true.tolist()))


def test_a_table_of_nothing_has_no_families(tmp_path: Path, folder: Path) -> None:
    assert sift(tmp_path, [], dials(folder)) == {}
