"""What the teacher costs: a price for every token, and a cap that no run passes.

A request is paid for before it is sent, at the most that it can cost, and what it really cost replaces that when
its answer comes; so what is in flight counts. What may have been billed without an answer (a time-out) stays counted
at its most.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.lib.contract import Refusal
from stages.lib.params import Price, Spend, Teacher


@dataclass(frozen=True)
class Hold:
    """Dollars that are set aside for one request."""

    dollars: float


class Purse:
    """What is left to spend."""

    def __init__(self, spend: Spend, teacher: Teacher, journal: Path) -> None:
        if teacher.model not in spend.prices:
            raise Refusal(f"spend.prices has no price for {teacher.model}")
        self.price: Price = spend.prices[teacher.model]
        self.left = spend.cap
        self.spent = 0.0

    async def hold(self, tokens_in: int, tokens_out: int) -> Hold:
        """Set aside what a request can cost at most; waits while only what is in flight stands against it."""
        dollars = (tokens_in * self.price.input + tokens_out * self.price.output) / 1e6
        if dollars > self.left:
            raise Refusal("spend.cap is reached")
        self.left -= dollars
        return Hold(dollars)

    def pay(self, hold: Hold, usage: dict[str, int]) -> float:
        """An answer came: what it cost takes the place of what was set aside; dollars spent so far."""
        cost = (
            usage.get("prompt_tokens", 0) * self.price.input + usage.get("completion_tokens", 0) * self.price.output
        ) / 1e6
        self.left += hold.dollars - cost
        self.spent += cost
        return self.spent

    def lose(self, hold: Hold) -> None:
        """No answer came, but it may have been billed."""
        self.spent += hold.dollars

    def free(self, hold: Hold) -> None:
        """It was surely not billed: the server refused it."""
        self.left += hold.dollars
