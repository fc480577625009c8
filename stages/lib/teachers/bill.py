"""Which answers a stage used, with their tokens; and what this run of it bought.

The two are told apart. The answers that a commit uses are the same on every machine, so they are an output of the
stage, and the report makes the metric of them (``costs.py``). What a run bought depends on what its journal
had before: that is one line on the terminal and, where money moved, one line of the ledger beside the journal,
which `make price` adds up. Not covered: money that a killed run spent, which the journal itself tells.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from stages.lib import records
from stages.lib.params import Spend
from stages.lib.teachers import account, prices
from stages.lib.teachers.journal import home
from stages.lib.teachers.journal_index import Entry, slot
from stages.lib.teachers.spend import Purse

SCHEMA = pa.schema(
    [
        ("request", pa.uint64()),  # the first half of the journal's key
        ("model", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("metered", pa.bool_()),  # by the server; if not, tokens are bytes
        ("batch", pa.bool_()),  # bought in batch files
    ]
)


class Bill:
    """A row for each use of an answer: one that is used twice stands there twice, and costs once."""

    def __init__(self, path: Path, name: str, spend: Spend) -> None:
        self.uses = self.bought = self.unmetered = 0
        self.spent = self.lost = self.worth = 0.0  # dollars: worth is what all uses would cost without a journal
        self._name, self._spend = name, spend
        self._models: set[str] = set()
        self._rehearsing = False
        self._slots = 0.0  # seconds, for each request that could be under way
        self._table = records.Table(path, SCHEMA)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """While this lasts, what is bought counts and what is used doesn't: it will be used once more."""
        self._rehearsing = True
        try:
            yield
        finally:
            self._rehearsing = False

    def use(self, entry: Entry) -> None:
        """Note that an answer was used."""
        if self._rehearsing:
            return
        prompt, completion, metered = account.usage(entry)
        batch = account.batched(entry)
        self._table.add(
            {
                "request": slot(entry["key"]),
                "model": entry["model"],
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "metered": metered,
                "batch": batch,
            }
        )
        self.uses += 1
        price = self._spend.prices.get(entry["model"], prices.NOTHING)
        self.worth += prices.dollars(price, prompt, completion, self._spend.batch if batch else 1.0)

    def settle(self, purse: Purse, concurrency: int, seconds: float) -> None:
        """Note what was bought with a purse, how many requests at a time, and how long it took."""
        self.bought += purse.answers
        self.unmetered += purse.unmetered
        self.spent += purse.spent
        self.lost += purse.lost
        self._models.add(purse.model)
        self._slots += seconds * concurrency

    def __enter__(self) -> "Bill":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.__exit__(kind, error, trace)
        if self.uses or self.bought or self.lost:
            print(f"{self._name}: {self.words()}", file=sys.stderr)
        if self.bought or self.lost:
            row: dict[str, Any] = {
                "stage": self._name,
                "models": sorted(self._models),
                "when": time.strftime("%Y-%m-%d %H:%M:%S"),
            }
            row |= {"uses": self.uses, "bought": self.bought, "spent": self.spent, "lost": self.lost}
            row |= {"saved": self.saved, "slot_seconds": round(self._slots, 3), "whole": kind is None}
            account.append(home().with_name(account.LEDGER), row)

    @property
    def saved(self) -> float:
        """Dollars that the uses of answers from the journal would have cost."""
        return max(0.0, self.worth - (self.spent - self.lost))

    def words(self) -> str:
        """The run in a line."""
        known = max(0, self.uses - self.bought)
        line = f"{self.bought:,} answers bought for {prices.both(self.spent, self._spend)}, "
        line += f"{known:,} from the journal (saved {prices.both(self.saved, self._spend)})"
        if self.unmetered and self.spent:
            line += f"; {self.unmetered:,} came without usage and count as the most that they can have cost"
        if self.lost:
            line += f"; {prices.money(self.lost)} of what was spent may have been billed without an answer"
        return line
