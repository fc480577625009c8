"""Long texts come back as they were, in pieces that are short enough, cut where it does no harm."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.translate import pieces

SIGNS = st.text(st.sampled_from("ab Xé.!?\n\n\t`$|{}[]19\"':#</_=();-@") | st.characters(), max_size=60)
MIXED = st.lists(
    SIGNS
    | st.sampled_from(
        ["```py\nx = 1\n\ny = 2\n```", "$a_1 + b$", "| a | b |\n|---|---|\n| 1 | 2 |", '{"k": "một câu", "n": 1}',
         "\n\n", "- một hai\n  ba bốn\n", "1. Đi. Về.\n", "Mr. Smith came. He left.", " \r\n",
         "def f(x):\n    return x"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(MIXED, st.integers(1, 50))
def test_any_text_comes_back_and_no_piece_is_longer_than_it_must_be(text: str, longest: int) -> None:
    cut = pieces.split(text, longest)
    assert "".join(piece.text + piece.after for piece in cut) == text
    assert all(not piece.after.strip() for piece in cut)
    places, at = {gap.start for gap in pieces.gaps(text)}, 0
    for piece in cut:
        inside = [place for place in places if at < place < at + len(piece.text)]
        assert len(piece.text) <= longest or not inside, piece
        at += len(piece.text) + len(piece.after)


FENCE = "```python\nfor name in names:\n\n    print(name)\n```"
TABLE = "| Name | Age |\n|---|---|\n| An | 9 |"


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("Một. Hai.\n\nBa.", 50, ["Một. Hai.\n\nBa."]),
        ("Một. Hai.\n\nBa. Bốn.\n\nNăm.", 20, ["Một. Hai.\n\nBa. Bốn.", "Năm."]),
        ("One two.\nThree four.\nFive.", 20, ["One two.\nThree four.", "Five."]),
        ("It rained. We went home. Nobody minded.", 24, ["It rained. We went home.", "Nobody minded."]),
        ("Then Mr. Smith came home at noon. He left.", 20, ["Then Mr. Smith came", "home at noon.", "He left."]),
        ('He said "Go." Then he left.', 14, ['He said "Go."', "Then he left."]),
        (f"Run it:\n\n{FENCE}\n\nDone.", 20, ["Run it:", FENCE, "Done."]),
        (f"A table.\n\n{TABLE}\n\nDone.", 40, ["A table.", TABLE, "Done."]),
        (TABLE, 25, ["| Name | Age |\n|---|---|", "| An | 9 |"]),
        ("- one two\n  three\n- four", 20, ["- one two\n  three", "- four"]),
        ("- one two\n  three\n- four", 10, ["- one two", "three", "- four"]),
        ("So $a_1 + b_1 = c_1$ holds.", 8, ["So", "$a_1 + b_1 = c_1$", "holds."]),
        ("word " * 4 + "end", 10, ["word word", "word word", "end"]),
        ("x" * 30, 10, ["x" * 30]),
    ],
)
def test_a_text_is_cut_where_a_reader_would_pause(text: str, longest: int, expected: list[str]) -> None:
    assert [piece.text for piece in pieces.split(text, longest)] == expected


@pytest.mark.parametrize(("text", "nothing"), [(FENCE, True), ("$a_1$ = $b_2$", True), ("Chạy `x` đi.", False)])
def test_what_holds_no_words_is_known(text: str, nothing: bool) -> None:
    assert pieces.wordless(text) is nothing


def test_a_book_is_cut_in_time() -> None:
    started = time.monotonic()
    text = ("It rains. " * 50 + "\n\n" + FENCE + "\n\n") * 400
    cut = pieces.split(text, 3000)
    assert "".join(piece.text + piece.after for piece in cut) == text and max(len(piece.text) for piece in cut) <= 3000
    assert time.monotonic() - started < 20
