"""The cap and the account beside the journal: no run passes it, however the one before has ended."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib import paramfile
from stages.lib.contract import Refusal
from stages.lib.params import Fallback, Price, Spend, Teacher
from stages.lib.teachers import account, prices
from stages.lib.teachers.spend import Hold, Purse, at_most, cost, say_once
from tests.entries import bought, written

DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
PRICES = {"m": Price(input=1.0, output=4.0), "free": Price(input=0.0, output=0.0)}
MILLION = 1_000_000


def spend(cap: float = 1.0, **more: Price) -> Spend:
    return Spend(cap=cap, dong=26_000.0, batch=0.5, prices=PRICES | more)


def teacher(model: str = "m", **changes: Any) -> Teacher:
    return DIALS.teacher.model_copy(update={"model": model, "engine": "openai"} | changes)


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


def test_the_cap_counts_what_the_journal_cost_before_and_what_was_lost(tmp_path: Path) -> None:
    own = written(tmp_path / "j", bought("a", 100_000, 25_000), bought("b", 0, 100_000, batch=1))
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


def test_a_model_without_a_price_counts_nothing_and_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = written(tmp_path / "j", bought("a", model="old"), bought("b", MILLION, 0))
    for _ in range(3):
        assert cost(spend(cap=9.0), account.total(own)) == pytest.approx(1.0)
    assert capsys.readouterr().err.count("no price for old: its 1 answers") == 1
    assert cost(spend(old=Price(input=1e6, output=0.0)), account.total(own)) == pytest.approx(4.0)
