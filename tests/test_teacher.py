"""A teacher answers each text once: what is in a request's key, what the journal knows, and what an answer is worth."""

import os
import threading
from pathlib import Path

import pytest

from stages.lib.contract import Refusal
from stages.lib.teachers.journal import Entry, Journal, entries, line
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.teachers.teacher import ask, check_failures
from tests.faulty import SPEND, Faulty, teacher

PROMPT = Prompt("p", "Answer.")


def test_the_journal_engine_asks_nobody(tmp_path: Path) -> None:
    answers = ask(teacher(engine="journal"), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["x"], "test")
    assert answers == [Failure("not in the journal", "teacher.engine: journal asks nobody")]
    assert not (tmp_path / "j").exists()


def test_equal_texts_are_asked_once_in_order_and_what_is_known_never_again(tmp_path: Path) -> None:
    texts = ["một", "hai", "một", "[fault:429] ba", "[fault:500] bốn", "hai"]
    with Faulty() as server:
        answers = ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
        assert [isinstance(found, dict) and found["answer"] for found in answers] == [f"answer to {t}" for t in texts]
        assert dict(server.billed) == dict.fromkeys(texts, 1)
        asked = server.asked.total()
        assert ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test") == answers
        assert server.asked.total() == asked
    assert len(list(entries(tmp_path / "j"))) == 4


def test_damaged_lines_of_the_journal_are_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "j"
    own.write_text(line(entry("a")) + "torn {\n" + "torn [\n" + line(entry("b")), encoding="utf-8")
    journal = Journal(own=own)
    for _ in range(2):
        ask(teacher(engine="journal"), SPEND, journal, PROMPT, ["x"], "test")
    name = os.path.relpath(own)
    assert capsys.readouterr().err == (
        f"warning: damaged lines of the journal are passed over: {name}, line 2 and 1 more\n"
    )


def entry(name: str) -> Entry:
    return Entry(key=name, model="m", prompt="p", input=name, answer=f"to {name}", finish_reason="stop", usage={})


def test_a_torn_last_line_costs_that_line_alone(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_text(line(entry("a")) + line(entry("b"))[:20], encoding="utf-8")
    journal = Journal(own=own)
    assert set(journal.answers) == {"a"}
    with journal.writing():
        journal.add(entry("c"))
    assert {found["key"] for found in entries(own)} == {"a", "c"}


def test_a_second_process_waits_and_then_finds_what_the_first_bought(tmp_path: Path) -> None:
    first, second = Journal(own=tmp_path / "j"), Journal(own=tmp_path / "j")
    order = []

    def wait() -> None:
        with second.writing():
            order.append("second")

    with first.writing():
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.2)
        first.add(entry("a"))
        order.append("first")
    waiting.join(5)
    assert order == ["first", "second"] and "a" in second.answers


def test_a_line_that_is_no_entry_is_an_error_that_names_it(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_text('{"question": "?"}\n', encoding="utf-8")
    with pytest.raises(Refusal, match="line 1"):
        Journal(own=own)


def test_every_part_of_a_request_is_in_its_key_and_the_address_is_not() -> None:
    base = key(teacher(), PROMPT, "x")
    assert base == key(teacher(base_url="http://elsewhere/v1", concurrency=1), Prompt("q", "Answer."), "x")
    others = [
        key(teacher(**change), PROMPT, "x") for change in ({"model": "n"}, {"temperature": 0.5}, {"max_tokens": 7})
    ]
    others += [key(teacher(), Prompt("p", "Reply."), "x"), key(teacher(), PROMPT, "y")]
    assert len({base, *others}) == 6


def test_too_many_failures_stop_a_stage() -> None:
    check_failures(1, 20, teacher(max_failed=0.05), "translate@x", ["truncated"])
    with pytest.raises(Refusal, match=r"2 of 20 requests failed \(truncated\)"):
        check_failures(2, 20, teacher(max_failed=0.05), "translate@x", ["truncated", "truncated"])
