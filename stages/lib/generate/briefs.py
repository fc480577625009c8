"""What a request asks for beside its examples: a topic, a persona, a difficulty, and the kinds of task.

They come from lists that people wrote (``stages/lexicons/briefs.yaml``), each like a deck of cards: shuffled, dealt out
to the end, shuffled again. So every entry comes up as often as any other, and the pairs differ. Not covered: whether
the teacher keeps to it.
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.contract import Refusal

Brief = dict[str, str | list[str]]  # empty where a request leaves all to the teacher
LISTS = ("topics", "personas", "difficulties", "kinds")


@dataclass(frozen=True)
class Lists:
    """What is dealt out; the operations by name, with what they ask for."""

    topics: list[str]
    personas: list[str]
    difficulties: list[str]
    kinds: list[str]
    operations: dict[str, str]


def load(path: Path) -> Lists:
    """Read the lists; none is empty, and nothing stands in one twice."""
    try:
        tree = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise Refusal(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict) or set(tree) != {*LISTS, "operations"}:
        raise Refusal(f"{path}: its keys are {', '.join(LISTS)} and operations")
    for name in LISTS:
        entries = tree[name]
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
            raise Refusal(f"{path}: {name} is a list of texts, at least one")
        if twice := sorted({entry for entry in entries if entries.count(entry) > 1}):
            raise Refusal(f"{path}: {name}: {twice[0]!r} stands there twice")
    operations = tree["operations"]
    if not isinstance(operations, dict) or not operations or not all(isinstance(v, str) for v in operations.values()):
        raise Refusal(f"{path}: operations are names with what they ask for, at least one")
    return Lists(**tree)


class Deck:
    """Entries in random order, each once before any comes again."""

    def __init__(self, entries: list[str], rng: random.Random) -> None:
        self._entries = entries
        self._rng = rng
        self._left: list[str] = []

    def deal(self) -> str:
        """The next entry."""
        self._left = self._left or self._rng.sample(self._entries, len(self._entries))
        return self._left.pop()


class Briefs:
    """What each briefed request asks for, by the seed alone."""

    def __init__(self, lists: Lists, seed: int) -> None:
        rng = random.Random(f"{seed}/briefs")
        self._decks = [Deck(list(getattr(lists, name)), rng) for name in LISTS]

    def deal(self, tasks: int) -> Brief:
        """A topic, a persona and a difficulty, and a kind for each of the tasks."""
        topic, persona, difficulty, kinds = self._decks
        return {
            "topic": topic.deal(),
            "persona": persona.deal(),
            "difficulty": difficulty.deal(),
            "kinds": [kinds.deal() for _ in range(tasks)],
        }


def notes(brief: Brief) -> list[str]:
    """What a record keeps of the brief that it was made for."""
    return [f"{name}: {brief[name]}" for name in ("topic", "persona", "difficulty") if name in brief]


def due(number: int, share: float) -> bool:
    """Whether the request of that number, from 1, is one of the share that is briefed, spread evenly."""
    return math.floor(number * share + 1e-9) > math.floor((number - 1) * share + 1e-9)
