"""How unlike all tasks so far a new one is: ROUGE-L over Unicode words, exact, against the whole pool.

ROUGE-L's F-measure of two texts is the normalised indel similarity of their word sequences (Lin 2004; twice
the longest common subsequence over the sum of the lengths), so the pool is kept as strings of one character a
word, and bit-parallel code (rapidfuzz) compares a candidate with those of the pool that can be alike. Which can't
be, their lengths and a signature of 64 bits tell at two nanoseconds a text (bitmap filtering, Sandes et al. 2020),
so that a pool of a million is searched in milliseconds. A decision is the one that the ``rouge_score`` package
would make of the same words, to the last bit of its arithmetic. Not covered: meaning. Two tasks that say the same
in other words are both new.
"""

import math
from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from stages.lib.text import vietnamese

# every code point but 0, which stands for a word that a segment does not know, and the surrogates
ALPHABET = 0x10FFFF - 0x800
UNKNOWN = "\0"
BITS = 64  # of a signature
MARGIN = 1e-6  # within which rapidfuzz's number is worked out again as rouge_score would


def words(text: str) -> list[str]:
    """A text as the filter sees it, blind to case, punctuation and tone placement but not to diacritics."""
    return vietnamese.key(text).split()


@dataclass
class Shelf:
    """The texts of one length: where they stand in their segment, and their signatures."""

    places: "array[int]" = field(default_factory=lambda: array("I"))
    signatures: "array[int]" = field(default_factory=lambda: array("Q"))


@dataclass
class Segment:
    """A part of the pool with an alphabet of its own."""

    first: int
    alphabet: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    shelves: dict[int, Shelf] = field(default_factory=dict)

    def encode(self, sequence: list[str]) -> str:
        """The words as characters; one that no text of the segment holds can match nothing in it."""
        return "".join([self.alphabet.get(word, UNKNOWN) for word in sequence])

    def room(self, sequence: list[str], limit: int) -> bool:
        """Whether the words of a text fit into the alphabet."""
        return len(self.alphabet) + sum(word not in self.alphabet for word in set(sequence)) <= limit

    def add(self, sequence: list[str]) -> None:
        """Take a text in, and its new words into the alphabet."""
        for word in sequence:
            if word not in self.alphabet:
                self.alphabet[word] = letter(len(self.alphabet))
        text = self.encode(sequence)
        shelf = self.shelves.setdefault(len(text), Shelf())
        shelf.places.append(len(self.texts))
        shelf.signatures.append(signature(text))
        self.texts.append(text)

    def candidates(self, text: str, bound: float) -> list[int]:
        """All texts whose ROUGE-L with an encoded one can reach the bound, in order.

        Texts of n and m words need c of them in common, so at most n + m - 2c may stand in one only, and each of
        those turns at most one bit of the signatures' difference.
        """
        mine, unknown = np.uint64(signature(text)), text.count(UNKNOWN)
        found = [np.empty(0, np.uint32)]
        for length, shelf in self.shelves.items():
            common = max(math.ceil(bound * (len(text) + length) / 2 - MARGIN), 1)
            if common > min(len(text) - unknown, length):
                continue
            apart = min(len(text) + length - 2 * common - unknown, BITS)
            close = np.bitwise_count(np.frombuffer(shelf.signatures, np.uint64) ^ mine) <= apart
            found.append(np.frombuffer(shelf.places, np.uint32)[close])
        return np.sort(np.concatenate(found)).tolist()


class Novelty:
    """A growing pool of texts, and for a new one the text of the pool that it is most like."""

    def __init__(self, texts: Iterable[str] = (), *, alphabet: int = ALPHABET) -> None:
        self._limit = alphabet  # distinct words of a segment
        self._segments = [Segment(0)]
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return self._segments[-1].first + len(self._segments[-1].texts)

    def add(self, text: str) -> None:
        """Take a text in."""
        sequence = words(text)
        if self._segments[-1].texts and not self._segments[-1].room(sequence, self._limit):
            self._segments.append(Segment(len(self)))
        self._segments[-1].add(sequence)

    def nearest(self, text: str, above: float = 0.0, but: Collection[int] = frozenset()) -> tuple[float, int] | None:
        """(ROUGE-L, place in the pool) of the first most similar text, if its ROUGE-L is above the bound.

        Those at the places ``but`` are left out.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        sequence = words(text)
        best: tuple[float, int] | None = None
        for segment in self._segments:
            one = segment.encode(sequence)
            places = [place for place in segment.candidates(one, above) if segment.first + place not in but]
            if not places:
                continue
            others = [segment.texts[place] for place in places]
            scores = process.cdist(
                [one], others, scorer=Indel.normalized_similarity, score_cutoff=max(above - MARGIN, 0), dtype=np.float64
            )[0]
            # of those that are equal by exact arithmetic, rouge_score's rounding may put some above the bound
            for index in np.flatnonzero(scores >= max(float(scores.max()), 2 * MARGIN) - MARGIN).tolist():
                score = rouge(one, others[index], float(scores[index]))
                if score > max(above, best[0] if best else 0.0):
                    best = score, segment.first + places[index]
        return best


def rouge(one: str, other: str, similarity: float) -> float:
    """The F-measure of a pair, rounded as rouge_score rounds it."""
    common = round(similarity * (len(one) + len(other)) / 2)
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall) if common else 0.0


def signature(text: str) -> int:
    """Which of :data:`BITS` kinds of words a text holds an odd number of; words that are not known are left out."""
    bits = 0
    for word in text:
        if word != UNKNOWN:
            bits ^= 1 << (ord(word) % BITS)
    return bits


def letter(number: int) -> str:
    """The character of a word by its number, past 0 and the surrogates, which are no characters."""
    return chr(number + 1 if number + 1 < 0xD800 else number + 0x801)
