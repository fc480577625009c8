"""What each try of a request costs: paid, lost or free, and never more than the cap."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stages.lib.contract import Refusal
from stages.lib.teachers import account, endpoint
from stages.lib.teachers.journal import Journal, entries
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.spend import Hold, Purse, cost
from stages.lib.teachers.teacher import ask
from tests.faulty import SPEND, Faulty, teacher

PROMPT = Prompt("p", "Answer.")


def test_a_slow_answer_is_paid_once_and_never_asked_again_by_itself(server: Faulty, tmp_path: Path) -> None:
    asking, texts = teacher(server.url, timeout=0.3), ["[fault:timeout]"]
    (answer,) = ask(asking, SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert isinstance(answer, Failure) and answer.reason == "timed out" and server.billed == {texts[0]: 1}
    assert not answer.again  # by whoever asks in passes


def against(reply: Callable[[asyncio.StreamWriter], Awaitable[None]], own: Path, **changes: Any) -> tuple[Any, int]:
    """What one text gets from a server that replies in bytes, and how often it was asked."""
    asked = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.append(1)
        with contextlib.suppress(ConnectionError):
            await reply(writer)
        writer.close()

    async def scene() -> Any:
        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            asking = teacher(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", **changes)
            (answer,) = await asyncio.to_thread(ask, asking, SPEND, Journal(own=own), PROMPT, ["x"], "test")
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=5)  # they meet the closed connection
        return answer

    return asyncio.run(scene()), len(asked)


def test_a_server_that_drips_is_slow_too(tmp_path: Path) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:  # each byte comes well within the time-out
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    answer, asked = against(drip, tmp_path / "j", timeout=0.5)
    assert isinstance(answer, Failure) and answer.reason == "timed out" and asked == 1


def test_a_cap_that_is_reached_stops_new_requests_and_keeps_the_answers(server: Faulty, tmp_path: Path) -> None:
    server.latency, server.answer = 0.05, lambda text: text * 50
    texts = [f"text {number}" for number in range(40)]
    spend = SPEND.model_copy(update={"cap": 0.004})
    with pytest.raises(Refusal, match=r"spend\.cap"):
        ask(teacher(server.url), spend, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert 0 < server.billed.total() < 40
    assert {entry["input"] for entry in entries(tmp_path / "j")} == set(server.billed)


class Books(Purse):
    """A purse that counts what became of its holds."""

    def __init__(self, own: Path) -> None:
        super().__init__(SPEND, teacher(), own)
        self.done = {"hold": 0, "pay": 0, "lose": 0, "free": 0}

    async def hold(self, tokens_in: int, tokens_out: int) -> Hold:
        self.done["hold"] += 1
        return await super().hold(tokens_in, tokens_out)

    def pay(self, hold: Hold, usage: dict[str, int]) -> float:
        self.done["pay"] += 1
        return super().pay(hold, usage)

    def lose(self, hold: Hold) -> None:
        self.done["lose"] += 1
        super().lose(hold)

    def free(self, hold: Hold) -> None:
        self.done["free"] += 1
        super().free(hold)


@pytest.mark.parametrize(
    ("name", "pay", "lose", "free"),
    [
        ("", 1, 0, 0),
        ("429", 1, 0, 1),
        ("429 with Retry-After", 1, 0, 1),
        ("500", 1, 0, 1),
        ("html", 1, 0, 1),
        ("reset", 1, 1, 0),
        ("cut", 1, 1, 0),
        ("broken", 1, 1, 0),
        ("timeout", 0, 1, 0),
        ("400", 0, 0, 1),
        ("503", 0, 0, 3),
        ("504", 0, 1, 0),
        ("401", 0, 0, 1),
    ],
)
def test_every_try_is_paid_or_lost_or_free(
    server: Faulty, tmp_path: Path, name: str, pay: int, lose: int, free: int
) -> None:
    books, journal = Books(tmp_path / "j"), Journal(own=tmp_path / "j")
    text = f"[fault:{name}]" if name else "fine"
    with journal.writing(), contextlib.suppress(Refusal):
        endpoint.buy(teacher(server.url, timeout=1.0), journal, books, PROMPT, {"k": text}, "test")
    assert books.done == {"hold": pay + lose + free, "pay": pay, "lose": lose, "free": free}


def test_an_answer_that_says_no_price_counts_at_its_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}'

    async def free(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    purse = Books(tmp_path / "j")
    monkeypatch.setattr("stages.lib.teachers.teacher.Purse", lambda *words, **discount: purse)
    answer, _ = against(free, tmp_path / "j")
    assert purse.done == {"hold": 1, "pay": 1, "lose": 0, "free": 0} and answer["usage"]["metered"] == 0
    # as much as the purse counts, prompt and all: the next run starts with the same
    assert cost(SPEND, account.total(tmp_path / "j")) == pytest.approx(purse.spent)
    assert answer["usage"]["prompt_tokens"] > len(PROMPT.text)


def test_what_broke_off_twice_is_not_paid_a_third_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.lib.teachers.endpoint.pause", lambda tries, wait: 0.01)

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"choices": [{"mess')
        await writer.drain()

    answer, asked = against(cut, tmp_path / "j", retries=5)
    assert isinstance(answer, Failure) and answer.detail.startswith("2 tries; the last: ") and asked == 2
