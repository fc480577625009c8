"""OpenAssistant's trees, nested and flat: the best path, the ranked pairs, and who must not be used."""

from typing import Any

import pytest

from stages.lib.sources.fields import Parsed
from stages.lib.sources.rows import Refused
from tests.reading import read, texts


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
