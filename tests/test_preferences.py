"""Preferences in every shape that they are published in, and what is none."""

from typing import Any

import pytest

from tests.reading import gpt, human, read, texts

PAIRS = {
    "HH-RLHF": (
        {
            "chosen": "\n\nHuman: A\n\nAssistant: B\n\nHuman: C\n\nAssistant: D",
            "rejected": "\n\nHuman: A\n\nAssistant: B\n\nHuman: C\n\nAssistant: E",
        },
        ["user: A", "assistant: B", "user: C", "chosen: D", "rejected: E"],
    ),
    "LLaMA-Factory": (
        {"conversations": [{"from": "system", "value": "S"}, human("A")], "chosen": gpt("B"), "rejected": gpt("C")},
        ["system: S", "user: A", "chosen: B", "rejected: C"],
    ),
    "Alpaca with two answers": (
        {"instruction": "A", "input": "x", "chosen": "B", "rejected": "C"},
        ["user: A\n\nx", "chosen: B", "rejected: C"],
    ),
    "UltraFeedback": (
        {
            "prompt": "A",
            "chosen": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}],
            "rejected": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "C"}],
        },
        ["user: A", "chosen: B", "rejected: C"],
    ),
    "KTO, good": (
        {"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}], "label": True},
        ["user: A", "chosen: B"],
    ),
    "KTO, from a spreadsheet": ({"prompt": "A", "completion": "B", "label": "TRUE"}, ["user: A", "chosen: B"]),
    "KTO, bad": ({"prompt": "A", "completion": "B", "label": False}, ["user: A", "rejected: B"]),
}  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), PAIRS.values(), ids=PAIRS)
def test_preferences(row: dict[str, Any], expected: list[str]) -> None:
    good, bad = read("preferences", row)
    assert not bad and texts(good[0]) == expected
    assert good[0].kind == ("verdict" if "label" in row else "preference")


NO_PAIRS: list[tuple[Any, str]] = [
    ({"instruction": "A", "chosen": "B", "rejected": "B"}, "chosen and rejected are the same"),
    ({"instruction": "A", "chosen": "B", "rejected": " "}, "empty rejected"),
    ({"instruction": "A", "chosen": "B"}, "rejected is missing"),
    ({"instruction": "A", "chosen": "B", "rejected": {}}, "chosen and rejected are of different kinds"),
    ({"instruction": "A"}, "neither chosen and rejected nor a label"),
    ({"prompt": "A", "completion": "B", "label": 3}, "label is neither true nor false"),
    (
        {"conversations": [human(), gpt()], "chosen": gpt("a"), "rejected": gpt("b")},
        "nothing is asked before the answers",
    ),
    ({"conversations": [human()], "chosen": human(), "rejected": gpt()}, "an answer that is not the assistant's"),
    (
        {"chosen": "\n\nHuman: A\n\nAssistant: B", "rejected": "\n\nHuman: X\n\nAssistant: C"},
        "the answers are to different questions",
    ),
    ({"chosen": "\n\nHuman: A\n\nAssistant:", "rejected": "\n\nHuman: A\n\nAssistant: C"}, "empty turn"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "reason"), NO_PAIRS, ids=[reason for _, reason in NO_PAIRS])
def test_rows_that_are_no_preference(row: Any, reason: str) -> None:
    good, bad = read("preferences", row)
    assert not good and [row.reason for row in bad] == [reason]
