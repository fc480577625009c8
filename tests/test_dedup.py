"""MinHash against exact Jaccard, families, and what is kept of them."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import decontaminate, dedup, split
from stages.lib import minhash, records
from stages.lib.params import Dedup, Split
from stages.lib.records import Message, Record

DEDUP = Dedup(shingle=3, permutations=128, bands=32, threshold=0.7)
WORDS = "sông núi biển trời mây gió mưa nắng cây lá hoa quả chim cá trâu bò lúa ngô khoai sắn bếp lửa khói tre".split()


def record(text: str, kind: str = "text", group: str = "", **roles: str) -> Record:
    messages: list[Message] = [{"role": role, "content": content} for role, content in roles.items()]
    messages = messages or [{"role": "text", "content": text}]
    return records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1", group=group)


def sift(tmp_path: Path, rows: list[Record]) -> dict[str, tuple[str, str]]:
    table, kept, dropped = tmp_path / "t", tmp_path / "k", tmp_path / "d"
    records.write(table, rows)
    dedup.main(table, kept, dropped, dedup=DEDUP)
    lost = {row["id"]: (row["reason"], row["detail"]) for row in records.read(dropped)}  # type: ignore[typeddict-item]
    assert records.count(kept) + len(lost) == len(rows)
    return lost


def test_signatures_estimate_jaccard() -> None:
    rng = random.Random(1)
    hashers = minhash.permutations(1024)
    for share in (0.2, 0.5, 0.8):
        common = [rng.getrandbits(64) for _ in range(int(200 * share))]
        one, other = (frozenset([*common, *(rng.getrandbits(64) for _ in range(200 - len(common)))]) for _ in range(2))
        agree = (minhash.signature(one, hashers) == minhash.signature(other, hashers)).mean()
        assert agree == pytest.approx(minhash.jaccard(one, other), abs=0.06)


def test_candidates_find_every_pair_above_the_threshold() -> None:
    rng = random.Random(2)
    texts = []
    for _ in range(150):
        words = rng.choices(WORDS, k=60)
        texts += [" ".join(words), " ".join([*words[:-4], *rng.choices(WORDS, k=4)])]
    sets = [minhash.shingles(text, 3) for text in texts]
    hashers = minhash.permutations(128)
    found = set(minhash.candidates((minhash.signature(one, hashers) for one in sets), 32))
    pairs = {(i, j) for j in range(len(sets)) for i in range(j) if minhash.jaccard(sets[i], sets[j]) >= 0.7}
    assert len(pairs) >= 100 and len(pairs & found) / len(pairs) > 0.99


def test_of_a_family_the_longest_stays_and_each_drop_points_at_it(tmp_path: Path) -> None:
    text = " ".join(random.Random(3).choices(WORDS, k=40))
    short, long, other = record(text), record(text + " và hết"), record(" ".join(random.Random(4).choices(WORDS, k=40)))
    same = record(text.upper() + "!")
    lost = sift(tmp_path, [short, other, long, same])
    assert lost == {short["id"]: ("near duplicate", long["id"]), same["id"]: ("exact duplicate", long["id"])}


def test_pairs_ranked_under_one_prompt_are_no_duplicates_and_kinds_are_not_mixed(tmp_path: Path) -> None:
    answer = " ".join(random.Random(5).choices(WORDS, k=40))
    one = record("", "preference", "g", user="Hỏi?", chosen=answer, rejected="Không.")
    two = record("", "preference", "g", user="Hỏi?", chosen=answer, rejected="Chịu.")
    assert sift(tmp_path, [one, two, record("", "instruction", user="Hỏi?", assistant=answer)]) == {}
    three = record("", "preference", "h", user="Hỏi?", chosen=answer, rejected="Chịu thôi.")
    assert sift(tmp_path, [one, three])[one["id"]] == ("near duplicate", three["id"])


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_families_are_connected_components(pairs: list[tuple[int, int]]) -> None:
    families = minhash.Families(31)
    sets = [{item} for item in range(31)]
    for one, other in pairs:
        families.join(one, other)
        merged = sets[one] | sets[other]
        for item in merged:
            sets[item] = merged
    assert [families.find(item) for item in range(31)] == [min(found) for found in sets]


def test_contamination_is_a_whole_short_question_or_a_long_run() -> None:
    long = "một hai ba bốn năm sáu bảy tám chín mười mười một mười hai mười ba"
    runs = decontaminate.cut(decontaminate.index(iter(["Thủ đô của Lào là gì?", long])), 13)
    assert decontaminate.overlap(record("Cho tôi hỏi: thủ đô của LÀO là gì"), runs) == (
        "asked by a benchmark",
        "Thủ đô của Lào là gì?",
    )
    assert decontaminate.overlap(record("Thủ đô của Thái Lan là gì?"), runs) is None
    assert decontaminate.overlap(record("x y " + long), runs) is not None
    assert decontaminate.overlap(record("x y " + long.rsplit(" ", 4)[0]), runs) is None


def test_the_original_of_a_translation_is_searched_too() -> None:
    runs = decontaminate.cut(decontaminate.index(iter(["What is the capital of Laos?"])), 13)
    translated = record("Lào có thủ đô nào?")
    translated["original"] = [{"role": "text", "content": "what is the capital of Laos"}]
    assert decontaminate.overlap(translated, runs) is not None


def test_a_group_falls_on_one_side_whatever_else_is_there() -> None:
    dial = Split(seed=1, validation=0.3, preferences=0.3)
    rows = [record(f"t{number}", group=f"g{number % 50}") for number in range(400)]
    sides = {row["group"]: split.held_out(row, set(), dial) for row in rows}
    assert all(sides[row["group"]] == split.held_out(row, set(), dial) for row in rows)
    assert 5 <= sum(sides.values()) <= 25
