"""A cap that no run passes, however many requests are in flight.

A request is paid for before it is sent, at the most that it can cost, and what it really cost replaces that when
its answer comes; so what is in flight counts. What may have been billed without an answer (a time-out, or a process
that was killed) stays counted at its most. The cap is for all that stands in this clone's own journal, so another
run goes on where the last one stopped. A purse is made by whoever holds the journal alone, so two processes can't
each spend the whole cap. Not covered: a server that bills more than the tokens it was allowed.
"""

import asyncio
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stages.lib.contract import Refusal
from stages.lib.params import Price, Spend, Teacher
from stages.lib.teachers import account, prices

MESSAGES = 64  # tokens at most that a chat template puts around a system and a user message


@dataclass(frozen=True)
class Hold:
    """Tokens that are set aside for one request."""

    prompt: int
    completion: int
    model: str


class Tokens(dict[str, tuple[int, int]]):
    """Prompt and completion tokens by model."""

    def add(self, model: str, prompt: int, completion: int) -> None:
        """Take in some more, or less."""
        before = self.get(model, (0, 0))
        self[model] = before[0] + prompt, before[1] + completion


def at_most(*texts: str) -> int:
    """The most prompt tokens that some texts (system prompt, schema, request) can be.

    A token of any byte-level or byte-fallback vocabulary is at least a byte, so nothing less is certain. For
    Vietnamese that is about four times what it will be; but the tokens of the answer, at several times the price, make
    most of a hold, and a hold lives as long as its request: only the last few requests before the cap feel it.
    """
    return sum(len(text.encode("utf-8")) for text in texts) + MESSAGES


