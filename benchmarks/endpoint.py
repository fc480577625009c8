"""What the engine ``openai`` costs beside a bare loop: ``python -m benchmarks.endpoint [repeats] [requests]``.

The same distinct texts go to the same loopback server (``tests/faulty.py``, in a process of its own) at the same
concurrency: by ``ask``, with its journal, purse, limits and progress, and by nothing but asyncio and the openai client.
The two take turns, each time the other first, and a figure is the ratio of neighbours, since other work on the machine
hits both. Not covered: the time that a real server's network takes.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.journal import Journal
from stages.lib.params import Price, Spend, Teacher
from stages.lib.requests import Prompt
from stages.lib.teacher import ask

PROMPT = Prompt("translate", "You translate training data for an assistant that speaks Vietnamese. " * 12)
SPEND = Spend(cap=1e6, dong=26300.0, batch=0.5, prices={"m": Price(input=0.4, output=1.6)})
TEXT = "The water of the river carries the land down to the sea, and people build their houses where it slows. " * 6
CASES = [(16, 0.0), (64, 0.0), (16, 0.05), (64, 0.05), (64, 0.2)]


@contextmanager
def server(latency: float) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "tests.faulty", "0", json.dumps({"latency": latency})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def ours(url: str, concurrency: int, texts: list[str]) -> float:
    """Seconds that ``ask`` takes."""
    teacher = Teacher(
        engine="openai", model="m", base_url=url, temperature=0.0, max_tokens=99, concurrency=concurrency, timeout=60.0,
        retries=2, max_failed=0.0, api_key="OPENAI_API_KEY", json_schema=True, requests_per_minute=0,
        tokens_per_minute=0, nllb=None, fallback=None,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = ask(teacher, SPEND, Journal(own=Path(folder) / "journal.jsonl"), PROMPT, texts, "ask")
        taken = time.perf_counter() - start
    if not all(isinstance(answer, dict) for answer in found):
        raise SystemExit("an answer is missing")
    return taken


def bare(url: str, concurrency: int, texts: list[str]) -> float:
    """Seconds that a loop with nothing else takes."""
    return asyncio.run(loop(url, concurrency, texts))


async def loop(url: str, concurrency: int, texts: list[str]) -> float:
    """As many workers, each with the next text, and the answers in a list."""
    from openai import AsyncOpenAI

    start, answers, work = time.perf_counter(), [], iter(texts)
    async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0, timeout=60.0) as client:

        async def worker() -> None:
            for text in work:
                messages = [{"role": "system", "content": PROMPT.text}, {"role": "user", "content": text}]
                reply = await client.chat.completions.create(
                    model="m", messages=messages, temperature=0.0, max_tokens=99
                )
                answers.append(reply.choices[0].message.content)

        await asyncio.gather(*(worker() for _ in range(concurrency)))
    if len(answers) != len(texts):
        raise SystemExit("an answer is missing")
    return time.perf_counter() - start


def main() -> None:
    """Print requests a second of both, and the median, lowest and highest ratio of neighbours."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    os.environ.setdefault("OPENAI_API_KEY", "none")
    print("| at once | latency | ask | bare loop | ratio | lowest | highest |\n|---|---|---|---|---|---|---|")
    for concurrency, latency in CASES:
        with server(latency) as url:
            bare(url, concurrency, [f"warm {number}" for number in range(concurrency)])
            rows = []
            for repeat in range(repeats):
                texts = [f"{repeat}.{number} {TEXT}" for number in range(count)]
                if repeat % 2:
                    theirs, own = bare(url, concurrency, texts), ours(url, concurrency, texts)
                else:
                    own, theirs = ours(url, concurrency, texts), bare(url, concurrency, texts)
                rows.append((count / own, count / theirs))
        ratios = [own / theirs for own, theirs in rows]
        own, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
        shown = " | ".join(f"{ratio:.3f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios)))
        print(f"| {concurrency} | {latency * 1000:g} ms | {own:,.0f} | {theirs:,.0f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
