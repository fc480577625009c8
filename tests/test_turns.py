"""ShareGPT and its kin: what is a conversation, how far it is one, and what is told of the rest."""

from typing import Any

import pytest

from tests.reading import gpt, human, read, texts


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
