"""Shingles of any text, MinHash against exact Jaccard, families whatever the order, and what is kept of them."""

import itertools
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import corpus
from stages import dedup
from stages.lib import records
from stages.lib.dedup import families, minhash, shingles
from stages.lib.params import Dedup
from stages.lib.records import Message, Record
from tests.test_shingles import VIETNAMESE, cut, sets

DEDUP = Dedup(shingle=3, permutations=128, bands=32, threshold=0.7, semantic=None)
WORDS = "sông núi biển trời mây gió mưa nắng cây lá hoa quả chim cá trâu bò lúa ngô khoai sắn bếp lửa khói tre".split()
TEXTS = st.lists(
    st.text(max_size=60) | st.text("aàÀđ1 .\u0301\u0323漢か゛😀≠\u200b", max_size=60) | VIETNAMESE, max_size=8
)


@pytest.fixture(scope="module")
def engines() -> list[minhash.Engine]:
    return [make(DEDUP.shingle, DEDUP.permutations) for make in (minhash.with_numpy, minhash.with_numba)]


def record(text: str, kind: str = "text", group: str = "", **roles: str) -> Record:
    messages: list[Message] = [{"role": role, "content": content} for role, content in roles.items()]
    messages = messages or [{"role": "text", "content": text}]
    return records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1", group=group)


def sift(tmp_path: Path, rows: list[Record]) -> dict[str, tuple[str, str]]:
    """What is dropped: its reason, and its keeper with the similarity."""
    table, kept, dropped = tmp_path / "t", tmp_path / "k", tmp_path / "d"
    records.write(table, rows)
    dedup.main(table, kept, dropped, engine="local", dedup=DEDUP)
    gone: list[dict[str, Any]] = pq.read_table(dropped).to_pylist()
    lost = {row["id"]: (row["reason"], row["detail"]) for row in gone}
    assert records.count(kept) + records.count(dropped) == len(rows)
    left = [row["id"] for row in records.read(kept)]
    assert {detail.split()[0] for _, detail in lost.values()} <= set(left)
    places = iter(row["id"] for row in rows)
    assert all(id in places for id in left)  # in the order that they came in
    return lost


def judged(table: Path, workers: int, engine: minhash.Engine) -> dict[int, tuple[str, str]]:
    drops = dedup.find(table, DEDUP, workers, engine).to_pylist()
    return {drop["row"]: (drop["reason"], drop["detail"]) for drop in drops}


@settings(deadline=None)
@given(TEXTS, st.integers(1, 4))
def test_both_engines_compute_the_same_of_any_text(engines: list[minhash.Engine], texts: list[str], size: int) -> None:
    batch = shingles.of_strings(texts)
    seeds = np.arange(len(texts), dtype=np.uint64)
    rows = np.arange(len(texts))
    room = np.array([len(text.encode("utf-8", "replace")) + 1 for text in texts], dtype=np.int64)
    starts = np.cumsum(room) - room
    found = []
    for engine in engines:
        exact, bands = np.zeros(len(texts), dtype=np.uint64), np.zeros((32, len(texts)), dtype=np.uint32)
        lengths, runs, sizes = (np.zeros(len(texts), dtype=np.uint32) for _ in range(3))
        values = np.zeros(room.sum(), dtype=np.uint32)
        engine.sketch(batch, seeds, exact, bands, lengths, runs)
        engine.sets(batch, rows, values, starts, sizes)
        drawn = [values[start : start + size].tolist() for start, size in zip(starts, sizes, strict=True)]
        found.append([exact.tolist(), bands.tolist(), lengths.tolist(), runs.tolist(), drawn])
    assert found[0] == found[1]
    assert found[0][4] == [sorted(one) for one in sets(cut(*texts))]


def test_signatures_estimate_jaccard() -> None:
    rng = random.Random(1)
    for share in (0.2, 0.5, 0.8):
        common = [rng.getrandbits(32) for _ in range(int(200 * share))]
        one, other = ([*common, *(rng.getrandbits(32) for _ in range(200 - len(common)))] for _ in range(2))
        signed = minhash.signatures(np.array(one + other, dtype=np.uint32), np.array([0, 200, 400]), 1024)
        true = minhash.jaccard(frozenset(one), frozenset(other))
        assert (signed[:, 0] == signed[:, 1]).mean() == pytest.approx(true, abs=0.06)