class Purse:
    """What is left to spend on one teacher's tokens; ``discount`` is the share of the price that it asks for."""

    def __init__(self, spend: Spend, teacher: Teacher, journal: Path, *, discount: float = 1.0) -> None:
        self.spend, self.model, self.share = spend, teacher.model, discount
        self.price = prices.price(spend, teacher.model, teacher.engine)
        if teacher.fallback:  # better now than when the first answer has failed
            prices.price(spend, teacher.fallback.model, teacher.fallback.engine)
        self.answers = self.unmetered = 0  # of this purse
        self._journal, self._batch = journal, teacher.engine == "batch"
        self._paid, self._lost, self._held = Tokens(), Tokens(), Tokens()
        self._waiting: list[asyncio.Future[None]] = []
        self._note = account.UnderWay(journal, teacher.model)
        settle(journal)
        self.before = cost(spend, account.total(journal)) + lost(spend, account.losses(journal))
        self._open = account.pending(journal)
        self._pending = lost(spend, [*self._open.values()])

    def _dollars(self, *sums: Tokens) -> float:
        """What tokens cost; they are added up before any is rounded."""
        tokens = Tokens()
        for found in sums:
            for model, (prompt, completion) in found.items():
                tokens.add(model, prompt, completion)
        return sum(prices.dollars(self._price(model), *counts, self.share) for model, counts in tokens.items())

    def _price(self, model: str) -> Price:
        return self.price if model == self.model else self.spend.prices.get(model, prices.NOTHING)

    def _request(self, prompt: int, completion: int) -> Tokens:
        return Tokens({self.model: (prompt, completion)})

    @property
    def spent(self) -> float:
        """Dollars that went through this purse, with what was lost."""
        return self._dollars(self._paid, self._lost)

    @property
    def lost(self) -> float:
        """Dollars that may have been billed without an answer."""
        return self._dollars(self._lost)

    @property
    def in_flight(self) -> float:
        """Dollars that are set aside."""
        return self._dollars(self._held) + self._pending

    def fits(self, prompt: int, completion: int, *, flying: bool = True) -> bool:
        """Whether the cap allows one more request, beside what is in flight or once that is answered for nothing."""
        request = self._request(prompt, completion)
        if not self._dollars(request):
            return True  # what is free is never too much
        dollars = self._dollars(self._paid, self._lost, request, self._held if flying else Tokens())
        return self.before + self._pending + dollars <= self.spend.cap

    async def hold(self, tokens_in: int, tokens_out: int) -> Hold:
        """Set aside what a request can cost at most; waits while only what is in flight stands against it."""
        while not self.fits(tokens_in, tokens_out):
            if not self.fits(tokens_in, tokens_out, flying=False):
                raise self._refusal(tokens_in, tokens_out)
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        return self._take(self.model, tokens_in, tokens_out)

    def hold_now(self, tokens_in: int, tokens_out: int) -> Hold:
        """The same without waiting: a refusal when it doesn't fit beside what is in flight."""
        if not self.fits(tokens_in, tokens_out):
            raise self._refusal(tokens_in, tokens_out)
        return self._take(self.model, tokens_in, tokens_out)

    def claim(self, mark: str) -> None:
        """A batch that an earlier process sent is this one's now: it is no longer counted as somebody else's."""
        self._open.pop(mark, None)
        self._pending = lost(self.spend, [*self._open.values()])

    def adopt(self, model: str, tokens_in: int, tokens_out: int) -> Hold:
        """Set aside again what an earlier process asked of a model: the cap was asked then."""
        return self._take(model, tokens_in, tokens_out)

    def pay(self, hold: Hold, usage: dict[str, int]) -> float:
        """An answer is in the journal: what it cost takes the place of what was set aside; dollars spent so far.

        Without usage it counts at its most. Journal first, then pay: what a kill between the two leaves is counted
        twice and not never.
        """
        usage = account.counted(usage, hold.prompt, hold.completion)
        self.answers += 1
        self.unmetered += not usage.get(account.METERED, 1)
        self._paid.add(hold.model, usage["prompt_tokens"], usage["completion_tokens"])
        self._release(hold)
        return self.spent

    def lose(self, hold: Hold) -> None:
        """No answer came, but it may have been billed."""
        self._lost.add(hold.model, hold.prompt, hold.completion)
        if self._dollars(Tokens({hold.model: (hold.prompt, hold.completion)})):
            loss = account.Loss(hold.model, hold.prompt, hold.completion, self._batch, "no answer came")
            account.lose(self._journal, loss)
        self._release(hold)

    def free(self, hold: Hold) -> None:
        """It was surely not billed: the server refused it."""
        self._release(hold)

    def _take(self, model: str, prompt: int, completion: int) -> Hold:
        self._held.add(model, prompt, completion)
        self._write_down()
        return Hold(prompt, completion, model)

    def _release(self, hold: Hold) -> None:
        self._held.add(hold.model, -hold.prompt, -hold.completion)
        self._write_down()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _write_down(self) -> None:
        if (self.price.input or self.price.output) and not self._batch:  # batches stand in a log of their own
            self._note.write(*self._held[self.model])

    def _refusal(self, prompt: int, completion: int) -> Refusal:
        most = prices.money(self._dollars(self._request(prompt, completion)))
        flying = f"{prices.money(self.in_flight)} may still be billed for what is in flight, " if self.in_flight else ""
        return Refusal(
            f"params.yaml: spend.cap of {prices.both(self.spend.cap, self.spend)} would be passed: "
            f"{prices.money(self.before + self.spent)} is spent, {flying}and one more request to {self.model} may cost "
            f"{most}. What was answered is in the journal and is not paid "
            "again: `make price` says what the rest would cost; raise spend.cap and run it again to go on"
        )


def settle(journal: Path) -> None:
    """What was under way when a process was killed may have been billed: it is lost."""
    found = account.under_way(journal)
    if found:
        account.lose(journal, found)
        account.UnderWay(journal, found.model).write(0, 0)


def cost(spend: Spend, sums: account.Sums) -> float:
    """What some answers cost at the prices of the params; those of a model without a price count nothing."""
    dollars = 0.0
    for (model, batch), found in sorted(sums.items()):
        if model not in spend.prices:
            say_once(
                f"spend.prices has no price for {model}: its {found.answers:,} answers in the journal are not counted "
                "against spend.cap; give it one, of 0.0 if they were free"
            )
        price = spend.prices.get(model, prices.NOTHING)
        dollars += prices.dollars(price, found.prompt, found.completion, spend.batch if batch else 1.0)
    return dollars


def lost(spend: Spend, losses: list[account.Loss]) -> float:
    """What was lost, at most, at the prices of the params."""
    sums: account.Sums = {}
    for loss in losses:
        sums.setdefault((loss.model, loss.batch), account.Sum()).add(loss.prompt, loss.completion)
    return cost(spend, sums)


@cache
def say_once(text: str) -> None:
    """A line to the terminal, once in a process."""
    print(f"note: {text}", file=sys.stderr)
