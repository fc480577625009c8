"""An OpenAI-compatible server on loopback that misbehaves by a plan, and keeps its own books of what it billed.

Which fault a text meets is a hash of the text, so that a test can account for every record; ``[fault:NAME]`` in a text
asks for one by name. ``with Faulty(...) as server:`` runs it in a thread of the test;
``python -m tests.faulty PORT [options as JSON]`` in a process of its own, which prints its address, and whose books
``books(address)`` fetches. An answer is billed when it was made, whether or not the client waited for it; one that
the server itself broke off is not. Not covered: streaming, batch files.
"""

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from stages.lib.params import Price, Spend, Teacher

SPEND = Spend(cap=100.0, dong=26000.0, batch=0.5, prices={"m": Price(input=1.0, output=4.0)})

# met by the first request of a text alone, and never billed
PASSING = ("429", "429 with Retry-After", "500", "reset", "cut", "html", "broken")
# what a text always gets
LASTING = ("timeout", "slow", "empty", "content_filter", "length", "malformed", "wrong language", "400")
NAMED = re.compile(r"\[fault:([^\]]+)\]")
REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    422: "Unprocessable", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Unavailable", 504: "Timeout",
}  # fmt: skip
PLAN = dict.fromkeys(PASSING, 20) | dict.fromkeys(LASTING, 30) | {"timeout": 3}  # of a thousand texts


def teacher(url: str = "http://127.0.0.1:9/v1", **changes: Any) -> Teacher:
    """A teacher at that address; nobody answers at the one that stands here."""
    values: dict[str, Any] = {
        "engine": "openai", "model": "m", "base_url": url, "temperature": 0.0, "max_tokens": 99, "concurrency": 4,
        "timeout": 10.0, "retries": 2, "max_failed": 0.0, "api_key": "OPENAI_API_KEY", "json_schema": True,
        "requests_per_minute": 0, "tokens_per_minute": 0, "nllb": None, "fallback": None,
    }  # fmt: skip
    return Teacher(**(values | changes))


def fault(text: str, plan: Mapping[str, int]) -> str:
    """The fault that a text meets, or nothing."""
    if named := NAMED.search(text):
        return named[1]
    place = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) % 1000
    for name, share in plan.items():
        if place < share:
            return name
        place -= share
    return ""


def echo(text: str) -> str:
    """An answer that shows which text it is for."""
    return f"answer to {text}"


