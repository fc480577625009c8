"""What the engine ``openai`` costs beside a bare loop: ``python -m benchmarks.endpoint [repeats] [requests]``.

The same distinct texts go to the same loopback server (``tests/faulty.py``, in a process of its own) at the same
concurrency: by ``ask``, with its journal, purse, limits and progress, and by nothing but asyncio and the openai client.
The two take turns, each time the other first, and a figure is the ratio of neighbours, since other work on the machine
hits both. Not covered: the time that a real server's network takes.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stages.lib.params import Price, Spend, Teacher
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.requests import Prompt
from stages.lib.teachers.teacher import ask
from tests.faulty import serving

PROMPT = Prompt("translate", "You translate training data for an assistant that speaks Vietnamese. " * 12)
SPEND = Spend(cap=1e6, dong=26300.0, batch=0.5, prices={"m": Price(input=0.4, output=1.6)})
TEXT = "The water of the river carries the land down to the sea, and people build their houses where it slows. " * 6
Way = Callable[[str, int, list[str]], None]
CASES = [(16, 0.0), (64, 0.0), (16, 0.05), (64, 0.05), (64, 0.2)]


def ours(url: str, concurrency: int, texts: list[str]) -> None:
    """Buy with ``ask``."""
    teacher = Teacher(
        engine="openai", model="m", base_url=url, temperature=0.0, max_tokens=99, concurrency=concurrency, timeout=60.0,
        retries=2, max_failed=0.0, api_key="OPENAI_API_KEY", json_schema=True, requests_per_minute=0,
        tokens_per_minute=0, nllb=None, fallback=None,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = ask(teacher, SPEND, Journal(own=Path(folder) / "journal.jsonl"), PROMPT, texts, "ask")
    if not all(isinstance(answer, dict) for answer in found):
        raise SystemExit("an answer is missing")


def bare(url: str, concurrency: int, texts: list[str]) -> None:
    """Ask with nothing but the client."""
    if len(asyncio.run(loop(url, concurrency, texts))) != len(texts):
        raise SystemExit("an answer is missing")


async def loop(url: str, concurrency: int, texts: list[str]) -> list[str]:
    """As many workers, each with the next text, and the answers in a list."""
    from openai import AsyncOpenAI

    answers, work = list[str](), iter(texts)
    async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0, timeout=60.0) as client:

        async def worker() -> None:
            for text in work:
                messages = [{"role": "system", "content": PROMPT.text}, {"role": "user", "content": text}]
                reply = await client.chat.completions.create(
                    model="m", messages=messages, temperature=0.0, max_tokens=99
                )
                answers.append(reply.choices[0].message.content)

        await asyncio.gather(*(worker() for _ in range(concurrency)))
    return answers


def timed(way: Way, url: str, concurrency: int, texts: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of this process's processor."""
    wall, busy = time.perf_counter(), time.process_time()
    way(url, concurrency, texts)
    return time.perf_counter() - wall, time.process_time() - busy


def written(count: int = 500) -> tuple[float, float]:
    """Microseconds that an answer takes when each is brought to the disk by itself, and when a thread does that."""
    taken = []
    for way in ("add", "note"):
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(own=Path(folder) / "journal.jsonl")
            with journal.writing():
                start = time.perf_counter()
                for number in range(count):
                    getattr(journal, way)(
                        Entry(
                            key=f"{number:032x}", model="m", prompt="translate", input=TEXT, answer=TEXT,
                            finish_reason="stop", usage={"prompt_tokens": 310, "completion_tokens": 280},
                        )
                    )  # fmt: skip
                taken.append((time.perf_counter() - start) / count * 1e6)
    return taken[0], taken[1]


def main() -> None:
    """Print requests a second of both with the ratios of neighbours, and what a request costs the processor."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    os.environ.setdefault("OPENAI_API_KEY", "none")
    alone, together = zip(*(written() for _ in range(5)), strict=True)
    print(f"an answer into the journal: {statistics.median(alone):,.0f} µs with its own fsync, ", end="")
    print(f"{statistics.median(together):,.0f} µs when a thread brings many to the disk\n")
    print("| at once | latency | ask | bare loop | ratio | middle half | processor, ask | bare loop |")
    print("|---|---|---|---|---|---|---|---|")
    for concurrency, latency in CASES:
        with serving(latency=latency) as url:
            for way in (bare, ours):
                way(url, concurrency, [f"warm {number}" for number in range(concurrency)])
            rows = []
            for repeat in range(repeats):
                texts = [f"{repeat}.{number} {TEXT}" for number in range(count)]
                order: list[Way] = [bare, ours] if repeat % 2 else [ours, bare]
                taken = {way: timed(way, url, concurrency, texts) for way in order}
                rows.append((*taken[ours], *taken[bare]))
        own, own_busy, theirs, their_busy = (statistics.median(column) for column in zip(*rows, strict=True))
        low, middle, high = statistics.quantiles([row[2] / row[0] for row in rows], n=4)
        print(
            f"| {concurrency} | {latency * 1000:g} ms | {count / own:,.0f} | {count / theirs:,.0f} | {middle:.2f} "
            f"| {low:.2f} to {high:.2f} | {own_busy / count * 1e6:,.0f} µs | {their_busy / count * 1e6:,.0f} µs |",
            flush=True,
        )


if __name__ == "__main__":
    main()
