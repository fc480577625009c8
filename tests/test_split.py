"""A group is trained on or held out as a whole, whatever else is there."""

from stages import split
from stages.lib import records
from stages.lib.params import Split
from stages.lib.records import Message, Record


def record(text: str, group: str = "") -> Record:
    messages: list[Message] = [{"role": "text", "content": text}]
    return records.make("text", messages, source="s", licence="CC0-1.0", lang="vi", upstream="1", group=group)


def test_a_group_falls_on_one_side_whatever_else_is_there() -> None:
    dial = Split(seed=1, validation=0.3, preferences=0.3)
    rows = [record(f"t{number}", group=f"g{number % 50}") for number in range(400)]
    sides = {row["group"]: split.held_out(row, set(), dial) for row in rows}
    assert all(sides[row["group"]] == split.held_out(row, set(), dial) for row in rows)
    assert 5 <= sum(sides.values()) <= 25
