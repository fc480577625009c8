"""How likely a text and its translation say the same, by a lexicon learned from accepted translations alone.

IBM Model 1 (Brown et al. 1993) in both directions: which word of one language stands for which of the other. A
pair's score is the mean, over the words of both sides, of how much likelier a word is given the other side than by
itself (in nats); what says something else scores below 0. It learns from a team's own accepted pairs in seconds and
needs no model: a fluent sentence that belongs to another text is what it sees and surface checks don't. No pair is
scored by a lexicon that learned from it. Not covered: word order, negation, one wrong word in a long sentence.
"""

import heapq
import math
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stages.lib.text.vietnamese import syllables

ITERATIONS = 8  # of expectation-maximisation
STEM = 5  # letters of an English word that tell it from others, endings aside
CALM = 8  # words' worth of doubt, so that short texts need stronger evidence
BACKGROUND = 0.1  # share of a word's probability that doesn't depend on the other side
COPIED, STRANGE = 3.0, -1.5  # nats for a word that was not learned: the source has it too, or it looks foreign
FLOOR = 1e-4  # probabilities below are forgotten
FOLDS = 5
FEW = 200  # pairs, below which nothing can be learned and nothing is refused
MOST = 20_000  # records that are learned from
LONGEST = 100  # distinct words of a side, above which a pair teaches little and takes long
CELLS = 10_000_000  # pairs of words that are weighed together, in about 1 GB
DEVIATIONS = 1.8  # from the median down to the bound, which 1.5% of the good pairs lie below
LOWEST = 0.1  # share of all that may, however their scores are spread

Pair = tuple[str, str]
Words = list[str]


class Sample:
    """Some of a source's accepted texts: all of a few, so many of millions, the same ones each time."""

    def __init__(self) -> None:
        self._taken: list[tuple[int, list[Pair]]] = []
        self._known = set[int]()

    def add(self, group: list[Pair]) -> None:
        """Look at pairs that belong together; the groups with the smallest hashes stay."""
        mark = -digest("\0".join(source for source, _ in group))
        if mark in self._known or (len(self._taken) == MOST and mark <= self._taken[0][0]):
            return
        self._known.add(mark)
        heapq.heappush(self._taken, (mark, group))
        if len(self._taken) > MOST:
            self._known.discard(heapq.heappop(self._taken)[0])

    def groups(self) -> list[list[Pair]]:
        """The groups that stayed, in the order of their hashes."""
        return [group for _, group in sorted(self._taken, reverse=True)]


class Table:
    """p(word | word of the other side) for one direction."""

    def __init__(self, sides: list[tuple[Words, Words]]) -> None:
        given, said = {"": 0}, dict[str, int]()  # the empty word stands for nothing on the other side
        rows, columns, places = [], [], []
        place = 0
        for one, other in sides:
            left = np.array([0, *(given.setdefault(word, len(given)) for word in one)])
            right = np.array([said.setdefault(word, len(said)) for word in other], dtype=np.int64)
            rows.append(np.tile(left, len(right)))
            columns.append(np.repeat(right, len(left)))
            places.append(np.repeat(np.arange(place, place + len(right)), len(left)))
            place += len(right)
        row, column, where = (np.concatenate(parts) if parts else np.empty(0, int) for parts in (rows, columns, places))
        cells, cell = np.unique(row * max(len(said), 1) + column, return_inverse=True)
        chances = expected(cells // max(len(said), 1), cell, where)
        kept = chances > FLOOR
        self._chances = dict(zip(cells[kept].tolist(), chances[kept].tolist(), strict=True))
        counts = np.bincount(column[row == 0], minlength=len(said))
        self._plain = (counts / max(counts.sum(), 1)).tolist()
        self._given, self._said = given, said

    def gains(self, given: Words, said: Words, copied: set[str]) -> Iterator[float]:
        """For each word said: how much likelier it is with the other side than without."""
        rows = [0, *(self._given[word] for word in given if word in self._given)]
        for word in said:
            column = self._said.get(word)
            if column is not None:
                cells = (row * len(self._said) + column for row in rows)
                chance = sum(self._chances.get(cell, 0.0) for cell in cells) / (len(given) + 1)
                yield math.log((1 - BACKGROUND) * chance / self._plain[column] + BACKGROUND)
            elif word in copied:
                yield COPIED
            elif word.isascii() and word.isalpha() and len(word) > 3:
                yield STRANGE


class Lexicon:
    """A score for pairs of a text and its translation, learned from such pairs."""

    def __init__(self, pairs: list[Pair]) -> None:
        sides, cells = list[tuple[Words, Words]](), 0
        for one, other in ((stems(source), spoken(text)) for source, text in pairs):
            if max(len(one), len(other)) <= LONGEST and cells < CELLS:
                sides.append((one, other))
                cells += (len(one) + 1) * (len(other) + 1)
        self._forth, self._back = Table(sides), Table([(other, one) for one, other in sides])

    def score(self, source: str, text: str) -> float:
        """About 1 for a translation, below 0 for something else."""
        one, other = stems(source), spoken(text)
        forth = list(self._forth.gains(one, other, set(syllables(source.lower()))))
        back = list(self._back.gains(other, one, set()))
        return (sum(forth) + sum(back)) / (len(forth) + len(back) + CALM)


class Lexicons:
    """A lexicon for each part of a source, learned from the other parts; and the lowest score of good ones."""

    def __init__(self, groups: list[list[Pair]]) -> None:
        self._folds: list[Lexicon] = []
        self.lowest = -math.inf
        if sum(map(len, groups)) >= FEW:
            for held in range(FOLDS):
                self._folds.append(Lexicon([pair for group in groups if fold(group) != held for pair in group]))
            self.lowest = bound(self(groups))

    def __call__(self, groups: list[list[Pair]]) -> list[float]:
        """The lowest score in each group; with too little to learn from, none is below the bound."""
        if not self._folds:
            return [0.0] * len(groups)
        return [min((self._folds[fold(group)].score(*pair) for pair in group), default=math.inf) for group in groups]


def bound(scores: list[float]) -> float:
    """The score below which few good ones lie, told by the upper half: the lower one may hold bad ones."""
    lowest, middle, upper = np.quantile([score for score in scores if score < math.inf], [LOWEST, 0.5, 0.84])
    return float(min(lowest, middle - DEVIATIONS * (upper - middle)))


def fold(group: list[Pair]) -> int:
    """The part that a group belongs to; answers to one question belong together."""
    return digest(group[0][0]) % FOLDS if group else 0


def digest(text: str) -> int:
    """A number for a text, the same in every process."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def expected(given: NDArray[np.int64], cell: NDArray[np.int64], where: NDArray[np.int64]) -> NDArray[np.float64]:
    """The chance of each cell (word, word of the other side) by expectation-maximisation, from all alike."""
    chances = np.ones(len(given))
    for _ in range(ITERATIONS):
        share = chances[cell]
        share /= np.bincount(where, share)[where]
        counts = np.bincount(cell, share, len(given))
        chances = counts / np.bincount(given, counts)[given]
    return chances


def stems(text: str) -> Words:
    """The distinct words of an English text without most of their endings."""
    return list(dict.fromkeys(word[:STEM] for word in syllables(text.lower())))


def spoken(text: str) -> Words:
    """The distinct syllables of a Vietnamese text."""
    return list(dict.fromkeys(syllables(text.lower())))
