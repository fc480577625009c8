"""The cap and the account beside the journal: no run passes it, however the one before has ended."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib import account, paramfile, prices, records
from stages.lib.contract import Refusal
from stages.lib.journal import Entry, line
from stages.lib.params import Fallback, Price, Spend, Teacher
from stages.lib.spend import Hold, Purse, at_most, cost, say_once
from tests.conftest import Run

DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
PRICES = {"m": Price(input=1.0, output=4.0), "free": Price(input=0.0, output=0.0)}
MILLION = 1_000_000


def spend(cap: float = 1.0, **more: Price) -> Spend:
    return Spend(cap=cap, dong=26_000.0, batch=0.5, prices=PRICES | more)


def teacher(model: str = "m", **changes: Any) -> Teacher:
    return DIALS.teacher.model_copy(update={"model": model, "engine": "openai"} | changes)


def entry(name: str, prompt: int = 3, completion: int = 4, model: str = "m", **usage: int) -> Entry:
    found = {"prompt_tokens": prompt, "completion_tokens": completion} | usage
    return Entry(
        key=records.fingerprint(name), model=model, prompt="p", input=name, answer=f"to {name}",
        finish_reason="stop", usage=found,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal but the test's own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    say_once.cache_clear()


# ── the cap ─────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 0.05), st.sampled_from([1.0, 0.5]))
def test_with_64_in_flight_the_cap_is_never_passed(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cap: float, discount: float
) -> None:
    """Servers bill anything up to the hold, in any order, and may bill what they never answer."""
    rng, own = random.Random(seed), tmp_path_factory.mktemp("cap") / "j"
    purse = Purse(spend(cap), teacher(), own, discount=discount)
    billed, most, stopped = [0.0], [0], [0]

    async def one(gate: asyncio.Semaphore) -> None:
        async with gate:
            prompt, completion = rng.randrange(1, 300), rng.randrange(1, 100)
            try:
                hold = await purse.hold(prompt, completion)
            except Refusal:
                stopped[0] += 1
                return
            most[0] = max(most[0], round(purse.in_flight * MILLION))
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            took, wrote = rng.randrange(prompt + 1), rng.choice([completion, rng.randrange(completion + 1)])
            dollars = prices.dollars(PRICES["m"], took, wrote, discount)
            end = rng.random()
            billed[0] += dollars if end < 0.95 else 0.0
            assert billed[0] <= cap
            if end < 0.9:
                purse.pay(hold, {"prompt_tokens": took, "completion_tokens": wrote})
            elif end < 0.95:
                purse.lose(hold)
            else:
                purse.free(hold)

    async def all_of_them() -> None:
        gate = asyncio.Semaphore(64)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(300):
                group.create_task(one(gate))

    asyncio.run(all_of_them())
    assert billed[0] <= purse.spent + 1e-12 <= cap + 1e-9 and purse.in_flight == 0
    # it stops for want of money alone: what is left would not pay the largest request
    if stopped[0]:
        assert purse.spent + prices.dollars(PRICES["m"], 300, 100, discount) > cap


def test_a_hold_waits_for_what_is_in_flight_and_goes_on_when_that_cost_less(tmp_path: Path) -> None:
    async def scene() -> list[str]:
        purse, said = Purse(spend(cap=10e-6), teacher(), tmp_path / "j"), []
        first = await purse.hold(0, 2)  # 8 of 10 millionths
        second = asyncio.create_task(purse.hold(4, 0))
        await asyncio.sleep(0.01)
        said.append("waits" if not second.done() else "took it")
        purse.pay(first, {"prompt_tokens": 0, "completion_tokens": 1})
        said.append("took it" if await second == Hold(4, 0, "m") else "")
        with pytest.raises(Refusal, match=r"spend\.cap"):
            purse.hold_now(3, 0)
        with pytest.raises(Refusal, match=r"spend\.cap"):
            await purse.hold(7, 0)  # would not fit even if the other cost nothing
        return said

    assert asyncio.run(scene()) == ["waits", "took it"]


def test_the_refusal_says_what_is_spent_what_is_in_flight_and_what_to_do(tmp_path: Path) -> None:
    purse = Purse(spend(cap=2.0), teacher(), tmp_path / "j")
    purse.pay(purse.hold_now(MILLION, 0), {"prompt_tokens": MILLION, "completion_tokens": 0})
    purse.hold_now(500_000, 0)
    with pytest.raises(Refusal) as refused:
        purse.hold_now(600_000, 0)
    said = str(refused.value)
    for part in ("$2.00 (52,000 ₫)", "$1.00 is spent", "$0.5000 may still", "$0.6000", "make price", "raise spend.cap"):
        assert part in said


def test_a_cap_of_nothing_buys_nothing_and_still_asks_what_is_free(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="would be passed"):
        Purse(spend(cap=0.0), teacher(), tmp_path / "j").hold_now(1, 1)
    free = Purse(spend(cap=0.0), teacher("free"), tmp_path / "j")
    free.pay(free.hold_now(MILLION, MILLION), {})
    assert free.spent == 0 and not list(tmp_path.iterdir())


def test_a_model_without_a_price_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"no price for 'new'.*`new: \{input: …, output: …\}`"):
        Purse(spend(), teacher("new"), tmp_path / "j")
    other = Fallback(engine="openai", model="new", base_url="http://127.0.0.1:9/v1", api_key="K")
    with pytest.raises(Refusal, match="no price for 'new'"):
        Purse(spend(), teacher(fallback=other), tmp_path / "j")
    assert Purse(spend(), teacher("new", engine="nllb"), tmp_path / "j").price == prices.NOTHING


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_most_that_a_request_can_be_holds_its_bytes(system: str, text: str) -> None:
    assert at_most(system, text) == len((system + text).encode("utf-8", "strict")) + 64


# ── the account beside the journal ──────────────────────────────────────────────────────────────────────


def written(own: Path, *found: Entry) -> Path:
    with own.open("a", encoding="utf-8") as log:
        log.writelines(map(line, found))
    return own


def test_the_cap_counts_what_the_journal_cost_before_and_what_was_lost(tmp_path: Path) -> None:
    own = written(tmp_path / "j", entry("a", 100_000, 25_000), entry("b", 0, 100_000, batch=1))
    purse = Purse(spend(), teacher(), own)
    assert purse.before == pytest.approx(0.2 + 0.2)  # batch files cost half
    purse.lose(purse.hold_now(300_000, 0))
    again = Purse(spend(), teacher(), own)
    assert again.before == pytest.approx(0.7) and again.spent == 0
    with pytest.raises(Refusal):
        again.hold_now(300_001, 0)


def test_what_was_under_way_in_a_killed_process_counts_as_lost(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
import time
from tests.test_spend import Price, Purse, spend, teacher
prices = {{"50%-off-1": Price(input=1.0, output=4.0)}}
purse = Purse(spend(**prices), teacher("50%-off-1"), Path({str(tmp_path / "j")!r}))
purse.free(purse.hold_now(1, 1))
purse.hold_now(100_000, 25_000)
print("holding", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ.copy()) as process:
        assert process.stdout and process.stdout.readline() == b"holding\n"
        process.send_signal(signal.SIGKILL)
    for _ in range(2):  # and it counts once
        known = spend(1.0, **{"50%-off-1": Price(input=1.0, output=4.0)})
        assert Purse(known, teacher(), tmp_path / "j").before == pytest.approx(0.2)


def test_open_batches_are_in_flight_at_their_own_models_price_until_they_are_claimed(tmp_path: Path) -> None:
    for mark, model, done in (("a", "m", False), ("b", "dear", False), ("c", "m", False), ("c", "m", True)):
        row = {"mark": mark, "model": model, "address": "x", "tokens": [1_000_000, 0], "done": done}
        account.append(tmp_path / account.BATCHES, row)
    money = spend(dear=Price(input=0.6, output=0.0))
    for engine, share in (("openai", 1.0), ("batch", 0.5)):
        other = Purse(money, teacher(engine=engine), tmp_path / "j", discount=share)
        assert other.in_flight == pytest.approx(0.5 + 0.3)
        with pytest.raises(Refusal, match="in flight"):
            other.hold_now(round(200_001 / share), 0)
    other.claim("b")
    assert other.in_flight == pytest.approx(0.5)
    hold = other.adopt("dear", 1_000_000, 0)
    assert other.in_flight == pytest.approx(0.5 + 0.3)
    other.lose(hold)
    assert other.lost == other.spent == pytest.approx(0.3)
    assert Purse(money, teacher(), tmp_path / "j").before == pytest.approx(0.3)


ODD = [
    '{"model": "m", "key": "k", "prompt": "p", "input": "", "answer": "", "finish_reason": "stop", '
    '"usage": {"completion_tokens": 5, "prompt_tokens": 7}}\n',
    line(entry('quotes ", "usage": {"prompt_tokens": 9, "completion_tokens": 9}}', 10, 20)),
    line({**entry("đặt tên", 1, 1), "model": 'mô "hình"'}),
    line({**entry("none"), "usage": {}}),
    line(entry("more", 2, 3, cached=1)),
    line(entry("at most", 50, 60, metered=0)),
    line(entry("batch", 2, 3, batch=1)),
    "torn {\n",
    "\n",
]


def test_lines_of_any_form_count_once_and_damaged_ones_nothing(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_text("".join(ODD) + line(entry("whole"))[:-9], encoding="utf-8")
    sums = account.total(own)
    assert sums == {
        ("m", False): account.Sum(5, 7 + 10 + len(b"none") + 2 + 50, 5 + 20 + len(b"to none") + 3 + 60, 2),
        ('mô "hình"', False): account.Sum(1, 1, 1),
        ("m", True): account.Sum(1, 2, 3),
    }


def test_only_what_is_new_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = written(tmp_path / "j", *(entry(str(number)) for number in range(50)))
    first = account.total(own)
    written(own, entry("new", 100, 1000))
    read: list[bytes] = []
    count = account.count

    def counted(sums: account.Sums, text: bytes) -> None:
        read.append(text)
        count(sums, text)

    monkeypatch.setattr(account, "count", counted)
    assert account.total(own)["m", False] == account.Sum(51, first["m", False].prompt + 100, 50 * 4 + 1000)
    assert len(read) == 1 and account.total(own)["m", False].answers == 51 and len(read) == 1


def replaced(own: Path) -> None:
    part = written(own.with_name("part"), *(entry(f"{number}", 7, 7) for number in range(20)))
    os.replace(part, own)


CHANGES = {
    "another file": replaced,
    "cut": lambda own: own.write_bytes(own.read_bytes()[: len(line(entry("0")).encode()) * 3]),
    "another in place": lambda own: own.write_text(own.read_text().replace('tokens": 3', 'tokens": 9')),
    "no snapshot": lambda own: own.with_name(account.SNAPSHOT).unlink(),
    "a broken snapshot": lambda own: own.with_name(account.SNAPSHOT).write_text('{"end": 1'),
    "another format": lambda own: own.with_name(account.SNAPSHOT).write_text('{"format": 0, "end": 0, "mark": ""}'),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_journal_that_is_another_one_by_now_is_counted_anew(tmp_path: Path, change: Any) -> None:
    own = written(tmp_path / "j", *(entry(str(number)) for number in range(10)))
    account.total(own)
    change(own)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert account.total(own) == account.total(written_as(fresh / "j", own.read_bytes()))


def written_as(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_model_without_a_price_counts_nothing_and_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = written(tmp_path / "j", entry("a", model="old"), entry("b", MILLION, 0))
    for _ in range(3):
        assert cost(spend(cap=9.0), account.total(own)) == pytest.approx(1.0)
    assert capsys.readouterr().err.count("no price for old: its 1 answers") == 1
    assert cost(spend(old=Price(input=1e6, output=0.0)), account.total(own)) == pytest.approx(4.0)


def test_an_account_of_many_answers_opens_at_once(tmp_path: Path) -> None:
    own = written(tmp_path / "j", *(entry(f"{number} " + "dài " * 50) for number in range(20_000)))
    account.total(own)
    start = time.perf_counter()
    assert account.total(own)["m", False].answers == 20_000
    assert time.perf_counter() - start < 0.2


def test_the_clones_own_account_is_not_shared(project: Path, run: Run) -> None:
    folder = "data/teacher"
    names = [account.SNAPSHOT, account.LOST, account.LEDGER, account.UNDER_WAY, account.BATCHES]
    ignored = run(project, "dvc", "init", "--subdir", "--quiet") and run(
        project, "dvc", "check-ignore", f"{folder}/journal.jsonl", *(f"{folder}/{name}" for name in names)
    )
    assert ignored.stdout.split() == [f"{folder}/{name}" for name in names]
