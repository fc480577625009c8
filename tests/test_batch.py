"""Batch files: half the price, nothing sent twice, and a process that dies in between loses nothing."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stages.lib import account, batch, outbox
from stages.lib.contract import Refusal
from stages.lib.journal import Journal, entries
from stages.lib.params import Price, Spend, Teacher
from stages.lib.requests import Failure, Prompt
from stages.lib.teacher import ask

PROMPT = Prompt("p", "Answer.", 1, {"type": "object"})


class Server(ThreadingHTTPServer):
    """A Batch API: a text says how its line ends, and what was answered is billed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.billed: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.looks = 2  # at a batch until it ends
        self.queue = 100  # requests in all batches that have not ended
        self.refuses = ""  # every batch, with this code

    def line(self, row: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """The file and the line that a request ends in; None where there is none."""
        text = row["body"]["messages"][-1]["content"]
        self.asked[text] += 1
        first = self.asked[text] == 1
        if text.startswith("expires") and (first or "always" in text):
            error = {"code": "batch_expired", "message": "too late"}
            return "error", {"custom_id": row["custom_id"], "response": None, "error": error}
        if text.startswith("vanishes") and first:
            return "error", None
        status = next((int(code) for code in ("500", "429", "400") if text.startswith(code) and first), 200)
        if text.startswith("reasoning") and "max_tokens" in row["body"]:
            status = 400
        if status != 200:
            told = "max_tokens is not supported, use max_completion_tokens" if status == 400 else "busy"
            body: Any = {"error": {"message": told}}
            return "error", {"custom_id": row["custom_id"], "response": {"status_code": status, "body": body}}
        self.billed[text] += 1
        finish = next((word for word in ("length", "content_filter") if text.startswith(word)), "stop")
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": f"to {text}"}}
        body = {"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 100}}
        return "output", {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}

    def begin(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        waiting = sum(len(made["rows"]) for made in self.batches.values() if made["status"] == "in_progress")
        code = self.refuses or ("token_limit_exceeded" if waiting + len(rows) > self.queue else "")
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "completion_window": "24h", "created_at": 1,
            "input_file_id": asked["input_file_id"], "metadata": asked["metadata"], "rows": rows, "looks": 0,
            "status": "failed" if code else "in_progress",
            "errors": {"data": [{"code": code, "message": "Enqueued token limit" if not self.refuses else "no"}]},
        }  # fmt: skip
        return self.batches[name]

    def look(self, made: dict[str, Any]) -> dict[str, Any]:
        made["looks"] += 1
        if made["status"] == "in_progress" and made["looks"] >= self.looks:
            lines: dict[str, list[str]] = {"output": [], "error": []}
            for kind, line in map(self.line, reversed(made["rows"])):  # in another order
                lines[kind] += [json.dumps(line)] if line else []
            for kind, found in lines.items():
                if found:
                    self.files[f"{made['id']}-{kind}"] = "\n".join(found).encode()
                    made[f"{kind}_file_id"] = f"{made['id']}-{kind}"
            made["status"] = "expired" if any("expires" in str(row) for row in made["rows"]) else "completed"
        return made


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/batches":
            self.reply(self.server.begin(json.loads(data)))
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts: Any = BytesParser(policy=HTTP).parsebytes(head + data).get_payload()
        name = f"file_{len(self.server.files)}"
        found = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}
        self.server.files[name] = found["file"]
        self.reply({"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"})

    def do_GET(self) -> None:
        *_, name = self.path.partition("?")[0].strip("/").split("/")
        if name == "batches":
            self.reply({"object": "list", "data": list(self.server.batches.values()), "has_more": False})
        elif name == "content":
            data = self.server.files.get(self.path.split("/")[-2])
            self.reply(data if data is not None else {"error": {"message": "no such file"}}, 200 if data else 404)
        elif name in self.server.batches:
            self.reply(self.server.look(self.server.batches[name]))
        else:
            self.reply({"error": {"message": "no such batch"}}, 404)

    def reply(self, body: Any, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


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
