"""A teacher answers each text once, ever.

Requests that the journal knows cost nothing; the others go to the engine that the params name, each distinct one
once, and every answer is journalled before it is used. The engine ``journal`` asks nobody: what is not in the
journal fails with that reason. An engine is a function that asks for every key, writes each answer down as it
comes, and returns the failures by key. Not covered: what a good answer is.
"""

import time
from collections.abc import Iterable
from typing import Protocol

from stages.lib.contract import Refusal
from stages.lib.params import Spend, Teacher
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.requests import Failure, Prompt, key, usable
from stages.lib.teachers.spend import Purse


class Engine(Protocol):
    """Who answers: every distinct request that no journal knows, by key."""

    def __call__(
        self, teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
    ) -> dict[str, Failure]:
        """Ask for every key; answers go to the journal as they come, the failures are returned by key."""
        ...


def engine(name: str) -> Engine:
    """The engine of that name; what it needs is imported only here."""
    if name == "openai":
        from stages.lib.teachers import endpoint

        return endpoint.buy
    if name == "batch":
        from stages.lib.teachers import batch

        return batch.buy
    if name == "nllb":
        from stages.lib.teachers import nllb

        return nllb.translate
    raise AssertionError(name)


def ask(
    teacher: Teacher,
    spend: Spend,
    journal: Journal,
    prompt: Prompt,
    texts: list[str],
    name: str,
    bill: Bill | None = None,
) -> list[Entry | Failure]:
    """The answer or the failure for each text, in order; equal texts are asked once. The bill says what was used."""
    keys = [key(teacher, prompt, text) for text in texts]
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in journal.answers}
    failures: dict[str, Failure] = {}
    if wanted and teacher.engine == "journal":
        failures = {key: Failure("not in the journal", "teacher.engine: journal asks nobody") for key in wanted}
    elif wanted:
        with journal.writing():
            wanted = {key: text for key, text in wanted.items() if key not in journal.answers}
            if wanted:
                discount = spend.batch if teacher.engine == "batch" else 1.0
                purse, start = Purse(spend, teacher, journal.own, discount=discount), time.monotonic()
                try:
                    failures = engine(teacher.engine)(teacher, journal, purse, prompt, wanted, name)
                finally:
                    if bill:
                        bill.settle(purse, min(teacher.concurrency, len(wanted)), time.monotonic() - start)
    answers = [None if key in failures else journal.answers[key] for key in keys]
    for answer in answers if bill else []:
        if bill and answer:
            bill.use(answer)
    journal.warn()
    return [usable(answer) if answer else failures[key] for key, answer in zip(keys, answers, strict=True)]


def check_failures(failed: int, asked: int, teacher: Teacher, name: str, reasons: Iterable[str]) -> None:
    """Refuse to go on when more of the answers failed than the params allow."""
    if failed > teacher.max_failed * asked:
        raise Refusal(
            f"{name}: {failed} of {asked} requests failed ({', '.join(sorted(set(reasons)))}); teacher.max_failed "
            f"allows {teacher.max_failed:.0%}. What was answered is in the journal: mend the cause and run it again."
        )
