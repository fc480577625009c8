"""Whether a translation says what its text says: for sentences that are fluent, and wrong.

Three ways to tell, none of which sees everything: a lexicon learned from the source's own accepted pairs, a sentence
encoder for many languages, and the teacher itself as a judge. Each looks at what has passed all other checks. Not
covered: which part of a text is wrong.
"""

import json
from collections.abc import Callable, Iterable

from stages.lib.params import Spend, Teacher
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import ask
from stages.lib.text.vietnamese import syllables

ELSE, UNJUDGED = "says something else", "no judgement"
SCORE = "similarity"  # the detail of a verdict by a score, which other records have a part in
Pair = tuple[str, str]
Meaning = Callable[[list[list[Pair]]], list[Failure | None]]  # what is wrong with the texts of each request


def anything(asked: list[list[Pair]]) -> list[Failure | None]:
    """No check."""
    return [None] * len(asked)


def near(scores: Callable[[list[list[Pair]]], list[float]], lowest: float) -> Meaning:
    """A check by a score for the worst pair of each request, and the lowest that will do."""

    def check(asked: list[list[Pair]]) -> list[Failure | None]:
        spoken = [[pair for pair in pairs if syllables(pair[0])] for pairs in asked]
        return [
            Failure(ELSE, f"{SCORE} {score:.2f}, below {lowest:.2f}", answered=True) if score < lowest else None
            for score in scores(spoken)
        ]

    return check


def judge(
    teacher: Teacher, spend: Spend, journal: Journal, prompt: Prompt, name: str, bill: Bill | None = None
) -> Meaning:
    """A check by the teacher, whose judgements are journalled like its other answers."""

    def check(asked: list[list[Pair]]) -> list[Failure | None]:
        return [read(answer) for answer in ask(teacher, spend, journal, prompt, list(map(shown, asked)), name, bill)]

    return check


def read(answer: Entry | Failure) -> Failure | None:
    """What a judge has found; where it said nothing, a translation stays unchecked, and so unused."""
    if isinstance(answer, Failure):
        return Failure(UNJUDGED, f"{answer.reason}: {answer.detail}")
    text = answer["answer"].strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        tree = json.loads(text)
        faithful, reason = tree["faithful"], str(tree.get("reason", ""))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return Failure(UNJUDGED, f"malformed: {text[:80]}")
    return None if faithful is True else Failure(ELSE, reason[:200], answered=True)


def shown(pairs: Iterable[Pair]) -> str:
    """Texts and their translations as the judge is shown them."""
    return json.dumps([{"text": text, "translation": other} for text, other in pairs], ensure_ascii=False)
