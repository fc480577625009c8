"""Topics that nobody named: records clustered by their words, and each cluster named by its most telling ones.

Syllables that come together far more often than chance are one word (as word2phrase does; Mikolov et al. 2013), so
that *học sinh* is not *học*. Records are unit vectors of TF-IDF; the first centres are the words that between them are
in most records (anchors; Arora et al. 2012), and spherical k-means (Dhillon and Modha 2001) moves them. A cluster's
words are those of which it holds most. Everything is fitted on a sample and then told of every record in batches.

Weights are whole numbers and no linear-algebra library is called, so every machine finds the same clusters. Not
covered: records without a word that is known (they are of no cluster), and words beyond two syllables.
"""

import math
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SAMPLE = 20_000  # records that the clusters are found in
READ = 256  # syllables of a record: what it is about stands in its beginning
WORDS = 8192
SEEN = 5  # times, before a pair of syllables can be a word
LIFT = 16  # times as often as by chance
COMMON = 5  # a word that is in a fifth of the records tells nothing
RARE = 2000  # one that is in fewer than a two-thousandth is too rare to count on, or fewer than SEEN
ROUNDS = 12
UNIT = 1024  # the length of a record's vector, and of a centre's
FEWEST, MOST = 4, 40  # clusters
NAMED = 3  # words in a name


@dataclass(frozen=True)
class Topics:
    """Clusters and what tells a record's own."""

    known: dict[str, int]  # syllable → number, from 1; 0 joins nothing
    empty: int  # the last number of a syllable that tells nothing alone
    pairs: np.ndarray  # two syllables that are one word, as one number, in order
    bonds: np.ndarray  # how firmly the two hold to each other
    columns: np.ndarray  # word → column, or -1
    weights: np.ndarray  # of each column's word: how rare it is
    centres: np.ndarray  # [columns, clusters]
    names: list[list[str]]  # the most telling words of each cluster


def rows(count: int) -> list[int]:
    """Which of so many records are read to find the clusters: all, or a random sample that is always the same."""
    return list(range(count)) if count <= SAMPLE else sorted(random.Random(1).sample(range(count), SAMPLE))


def fit(texts: Iterable[Sequence[str]], stopwords: frozenset[str]) -> Topics:
    """Clusters of records, each given as its syllables in small letters."""
    known = {syllable: number for number, syllable in enumerate(sorted(stopwords), 1)}
    flat, owners = read(texts, known, grow=True)
    pairs, bonds = compounds(flat, len(known) + 1, len(stopwords))
    words, holders = join(flat, owners, pairs, bonds, len(known) + 1, len(stopwords))
    count = int(owners[-1]) + 1 if len(owners) else 0
    columns, weights = vocabulary(words, holders, count, len(known) + 1 + len(pairs))
    vectors = to_vectors(words, holders, count, columns, weights)
    centres = cluster(vectors, min(MOST, max(FEWEST, math.ceil(count ** (1 / 3) - 1e-9))))
    spelt = spellings(known, pairs)
    names = name(vectors, centres, [spelt[word] for word in np.flatnonzero(columns >= 0)])
    return Topics(known, len(stopwords), pairs, bonds, columns, weights, centres, names)


def assign(topics: Topics, texts: Sequence[Sequence[str]]) -> list[int]:
    """The cluster of each record, or -1 where it has no word that is known."""
    flat, owners = read(texts, topics.known)
    words, holders = join(flat, owners, topics.pairs, topics.bonds, len(topics.known) + 1, topics.empty)
    vectors = to_vectors(words, holders, len(texts), topics.columns, topics.weights)
    return [int(found) for found in nearest(vectors, topics.centres)]


def read(texts: Iterable[Sequence[str]], known: dict[str, int], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of all syllables, the record of each); ``grow`` gives a number to those that have none."""
    flat, ends = array("i"), array("i")
    for text in texts:
        if grow:
            for syllable in text[:READ]:
                if syllable not in known and len(syllable) > 1 and telling(syllable):
                    known[syllable] = len(known) + 1
        flat.extend([known.get(syllable, 0) for syllable in text[:READ]])
        flat.append(0)  # no word goes on in the next record
        ends.append(len(flat))
    bounds = np.frombuffer(ends, np.int32) if ends else np.zeros(0, np.int32)
    owners = np.repeat(np.arange(len(ends)), np.diff(bounds, prepend=0))
    return np.array(flat, np.int64), owners


def telling(syllable: str) -> bool:
    """Whether a syllable is of letters: numbers tell no topic."""
    return syllable.replace("-", "").isalpha()


def compounds(flat: np.ndarray, base: int, empty: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs of syllables that are one word, as ``first × base + second``, in order; how firmly each holds)."""
    alone = np.bincount(flat, minlength=base)
    both = (flat[:-1] > 0) & (flat[1:] > 0) & ((flat[:-1] > empty) | (flat[1:] > empty))
    codes, counts = np.unique((flat[:-1] * base + flat[1:])[both], return_counts=True)
    first, second = np.divmod(codes, base)
    total = int(alone[1:].sum())
    firm = (counts >= SEEN) & ((counts - SEEN + 1) * total > LIFT * alone[first] * alone[second])
    return codes[firm], (counts / alone[first] * (counts / alone[second]))[firm]


def join(
    flat: np.ndarray, owners: np.ndarray, pairs: np.ndarray, bonds: np.ndarray, base: int, empty: int
) -> tuple[np.ndarray, np.ndarray]:
    """(words, the record of each): a pair becomes one word, unless one of its syllables holds firmer to the next."""
    if not len(flat) or not len(pairs):
        return flat[flat > empty], owners[flat > empty]
    codes = flat[:-1] * base + flat[1:]
    place = np.minimum(np.searchsorted(pairs, codes), len(pairs) - 1)
    bond = np.where(pairs[place] == codes, bonds[place], 0.0)
    begins = np.append((bond > np.append(0.0, bond[:-1])) & (bond >= np.append(bond[1:], 0.0)), False)
    words = np.where(begins, base + np.append(place, 0), flat)
    kept = (words > empty) & ~np.append(False, begins[:-1])
    return words[kept], owners[kept]


