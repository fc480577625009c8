"""The engine against the server that misbehaves: how many at once, what is tried again, what stops, what is spent."""

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from stages.lib.contract import Refusal
from stages.lib.teachers import endpoint
from stages.lib.teachers.endpoint import pause
from stages.lib.teachers.journal import Journal, entries
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import ask
from tests.faulty import SPEND, Faulty, teacher

PROMPT = Prompt("p", "Answer.")


def test_so_many_at_once_and_no_more(server: Faulty, tmp_path: Path) -> None:
    server.latency = 1.0
    asking = teacher(server.url, concurrency=13)
    ask(asking, SPEND, Journal(own=tmp_path / "j"), PROMPT, [f"text {number}" for number in range(26)], "test")
    assert server.most == 13 and set(server.billed.values()) == {1}


def test_tasks_are_as_many_as_requests_at_once(server: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    async def count(desk: endpoint.Desk, client: object, key: str, text: str) -> Failure:
        made.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        return Failure("counted")

    monkeypatch.setattr(endpoint, "one", count)
    texts = [f"text {number}" for number in range(5000)]
    found = ask(teacher(server.url, concurrency=8), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert len(found) == len(made) == 5000 and max(made) <= 8 + 3


def test_what_is_under_way_when_the_run_stops_is_still_written_down(server: Faulty, tmp_path: Path) -> None:
    texts = ["[fault:slow] 1", "[fault:quota]", "[fault:slow] 2", *(f"later {number}" for number in range(50))]
    with pytest.raises(Refusal, match="no credit left"):
        ask(teacher(server.url, concurrency=3), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    written = {entry["input"] for entry in entries(tmp_path / "j")}
    assert {"[fault:slow] 1", "[fault:slow] 2"} <= written == set(server.billed) and len(written) <= 4


def test_who_cannot_be_reached_is_tried_again_and_named(server: Faulty, tmp_path: Path) -> None:
    (found,) = ask(teacher(), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["x"], "test")
    assert isinstance(found, Failure) and found.detail.startswith("3 tries; the last: ConnectError")


def test_a_busy_server_wears_nobody_out_as_long_as_it_answers_somebody(server: Faulty, tmp_path: Path) -> None:
    server.per_minute = 1200  # and all of them at once to begin with
    server.restart(40)
    texts, start = [f"text {number}" for number in range(100)], time.monotonic()
    asking = teacher(server.url, concurrency=32, retries=1)
    found = ask(asking, SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert not [answer for answer in found if isinstance(answer, Failure)]
    assert (
        time.monotonic() - start > 2 and server.asked.total() < 200
    )  # the pace of the headers, and not a storm of refusals


def test_ctrl_c_lets_come_in_what_is_paid_for(server: Faulty, tmp_path: Path) -> None:
    server.latency = 0.5
    before = signal.getsignal(signal.SIGINT)
    threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT)).start()
    texts = [f"text {number}" for number in range(100)]
    with pytest.raises(Refusal, match="interrupted"):
        ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert {entry["input"] for entry in entries(tmp_path / "j")} == set(server.billed)
    assert 0 < server.billed.total() < 50
    assert signal.getsignal(signal.SIGINT) == before


def fill(url: str, own: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))  # what a full disk is like
    with pytest.raises(Refusal, match="the journal can't be written: File too large; make room"):
        ask(teacher(url), SPEND, Journal(own=own), PROMPT, [f"text {number}" for number in range(50)], "test")


def test_a_full_disk_stops_the_run_and_harms_no_answer(server: Faulty, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=fill, args=(server.url, tmp_path / "j"))
    process.start()
    process.join()
    assert process.exitcode == 0
    written = {entry["input"] for entry in entries(tmp_path / "j")}
    assert 10 < len(written) >= server.billed.total() - 4
    texts = {f"text {number}" for number in range(50)}
    ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, sorted(texts), "test")
    assert set(server.billed) == texts
    twice = {text for text, count in server.billed.items() if count > 1}
    assert twice.isdisjoint(written) and len(twice) <= 4


def test_a_disk_that_fails_stops_the_run(server: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.latency = 0.1
    journal = Journal(own=tmp_path / "j")
    failing, real = [True], journal.sync

    def sync() -> None:
        if failing.pop() if failing else False:
            raise OSError(5, "Input/output error")
        real()

    monkeypatch.setattr(journal, "sync", sync)
    with pytest.raises(Refusal, match="the journal can't be written: Input/output error"):
        ask(teacher(server.url), SPEND, journal, PROMPT, [str(n) for n in range(200)], "test")
    assert {entry["input"] for entry in entries(tmp_path / "j")} == set(server.billed)


@pytest.mark.parametrize(
    ("url", "value", "said"),
    [
        ("https://api.example.com/v1", None, "needs OPENAI_API_KEY in the environment"),
        ("http://localhost.example.com/v1", None, "needs OPENAI_API_KEY in the environment"),
        ("http://127.0.0.1:9/v1", "sk-\nsecret", "can't be an API key"),
        ("http://127.0.0.1:9/v1", "sk-sécret", "can't be an API key"),
    ],
)
def test_without_a_usable_key_nothing_is_asked_and_it_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, value: str | None, said: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if value:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(Refusal, match=said) as refusal:
        ask(teacher(url), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["x"], "test")
    assert "cret" not in str(refusal.value)


def test_a_server_on_this_machine_needs_no_key(server: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["none"], "test")
    assert server.keys == {"Bearer none"} and [entry["answer"] for entry in entries(tmp_path / "j")] == [
        "answer to none"
    ]


def test_progress_shows_the_price_and_floods_no_log(
    server: Faulty, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {number}" for number in range(300)]
    ask(teacher(server.url), SPEND, Journal(own=tmp_path / "a"), PROMPT, texts, "test")
    assert capfd.readouterr().err == ""  # it is over before anybody asks
    monkeypatch.setattr(endpoint, "QUIET", 0.05)
    ask(teacher(server.url), SPEND, Journal(own=tmp_path / "b"), PROMPT, texts, "test")
    shown = capfd.readouterr().err
    assert "test: 100%" in shown and "request/s, $0.0" in shown and shown.count("\r") < 100


def test_waits_follow_the_server_grow_and_have_a_bound() -> None:
    assert 7.0 <= pause(0, 7.0) <= 7.7 and 60.0 <= pause(0, 9999.0) <= 66.0
    assert 2.0 <= pause(2, None) <= 4.0 and 30.0 <= pause(50, None) <= 60.0
    assert len({pause(1, None) for _ in range(20)}) > 1


@pytest.mark.parametrize("engine", ["openai", "batch"])
def test_who_needs_a_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(Refusal, match=f"engine {engine} at api.example.com needs OPENAI_API_KEY"):
        asking = teacher("https://api.example.com/v1", engine=engine)
        ask(asking, SPEND, Journal(own=tmp_path / "j"), PROMPT, ["x"], "test")