class Faulty:
    """The server: ``url`` is its address; ``asked``, ``billed`` and ``most`` (requests at once) are its books."""

    def __init__(
        self,
        plan: Mapping[str, int] | None = None,
        answer: Callable[[str], str] = echo,
        *,
        latency: float = 0.0,
        slow: float = 0.3,
        timeout: float = 3.0,
        retry_after: float = 0.05,
        per_minute: int = 0,
        reasoning: bool = False,
        port: int = 0,
    ) -> None:
        self.plan, self.answer = plan or {}, answer
        self.latency, self.slow, self.timeout, self.retry_after = latency, slow, timeout, retry_after
        self.per_minute, self.reasoning = per_minute, reasoning
        self.port, self.url = port, ""
        self.asked: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []  # of the last requests, as they came
        self.keys: set[str] = set()
        self.now, self.most = 0, 0
        self.restart(per_minute)

    def restart(self, left: float) -> None:
        """So many requests are left of what a minute allows."""
        self._level, self._then = float(left), time.monotonic()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self.serve(),), daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()

    async def serve(self) -> None:
        """Answer until somebody ends it."""
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        if hasattr(self, "_ready"):
            self._ready.set()
        else:
            print(self.url, flush=True)
        await self._end.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines()[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if head.startswith("GET"):
                    await self._send(writer, 200, {"asked": self.asked, "billed": self.billed, "most": self.most})
                    continue
                self.now += 1
                self.most = max(self.most, self.now)
                try:
                    await self._reply(writer, json.loads(body), headers.get("authorization", ""))
                finally:
                    self.now -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the server ends
        finally:
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, body: dict[str, Any], key: str) -> None:
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        self.bodies = [*self.bodies[-99:], body]
        self.keys.add(key)
        limits = self._limits()
        if self.per_minute and self._level < 0:
            self._level += 1
            await self._error(writer, 429, "Rate limit reached", limits)
            return
        if self.reasoning and (found := self._unsupported(body)):
            await self._send(writer, 400, {"error": found})
            return
        name = fault(text, self.plan)
        if name in PASSING and self.asked[text] == 1:
            await self._pass(writer, name, text)
        elif name == "echo the key":
            await self._error(writer, 400, f"what is {key}?", limits)
        elif name == "quota":
            error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
            await self._send(writer, 429, {"error": error})
        elif name.isdigit() and name not in PASSING:
            await self._error(writer, int(name), f"no, says {key}", limits)
        else:
            await self._complete(writer, body["model"], text, name, limits)

    async def _pass(self, writer: asyncio.StreamWriter, name: str, text: str) -> None:
        if name == "429 with Retry-After":
            await self._error(writer, 429, "slow down", {"Retry-After": f"{self.retry_after:g}"})
        elif name.isdigit():
            await self._error(writer, int(name), "oops", {})
        elif name == "html":
            await self._send(writer, 200, "<html><body>Down for maintenance</body></html>")
        elif name == "broken":
            await self._send(
                writer, 200, '{"choices": [{"message": {"content": "hal', {"Content-Type": "application/json"}
            )
        elif name == "cut":
            data = json.dumps(completion("m", self.answer(text), "stop", text)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data[: len(data) // 2])
            await writer.drain()
            raise ConnectionResetError
        else:
            raise ConnectionResetError

    async def _complete(
        self, writer: asyncio.StreamWriter, model: str, text: str, name: str, limits: dict[str, str]
    ) -> None:
        self.billed[text] += 1
        await asyncio.sleep({"timeout": self.timeout, "slow": self.slow}.get(name, self.latency))
        content = {
            "empty": "",
            "malformed": '{"texts": ["một',
            "wrong language": "I am sorry, but this is what I would say about it, and all of it in English.",
        }.get(name) if name in ("empty", "malformed", "wrong language") else self.answer(text)  # fmt: skip
        finish = name if name in ("content_filter", "length") else "stop"
        await self._send(writer, 200, completion(model, content or "", finish, text), limits)

    def _limits(self) -> dict[str, str]:
        if not self.per_minute:
            return {}
        now = time.monotonic()
        self._level = min(float(self.per_minute), self._level + (now - self._then) * self.per_minute / 60) - 1
        self._then = now
        full = (self.per_minute - self._level) * 60 / self.per_minute
        return {
            "x-ratelimit-limit-requests": str(self.per_minute),
            "x-ratelimit-remaining-requests": str(max(0, int(self._level))),
            "x-ratelimit-reset-requests": f"{int(full // 60)}m{full % 60:.3f}s" if full >= 60 else f"{full:.3f}s",
        }

    def _unsupported(self, body: dict[str, Any]) -> dict[str, Any] | None:
        if "max_tokens" in body:
            said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return {"message": f"Unsupported parameter: {said}", "param": "max_tokens", "code": "unsupported_parameter"}
        if body.get("temperature", 1) != 1:
            said = "'temperature' does not support 0.0 with this model. Only the default (1) value is supported."
            return {"message": f"Unsupported value: {said}", "param": "temperature", "code": "unsupported_value"}
        return None

    async def _error(self, writer: asyncio.StreamWriter, status: int, message: str, headers: dict[str, str]) -> None:
        await self._send(writer, status, {"error": {"message": message, "type": "error"}}, headers)

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None
    ) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        kind = "text/html" if isinstance(body, str) else "application/json"
        all_headers = {"Content-Type": kind, "Content-Length": str(len(data))} | (headers or {})
        lines = [f"HTTP/1.1 {status} {REASONS[status]}", *(f"{name}: {value}" for name, value in all_headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()


def completion(model: str, content: str, finish: str, text: str) -> dict[str, Any]:
    """The body of a chat completion; a token is four bytes here."""
    tokens = {"prompt_tokens": len(text.encode()) // 4 + 1, "completion_tokens": len(content.encode()) // 4 + 1}
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    usage = {**tokens, "total_tokens": sum(tokens.values())}
    named = {"id": "chatcmpl-x", "object": "chat.completion", "created": 0, "model": model}
    return {**named, "choices": [choice], "usage": usage}


@contextmanager
def serving(**options: Any) -> Iterator[str]:
    """The address of a server in a process of its own, whose books outlive its clients."""
    command = [sys.executable, "-m", "tests.faulty", "0", json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def books(url: str) -> dict[str, Any]:
    """What a server in another process counted: ``asked`` and ``billed`` by text, ``most`` at once."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


if __name__ == "__main__":
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    asyncio.run(Faulty(port=int(sys.argv[1]), **options).serve())
