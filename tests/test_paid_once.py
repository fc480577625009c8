"""2,000 distinct texts in 2,300 records against a server that misbehaves: each is accounted for, and none paid twice.

Also when the process is killed and started again, and when two of them want the same. What a server made and the
client gave up waiting for is billed and in no journal: another run asks for it again, so time-outs are counted apart.
"""

import importlib
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest

from stages import translate
from stages.lib import paramfile, records
from stages.lib.teachers import endpoint
from stages.lib.teachers.journal import Journal, entries
from stages.lib.teachers.requests import Prompt
from stages.lib.teachers.teacher import ask
from stages.lib.translate import translation
from tests.faulty import PASSING, PLAN, SPEND, Faulty, books, fault, serving, teacher

PROMPT = Prompt("p", "Answer.")
TEXTS = [f"câu {number % 2000}" for number in range(2300)]
AT_ONCE = 32
SETTINGS = {"plan": PLAN, "latency": 0.002, "slow": 0.1, "timeout": 15.0}
OUTCOMES = {
    "timeout": "timed out",
    "empty": "empty answer",
    "content_filter": "refused by the teacher",
    "length": "truncated",
    "400": "request refused",
}
TIMED_OUT = {text for text in TEXTS if fault(text, PLAN) == "timeout"}
DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
NEW = multiprocessing.get_context("fork")


def buy(url: str, folder: Path, output: str) -> None:
    """Ask for all, and write down what came of each record; only for a process of its own."""
    endpoint.pause = lambda attempt, wait: wait or 0.05
    asking = teacher(url, concurrency=AT_ONCE, timeout=3.0, retries=5)
    found = ask(asking, SPEND, Journal(own=folder / "journal.jsonl"), PROMPT, TEXTS, "test")
    rows = [answer if isinstance(answer, dict) else vars(answer) for answer in found]
    (folder / output).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def start(url: str, folder: Path, output: str) -> ForkProcess:
    """A process that buys."""
    importlib.import_module("openai")  # once for all of them
    process = NEW.Process(target=buy, args=(url, folder, output))
    process.start()
    return process


def check(path: Path) -> None:
    """Every record, in order, has what the server's plan says, and nothing else."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        name = fault(text, PLAN)
        if name in OUTCOMES:
            assert row["reason"] == OUTCOMES[name], text
        else:
            assert row["input"] == text and row["finish_reason"] == "stop", text
            assert (row["answer"] == f"answer to {text}") == (name in ("", "slow", *PASSING)), text


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The output of a run that nothing interrupts; its own books are checked as well."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with serving(**SETTINGS) as url:
        process = start(url, folder, "output")
        process.join()
        assert process.exitcode == 0
        found = books(url)
    check(folder / "output")
    distinct = set(TEXTS)
    assert len(distinct) == 2000 and set(found["asked"]) == distinct
    assert set(found["billed"]) == {text for text in distinct if fault(text, PLAN) != "400"}
    assert set(found["billed"].values()) == {1} and found["most"] <= AT_ONCE
    assert {fault(text, PLAN) for text in distinct} == {"", *PLAN}  # no fault was left out
    assert all(found["asked"][text] == 2 for text in distinct if fault(text, PLAN) in PASSING)
    return (folder / "output").read_bytes()


def test_killed_three_times_it_gives_the_same_bytes_and_repeats_what_was_under_way(
    undisturbed: bytes, tmp_path: Path
) -> None:
    with serving(**SETTINGS) as url:
        for moment in (40, 700, 1400):
            process = start(url, tmp_path, "never")
            while sum(books(url)["billed"].values()) < moment:
                assert process.is_alive()
                time.sleep(0.02)
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        last = start(url, tmp_path, "output")
        last.join()
        assert last.exitcode == 0
        billed = Counter(books(url)["billed"])
    assert (tmp_path / "output").read_bytes() == undisturbed and not (tmp_path / "never").exists()
    repeated = sum(count - 1 for text, count in billed.items() if text not in TIMED_OUT)
    assert repeated <= 3 * AT_ONCE and max(billed.values()) <= 4
    known = Counter(entry["input"] for entry in entries(tmp_path / "journal.jsonl"))
    assert set(known) == set(billed) - TIMED_OUT and set(known.values()) == {1}


def test_two_processes_that_want_the_same_pay_once(undisturbed: bytes, tmp_path: Path) -> None:
    with serving(**SETTINGS) as url:
        both = [start(url, tmp_path, name) for name in ("one", "other")]
        for process in both:
            process.join()
            assert process.exitcode == 0
        billed = books(url)["billed"]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes() == undisturbed
    assert {count for text, count in billed.items() if text not in TIMED_OUT} == {1}


def translated(request: str) -> str:
    """What a teacher says to a request of the translate stage about towns."""
    asked: Any = json.loads(request)
    texts = asked["texts"] if isinstance(asked, dict) else asked  # with a reason, what is asked again
    number = "".join(filter(str.isdigit, texts[0]["text"]))
    return translation.answer([f"Thời tiết ở thị trấn {number} rất đẹp."])


def test_the_stage_accounts_for_every_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    rows = [
        records.make(
            "text", [{"role": "text", "content": f"The weather is fine in town {number % 200}."}],
            source="s", licence="MIT", lang="en", upstream=str(number),
        )
        for number in range(230)
    ]  # fmt: skip
    records.write(tmp_path / "rows", rows)
    checks = DIALS.translate.model_copy(update={"max_refused": 1.0})
    plan = PLAN | {"timeout": 0}
    prompts = [Path(f"stages/prompts/{name}.yaml") for name in ("translate", "retranslate", "judge")]
    with Faulty(plan, translated) as server:
        asking = teacher(server.url, max_failed=1.0, retries=5, concurrency=16)
        dials: dict[str, Any] = {"teacher": asking, "spend": SPEND, "licences": "all", "translate": checks}
        for run in ("first", "second"):
            outputs = [tmp_path / f"{run}.{name}" for name in ("kept", "dropped", "quarantine", "spent")]
            words: list[Path] = [tmp_path / "rows", *prompts, tmp_path / "none", *outputs]
            translate.main("s", *words, **dials)
        assert set(server.billed.values()) == {1}
        asked = {fault(text, plan) for text in server.asked}
    assert (tmp_path / "first.kept").read_bytes() == (tmp_path / "second.kept").read_bytes()
    assert (tmp_path / "first.dropped").read_bytes() == (tmp_path / "second.dropped").read_bytes()
    kept, dropped = (list(records.read(tmp_path / f"first.{name}")) for name in ("kept", "dropped"))
    assert len(kept) + len(dropped) == 230 and len(asked) > 10
    for record in kept:
        number = int(record["upstream"]) % 200
        assert record["messages"][0]["content"] == f"Thời tiết ở thị trấn {number} rất đẹp."
    order = {str(number): number for number in range(230)}
    for found in (kept, dropped):
        assert [order[record["upstream"]] for record in found] == sorted(order[record["upstream"]] for record in found)
    journal = (tmp_path / "data" / "teacher" / "journal.jsonl").read_text(encoding="utf-8")
    assert str(tmp_path) not in journal + str(kept) + str(dropped)
