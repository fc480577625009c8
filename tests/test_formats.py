"""Each upstream format, with its quirks imitated by hand: what is read, what is refused and why."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.lib import formats
from stages.lib.formats import Parsed, Refused
from stages.lib.prohow import ordered


def read(format: str, path: Path) -> tuple[list[Parsed], list[Refused]]:
    rows = list(formats.READERS[format](path))
    return [row for row in rows if isinstance(row, Parsed)], [row for row in rows if isinstance(row, Refused)]


def write_json(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def texts(row: Parsed) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in row.messages]


def test_alpaca_inputs_that_spell_out_nothing_are_empty(tmp_path: Path) -> None:
    spelt = ["<noinput>", "< noinput >", "None", "no input", "N/A", ""]
    path = write_json(tmp_path / "a.json", [{"instruction": "Hi", "input": empty, "output": "Yo"} for empty in spelt])
    good, bad = read("alpaca", path)
    assert not bad and {row.messages[0]["content"] for row in good} == {"Hi"}


def test_alpaca_keeps_inputs_reads_response_and_refuses_broken_rows(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add", "input": "1 2", "response": "3"},
        {"instruction": "Add", "input": "1 2", "output": ""},
        {"instruction": "Add"},
        {"instruction": 7, "output": "x"},
        "text",
    ]
    good, bad = read("alpaca", write_json(tmp_path / "a.json", rows))
    assert texts(good[0]) == ["user: Add\n\n1 2", "assistant: 3"]
    assert [(row.upstream, row.reason) for row in bad] == [
        ("2", "empty output"),
        ("3", "output is missing"),
        ("4", "instruction is not a text"),
        ("5", "not an object but str"),
    ]


def test_json_lines_survive_bom_crlf_bad_bytes_and_broken_lines(tmp_path: Path) -> None:
    row = b'{"instruction": "A", "context": "", "response": "B", "category": "x"}'
    path = tmp_path / "d.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + row + b"\r\n\n" + row[:-1] + b"\n" + row.replace(b"B", b"\xe9") + b"\n<<<<<<< HEAD\n"
    )
    good, bad = read("dolly", path)
    assert [row.upstream for row in good] == ["1"]
    assert [(row.upstream, row.reason) for row in bad] == [("3", "not JSON"), ("4", "not UTF-8"), ("5", "not JSON")]


def test_an_array_that_breaks_off_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"instruction": "A"},\n {"inst', encoding="utf-8")
    with pytest.raises(formats.Unreadable, match="line 2"):
        list(formats.alpaca(path))


def test_sharegpt_systems_stems_and_broken_turns(tmp_path: Path) -> None:
    human, gpt = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}
    rows = [
        {"id": "abc_0", "system": "Be brief.", "conversations": [human, gpt]},
        {"id": "abc_17", "conversations": [human, gpt, human, gpt]},
        {"id": "x", "conversations": [human, {"from": "gpt", "value": " "}]},
        {"id": "x", "conversations": [gpt, human]},
        {"id": "x", "conversations": [human]},
        {"id": "x", "conversations": [{"from": "bing", "value": "?"}]},
        {"id": "x"},
    ]
    good, bad = read("sharegpt", write_json(tmp_path / "s.json", rows))
    assert [row.group for row in good] == ["abc", "abc"]
    assert texts(good[0])[0] == "system: Be brief."
    assert [row.reason for row in bad] == [
        "empty turn",
        "turns out of order",
        "no answer at the end",
        "a turn by an unknown speaker",
        "conversations is missing",
    ]


def reply(text: str, rank: int | None = None, replies: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    ranked = {} if rank is None else {"rank": rank}
    return {"message_id": text, "text": text, "lang": "vi", "replies": replies or [], **ranked, **more}


def test_oasst_pairs_join_ranked_siblings_and_the_best_path_is_the_conversation(tmp_path: Path) -> None:
    follow = reply("Rồi sao?", replies=[reply("Thế thôi.", 0)])
    tree = {
        "message_tree_id": "t",
        "prompt": reply(
            "Hỏi?",
            replies=[
                reply("tệ", 2),
                reply("hay", 0, [follow]),
                reply("xóa", 1, deleted=True),
                reply("ngang", 2),
                reply("chưa xếp"),
            ],
        ),
    }
    path = tmp_path / "o.jsonl"
    path.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8")
    good, bad = read("oasst", path)
    assert [texts(row)[-2:] for row in good if row.kind == "preference"] == [
        ["chosen: hay", "rejected: tệ"],
        ["chosen: hay", "rejected: ngang"],
    ]
    conversation = next(row for row in good if row.kind == "conversation")
    assert texts(conversation) == ["user: Hỏi?", "assistant: hay", "user: Rồi sao?", "assistant: Thế thôi."]
    assert {row.group for row in good} == {"t"}
    assert [(row.upstream, row.reason, row.unit) for row in bad] == [("1/xóa", "deleted message", "message")]


def test_oasst_trees_without_a_usable_prompt_or_answer_are_refused(tmp_path: Path) -> None:
    trees = [
        {"prompt": reply("A")},
        {"prompt": reply("A", review_result=False)},
        {"prompt": reply("A", deleted=True)},
        {},
    ]
    path = tmp_path / "o.jsonl"
    path.write_text("\n".join(json.dumps(tree) for tree in trees), encoding="utf-8")
    good, bad = read("oasst", path)
    assert not good
    assert [row.reason for row in bad] == ["no usable answer", "failed review", "deleted message", "prompt is missing"]


def test_lines_skip_blanks_and_refuse_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "n.txt"
    path.write_bytes("Một dòng.\r\n\n".encode() + b"C\xf4ng ty\n" + "Dòng nữa.".encode())
    good, bad = read("lines", path)
    assert [(row.upstream, texts(row)[0]) for row in good] == [("1", "text: Một dòng."), ("4", "text: Dòng nữa.")]
    assert [(row.upstream, row.reason) for row in bad] == [("3", "not UTF-8")]


TURTLE = '''\
w:1e1 rdf:type prohow:instruction_set .
w:1e1 rdfs:label """Nấu phở bò"""@vn .
w:1e1 dbo:abstract """[13] Món ngon."""@vn .
w:1e1 prohow:has_method w:2e2 .
w:2e2 rdfs:label """ """@vn .
w:2e2 prohow:has_step w:4e4 .
w:4e4 rdfs:label """Thêm "gừng" """@vn .
w:4e4 prohow:requires w:3e3 .
w:2e2 prohow:has_step w:3e3 .
w:3e3 rdfs:label """Hầm xương
 sáu giờ"""@vn .
w:3e3 dbo:abstract """Hớt bọt ở C:\\\\pho."""@vn .
w:9e9 rdf:type prohow:instruction_set .
w:9e9 rdfs:label """Không có bước"""@vn .
'''


def test_prohow_orders_steps_by_what_they_require(tmp_path: Path) -> None:
    path = tmp_path / "w.ttl"
    path.write_text(TURTLE, encoding="utf-8")
    good, bad = read("prohow", path)
    assert texts(good[0]) == [
        "user: Làm thế nào để nấu phở bò?",
        'assistant: Món ngon.\n\n1. Hầm xương sáu giờ. Hớt bọt ở C:\\pho.\n2. Thêm "gừng".',
    ]
    assert [(row.upstream, row.reason) for row in bad] == [("9e9", "no steps")]


def test_steps_that_need_each_other_in_a_circle_still_end() -> None:
    assert ordered({"w/2e2": {"w/1e1"}, "w/1e1": {"w/2e2"}}) == ["w/1e1", "w/2e2"]


def test_what_is_no_turtle_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "w.ttl"
    path.write_text("this is <no turtle", encoding="utf-8")
    with pytest.raises(formats.Unreadable, match="no Turtle"):
        list(formats.prohow(path))
