"""Each upstream format, with its quirks imitated by hand: what is read, what is refused and why."""

import io
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import formats, params
from stages.lib.containers import Member
from stages.lib.fields import Parsed
from stages.lib.rows import Refused


def read(format: str, *rows: Any, **columns: str) -> tuple[list[Parsed], list[Refused]]:
    data = json.dumps(list(rows), ensure_ascii=False).encode()
    return read_bytes(format, data, columns or None)


def read_bytes(format: str, data: bytes, columns: dict[str, str] | None = None) -> tuple[list[Parsed], list[Refused]]:
    member = Member("", io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]
    found = list(formats.read(format, member, "", columns))
    return [row for row in found if isinstance(row, Parsed)], [row for row in found if isinstance(row, Refused)]


def texts(row: Parsed) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in row.messages]


def test_the_params_know_every_format() -> None:
    known = get_args(params.Source.model_fields["format"].annotation)
    assert set(known) == {*formats.ROW_FORMATS, *formats.FILE_FORMATS}


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


def human(text: str = "Hi") -> dict[str, str]:
    return {"from": "human", "value": text}


def gpt(text: str = "Yo") -> dict[str, str]:
    return {"from": "gpt", "value": text}


def test_sharegpt_systems_and_the_pieces_of_one_conversation() -> None:
    rows = [
        {"id": "abc_0", "system": "Be brief.", "conversations": [human(), gpt()]},
        {"id": "abc_17", "conversations": [human(), gpt(), human(), gpt()]},
        {"id": "d_e", "conversations": [{"from": "system", "value": "Sys"}, human(), gpt()]},
        {"conversations": [{"from": "system", "value": ""}, human(), gpt()]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]},
    ]
    good, bad = read("sharegpt", *rows)
    assert not bad
    assert [row.group for row in good] == ["abc", "abc", "d_e", "", ""]
    assert texts(good[0])[0] == "system: Be brief." and texts(good[2])[0] == "system: Sys"
    assert texts(good[3]) == texts(good[4]) == ["user: Hi", "assistant: Yo"]


def test_sharegpt_tools_keep_their_turns() -> None:
    rows = [
        {
            "tools": '[{"name": "tìm"}]',
            "conversations": [
                human(), {"from": "function_call", "value": "tìm()"}, {"from": "observation", "value": "1"}, gpt(),
            ],
        }
    ]  # fmt: skip
    good, _ = read("sharegpt", *rows)
    assert texts(good[0]) == [
        'system: Tools: [{"name": "tìm"}]', "user: Hi", "assistant: tìm()", "tool: 1", "assistant: Yo",
    ]  # fmt: skip


BROKEN_OFF = {
    "empty turn": [human(), gpt(), human(), gpt("  ")],
    "turns out of order": [human(), gpt(), gpt()],
    "a turn by an unknown speaker": [human(), gpt(), {"from": "narrator", "value": "?"}],
    "a turn is not a text": [human(), gpt(), {"from": "human", "value": 7}],
    "no answer at the end": [human(), gpt(), human()],
}


@pytest.mark.parametrize(("reason", "turns"), BROKEN_OFF.items(), ids=BROKEN_OFF)
def test_a_conversation_is_kept_up_to_its_first_fault(reason: str, turns: list[Any]) -> None:
    good, bad = read("sharegpt", {"id": "x", "conversations": turns})
    assert texts(good[0]) == ["user: Hi", "assistant: Yo"]
    assert [(row.upstream, row.reason, row.unit) for row in bad] == [("1", reason, "part")]


NO_CONVERSATIONS: list[tuple[Any, str]] = [
    ({"conversations": [human(), gpt("")]}, "empty turn"),
    ({"conversations": [gpt(), human()]}, "turns out of order"),
    ({"conversations": [human()]}, "no answer at the end"),
    ({"conversations": []}, "no turns"),
    ({"conversations": "Hi"}, "conversations is not a list"),
    ({"conversations": ["Hi"]}, "a turn by an unknown speaker"),
    ({"id": "x"}, "conversations is missing"),
]


@pytest.mark.parametrize(("row", "reason"), NO_CONVERSATIONS, ids=[reason for _, reason in NO_CONVERSATIONS])
def test_rows_that_are_no_conversation(row: Any, reason: str) -> None:
    good, bad = read("sharegpt", row)
    assert not good and [(row.upstream, row.reason, row.unit) for row in bad] == [("1", reason, "row")]


def test_pages_become_markdown_and_markdown_stays() -> None:
    page = '<div class="markdown prose"><p>Use <code>x</code>:</p><ol><li>One</li><li>Two</li></ol></div>'
    code = "```html\n<p>Hi</p>\n```"
    good, _ = read("sharegpt", {"conversations": [human("<b>?"), gpt(page), human(), gpt(code)]})
    assert texts(good[0]) == ["user: <b>?", "assistant: Use `x`:\n\n1. One\n2. Two", "user: Hi", f"assistant: {code}"]


