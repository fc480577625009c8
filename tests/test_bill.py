"""The bill of a stage, the metric that the report makes of it, and the ledger of what a run really bought."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages import generate, translate
from stages.lib import records
from stages.lib.contract import Refusal
from stages.lib.params import Teacher
from stages.lib.teachers import account, costs
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Entry, Journal, line
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.teachers.spend import Purse, cost
from stages.lib.teachers.teacher import ask
from stages.lib.translate import translation
from tests.entries import bought
from tests.test_spend import DIALS, spend, teacher


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal but the test's own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def bill(path: Path, *uses: Entry) -> Path:
    with Bill(path, "test", spend()) as found:
        for use in uses:
            found.use(use)
    return path


def test_an_answer_costs_once_in_the_first_stage_that_uses_it(tmp_path: Path) -> None:
    (tmp_path / "vi").mkdir()
    paid, half = bought("a", 1000, 500), bought("b", 1000, 500, batch=1)
    bills = [
        bill(tmp_path / "generate.spend.parquet", paid, paid),
        bill(tmp_path / "vi" / "none.spend.parquet"),
        bill(tmp_path / "vi" / "alpaca.spend.parquet", paid, half, {**bought("c", model="free"), "usage": {}}),
    ]
    found = costs.gather(bills, spend())
    assert list(found["stages"]) == ["generate", "translate@alpaca"]
    assert found["stages"]["translate@alpaca"]["m"] == {
        "requests": 2, "repeated": 1, "prompt_tokens": 1000, "completion_tokens": 500, "unmetered": 0,
        "dollars": 0.0015, "saved_dollars": 0.003, "dong": 39,
    }  # fmt: skip
    assert found["total"] == {
        "requests": 5, "repeated": 2, "prompt_tokens": 2000, "completion_tokens": 1000, "unmetered": 1,
        "dollars": 0.0045, "saved_dollars": 0.006, "dong": 117,
    }  # fmt: skip
    assert costs.gather([], spend())["total"]["dollars"] == 0


def test_both_stages_count_every_answer_that_they_use(tmp_path: Path) -> None:
    """Also those that are cut off or that a check refuses: they are paid for as well."""
    shipped = Path("data/sample/teacher.jsonl")
    prompt = Prompt.load(Path("stages/prompts/translate.yaml"))
    texts = ["The weather is fine in town.", "Cut off."]
    rows = [
        records.make("text", [{"role": "text", "content": text}], source="s", licence="MIT", lang="en", upstream=str(n))
        for n, text in enumerate(texts)
    ]
    records.write(tmp_path / "rows", rows)
    answers = ["Thời tiết ở thị trấn rất đẹp.", "Bị"]
    with (tmp_path / "journal").open("w", encoding="utf-8") as log:
        for row, answer in zip(rows, answers, strict=True):
            asked = translation.request(translation.plan(row["messages"], 9999)[0])
            finish = "stop" if answer.endswith(".") else "length"
            found = bought(asked, 10, 5, DIALS.teacher.model)
            found["key"], found["finish_reason"] = key(DIALS.teacher, prompt, asked), finish
            log.write(line({**found, "answer": translation.answer([answer])}))
    prompts = [Path(f"stages/prompts/{name}.yaml") for name in ("translate", "retranslate", "judge")]
    words = [tmp_path / "rows", *prompts, tmp_path / "journal"]
    outs = [tmp_path / name for name in ("kept", "dropped", "quarantine", "s.spend.parquet")]
    checks = DIALS.translate.model_copy(update={"max_refused": 1.0})
    lenient = DIALS.teacher.model_copy(update={"max_failed": 1.0})
    translate.main("s", *words, *outs, teacher=lenient, spend=DIALS.spend, licences="all", translate=checks)
    invented = [tmp_path / name for name in ("kept", "dropped", "generate.spend.parquet")]
    prompts = [Path(f"stages/prompts/{name}.yaml") for name in ("generate", "evolve")]
    seeds = [Path("data/sample/seed_tasks.jsonl"), Path("stages/lexicons/briefs.yaml"), *prompts, shipped]
    generate.main(*seeds, *invented, teacher=lenient, spend=DIALS.spend, generate=DIALS.generate, licences="all")
    stages = costs.gather([outs[-1], invented[-1]], DIALS.spend)["stages"]
    assert stages["s"][DIALS.teacher.model] | {"dong": 0} == {
        "requests": 2, "repeated": 0, "prompt_tokens": 20, "completion_tokens": 10, "unmetered": 0,
        "dollars": 0.0, "saved_dollars": 0.0, "dong": 0,
    }  # fmt: skip
    assert stages["generate"][DIALS.teacher.model]["requests"] >= DIALS.generate.rounds * DIALS.generate.requests
    assert not (tmp_path / "data").exists()  # where nothing is bought, no ledger begins


def test_a_run_says_what_it_bought_and_the_ledger_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def buy(teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str) -> Any:
        for number, (wish, text) in enumerate(wanted.items()):
            hold = purse.hold_now(400_000, 0)
            if text == "lost":
                purse.lose(hold)
                continue
            found: Entry = {**bought(text, 100_000 * (number + 1), 0), "key": wish}
            journal.add(found)
            purse.pay(hold, found["usage"])
        return {}

    monkeypatch.setattr("stages.lib.teachers.teacher.engine", lambda name: buy)
    own = tmp_path / "data" / "teacher" / "journal.jsonl"
    prompt = Prompt("p", "Answer.")

    def run(*texts: str, cap: float = 1.0) -> None:
        with Bill(tmp_path / "b.spend.parquet", "translate@x", spend(cap)) as found:
            ask(teacher(), spend(cap), Journal(own=own), prompt, list(texts), "x", found)

    run("a", "b", "a")
    run("a")
    with pytest.raises(Refusal):
        run("b", "c", "lost", "e")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "translate@x: 2 answers bought for $0.3000 (7,800 ₫), 1 from the journal (saved $0.1000 (2,600 ₫))",
        "translate@x: 0 answers bought for $0.00 (0 ₫), 1 from the journal (saved $0.1000 (2,600 ₫))",
        "translate@x: 1 answers bought for $0.5000 (13,000 ₫), 0 from the journal (saved $0.00 (0 ₫)); "
        "$0.4000 of what was spent may have been billed without an answer",
    ]
    ledger = [json.loads(text) for text in own.with_name(account.LEDGER).read_text().splitlines()]
    assert [(row["bought"], round(row["spent"], 6), row["whole"]) for row in ledger] == [
        (2, 0.3, True),
        (1, 0.5, False),
    ]
    assert cost(spend(), account.total(own)) == pytest.approx(0.4)


def test_a_run_takes_no_more_slots_than_it_has_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("stages.lib.teachers.teacher.engine", lambda name: lambda *_: {"k": Failure("none")})
    monkeypatch.setattr("stages.lib.teachers.teacher.key", lambda *_: "k")
    monkeypatch.setattr(Bill, "settle", lambda self, purse, concurrency, seconds: seen.append(concurrency))
    with Bill(tmp_path / "b.spend.parquet", "test", spend()) as found:
        ask(teacher(concurrency=8), spend(), Journal(own=tmp_path / "j"), Prompt("p", "Answer."), ["x"], "x", found)
    assert seen == [1]
