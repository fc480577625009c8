"""Batch files: half the price, nothing sent twice, and a process that dies in between loses nothing."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.lib.contract import Refusal
from stages.lib.params import Price, Spend, Teacher
from stages.lib.teachers import account, batch, outbox
from stages.lib.teachers.journal import Journal, entries
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import ask
from tests.batches import Handler, Server

PROMPT = Prompt("p", "Answer.", 1, {"type": "object"})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(batch, "FIRST_LOOK", 0.01)
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def buy(server: Server, own: Path, texts: list[str], cap: float = 10.0) -> list[Any]:
    teacher = Teacher(
        engine="batch", model="m", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="OPENAI_API_KEY",
        temperature=0.0, max_tokens=100, json_schema=True, concurrency=4, requests_per_minute=0, tokens_per_minute=0,
        timeout=10.0, retries=2, max_failed=0.0, nllb=None, fallback=None,
    )  # fmt: skip
    spend = Spend(cap=cap, dong=26000.0, batch=0.5, prices={"m": Price(input=1.0, output=10.0)})
    return ask(teacher, spend, Journal(own=own), PROMPT, texts, "test")


def told(answers: list[Any]) -> list[str]:
    return [answer.reason if isinstance(answer, Failure) else answer["answer"] for answer in answers]


FAULTY = ["một", "500 x", "429 y", "expires z", "vanishes v", "length l", "content_filter f", "một", "reasoning r"]


def test_every_request_is_answered_or_named_in_order_and_paid_once(server: Server, tmp_path: Path) -> None:
    answers = buy(server, tmp_path / "journal.jsonl", [*FAULTY, "expires always"])
    assert told(answers) == [
        "to một", "to 500 x", "to 429 y", "to expires z", "to vanishes v", "truncated", "refused by the teacher",
        "to một", "to reasoning r", "expired",
    ]  # fmt: skip
    assert server.billed == dict.fromkeys(set(FAULTY), 1) and server.asked["expires always"] == batch.TRIES
    assert told(buy(server, tmp_path / "journal.jsonl", FAULTY))[:2] == ["to một", "to 500 x"]
    assert server.billed == dict.fromkeys(set(FAULTY), 1)
    found = list(entries(tmp_path / "journal.jsonl"))
    assert all(entry["usage"] == {"prompt_tokens": 50, "completion_tokens": 100, "batch": 1} for entry in found)
    sums = account.total(tmp_path / "journal.jsonl")
    assert sums["m", True].answers == len(set(FAULTY))
    assert not list((tmp_path / outbox.FOLDER).iterdir())
    assert "sk-secret" not in "".join(path.read_text() for path in tmp_path.glob("*.json*"))


def test_a_request_that_is_refused_fails_alone(server: Server, tmp_path: Path) -> None:
    server.asked["400 forever"] = -1  # its first request is the second one, so it is never well
    answers = buy(server, tmp_path / "j", ["400 once", "fine"])
    assert told(answers) == ["to 400 once", "to fine"]  # it had spoken of max_tokens: another form was worth a try
    assert server.files and all("max_completion_tokens" in str(made["rows"]) for made in [*server.batches.values()][1:])


def kill(after: int) -> Callable[[Path, Any], None]:
    """A note that is written, and then the process dies: the n-th one."""
    count = 0

    def append(path: Path, row: Any) -> None:
        nonlocal count
        count += path.name == account.BATCHES
        if path.name == account.BATCHES and count == after:
            raise MemoryError("killed")
        ORIGINAL(path, row)

    return append


ORIGINAL = account.append


@pytest.mark.parametrize("after", [1, 2, 3])  # before it is noted; after it was sent; after it was taken in
def test_a_process_that_dies_loses_nothing_and_pays_nothing_twice(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    texts = [f"text {number}" for number in range(20)]
    with monkeypatch.context() as patched:
        patched.setattr(account, "append", kill(after))
        with pytest.raises(MemoryError):
            buy(server, tmp_path / "j", texts)
    texts.append("new")
    assert told(buy(server, tmp_path / "j", texts)) == [f"to {text}" for text in texts]
    assert server.billed == dict.fromkeys(texts, 1)
    assert len(list(entries(tmp_path / "j"))) == len(texts) and not account.pending(tmp_path / "j")


def test_a_batch_of_a_process_that_died_may_be_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.queue = 0
    with monkeypatch.context() as patched:
        patched.setattr(account, "append", kill(2))
        with pytest.raises(MemoryError):
            buy(server, tmp_path / "j", ["x", "y"])
    server.queue = 100
    assert told(buy(server, tmp_path / "j", ["x", "y"])) == ["to x", "to y"]


@pytest.mark.parametrize("what", ["batch", "copy", "file"])
def test_what_is_gone_counts_as_paid_and_blocks_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(account, "append", kill(3))
        with pytest.raises(MemoryError):
            buy(server, tmp_path / "j", ["x", "y"])
    (tmp_path / "j").unlink()
    assert [loss.completion for loss in account.pending(tmp_path / "j").values()] == [200]
    if what == "batch":
        server.batches["gone"] = server.batches.pop("batch_0")
    elif what == "copy":
        next((tmp_path / outbox.FOLDER).iterdir()).unlink()
    else:
        del server.files["batch_0-output"]
    assert told(buy(server, tmp_path / "j", ["x", "y"])) == ["to x", "to y"]
    assert sum(loss.completion for loss in account.losses(tmp_path / "j")) == 200
    assert not account.pending(tmp_path / "j") and "counts as paid" in capsys.readouterr().err


def test_no_file_is_larger_than_the_bound_in_bytes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "BYTES", 3000)
    texts = [f"{number} " + "ễ" * 300 for number in range(6)]  # a line is some 1,200 bytes, and 600 characters
    assert told(buy(server, tmp_path / "j", texts)) == [f"to {text}" for text in texts]
    sizes = [len(data) for name, data in server.files.items() if name.startswith("file_")]
    assert len(sizes) == 3 and max(sizes) <= 3000


def test_a_batch_that_never_got_there_is_sent_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise MemoryError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Server, "begin", die)
        patched.setattr(Handler, "handle_one_request", lambda self: self.connection.close())
        with pytest.raises(Refusal, match=r"run it again to fetch it"):
            buy(server, tmp_path / "j", ["x"])
    assert told(buy(server, tmp_path / "j", ["x"])) == ["to x"] and server.billed == {"x": 1}


def test_what_an_earlier_run_wanted_is_taken_in_as_well(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(account, "append", kill(3))
        with pytest.raises(MemoryError):
            buy(server, tmp_path / "j", ["old one", "old two"])
    (tmp_path / "j").unlink()  # as if it had died before the answers were written down
    assert told(buy(server, tmp_path / "j", ["new"])) == ["to new"]
    assert {entry["input"] for entry in entries(tmp_path / "j")} == {"old one", "old two", "new"}
    assert server.billed == dict.fromkeys(["old one", "old two", "new"], 1)


def test_batches_grow_no_larger_than_the_servers_queue(server: Server, tmp_path: Path) -> None:
    server.queue = 7
    texts = [f"text {number}" for number in range(20)]
    assert told(buy(server, tmp_path / "j", texts)) == [f"to {text}" for text in texts]
    assert server.billed == dict.fromkeys(texts, 1)
    assert max(len(made["rows"]) for made in server.batches.values() if made["status"] != "failed") <= 7


def test_the_cap_holds_for_batches_and_goes_by_their_price(server: Server, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(20)]
    # an answer costs (50 × 1 + 100 × 10) / 1e6 × 0.5 = $0.000525, at most $0.000548
    with pytest.raises(Refusal, match=r"spend\.cap"):
        buy(server, tmp_path / "j", texts, cap=0.0055)
    assert server.billed.total() == 10
    assert told(buy(server, tmp_path / "j", texts)) == [f"to {text}" for text in texts]
    assert server.billed == dict.fromkeys(texts, 1)


def test_a_server_that_refuses_batches_says_why(server: Server, tmp_path: Path) -> None:
    server.refuses = "billing_hard_limit_reached"
    with pytest.raises(Refusal, match="refused a batch: billing_hard_limit_reached"):
        buy(server, tmp_path / "j", ["x"])
    server.refuses, server.queue = "", 0
    with pytest.raises(Refusal, match="not even one request"):
        buy(server, tmp_path / "j", ["x"])
