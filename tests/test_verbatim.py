"""What must not be translated is found, and nothing else is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.translate import verbatim

SIGNS = st.text(st.sampled_from("ab Xé.!?\n\n`$|{}[]⟦⟧19\\\"':#<>/%s_=();-@") | st.characters(), max_size=80)
MIXED = st.lists(
    SIGNS
    | st.sampled_from(
        ["```py\nx = 1\n```", "`x`", "$a_1$", "https://a.vn/b?c=d", "⟦1⟧", "{name}", "| a | b |\n|---|---|\n| 1 | 2 |",
         '{"k": "một câu", "n": 1}', "Human: chào", "\n\n", "def f(x):\n    return x"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


def back(text: str) -> str:
    """The text put together again from what ``mask`` made of it."""
    masked, taken = verbatim.mask(text)
    held = iter(taken)
    return verbatim.TOKEN.sub(lambda token: next(held), masked)


@given(MIXED)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert back(text) == text


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        ("code", "Chạy thử:\n```py\nprint('hi')\n```\nxong", "```py\nprint('hi')\n```"),
        ("code", "An open fence:\n```\nx = 1", "```\nx = 1"),
        ("code", "Call `len(x)` twice.", "`len(x)`"),
        ("code", "Write it so:\ndef add(a, b):\n    return a + b\nThat is all.", "def add(a, b):\n    return a + b"),
        ("code", "So:\n#include <a.h>\nint main() {\n  f(s);\n}\nDone.", "#include <a.h>\nint main() {\n  f(s);\n}"),
        ("code", "Ask:\nSELECT name, age FROM people;\nThanks.", "SELECT name, age FROM people;"),
        ("latex", "We know $x^2 + y^2 = r^2$ well.", "$x^2 + y^2 = r^2$"),
        ("latex", r"So \(a \ne b\) holds.", r"\(a \ne b\)"),
        ("latex", r"\begin{align}a\end{align} is set.", r"\begin{align}a\end{align}"),
        ("url", "See https://vi.wikipedia.org/wiki/Hu%E1%BA%BF. Then rest.", "https://vi.wikipedia.org/wiki/Hu%E1%BA%BF"),
        ("e-mail", "Write to an.le@example.vn today.", "an.le@example.vn"),
        ("role", "Human: how are you?", "Human:"),
        ("tag", "This is <b class='x'>bold", "<b class='x'>"),
        ("placeholder", "Dear {name}, welcome.", "{name}"),
        ("placeholder", "It costs %d dong.", "%d"),
        ("placeholder", "Dear [YOUR NAME], hello.", "[YOUR NAME]"),
    ],
)  # fmt: skip
def test_each_kind_is_found(kind: str, text: str, kept: str) -> None:
    assert [(span.kind, text[span.start : span.end]) for span in verbatim.spans(text)] == [(kind, kept)]


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 here and $10 there.",
        "It costs $5 and x_1 = $6 there.",
        "He said (and I agree) that it works; we went on.",
        "For example, this is prose: it has a colon.",
        "If you can, please return the book to the library by Friday.",
        "Chúng ta đi chơi nhé; trời đẹp lắm.",
        "Either a or b, 50% of them.",
        "1. Take the bus.\n2. Walk home.",
        "While we wait, we can talk about the weather:",
    ],
)
def test_prose_is_left_to_the_teacher(text: str) -> None:
    assert verbatim.spans(text) == ()


def test_json_and_tables_keep_their_bones_and_show_their_words() -> None:
    assert verbatim.mask('Sửa {"title": "A good day", "n": 3} nhé')[0] == "Sửa ⟦1⟧A good day⟦2⟧ nhé"
    masked, taken = verbatim.mask("| Name | Age |\n|---|---|\n| An | 9 |")
    assert masked == "⟦1⟧ Name ⟦2⟧ Age ⟦3⟧\n⟦4⟧\n⟦5⟧ An ⟦6⟧ 9 ⟦7⟧" and taken[3] == "|---|---|"


@pytest.mark.parametrize(
    "text",
    [
        '{"texts": ' + "[" * 1100,
        '{"texts": ' * 1100,
        '{"texts": [' + "9" * 5000 + "]}",
        "\\begin{a}" * 8000,
        "\\[x" * 8000,
    ],
    ids=["deep", "deeper", "long", "environments", "formulas"],
)
def test_hostile_texts_are_read_in_time_and_come_back(text: str) -> None:
    started = time.monotonic()
    assert back(text) == text and time.monotonic() - started < 10
