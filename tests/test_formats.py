"""Instructions and prose, with upstream's quirks imitated by hand: what is read, what is refused and why."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import params
from stages.lib.sources import formats
from tests.reading import read, read_bytes, texts


def test_the_params_know_every_format() -> None:
    known = get_args(params.Source.model_fields["format"].annotation)
    assert set(known) == {*formats.ROW_FORMATS, "prohow", "lines"}


SPELT = ["<noinput>", "< noinput >", "<No input>", "None", "No Input.", "no input", "N/A", "(Not applicable)", "NA", ""]


def test_alpaca_inputs_that_spell_out_nothing_are_empty() -> None:
    good, bad = read("alpaca", *({"instruction": "Hi", "input": empty, "output": "Yo"} for empty in [*SPELT, None]))
    assert not bad and {row.messages[0]["content"] for row in good} == {"Hi"}


def test_alpaca_inputs_that_only_look_like_nothing_stay() -> None:
    for about in ["none of these words", "Na", "<NEWS ARTICLE>", "no input device was found"]:
        assert texts(read("alpaca", {"instruction": "Hi", "input": about, "output": "Yo"})[0][0])[0].endswith(about)


INSTRUCTIONS = {
    "GPTeacher": ({"instruction": "Add", "input": "1 2", "response": "3"}, ["user: Add\n\n1 2", "assistant: 3"]),
    "Dolly": (
        {"instruction": "Who?", "context": "She.", "response": "She", "category": "closed_qa"},
        ["user: Who?\n\nShe.", "assistant: She"],
    ),
    "prompt and response": ({"prompt": "Hỏi", "response": "Đáp"}, ["user: Hỏi", "assistant: Đáp"]),
    "an empty name before a full one": (
        {"instruction": "", "prompt": "Hỏi", "output": "Đáp"},
        ["user: Hỏi", "assistant: Đáp"],
    ),
    "lists of one": ({"prompt": ["Hỏi"], "response": "Đáp"}, ["user: Hỏi", "assistant: Đáp"]),
    "lists of pieces": ({"prompt": "Hỏi", "response": ["Một", "Hai"]}, ["user: Hỏi", "assistant: Một\n\nHai"]),
    "history and system": (
        {"instruction": "C", "output": "D", "system": "S", "history": [["A", "B"]]},
        ["system: S", "user: A", "assistant: B", "user: C", "assistant: D"],
    ),
    "within Alpaca's own prompt": (
        {
            "prompt": "Below is an instruction that describes a task, paired with an input that provides further "
            "context.\n\n### Instruction:\nSum up.\n\n### Input:\nA text.\n\n### Response:",
            "answer": "Short.",
        },
        ["user: Sum up.\n\nA text.", "assistant: Short."],
    ),
}


@pytest.mark.parametrize(("row", "expected"), INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_instructions(row: dict[str, Any], expected: list[str]) -> None:
    good, bad = read("alpaca", row)
    assert not bad and texts(good[0]) == expected
    assert good[0].kind == ("instruction" if len(expected) == 2 else "conversation")


NO_INSTRUCTIONS: list[tuple[Any, str]] = [
    ({"instruction": "Add", "input": "1 2", "output": ""}, "empty output"),
    ({"instruction": "Add", "output": " \n"}, "empty output"),
    ({"instruction": "Add"}, "output is missing"),
    ({"instruction": "Add", "output": None}, "output is missing"),
    ({"output": "x"}, "instruction is missing"),
    ({"instruction": 7, "output": "x"}, "instruction is not a text"),
    ({"instruction": "x", "output": {"a": 1}}, "output is not a text"),
    ({"prompt": [None], "response": ["x"]}, "a null in prompt"),
    ({"prompt": ["x"], "response": ["x", None]}, "a null in response"),
    ({"prompt": ["x"], "response": "|||TRANSLATION_FAILED|||An answer."}, "failure marker"),
    ({"prompt": "x", "response": [1]}, "response is not a text"),
    ({"instruction": "x", "output": "y", "history": "z"}, "history is not a list of questions and answers"),
    ({"instruction": "x", "output": "y", "history": 5}, "history is not a list of questions and answers"),
    ("text", "not an object but str"),
    (None, "not an object but NoneType"),
]


@pytest.mark.parametrize(("row", "reason"), NO_INSTRUCTIONS, ids=[reason for _, reason in NO_INSTRUCTIONS])
def test_rows_that_are_no_instruction(row: Any, reason: str) -> None:
    good, bad = read("alpaca", row, {"instruction": "Hi", "output": "Yo"})
    assert [row.upstream for row in good] == ["2"]
    assert [(row.upstream, row.reason, row.raw) for row in bad] == [("1", reason, json.dumps(row, ensure_ascii=False))]


def test_a_seed_task_is_one_record_an_instance() -> None:
    good, _ = read("alpaca", {"instruction": "Dịch", "instances": [{"input": "a", "output": "b"}, {"output": "c"}]})
    assert [(row.upstream, row.part, texts(row)) for row in good] == [
        ("1", "", ["user: Dịch\n\na", "assistant: b"]),
        ("1", "2", ["user: Dịch", "assistant: c"]),
    ]


def test_a_bad_instance_costs_that_instance_alone() -> None:
    good, bad = read("alpaca", {"instruction": "Dịch", "instances": [{"output": ""}, {"output": "b"}, 7]})
    assert [(row.part, texts(row)[1]) for row in good] == [("2", "assistant: b")]
    assert [(row.part, row.reason, row.unit) for row in bad] == [
        ("1", "empty output", "part"), ("3", "an instance is not an object", "part"),
    ]  # fmt: skip
    _, bad = read("alpaca", {"instruction": "Dịch", "instances": [{"output": ""}]})
    assert [(row.reason, row.unit) for row in bad] == [("empty output", "row")]


def test_columns_give_our_names_to_theirs() -> None:
    good, _ = read_bytes(
        "alpaca", '[{"câu hỏi": "A?", "đáp": "B."}]'.encode(), {"instruction": "câu hỏi", "output": "đáp"}
    )
    assert texts(good[0]) == ["user: A?", "assistant: B."]
    good, _ = read_bytes("alpaca", b'[{"instruction": "A?", "output": "B."}]', {"instruction": "q"})
    assert texts(good[0]) == ["user: A?", "assistant: B."]


def test_articles_become_clean_paragraphs() -> None:
    dump = (
        '{\n\t"source" : "Báo",\n\t"title" : "Tin &amp; tức",\n\t"sapo" : "Tóm tắt.",\n'
        '\t"body" : "<p class=\\"body-image\\"><img/></p><p>C&ocirc;ng <em>ty</em>.</p><p>Ba&nbsp;bốn.</p>",'
        '\n\t"publish" : ISODate("2018-02-04T22:15:07Z")\n}\n{\n\t"title" : "Rỗng",\n\t"body" : "<p> </p>"\n}\n'
    )
    good, bad = read_bytes("text", dump.encode())
    assert texts(good[0]) == ["text: Tin & tức\n\nTóm tắt.\n\nCông ty.\n\nBa bốn."]
    assert [(row.upstream, row.reason) for row in bad] == [("2", "no text in it")]


def test_text_of_any_shape() -> None:
    assert texts(read("text", {"text": "Một.\n\nHai."})[0][0]) == ["text: Một.\n\nHai."]
    plain, bad = read_bytes("text", "Một &amp; hai.\r\n\nBa.\n".encode() + b"C\xf4ng ty\n")
    assert [(row.upstream, texts(row)[0]) for row in plain] == [("1", "text: Một & hai."), ("3", "text: Ba.")]
    assert [(row.upstream, row.reason) for row in bad] == [("4", "not UTF-8")]


def test_text_may_begin_like_json_and_json_may_hold_texts() -> None:
    for plain in ("[Video] Một.\nHai.\n", "{ngoặc} Một.\n", '"Chào", anh nói.\n'):
        assert texts(read_bytes("text", plain.encode())[0][0])[0] == f"text: {plain.splitlines()[0]}"
    for rows in ('["Một.", "Hai."]', '"Một."\n"Hai."\n'):
        assert [texts(row) for row in read_bytes("text", rows.encode())[0]] == [["text: Một."], ["text: Hai."]]


def test_lines_are_never_taken_for_json() -> None:
    good, _ = read_bytes("lines", "[Video] Một.\n{Hai}\n".encode())
    assert [texts(row) for row in good] == [["text: [Video] Một."], ["text: {Hai}"]]


KEYS = st.sampled_from(
    "instruction input output response prompt conversations messages from value role content chosen rejected label "
    "message_id parent_id replies text rank lang title body history instances tools id".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(formats.ROW_FORMATS)), st.lists(JSON, min_size=1, max_size=4))
def test_no_row_crashes_a_format_or_vanishes(format: str, rows: list[Any]) -> None:
    good, bad = read(format, *json.loads(json.dumps(rows).encode("utf-8", "replace")))
    places = {row.upstream for row in good} | {row.upstream for row in bad}
    # flat messages are gathered into trees, so there a row may be told as part of another
    assert format == "oasst" or places == {str(number) for number in range(1, len(rows) + 1)}
    assert all(message["content"] for row in good for message in row.messages)
