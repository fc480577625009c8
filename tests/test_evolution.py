"""What a request is asked to be about, and what becomes of kept tasks: by the seed alone, and evenly."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.lib.contract import Refusal
from stages.lib.generate import briefs, evolution
from stages.lib.generate.tasks import Task
from tests.inventor import task
from tools.inputs import inputs


def test_the_lists_are_long_and_a_deck_deals_each_entry_as_often_as_any_other() -> None:
    lists = briefs.load(inputs().lists)
    assert len(lists.topics) >= 60 and len(lists.personas) >= 40 and len(lists.difficulties) in (3, 4)
    deck = briefs.Deck(lists.topics, random.Random(1))
    dealt = Counter(deck.deal() for _ in range(5 * len(lists.topics)))
    assert set(dealt.values()) == {5}
    first, second = briefs.Briefs(lists, 1), briefs.Briefs(lists, 1)
    assert [first.deal(3) for _ in range(9)] == [second.deal(3) for _ in range(9)]


@pytest.mark.parametrize(("share", "due"), [(0.0, ""), (0.17, "6"), (0.5, "2468"), (1.0, "12345678"), (0.3, "47")])
def test_briefed_requests_are_spread_evenly(share: float, due: str) -> None:
    assert "".join(str(number) for number in range(1, 9) if briefs.due(number, share)) == due


def broken() -> Iterator[tuple[str, str]]:
    good: dict[str, Any] = {name: ["a"] for name in briefs.LISTS} | {"operations": {"a": "b"}}
    yield json.dumps({**good, "topic": []}), "its keys are topics"
    yield json.dumps({**good, "topics": []}), "topics is a list of texts, at least one"
    yield json.dumps({**good, "kinds": ["a", 1]}), "kinds is a list of texts"
    yield json.dumps({**good, "personas": ["a", "b", "a"]}), "personas: 'a' stands there twice"
    yield json.dumps({**good, "operations": ["a"]}), "operations are names"
    yield "topics: [", "not YAML"


@pytest.mark.parametrize(("text", "said"), list(broken()))
def test_a_broken_list_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lists.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match=said):
        briefs.load(tmp_path / "lists.yaml")


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        (task("Nêu ba món NGON ở Huế"), "unchanged"),
        (task("Viết lại yêu cầu đã cho về món Huế."), "copies the prompt"),
        (task("Nêu món Huế.", "#Rewritten Prompt#: Bún bò."), "copies the prompt"),
        (task("Nêu ba món Huế cho người ăn chay, không dùng đậu phụ."), None),
        (task("Viết lại yêu cầu của khách cho lịch sự hơn."), None),
        (task("Nêu món Huế.", "Theo yêu cầu đã cho thì là bún bò."), None),
        (task("So sánh yêu cầu ban đầu với thực đơn cuối cùng."), None),
        (task("Khách nêu yêu cầu mới về món Huế, trả lời sao?"), None),
    ],
)
def test_what_is_wrong_with_an_evolved_task_has_a_name(child: Task, reason: str | None) -> None:
    found = evolution.fault(task("Nêu ba món ngon ở Huế."), child)
    assert (found[0] if found else None) == reason


def test_a_parent_that_speaks_of_a_request_may_have_children_that_do() -> None:
    assert (
        evolution.fault(task("Tóm tắt yêu cầu ban đầu của khách."), task("Tóm tắt yêu cầu ban đầu của ba khách."))
        is None
    )


@pytest.mark.parametrize(("evolve", "shares"), [(0.0, []), (0.25, [0.25]), (1.0, [1.0]), (2.5, [1.0, 1.0, 0.5])])
def test_evolving_goes_by_rounds(evolve: float, shares: list[float]) -> None:
    assert evolution.rounds(evolve) == shares
    assert (
        evolution.draw(8, 0.5, 1, 1) == sorted(set(evolution.draw(8, 0.5, 1, 1)))
        and len(evolution.draw(8, 0.5, 1, 1)) == 4
    )