@given(st.lists(st.integers(0, 5), max_size=20))
def test_buckets_hold_the_rows_that_share_a_key(keys: list[int]) -> None:
    members, bounds = minhash.buckets(np.array(keys, dtype=np.uint32), np.arange(len(keys), dtype=np.uint32))
    expected = [[row for row, other in enumerate(keys) if other == key] for key in sorted(set(keys))]
    found = [members[one:end].tolist() for one, end in itertools.pairwise(bounds)]
    assert found == [rows for rows in expected if len(rows) > 1]
    twice = minhash.once([(members, bounds), (members, bounds)])
    merged = [rows[one:end].tolist() for rows, begins in twice for one, end in itertools.pairwise(begins)]
    assert sorted(merged) == sorted(
        [*(rows for rows in found if len(rows) == 2), *2 * [rows for rows in found if len(rows) > 2]]
    )


def find(texts: list[str], engine: minhash.Engine, workers: int = 1, size: int = 700) -> families.Families:
    """The families of some texts, of one kind."""
    none = np.zeros(size, dtype=np.uint64)

    def read() -> list[families.Batch]:
        parts = [shingles.of_strings(texts[place : place + size]) for place in range(0, len(texts), size)]
        counts = [len(part.records) - 1 for part in parts]
        return [
            families.Batch(part, none[:count], none[:count], none[:count].astype(np.int64))
            for part, count in zip(parts, counts, strict=True)
        ]

    return families.find(read, len(texts), DEDUP, engine, workers)


def brute_force(texts: list[str]) -> list[int]:
    """The first of each text's family, by the exact similarity of every two that share a shingle."""
    drawn = sets(cut(*texts))
    holders = defaultdict(list)
    for row, found in enumerate(drawn):
        for value in found:
            holders[value].append(row)
    parent = np.arange(len(texts), dtype=np.uint32)
    for one, other in {pair for rows in holders.values() for pair in itertools.combinations(rows, 2)}:
        if minhash.jaccard(drawn[one], drawn[other]) >= DEDUP.threshold:
            low, high = sorted((minhash.find(parent, one), minhash.find(parent, other)))
            parent[high] = low
    return [minhash.find(parent, row) for row in range(len(texts))]


def test_families_are_those_of_exact_similarity_in_any_order(engines: list[minhash.Engine]) -> None:
    texts = corpus.make(1500, seed=3, share=0.6).to_pylist()
    true = brute_force(texts)
    assert len(set(true)) < 1000
    for engine, workers, size in (
        (engines[0], 1, 700),
        (engines[0], 2, 333),
        (engines[1], 1, 1500),
        (engines[1], 2, 99),
    ):
        found = find(texts, engine, workers, size)
        assert found.root.tolist() == true
    order = random.Random(4).sample(range(len(texts)), len(texts))
    shuffled = find([texts[row] for row in order], engines[1]).root.tolist()
    place = {row: where for where, row in enumerate(order)}
    pairs = zip(true, (shuffled[place[row]] for row in range(len(texts))), strict=True)
    assert len(set(pairs)) == len(set(true)) == len(set(shuffled))


def test_a_bucket_of_copies_costs_one_comparison_each(engines: list[minhash.Engine]) -> None:
    words = " ".join(random.Random(9).choices(WORDS, k=60))
    counts = {engines[0]: 2_000, engines[1]: 30_000}  # all pairs would take minutes
    for engine, count in counts.items():
        texts = [f"{words} số {number}" for number in range(count)]
        start = time.process_time()
        assert not find(texts, engine, 2).root.any()
        assert time.process_time() - start < 20


def test_both_engines_give_the_same_verdicts_on_records(tmp_path: Path, engines: list[minhash.Engine]) -> None:
    texts = corpus.make(400, seed=5).to_pylist()
    rng = random.Random(6)
    rows = [record("", rng.choice(["instruction", "text"]), user=text, assistant="Vâng.") for text in texts]
    rows += [
        record("", "preference", f"g{place % 3}", user="Hỏi", chosen=texts[0], rejected=text)
        for place, text in enumerate(texts[:40])
    ]
    rng.shuffle(rows)
    records.write(tmp_path / "t", rows)
    one, other = (judged(tmp_path / "t", workers, engine) for workers, engine in zip((1, 2), engines, strict=True))
    assert one == other and len(one) > 20


def test_the_order_of_the_rows_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines: list[minhash.Engine]
) -> None:
    rows = [record(text) for text in corpus.make(300, seed=7).to_pylist()]
    rows += [{**row, "source": "again"} for row in rows[::9]]
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        monkeypatch.setattr(dedup, "ROWS", 10 + 100 * seed)
        records.write(tmp_path / "t", rows)
        lost = judged(tmp_path / "t", 1 + seed % 2, engines[0])
        found.append({(rows[place]["source"], rows[place]["id"], *verdict) for place, verdict in lost.items()})
    assert found[0] == found[1] == found[2] and len(found[0]) > 60