def vocabulary(words: np.ndarray, holders: np.ndarray, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(the column of each word, the weight of each column): words that are neither in most records nor in few."""
    held = np.unique(holders * size + words) % size
    inside = np.bincount(held, minlength=size)
    fewest = max(SEEN if count > 10 * SEEN else 1, count // RARE)
    fit = np.flatnonzero((inside >= fewest) & (inside * COMMON <= max(count, COMMON)))
    best = np.sort(fit[np.lexsort((fit, -inside[fit]))][:WORDS])
    columns = np.full(size, -1)
    columns[best] = np.arange(len(best))
    weights = np.array([round(64 * math.log2(count / inside[word])) + 1 for word in best], np.int64)
    return columns, weights


def to_vectors(
    words: np.ndarray, holders: np.ndarray, count: int, columns: np.ndarray, weights: np.ndarray
) -> "csr_array":
    """Records as rows of length :data:`UNIT`; a word weighs by its rarity and the logarithm of its count."""
    from scipy.sparse import csr_array

    column = columns[words]
    width = max(len(weights), 1)
    cells, times = np.unique((holders * width + column)[column >= 0], return_counts=True)
    row, column = np.divmod(cells, width)
    heavy = weights[column] * np.frexp(times)[1] if len(cells) else cells
    squares = np.zeros(count, np.int64)
    np.add.at(squares, row, heavy * heavy)
    values = np.rint(heavy * UNIT / np.sqrt(squares[row])).astype(np.int64)
    return csr_array((values, (row, column)), shape=(count, width))


def cluster(vectors: "csr_array", wanted: int) -> np.ndarray:
    """The centres, [columns, clusters]."""
    centres = anchors(vectors, wanted)
    found = nearest(vectors, centres)
    for _ in range(ROUNDS):
        centres = middle(vectors, found, centres.shape[1])
        before, found = found, nearest(vectors, centres)
        if np.array_equal(before, found):
            break
    return centres


def anchors(vectors: "csr_array", wanted: int) -> np.ndarray:
    """First centres: the mean record of each of the words that, in turn, are in most of the records not yet met."""
    left = np.ones(vectors.shape[0], np.int64)
    by_word = vectors.T.tocsr()
    groups = np.full(vectors.shape[0], -1)
    for chosen in range(wanted):
        gain = by_word @ left
        word = int(np.argmax(gain)) if len(gain) else 0
        if not len(gain) or not gain[word]:
            wanted = chosen
            break
        holding = by_word.indices[by_word.indptr[word] : by_word.indptr[word + 1]]
        groups[holding[left[holding] > 0]] = chosen
        left[holding] = 0
    return middle(vectors, groups, wanted)


def middle(vectors: "csr_array", found: np.ndarray, count: int) -> np.ndarray:
    """The mean direction of each cluster's records, [columns, clusters], of length :data:`UNIT`; empty ones go."""
    sums = totals(vectors, found, count)
    sums = sums[:, sums.any(axis=0)]
    lengths = np.sqrt((sums * sums).sum(axis=0))
    return np.rint(sums * UNIT / lengths).astype(np.int64)


def totals(vectors: "csr_array", found: np.ndarray, count: int) -> np.ndarray:
    """What the records of each cluster weigh together, word by word, [columns, clusters]."""
    sums = np.zeros((vectors.shape[1], count), np.int64)
    owners = np.repeat(found, np.diff(vectors.indptr))
    inside = owners >= 0
    np.add.at(sums, (vectors.indices[inside], owners[inside]), vectors.data[inside])
    return sums


def nearest(vectors: "csr_array", centres: np.ndarray) -> np.ndarray:
    """The cluster of each record, of equals the first; -1 where none has a word of it."""
    if not centres.shape[1]:
        return np.full(vectors.shape[0], -1)
    likeness = vectors @ centres
    return np.where(likeness.any(axis=1), likeness.argmax(axis=1), -1)


def name(vectors: "csr_array", centres: np.ndarray, spelt: list[str]) -> list[list[str]]:
    """The words of each cluster that weigh most there and least elsewhere; none repeats a syllable of another."""
    sums = totals(vectors, nearest(vectors, centres), centres.shape[1])
    whole = np.array([1 + (" " in word) for word in spelt])  # a syllable alone is often half a word
    scores = sums * (sums / np.maximum(sums.sum(axis=1, keepdims=True), 1)) * whole[:, None]
    return [list(distinct(scores[:, place], spelt)) for place in range(centres.shape[1])]


def distinct(scores: np.ndarray, spelt: list[str]) -> Iterator[str]:
    """The best words, of equals the first in the alphabet."""
    used: set[str] = set()
    best = np.argsort(-scores, kind="stable")[: 20 * NAMED]
    given = 0
    for place in sorted(best, key=lambda place: (-scores[place], spelt[place])):
        parts = spelt[place].split(" ")
        if given < NAMED and scores[place] > 0 and used.isdisjoint(parts):
            used.update(parts)
            given += 1
            yield spelt[place]


def spellings(known: dict[str, int], pairs: np.ndarray) -> list[str]:
    """Words as they are written, by number."""
    single = ["", *known]
    first, second = np.divmod(pairs, len(single))
    return single + [f"{single[one]} {single[two]}" for one, two in zip(first, second, strict=True)]
