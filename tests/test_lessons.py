"""What is learned from: rows of ids and labels, every token of them accounted for."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import determinism, models, records
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import lessons
from stages.lib.train.packing import IGNORED

determinism.pin(1, "cpu", 1)

LETTERS = "Hỏi gì? Đáp: 0123456789 a b c d e\n"


@cache
def digits() -> Any:
    """A tokenizer to which every digit is a token."""
    return models.train_tokenizer([LETTERS, "system\nuser\nassistant\n"] * 9, 300, 64)


@pytest.fixture
def tokenizer() -> Any:
    return digits()


def talk(*turns: tuple[str, str]) -> records.Record:
    messages = [Message(role=role, content=content) for role, content in turns]
    return records.make("conversation", messages, source="s", licence="l", lang="vi", upstream="1")


def test_labels_are_the_assistants_tokens_and_the_end_of_its_turn(tokenizer: Any) -> None:
    row = talk(("system", "0"), ("user", "1"), ("assistant", "23"), ("user", "4"), ("assistant", "5"))
    found, counts = lessons.conversations([row], tokenizer, 64)
    pieces = tokenizer.convert_ids_to_tokens(found[0]["input_ids"])
    assert [piece for piece, label in zip(pieces, found[0]["labels"], strict=True) if label != IGNORED] == [
        "2", "3", models.END, "5", models.END,
    ]  # fmt: skip
    assert all(label in (IGNORED, id) for id, label in zip(found[0]["input_ids"], found[0]["labels"], strict=True))
    assert set(counts.values()) == {0} and not lessons.told(counts, 64)


# <|im_start|> user \n q <|im_end|> \n <|im_start|> assistant \n, then the answer and <|im_end|> \n
START = 9


@pytest.mark.parametrize(
    ("context", "learned", "counts"),
    [
        # context, how many tokens are learned, (truncated, cut_answers, left_out, tokens_lost)
        (START + 6, 5, (0, 0, 0, 0)),
        (START + 5, 5, (1, 0, 0, 1)),  # the line's end, which is not the assistant's
        (START + 4, 4, (1, 1, 0, 2)),  # the end of its turn
        (START + 1, 1, (1, 1, 0, 5)),
        (START, 0, (1, 0, 1, 6)),  # nothing of the answer
        (1, 0, (1, 0, 1, START + 5)),
    ],
)
def test_what_a_context_cuts_is_counted(
    tokenizer: Any, context: int, learned: int, counts: tuple[int, int, int, int]
) -> None:
    found, told = lessons.conversations([talk(("user", "0"), ("assistant", "1234"))], tokenizer, context)
    assert tuple(told.values()) == counts
    assert list(told) == ["truncated", "cut_answers", "left_out", "tokens_lost"]
    assert [sum(label != IGNORED for label in row["labels"]) for row in found] == ([learned] if learned else [])
    assert all(len(row["input_ids"]) == len(row["labels"]) <= context for row in found)


def test_counts_add_up_and_are_told(tokenizer: Any) -> None:
    rows = [
        talk(("user", "0"), ("assistant", "1" * 20)),  # ends within the answer
        talk(("user", "0" * 40), ("assistant", "1")),  # its answer lies beyond
        talk(("user", "0"), ("assistant", "1"), ("user", "2" * 40), ("assistant", "3")),  # its first answer is whole
        talk(("user", "0"), ("assistant", "1")),
    ]
    whole, _ = lessons.conversations(rows, tokenizer, 999)
    found, counts = lessons.conversations(rows, tokenizer, 24)
    assert counts == {
        "truncated": 3, "cut_answers": 1, "left_out": 1,
        "tokens_lost": sum(max(0, len(row["input_ids"]) - 24) for row in whole),
    }  # fmt: skip
    assert [row["input_ids"] for row in found] == [whole[index]["input_ids"][:24] for index in (0, 2, 3)]
    assert [row["labels"] for row in found] == [whole[index]["labels"][:24] for index in (0, 2, 3)]
    assert lessons.told(counts, 24) == (
        f"sft.context (24): 3 conversations are longer and lose {counts['tokens_lost']} tokens; 1 of them end within an"
        " answer, 1 are left out"
    )


def test_rows_without_any_end_of_turn_are_refused(tokenizer: Any) -> None:
    rows, _ = lessons.conversations([talk(("user", "0"), ("assistant", "1" * 20))], tokenizer, START + 9)
    with pytest.raises(Refusal, match=r"marks no end of turn.*generation.*raise sft\.context"):
        lessons.check_end(rows, [tokenizer.eos_token_id])
    lessons.check_end([*rows, {"labels": [tokenizer.eos_token_id]}], [tokenizer.eos_token_id])


@given(st.lists(st.text("0123456789", min_size=0, max_size=40), max_size=6), st.integers(2, 30), st.booleans())
def test_of_texts_every_token_is_in_a_row_or_counted(found: list[str], context: int, apart: bool) -> None:
    spoken = digits()
    before, after = lessons.edges(spoken)
    rows, counts = lessons.texts(found, spoken, context, apart)
    assert all(1 < len(row["input_ids"]) <= context and row["labels"] == row["input_ids"] for row in rows)
    said = [id for row in rows for id in row["input_ids"]]
    whole = [[*before, *spoken.convert_tokens_to_ids(list(text)), *after] for text in found]
    assert len(said) + counts["tokens_lost"] == sum(map(len, whole))
    if apart:  # no row holds two texts
        assert all(row["input_ids"].count(after[0]) <= 1 for row in rows)
    else:
        stream = [id for ids in whole for id in ids]
        assert said == stream[: len(said)] and counts["tokens_lost"] <= 1


@pytest.mark.parametrize(("bos", "found"), [(None, (models.TURN, models.END)), ("<s>", ("<s>", models.END))])
def test_a_text_stands_between_the_edges_that_its_model_knows(bos: str | None, found: tuple[str, str]) -> None:
    spoken = models.train_tokenizer([LETTERS], 300, 64)
    if bos:
        spoken.add_special_tokens({"bos_token": bos})
    rows, _ = lessons.texts(["012"], spoken, 64, apart=True)
    assert spoken.convert_ids_to_tokens(rows[0]["input_ids"]) == [found[0], "0", "1", "2", found[1]]


def test_packed_rows_are_counted() -> None:
    rows = [{"input_ids": [1] * length, "labels": [1] * length} for length in (6, 4, 5, 3)]
    found, counts = lessons.packed(rows, 10)
    assert [row["seq_lengths"] for row in found] == [[6, 4], [5, 3]]
    assert counts == {"records": 4, "rows": 2, "fullness": 0.9}