def test_of_a_family_the_longest_answer_stays_and_each_drop_points_at_it(tmp_path: Path) -> None:
    text = " ".join(random.Random(3).choices(WORDS, k=40))
    short, long, other = record(text), record(text + " và hết"), record(" ".join(random.Random(4).choices(WORDS, k=40)))
    same = record(text.upper() + "!")
    lost = sift(tmp_path, [short, other, long, same])
    near = ("near duplicate", f"{long['id']} 0.950")
    assert lost == {short["id"]: near, same["id"]: near}
    prompt, answer = text + " và thêm vài chữ", " ".join(WORDS)
    asked = [
        record("", "instruction", user=prompt, assistant=answer),
        record("", "instruction", user=text, assistant=answer + " nữa"),
    ]
    similarity = minhash.jaccard(*sets(cut(*(records.plain(row) for row in asked))))
    assert sift(tmp_path, asked) == {asked[0]["id"]: ("near duplicate", f"{asked[1]['id']} {similarity:.3f}")}


def test_of_equals_the_smallest_id_stays_and_quality_comes_before_length(
    tmp_path: Path, engines: list[minhash.Engine]
) -> None:
    text = " ".join(random.Random(3).choices(WORDS, k=40))
    one, other, long = record(text), record(text + "."), record(text + " và hết")
    low, high = sorted([one, other], key=lambda row: row["id"])
    assert sift(tmp_path, [high, low]) == {high["id"]: ("exact duplicate", f"{low['id']} 1.000")}
    rated = pa.Table.from_pylist([low, high, long], records.SCHEMA).append_column("quality", pa.array([0.1, 0.9, 0.5]))
    pq.write_table(rated, tmp_path / "rated")
    assert judged(tmp_path / "rated", 1, engines[0]) == {
        0: ("exact duplicate", f"{high['id']} 1.000"),
        2: ("near duplicate", f"{high['id']} 0.950"),
    }


def test_a_chain_is_one_family_and_tells_how_far_its_end_is(tmp_path: Path) -> None:
    words = random.Random(8).sample([f"{one}{other}" for one in WORDS for other in WORDS], 140)
    chain = [record(" ".join(words[start : start + 100 + start])) for start in (0, 12, 24)]
    lost = sift(tmp_path, chain)
    assert set(lost) == {chain[0]["id"], chain[1]["id"]}
    keeper = chain[2]["id"]
    assert all(detail.split()[0] == keeper for _, detail in lost.values())
    assert float(lost[chain[0]["id"]][1].split()[1]) < DEDUP.threshold <= float(lost[chain[1]["id"]][1].split()[1])


def test_pairs_ranked_under_one_prompt_are_no_duplicates_and_kinds_are_not_mixed(tmp_path: Path) -> None:
    answer = " ".join(random.Random(5).choices(WORDS, k=40))
    one = record("", "preference", "g", user="Hỏi?", chosen=answer, rejected="Không.")
    two = record("", "preference", "g", user="Hỏi?", chosen=answer, rejected="Chịu.")
    assert sift(tmp_path, [one, two, record("", "instruction", user="Hỏi?", assistant=answer)]) == {}
    three = record("", "preference", "h", user="Hỏi?", chosen=answer + " hết", rejected="Chịu thôi.")
    assert sift(tmp_path, [one, three])[one["id"]][1].split()[0] == three["id"]
    # the same text under another prompt's group is what joins it to that group
    twin: Record = {**two, "group": "h", "source": "z"}
    near: Record = {**one, "group": "g"}
    assert len(sift(tmp_path, [two, near])) == 0 and len(sift(tmp_path, [two, twin, near])) == 2


def test_a_good_and_a_bad_verdict_on_one_answer_are_no_duplicates(tmp_path: Path) -> None:
    answer = " ".join(random.Random(5).choices(WORDS, k=40))
    good, bad = (record("", "verdict", user="Hỏi?", **{role: answer}) for role in ("chosen", "rejected"))
    again = record("", "verdict", user="Hỏi?", chosen=answer + " hết")
    assert sift(tmp_path, [good, bad]) == {}
    assert set(sift(tmp_path, [good, bad, again])) == {good["id"]}


def test_batches_hold_as_many_rows_as_fit(tmp_path: Path) -> None:
    records.write(tmp_path / "t", [record(f"{number} " + "dài " * 20_000) for number in range(200)])
    sizes = [len(batch.kinds) for batch in dedup.read(tmp_path / "t")]
    assert sum(sizes) == 200 and max(sizes) < 60


@settings(deadline=None, max_examples=30)
@given(rows=TEXTS)
def test_no_text_makes_it_fail_and_no_row_is_lost(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in rows]
    sift(tmp_path_factory.mktemp("any"), [record(text) for text in dict.fromkeys(texts)])
