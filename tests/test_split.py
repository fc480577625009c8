"""Nothing straddles, and of every source and topic the same share is held out."""

import shutil
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import split
from stages.lib import records
from stages.lib.params import Split
from stages.lib.records import Message, Record
from stages.lib.report import subjects
from stages.lib.text import vietnamese

TOPICS = Path("stages/lexicons/topics.txt")
SETS = [f"{name}.{side}" for name in ("text", "sft", "preferences", "prompts") for side in ("train", "validation")]
FOOD, HEALTH = "Nấu món phở bò thế nào? Lần {}.", "Đau răng thì nên đi bác sĩ nào? Lần {}."


def record(question: str, answer: str, source: str = "s", group: str = "", kind: str = "instruction") -> Record:
    closing = {"preference": "chosen", "text": "text"}.get(kind, "assistant")
    turns: list[Message] = [{"role": "user", "content": question}, {"role": closing, "content": answer}]
    messages = turns[1:] if kind == "text" else turns
    return records.make(kind, messages, source=source, licence="CC0-1.0", lang="vi", upstream="1", group=group)


def deal(folder: Path, rows: list[Record], share: float = 0.3, preferences: float = 0.3) -> dict[str, list[Record]]:
    records.write(folder / "rows", rows)
    dial = Split(seed=1, validation=share, preferences=preferences)
    split.main(folder / "rows", TOPICS, *(folder / name for name in SETS), split=dial)
    return {name: list(records.read(folder / name)) for name in SETS}


def test_every_source_and_topic_has_its_share_and_no_record_is_lost(tmp_path: Path) -> None:
    rows = [
        record(text.format(number) + f" ({source})", "Vâng.", source=source)
        for source, count in (("a", 40), ("b", 20), ("c", 3))
        for text in (FOOD, HEALTH)
        for number in range(count)
    ]
    dealt = deal(tmp_path, rows)
    held = Counter((row["source"], row["messages"][0]["content"][:3]) for row in dealt["sft.validation"])
    assert held["a", "Nấu"] == held["a", "Đau"] == 12 and held["b", "Nấu"] == held["b", "Đau"] == 6
    assert len(dealt["sft.validation"]) == round(0.3 * len(rows))
    assert len(dealt["sft.train"]) + len(dealt["sft.validation"]) == len(rows)


def test_a_group_and_whoever_asks_the_same_fall_on_one_side(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        question = FOOD.format(number)
        rows += [
            record(question, "Một.", group=f"g{number}"),
            record(f"Còn cách khác? {number}", "Hai.", group=f"g{number}", kind="conversation"),
            record(question.upper(), "Ba.", source="other"),
            record(question, "Bốn.", source="third", kind="preference"),
        ]
    dealt = deal(tmp_path, rows)
    sides: dict[str, set[str]] = defaultdict(set)
    for name, found in dealt.items():
        for row in found:
            sides[row["messages"][0]["content"].rstrip(".").split()[-1]].add(name.split(".")[1])
    assert len(sides) == 60 and all(len(side) == 1 for side in sides.values())
    assert len(dealt["preferences.validation"]) == 18
    asked = [row["messages"][0]["content"].lower() for row in dealt["prompts.train"] + dealt["prompts.validation"]]
    assert len(asked) == len(set(asked)) == 120  # each prompt once, however it is written


def test_more_data_moves_only_what_stands_at_the_edge(tmp_path: Path) -> None:
    def held(count: int) -> set[str]:
        dealt = deal(tmp_path, [record(FOOD.format(number), "Vâng.") for number in range(count)], share=0.2)
        return {row["id"] for row in dealt["sft.validation"]}

    before, after = held(500), held(520)
    assert len(before) == 100 and len(after) == 104 and len(before - after) <= 4


def test_the_same_bytes_whatever_the_shares_of_others(tmp_path: Path) -> None:
    rows = [record(FOOD.format(number), "Vâng.") for number in range(50)]
    deal(tmp_path, rows)
    one = {name: (tmp_path / name).read_bytes() for name in SETS}
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    deal(tmp_path, rows, preferences=0.9)
    assert one == {name: (tmp_path / name).read_bytes() for name in SETS}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_nothing_may_be_held_out_and_a_table_may_be_empty(tmp_path: Path, share: float) -> None:
    rows = [record("Một trăm?", "Vâng.", kind=kind) for kind in ("text", "instruction", "preference")]
    dealt = deal(tmp_path, rows, share, share)
    side = "validation" if share else "train"
    assert [len(dealt[f"{name}.{side}"]) for name in ("text", "sft", "preferences", "prompts")] == [1, 1, 1, 1]
    assert not any(deal(tmp_path, []).values())


def components(rows: list[tuple[int, int]]) -> list[int]:
    """Families by walking from record to record."""
    found = [-1] * len(rows)
    for start in range(len(rows)):
        waiting = [start] if found[start] < 0 else []
        while waiting:
            found[row := waiting.pop()] = start
            group, prompt = rows[row]
            joined = (place for place, (one, other) in enumerate(rows) if one == group or (prompt and other == prompt))
            waiting += [place for place in joined if found[place] < 0]
    return found


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), max_size=30))
def test_families_are_what_is_joined_by_groups_and_prompts(rows: list[tuple[int, int]]) -> None:
    groups, prompts = [group for group, _ in rows], [prompt for _, prompt in rows]
    found = split.families(np.array(groups, dtype=np.uint64), np.array(prompts, dtype=np.uint64))
    assert found.tolist() == components(rows)