def reply(text: str, rank: int | None = None, replies: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    ranked = {} if rank is None else {"rank": rank}
    return {"message_id": text, "text": text, "lang": "vi", "replies": replies or [], **ranked, **more}


FOLLOW = reply("Rồi sao?", replies=[reply("Thế thôi.", 0)])
REPLIES = [
    reply("tệ", 2), reply("hay", 0, [FOLLOW]), reply("xóa", 1, deleted=True), reply("ngang", 2), reply("chưa xếp"),
]  # fmt: skip
TREE = {"message_tree_id": "t", "prompt": reply("Hỏi?", replies=REPLIES, labels={"spam": {"value": 0.0, "count": 3}})}


def check_tree(good: list[Parsed], bad: list[Refused]) -> None:
    assert [texts(row)[-2:] for row in good if row.kind == "preference"] == [
        ["chosen: hay", "rejected: tệ"],
        ["chosen: hay", "rejected: ngang"],
    ]
    conversation = next(row for row in good if row.kind == "conversation")
    assert texts(conversation) == ["user: Hỏi?", "assistant: hay", "user: Rồi sao?", "assistant: Thế thôi."]
    assert {(row.group, row.lang) for row in good} == {("t", "vi")}
    assert [(f"{row.upstream}#{row.part}", row.reason, row.unit) for row in bad] == [
        ("1#xóa", "deleted message", "part")
    ]


def test_oasst_pairs_join_ranked_siblings_and_the_best_path_is_the_conversation() -> None:
    check_tree(*read("oasst", TREE))


def flat(message: dict[str, Any], parent: str | None = None) -> list[dict[str, Any]]:
    own = {**message, "parent_id": parent, "message_tree_id": "t", "labels": None}
    own.pop("replies")
    return [own, *(part for child in message["replies"] for part in flat(child, message["message_id"]))]


def test_oasst_messages_are_the_same_flat_or_nested() -> None:
    root: Any = TREE["prompt"]
    check_tree(*read("oasst", *flat(root)))
    first, *others = flat(root)
    check_tree(*read("oasst", first, *reversed(sorted(others, key=lambda row: row["message_id"] == "tệ"))))
    good, _ = read("oasst", {**root, "parent_id": None})
    assert [row.kind for row in good] == ["preference", "preference", "conversation"]


def test_oasst_messages_without_their_parent_or_twice_are_told() -> None:
    root: Any = TREE["prompt"]
    rows = [
        *flat(root),
        {"message_id": "lạc", "parent_id": "?", "text": "x"},
        {"message_id": "tệ", "parent_id": "Hỏi?"},
    ]
    _, bad = read("oasst", *rows)
    assert {(row.reason, row.unit) for row in bad} == {
        ("deleted message", "part"), ("its parent is missing", "row"), ("message twice", "row"),
    }  # fmt: skip


def test_oasst_messages_in_a_circle_or_below_an_orphan_are_told_and_long_chains_are_read() -> None:
    circle = [{"message_id": str(n), "parent_id": str((n + 1) % 3), "text": "x"} for n in range(3)]
    orphans = [{"message_id": "o", "parent_id": "?", "text": "x"}, {"message_id": "p", "parent_id": "o", "text": "y"}]
    chain = [{"message_id": f"c{n}", "parent_id": f"c{n - 1}" if n else None, "text": f"{n}"} for n in range(3001)]
    good, bad = read("oasst", *circle, *orphans, *chain)
    assert [len(row.messages) for row in good] == [3000]
    assert sorted((row.upstream, row.reason) for row in bad) == [(str(n), "its parent is missing") for n in range(1, 6)]


NO_TREES: list[tuple[Any, str]] = [
    ({"prompt": reply("A")}, "no usable answer"),
    ({"prompt": reply("A", review_result=False)}, "failed review"),
    ({"prompt": reply("A", review_count=2)}, "unreviewed message"),
    ({"prompt": reply("A", deleted=True)}, "deleted message"),
    ({"prompt": reply("A", lang="de")}, "another language"),
    ({"prompt": reply("  ")}, "empty message"),
    ({"prompt": reply("A"), "tree_state": "aborted_low_grade"}, "tree aborted_low_grade"),
    ({}, "prompt is missing"),
    ({"prompt": None}, "prompt is missing"),
    ("x", "not an object but str"),
]


@pytest.mark.parametrize(("row", "reason"), NO_TREES, ids=[reason for _, reason in NO_TREES])
def test_oasst_trees_without_a_usable_prompt_or_answer_are_refused(row: Any, reason: str) -> None:
    good, bad = read("oasst", row)
    assert not good and [(row.upstream, row.reason) for row in bad] == [("1", reason)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"review_result": False}, "failed review"),
        ({"review_count": 1}, "unreviewed message"),
        ({"lang": "en"}, "another language"),
    ],
)
def test_oasst_answers_that_must_not_be_used_are_in_no_pair(more: dict[str, Any], reason: str) -> None:
    good, bad = read("oasst", {"prompt": reply("Hỏi?", replies=[reply("a", 0, **more), reply("b", 1)])})
    assert [row.kind for row in good] == ["instruction"] and texts(good[0])[-1] == "assistant: b"
    assert [row.reason for row in bad] == [reason]


def test_a_reviewed_message_stays_whatever_its_count_says() -> None:
    good, _ = read("oasst", {"prompt": reply("A", review_count=0, review_result=True, replies=[reply("B")])})
    assert [row.kind for row in good] == ["instruction"]


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
