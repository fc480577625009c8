"""The limiter on a clock of its own: an event loop in which waiting takes no time."""

import asyncio
import itertools
import math
import selectors
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate

import pytest

from stages.lib.teachers.limits import Limits, retry_after, seconds

SECOND = pytest.approx


class Jump(selectors.SelectSelector):
    """Instead of waiting, the clock goes on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits for ever")
        self.now += timeout
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector: Jump) -> None:
        self.jump = selector
        super().__init__(selector)

    def time(self) -> float:
        return self.jump.now


def play(scene: Callable[[], Awaitable[None]]) -> float:
    """Seconds that a scene takes by its own clock."""
    selector = Jump()
    loop = Loop(selector)
    try:
        loop.run_until_complete(asyncio.wait_for(scene(), 1e6))
    finally:
        loop.close()
    return selector.now


def headers(limit: float, remaining: float, reset: str = "", kind: str = "requests") -> dict[str, str]:
    found = {f"x-ratelimit-limit-{kind}": f"{limit:g}", f"x-ratelimit-remaining-{kind}": f"{remaining:g}"}
    return found | ({f"x-ratelimit-reset-{kind}": reset} if reset else {})


async def take(limits: Limits, count: int, tokens: float = 10, told: Mapping[str, str] | None = None) -> list[float]:
    """When each of some requests was let through, one after the other, each answered at once."""
    times = []
    for _ in range(count):
        times.append(await limits.take(tokens))
        limits.done(tokens, tokens, told)
    return times


@pytest.mark.parametrize("per_minute", [1, 7, 60, 2400])
def test_no_minute_holds_more_requests_than_the_params_say(per_minute: int) -> None:
    async def scene() -> None:
        times = await take(Limits(per_minute, 0, 64), 3 * per_minute + 2)
        for place, start in enumerate(times):
            assert bisect_left(times, start + 59.99) - place <= per_minute
        assert times[-1] <= 60.6 * (3 + 3 / per_minute)  # and not many fewer

    play(scene)


def test_tokens_have_a_pace_too_and_what_was_not_used_comes_back() -> None:
    async def scene() -> None:
        limits = Limits(0, 60_000, 64)
        start = await limits.take(2000)
        limits.done(2000, 1000, None)
        assert await limits.take(2000) - start == SECOND(1.0, abs=0.2)

    play(scene)


def test_one_request_above_the_whole_limit_goes_when_the_bucket_is_full() -> None:
    async def scene() -> None:
        assert await take(Limits(0, 600, 4), 2, tokens=1200) == [0.0, SECOND(120, rel=0.02)]

    play(scene)


def test_without_any_limit_nobody_waits() -> None:
    async def scene() -> None:
        await take(Limits(0, 0, 1), 1000)

    assert play(scene) == 0


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "each"),
    [
        (60, 0, "1m0s", 1.0),  # OpenAI: it comes back bit by bit
        (60, 0, "", 1.0),  # without a reset, limits are per minute
        (14400, 0, "24h0m0s", 6.0),  # a limit of the day
        (600, 0, "59.7", 0.0995),  # plain seconds
        (60, 0, "1763847600", 1.0),  # a point in time is no duration
        (60, 40, "1s", 0.0),  # enough is left
    ],
)
def test_the_servers_headers_set_the_pace(limit: float, remaining: float, reset: str, each: float) -> None:
    async def scene() -> None:
        limits = Limits(0, 0, 8)
        first = await limits.take(10)
        limits.done(10, 10, headers(limit, remaining, reset))
        times = [first, *await take(limits, 3)]
        assert [later - early for early, later in itertools.pairwise(times)] == [SECOND(each)] * 3

    play(scene)


def test_tokens_that_are_left_on_the_server_count() -> None:
    async def scene() -> None:
        limits = Limits(0, 0, 8)
        await limits.take(10)
        limits.done(10, 10, headers(6000, 100, "59s", "tokens"))
        assert await limits.take(300) == SECOND(2.0)

    play(scene)


@pytest.mark.parametrize("bad", [("x", "1"), ("0", "0"), ("-5", "1"), ("nan", "nan"), ("60", ""), ("", "0")])
def test_headers_that_say_nothing_change_nothing(bad: tuple[str, str]) -> None:
    async def scene() -> None:
        told = {"x-ratelimit-limit-requests": bad[0], "x-ratelimit-remaining-requests": bad[1]}
        await take(Limits(0, 0, 2), 100, told=told)

    assert play(scene) == 0


def test_what_is_under_way_is_taken_off_what_the_server_says_is_left() -> None:
    async def scene() -> None:
        limits = Limits(0, 0, 8)
        for _ in range(5):
            await limits.take(10)
        limits.done(10, 10, headers(60, 4, "56s"))  # of which the four others take one each
        assert await limits.take(10) == SECOND(1.0)

    play(scene)


def test_429_halves_the_window_once_for_all_that_were_under_way_and_answers_open_it_again() -> None:
    async def scene() -> None:
        limits = Limits(0, 0, 16)
        await asyncio.sleep(1)
        sent = [await limits.take(1) for _ in range(16)]
        await asyncio.sleep(1)
        for at in sent:
            limits.done(1, None, {})
            limits.limited(None, at)
        assert limits.window == 8
        sent = [await limits.take(1) for _ in range(8)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limits.take(1), 100)
        for _ in sent:
            limits.done(1, 1, {})
        assert 8.5 < limits.window < 9.1  # one more for a round of answers
        for _ in range(200):
            await take(limits, 1)
        assert limits.window == 16
        for _ in range(9):
            await asyncio.sleep(1)
            limits.limited(None, await limits.take(1))
            limits.done(1, None, {})
        assert limits.window == 1 and await limits.take(1)

    play(scene)


def test_a_retry_after_holds_for_everybody_and_has_a_bound() -> None:
    async def scene() -> None:
        limits = Limits(0, 0, 16)
        sent = await limits.take(1)
        limits.done(1, None, {})
        limits.limited(7.0, sent)
        assert await asyncio.gather(*(limits.take(1) for _ in range(4))) == [SECOND(7.0)] * 4
        for _ in range(4):
            limits.done(1, None, {})
        limits.limited(9999.0, 7.0)
        assert await limits.take(1) == SECOND(67.0)

    play(scene)


def test_who_waits_is_let_through_when_all_stops() -> None:
    async def scene() -> None:
        limits = Limits(1, 0, 1)
        await limits.take(1)
        waiting = [asyncio.create_task(limits.take(1)) for _ in range(3)]
        resting = asyncio.create_task(limits.rest(500))
        await asyncio.sleep(5)
        limits.stop()
        assert await asyncio.gather(*waiting) == [5.0] * 3
        await resting

    assert play(scene) == 5


def test_ten_thousand_turns_cost_less_than_a_second() -> None:
    async def scene() -> None:
        await take(Limits(600_000_000, 0, 64), 10_000, told=headers(1e9, 9e8, "6m0s"))

    before = time.process_time()
    play(scene)
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("120", 120.0), ("0.5", 0.5), ("0s", 0.0),
        ("2m59.56s", 179.56), ("1d", 86400.0), ("15µs", 1.5e-5), ("", None), ("soon", None), ("1s later", None),
        ("-1s", None), ("1763847600", None), ("inf", None), ("nan", None),
    ],
)  # fmt: skip
def test_durations_as_servers_write_them(text: str, expected: float | None) -> None:
    assert seconds(text) == (expected if expected is None else SECOND(expected))


def test_retry_after_in_every_form() -> None:
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "9"}) == 9
    assert retry_after({}) is None and retry_after({"retry-after": "later"}) is None
    date = retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert date is not None and 25 < date <= 30 and not math.isnan(date)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
