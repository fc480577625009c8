"""Sentences for a translator that knows nothing else: told apart, marked, and put together to the letter."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.translate import masking
from stages.lib.translate.masking import Sentence

PIECES = [
    "```py\nx = 1\n```", "`x`", "$a_1$", "https://a.vn/b?c=d", "{name}", "| a b | c |\n|---|---|\n| one | 2 |\n", "🎉",
    '{"k": "one \\"big\\" day\\nand more\\u0041 \\/ so", "n": 1}', "Human: hello", "\n\n", "def f(x):\n    return x",
    "Dr. Who went. Then ", "**Note:** take care. ", "- one\n- two\n", "a\tb", "XZ1", "Why? ", "\u2028", "\r\n",
    "____", "<b>",
]  # fmt: skip
MIXED = st.lists(
    st.text(st.sampled_from("abX .!?\n\t`$|{}[]\\\"':#<>/*_-1")) | st.sampled_from(PIECES), max_size=9
).map("".join)
Model = Callable[[str], str]


def through(text: str, model: Model, longest: int = 600) -> str:
    """A text translated by a model of single sentences, as an engine does it."""
    whole = ""
    for part in masking.parts(text, longest):
        if isinstance(part, Sentence):
            found = masking.restored(part, model(masking.marked(part)[0]))
            whole += masking.rejoined(part, [model(one) for one in masking.stretched(part)]) if found is None else found
        else:
            whole += part
    return whole


def shown(text: str, longest: int = 600) -> list[str]:
    """What a model is shown of a text."""
    return [masking.marked(part)[0] for part in masking.parts(text, longest) if isinstance(part, Sentence)]


@given(MIXED, st.integers(5, 80))
def test_a_model_that_changes_nothing_gives_the_text_back(text: str, longest: int) -> None:
    gaps = str.maketrans("", "", " \t")  # white space within a sentence is the model's
    assert through(text, str, longest).translate(gaps) == text.translate(gaps)


@given(MIXED)
def test_a_model_that_loses_every_mark_loses_nothing_that_must_stay(text: str) -> None:
    kept = [span for part in masking.parts(text, 600) if isinstance(part, Sentence) for span in part.kept]
    result = through(text, lambda said: "Mất.")
    assert all(masking.escaped(span) in result or span in result for span in kept)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('Dr. Smith said "Go!" Then he left.', ['Dr. Smith said "Go!"', "Then he left."]),
        ("It costs $3.5, e.g. in Hanoi. Mr. An paid.", ["It costs $3.5, e.g. in Hanoi.", "Mr. An paid."]),
        ("J. K. Rowling wrote it. The U.S. Army came.", ["J. K. Rowling wrote it.", "The U.S. Army came."]),
        ("I live in the U.S. It is big.", ["I live in the U.S.", "It is big."]),
        ("We met at 5 p.m. on Monday. At 6 p.m. Lan left.", ["We met at 5 p.m. on Monday.", "At 6 p.m.", "Lan left."]),
        ("We meet at 5 p.m. Monday. See No. 5 there.", ["We meet at 5 p.m. Monday.", "See No. 5 there."]),
        ("No. That is wrong! Is it? Yes…", ["No.", "That is wrong!", "Is it?", "Yes…"]),
        ("1. Do this. 2. Do that.", ["Do this.", "2. Do that."]),
        ("Acme Inc. makes it. Acme Inc. The end.", ["Acme Inc. makes it.", "Acme Inc.", "The end."]),
        ("Well... maybe. Wait... Then go.", ["Well... maybe.", "Wait...", "Then go."]),
        ("He asked (why?) and went. “So what?” I said.", ["He asked (why?) and went.", "“So what?”", "I said."]),
        ("Use a.b.c today. `x` is new.", ["Use a.b.c today.", "XZ1 is new."]),
    ],
)
def test_sentences_are_told_apart(text: str, sentences: list[str]) -> None:
    assert shown(text) == sentences and through(text, str) == text


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("# The head\n\n- [ ] one box\n  2) two\n> > said so", ["The head", "one box", "two", "said so"]),
        ("| A name | B |\n|---|:--|\n| d e | 5 |", ["A name", "B", "d e"]),
        ('Fix {"t": "A \\"good\\" day\\nNext", "n": 3} now.', ["Fix", 'A "good" day', "Next", "now."]),
        ("Human: how are you?\nAssistant: fine", ["how are you?", "fine"]),
        ("So:\n```py\nprint('hi')\n```\nThat is all.", ["So:", "That is all."]),
        ("Write:\ndef add(a, b):\n    return a + b\nThat is all.", ["Write:", "That is all."]),
        ("1. **First:** do it.\n2. **Then** - rest 🎉", ["First:", "do it.", "Then", "rest"]),
        ("<p>Hello there</p> 🙂", ["Hello there"]),
        ("Name:\tAn\nAge:   nine", ["Name:", "An", "Age:", "nine"]),
        ("Run `len(x)` on https://a.vn/b.c. See $x^2$.", ["Run XZ1 on XZ2.", "See XZ1."]),
        ("XZ1 is the `mark`.", ["XZ1 is the QX1."]),
        ("**Bold** and *so on*", ["Bold** and *so on"]),
        ("42 × 3 = 126\n---\n`x`: 5 🎉\n", []),
    ],
)
def test_layout_and_what_must_stay_are_not_shown(text: str, sentences: list[str]) -> None:
    assert shown(text) == sentences and through(text, str) == text


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        ("Chạy XZ1 rồi XZ2.", "Chạy `a()` rồi `b`."),
        ("Với XZ 2, xz1 chạy.", "Với `b`, `a()` chạy."),  # the order and the case are the model's
        ("Chạy XZ1.", None),
        ("Chạy XZ1 XZ1 XZ2.", None),
        ("Chạy XZ1 XZ2 XZ3.", None),
        ("Chạy.", None),
    ],
)
def test_marks_that_come_back_are_restored_and_others_are_told(answer: str, whole: str | None) -> None:
    [found] = masking.parts("Run `a()` and then `b`.", 600)
    assert isinstance(found, Sentence) and masking.restored(found, answer) == whole


def test_a_sentence_whose_marks_are_lost_is_translated_between_them() -> None:
    words = {"Run": "Chạy.", "and then": "Và sau đó.", "please.": "nhé."}
    assert (
        through("Run `a()` and then `b` please.", lambda text: words.get(text, "?")) == "Chạy `a()` và sau đó `b` nhé."
    )
    every = "Take " + " ".join(f"{mark}9" for mark in masking.MARKS) + " and `x`."
    [found] = masking.parts(every, 600)
    assert isinstance(found, Sentence) and masking.restored(found, every) is None and through(every, str) == every


def test_what_models_add_to_fragments_is_taken_back() -> None:
    words = {"red wine": "Rượu vang đỏ.", "Milk": "Sữa.", "So it is.": "Đúng vậy.", "and more": "Và hơn nữa..."}
    assert through("- red wine\n- Milk\nSo it is.\nand more", words.__getitem__) == (
        "- rượu vang đỏ\n- Sữa\nĐúng vậy.\nvà hơn nữa..."
    )


def test_a_translation_within_json_leaves_it_json() -> None:
    text = 'Sort this: {"title": "A \\"very\\" good day", "more": {"line": "Two words\\nand so on", "n": [1, 2]}}'
    result = through(text, lambda said: f'Một "ngày" \\ {len(said)}')
    assert json.loads(result[result.index("{") :]) == {
        "title": 'Một "ngày" \\ 17', "more": {"line": 'Một "ngày" \\ 9\nmột "ngày" \\ 9', "n": [1, 2]},
    }  # fmt: skip


def test_what_is_too_long_is_cut_at_weaker_signs() -> None:
    text = "We went to the market, which was far away; then we came home with fish, rice and salt in a big bag."
    assert shown(text, 60) == [
        "We went to the market, which was far away;", "then we came home with fish, rice and salt in a big bag."
    ]  # fmt: skip
    assert max(map(len, shown("word " * 400, 100))) <= 100 and through("word " * 400, str, 100) == "word " * 400
    assert shown("a" * 700) == []  # no word of any language


@pytest.mark.parametrize(
    "text",
    [
        "a. B" * 8000,
        "`x` " * 8000,
        '{"a": "b c"} ' * 3000,
        "\\[x" * 8000,
        "* " * 20000,
        "A.\t" * 9000,
        '{"a": "' * 4000,
    ],
    ids=["stops", "marks", "json", "formulas", "stars", "columns", "open"],
)
def test_hostile_texts_are_read_in_time_and_come_back(text: str) -> None:
    started = time.process_time()
    assert through(text, str).split() == text.split() and time.process_time() - started < 10
