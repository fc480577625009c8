"""How hard an endpoint may be asked: a pace for requests and for tokens, and how many requests at once.

The params may set a pace of their own, which is kept in every minute. A server's ``x-ratelimit-*`` headers set
another: how much is left, and how fast it comes back. Servers that send none (Azure often, vLLM, Ollama) say 429:
then the number of requests at once is halved, and grows by one with each round of answers, as TCP's does (Chiu & Jain
1989). What a server asks for in ``Retry-After`` holds for all requests, since its limits do. Time is the event
loop's. Not covered: another try for a request that was refused (``endpoint.py``).
"""

import asyncio
import contextlib
import email.utils
import math
import re
import time
from collections.abc import Mapping

LONGEST = 60.0  # seconds that a server's word is heeded: then it is asked again
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
PART = re.compile(r"(\d+(?:\.\d*)?)(ms|µs|us|ns|[smhd])")


class Bucket:
    """What may be sent now of one kind; it fills up at a pace, to so much at most. It may go into debt."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.left = rate, burst, burst  # a rate of 0: no limit is known
        self._then = -math.inf

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much may be sent."""
        if not self.rate:
            return 0.0
        self.left = min(self.burst, self.left + (now - self._then) * self.rate)
        self._then = now
        short = min(amount, self.burst) - self.left
        return short / self.rate if short > 1e-9 else 0.0

    def told(self, headers: Mapping[str, str], kind: str, under_way: float, now: float) -> None:
        """Believe the server, which can't have counted all that is under way."""
        limit = number(headers.get(f"x-ratelimit-limit-{kind}"))
        remaining = number(headers.get(f"x-ratelimit-remaining-{kind}"))
        if not limit or remaining is None:
            return
        reset = seconds(headers.get(f"x-ratelimit-reset-{kind}"))
        # near the end of a limit, the time to its reset tells its period: not all are per minute
        self.rate = (limit - remaining) / reset if reset and remaining < limit / 2 else limit / 60
        self.burst, self.left, self._then = limit, remaining - under_way, now


class Limits:
    """Requests take their turn here before they are sent, and tell what came of it."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int, concurrency: int) -> None:
        self.answered = 0
        self.window = float(concurrency)  # requests at once
        self._most = concurrency
        self._ours = paced(requests_per_minute), paced(tokens_per_minute)
        self._theirs = Bucket(0.0, 0.0), Bucket(0.0, 0.0)
        self._under_way, self._tokens = 0, 0.0
        self._until = self._cut = -math.inf
        self._stopped = asyncio.Event()
        self._turn, self._changed = asyncio.Lock(), asyncio.Event()

    async def take(self, tokens: float) -> float:
        """Wait until a request of so many tokens may be sent; when that is."""
        now = clock()
        if self._turn.locked() or self._delay(tokens, now):
            async with self._turn:  # first come, first served
                while delay := self._delay(tokens, now := clock()):
                    self._changed.clear()
                    await within(delay, self._changed)
        for requests, amounts in (self._ours, self._theirs):
            requests.left -= 1
            amounts.left -= tokens
        self._under_way += 1
        self._tokens += tokens
        return now

    def done(self, tokens: float, used: float | None, headers: Mapping[str, str] | None) -> None:
        """The request came back, with what it really used if that is known, and the headers of its reply."""
        self._under_way -= 1
        self._tokens -= tokens
        if used is not None:
            self._ours[1].left += tokens - used
            self.answered += 1
            self.window = min(float(self._most), self.window + 1 / self.window)
        if headers is not None:
            now = clock()
            self._theirs[0].told(headers, "requests", self._under_way, now)
            self._theirs[1].told(headers, "tokens", self._tokens, now)
        self._changed.set()

    def limited(self, wait: float | None, sent: float) -> None:
        """The server said 429 to a request that was sent then: all hold back."""
        now = clock()
        if wait:
            self._until = max(self._until, now + min(wait, LONGEST))
        if sent > self._cut:  # once for all that were under way together
            self.window, self._cut = max(1.0, self.window / 2), now

    async def rest(self, duration: float) -> None:
        """Do nothing for so many seconds, or until all is stopped."""
        await within(duration, self._stopped)

    def stop(self) -> None:
        """Let everybody through who waits: nothing more is sent."""
        self._stopped.set()
        self._changed.set()

    def _delay(self, tokens: float, now: float) -> float:
        if self._stopped.is_set():
            return 0.0
        if self._under_way >= int(self.window):
            return math.inf  # until one comes back
        waits = (
            bucket.wait(amount, now)
            for pair in (self._ours, self._theirs)
            for bucket, amount in zip(pair, (1.0, tokens), strict=True)
        )
        return max(self._until - now, *waits, 0.0)


def paced(per_minute: int) -> Bucket:
    """A bucket that lets no more than so much through in any minute: a tenth of a second's worth at once."""
    burst = max(1.0, per_minute / 600)
    return Bucket((per_minute + 1 - burst) / 60 if per_minute else 0.0, burst)


async def within(delay: float, event: asyncio.Event) -> None:
    """Wait for an event, but not longer than so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if delay == math.inf else delay):
            await event.wait()


def clock() -> float:
    """Now, by the event loop."""
    return asyncio.get_running_loop().time()


def number(text: str | None) -> float | None:
    """A count in a header, or None."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 <= found < math.inf else None


def seconds(text: str | None) -> float | None:
    """A duration as OpenAI writes it (``6m0s``, ``20ms``) or in plain seconds; None for what is neither."""
    plain = number(text)
    if plain is not None:
        return plain if plain < 1e6 else None  # a point in time, not a duration
    parts = PART.findall(text or "")
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        return None
    return sum(float(amount) * UNITS[unit] for amount, unit in parts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply asks to wait, given in milliseconds, in seconds or as a date."""
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    plain = seconds(text)
    if plain is not None or not text:
        return plain
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