def plain(rows: split.Rows, dial: Split) -> list[bool]:
    """Sides by walking from stratum to stratum with lists."""
    family = components(list(zip(rows.group.tolist(), rows.prompt.tolist(), strict=True)))
    members = {head: [row for row, mine in enumerate(family) if mine == head] for head in set(family)}
    held = set()
    for share, kind in ((dial.validation, False), (dial.preferences, True)):
        mine = [head for head, own in members.items() if any(rows.ranked[row] for row in own) == kind]
        strata: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for head in mine:
            least = min(int(rows.stratum[row]) for row in members[head])
            strata[least].append((min(int(rows.draw[row]) for row in members[head]), head))
        before = 0
        for _, heads in sorted(strata.items()):
            wanted = int((before + len(heads)) * share + 0.5) - int(before * share + 0.5)
            held |= {head for _, head in sorted(heads)[:wanted]}
            before += len(heads)
    return [head in held for head in family]


DRAWN = st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 99), st.integers(0, 3), st.booleans())


@given(st.lists(DRAWN, max_size=30), st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0]))
def test_sides_are_those_of_the_definition(drawn: list[tuple[int, int, int, int, bool]], share: float) -> None:
    group, prompt, place, stratum, ranked = np.array(drawn, np.uint64).reshape(-1, 5).T
    rows = split.Rows(group, prompt, place, stratum.astype(np.uint32), ranked.astype(np.bool_))
    dial = Split(seed=1, validation=share, preferences=1 - share)
    assert split.held_out(rows, dial).tolist() == plain(rows, dial)
    asked = prompt.tolist()
    assert split.first(prompt).tolist() == [bool(one) and one not in asked[:at] for at, one in enumerate(asked)]


def test_a_record_costs_some_sixty_bytes() -> None:
    count, drawn = 100_000, np.random.default_rng(1)
    group, prompt, draw = (drawn.integers(0, count, count, dtype=np.uint64) for _ in range(3))
    rows = split.Rows(group, prompt, draw, drawn.integers(0, 60, count, dtype=np.uint32), drawn.random(count) < 0.1)
    tracemalloc.start()
    try:
        split.held_out(rows, Split(seed=1, validation=0.05, preferences=0.2))
        split.first(rows.prompt)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(column.nbytes for column in rows) + peak < 80 * count


def test_prompts_keep_their_signs_and_lose_their_case() -> None:
    assert vietnamese.fold("2 + 3 = ?") != vietnamese.fold("2 - 3 = ?")
    assert vietnamese.fold("Hoà  bình\n là GÌ?") == vietnamese.fold("hòa bình là gi\u0300?")


def test_a_records_beginning_tells_its_topic() -> None:
    lexicon = subjects.read(TOPICS)
    texts = [(FOOD, "Vâng."), (FOOD, "x " * 2000 + "bác sĩ " * 900), (HEALTH, "Vâng.")]
    rows = [record(question, answer) for question, answer in texts]
    first, long, other = split.survey([records.batch(rows)], 3, lexicon, 1).stratum.tolist()
    assert first == long != other
