"""Never paying twice: the journal on disk, and the client against a server of our own that misbehaves."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stages import translate
from stages.lib import paramfile, records, tasks, translation
from stages.lib.contract import Refusal
from stages.lib.endpoint import pause
from stages.lib.journal import Entry, Journal, entries, line
from stages.lib.params import Price, Spend, Teacher
from stages.lib.records import Message
from stages.lib.requests import Failure, Prompt, key
from stages.lib.teacher import ask, check_failures

PROMPT = Prompt("p", "Answer.")
SPEND = Spend(cap=1.0, dong=26000.0, batch=0.5, prices={"m": Price(input=1.0, output=4.0)})


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible endpoint: a text says how it is to be answered, and every request is counted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][1]["content"]
        self.server.asked[text] += 1
        first = self.server.asked[text] == 1
        if text.startswith("429") and first:
            self.reply(429, {"error": {"message": "slow down"}}, **{"Retry-After": "0.01"})
        elif text.startswith("500") and first:
            self.reply(500, {"error": {"message": "oops"}})
        elif text.startswith("400"):
            self.reply(400, {"error": {"message": "bad"}})
        elif text.startswith("401"):
            self.reply(401, {"error": {"message": "who are you"}})
        elif text.startswith("402"):
            self.reply(402, {"error": {"message": "pay first"}})
        elif text.startswith("422"):
            self.reply(422, {"error": {"message": "no"}})
        elif text.startswith("broken"):
            self.reply(200, '{"choices": [', **{"Content-Type": "application/json"})
        elif text.startswith("quota"):
            self.reply(429, {"error": {"message": "no money", "code": "insufficient_quota"}})
        elif text.startswith("html"):
            self.reply(200, "<html>maintenance</html>")
        else:
            if text.startswith("slow"):
                time.sleep(0.6)
            finish = next((word for word in ("length", "content_filter") if text.startswith(word)), "stop")
            content = "" if text.startswith("empty") else f"answer to {text}"
            choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
            usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
            self.reply(
                200,
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "m",
                    "choices": [choice],
                    "usage": usage,
                },
            )

    def reply(self, status: int, body: Any, **headers: str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr("stages.lib.endpoint.pause", lambda attempt, wait: 0.01)
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def teacher(server: Server | None, **changes: Any) -> Teacher:
    url = f"http://127.0.0.1:{server.server_port}/v1" if server else "http://127.0.0.1:9/v1"
    values: dict[str, Any] = {
        "engine": "openai", "model": "m", "base_url": url, "temperature": 0.0, "max_tokens": 99, "concurrency": 4,
        "timeout": 10.0, "retries": 2, "max_failed": 0.0, "api_key": "OPENAI_API_KEY", "json_schema": True,
        "requests_per_minute": 0, "tokens_per_minute": 0, "nllb": None, "fallback": None,
    }  # fmt: skip
    return Teacher(**(values | changes))


def test_each_text_is_asked_once_in_order_and_never_again(server: Server, tmp_path: Path) -> None:
    own = tmp_path / "journal.jsonl"
    texts = ["một", "hai", "một", "429 ba", "500 bốn", "hai"]
    answers = ask(teacher(server), SPEND, Journal(own=own), PROMPT, texts, "test")
    assert [isinstance(answer, dict) and answer["answer"] for answer in answers] == [f"answer to {t}" for t in texts]
    assert server.asked == {"một": 1, "hai": 1, "429 ba": 2, "500 bốn": 2}
    again = ask(teacher(server, base_url="http://127.0.0.1:9/v1"), SPEND, Journal(own=own), PROMPT, texts, "test")
    assert again == answers and server.asked.total() == 6
    journal = own.read_text(encoding="utf-8")
    assert "sk-secret" not in journal and journal.count("\n") == 4


def test_what_looks_like_success_and_is_none_gets_its_name(server: Server, tmp_path: Path) -> None:
    texts = ["length", "content_filter", "empty", "400", "html", "fine"]
    answers = ask(teacher(server), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    reasons = [answer.reason if isinstance(answer, Failure) else answer["answer"] for answer in answers]
    assert reasons == [
        "truncated",
        "refused by the teacher",
        "empty answer",
        "request refused",
        "no answer",
        "answer to fine",
    ]
    assert server.asked["html"] == 3 and server.asked["length"] == 1


@pytest.mark.parametrize(
    ("text", "said"), [("401", "refuses every request"), ("quota", "no credit left"), ("402", "no credit left")]
)
def test_what_would_fail_every_request_stops_the_run(server: Server, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        ask(teacher(server), SPEND, Journal(own=tmp_path / "j"), PROMPT, [text], "test")
    assert server.asked[text] == 1


def test_a_slow_answer_is_paid_once_and_never_asked_again_by_itself(server: Server, tmp_path: Path) -> None:
    (answer,) = ask(teacher(server, timeout=0.2), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["slow"], "test")
    assert isinstance(answer, Failure) and answer.reason == "timed out" and server.asked["slow"] == 1


def test_what_is_under_way_when_the_run_stops_is_still_written_down(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no credit left"):
        ask(teacher(server), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["slow", "quota", "slow too"], "test")
    assert {entry["input"] for entry in entries(tmp_path / "j")} == {"slow", "slow too"}


def test_odd_replies_fail_alone(server: Server, tmp_path: Path) -> None:
    answers = ask(teacher(server), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["422", "broken", "fine"], "test")
    assert [answer.reason for answer in answers if isinstance(answer, Failure)] == ["request refused", "no answer"]
    assert server.asked == {"422": 1, "broken": 3, "fine": 1}


def test_without_a_key_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(Refusal, match="OPENAI_API_KEY"):
        ask(teacher(None), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["x"], "test")


def test_the_journal_engine_asks_nobody(tmp_path: Path) -> None:
    answers = ask(teacher(None, engine="journal"), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["x"], "test")
    assert answers == [Failure("not in the journal", "teacher.engine: journal asks nobody")]
    assert not (tmp_path / "j").exists()


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


def test_what_a_tool_answered_stays_as_it_is() -> None:
    roles, said = (
        "user assistant tool assistant".split(),
        ["Warm?", "weather()", '{"celsius": 30}', "It is 30 degrees."],
    )
    texts = ["Ấm chứ?", "weather()", "ba mươi độ", "Trời 30."]
    messages: list[Message] = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
    record = records.make("conversation", messages, source="s", licence="MIT", lang="en", upstream="1")
    checks = paramfile.check(Path("params.yaml"), Path("recipes"))[0].translate.checks
    found = translate.take(record, {**entry("x"), "answer": translation.answer(texts)}, checks)
    assert not isinstance(found, Failure)
    assert [message["content"] for message in found["messages"]] == [texts[0], texts[1], said[2], texts[3]]


def test_every_part_of_a_request_is_in_its_key_and_the_address_is_not() -> None:
    base = key(teacher(None), PROMPT, "x")
    assert base == key(teacher(None, base_url="http://elsewhere/v1", concurrency=1), Prompt("q", "Answer."), "x")
    others = [
        key(teacher(None, **change), PROMPT, "x")
        for change in ({"model": "n"}, {"temperature": 0.5}, {"max_tokens": 7})
    ]
    others += [key(teacher(None), Prompt("p", "Reply."), "x"), key(teacher(None), PROMPT, "y")]
    assert len({base, *others}) == 6


def test_waits_follow_the_server_and_have_a_bound() -> None:
    assert pause(0, "7") == 7.0 and pause(0, "9999") == 60.0
    assert 2.0 <= pause(2, None) <= 4.0 and 2.0 <= pause(2, "Wed, 21 Oct") <= 4.0


def test_too_many_failures_stop_a_stage() -> None:
    check_failures(1, 20, teacher(None, max_failed=0.05), "translate@x", ["truncated"])
    with pytest.raises(Refusal, match=r"2 of 20 requests failed \(truncated\)"):
        check_failures(2, 20, teacher(None, max_failed=0.05), "translate@x", ["truncated", "truncated"])


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ('{"texts": ["Trời hôm nay đẹp quá, ta đi chơi nhé."]}', ""),
        ('```json\n{"texts": ["Trời hôm nay đẹp quá, ta đi chơi nhé."]}\n```', ""),
        ("Đây là bản dịch: ...", "malformed"),
        ('{"texts": []}', "wrong number of texts"),
        ('{"texts": [" "]}', "empty translation"),
        ('{"texts": ["|||TRANSLATION_FAILED||| The weather"]}', "failure marker"),
        ('{"texts": ["The weather is fine today and we should go out."]}', "left in English"),
        ('{"texts": ["Troi hom nay dep qua ta di choi nhe ban oi"]}', "diacritics lost"),
        ('{"texts": ["Trời đẹp."]}', "truncated"),
        ('{"texts": ["đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp"]}', "looped"),
    ],
)
def test_translation_faults_have_names(reply: str, fault: str) -> None:
    source = ["The weather is fine today and we should go out."]
    checks = paramfile.check(Path("params.yaml"), Path("recipes"))[0].translate.checks
    found = translation.fault(source, translation.parse(reply), "stop", checks)
    assert (found[0] if found else "") == fault


HOSTILE = ['{"%s": ' + "[" * 1100, '{"%s": ' + "[" * 100_000, '{"%s": [' + "9" * 5000 + "]}"]


@pytest.mark.parametrize("reply", HOSTILE, ids=["deep", "deeper", "long"])
def test_an_answer_that_python_cannot_read_is_malformed(reply: str) -> None:
    assert translation.parse(reply % "texts") is None
    assert tasks.parse(reply % "tasks") == [None]


def test_an_empty_text_comes_back_empty_and_one_that_nobody_uses_as_it_likes() -> None:
    checks = paramfile.check(Path("params.yaml"), Path("recipes"))[0].translate.checks
    source = ["Hello there.", " \n"]
    assert translation.fault(source, ["Chào bạn.", ""], "stop", checks) is None
    found = translation.fault(source, ["Chào bạn.", "Tôi đây."], "stop", checks)
    assert found == ("invented", "'Tôi đây.' for an empty text")
    assert translation.fault([source[0], None], ["Chào bạn.", "Tôi đây."], "stop", checks) is None
