"""Which texts hold a benchmark's question: as it is, a long run of it, or nearly all of it.

Texts are tokens (``stages/lib/shingles.py``), so nothing depends on case, composition or tone placement. A question
of fewer than ``ngram`` tokens is looked for as a whole; of a longer one every run of ``ngram`` tokens is, and its runs
of three, of which a text may hold the share ``near`` of the distinct ones, if it also holds the question's numbers:
with others it is another question. That is containment, exact, where MinHash would estimate it: a text that holds so
many shingles holds one of the question's rarest (prefix filtering, Chaudhuri et al. 2006), and only the few texts
that do are compared with it. Not covered: the same question in other words.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from stages.lib import shingles
from stages.lib.shingles import I64, TOKEN, U64, Texts

SHORTEST = 3  # tokens: fewer than these in a row are no question
SHINGLE = 3  # tokens
BITS = 20  # of the table that most runs are told apart by
DIGITS = re.compile(r"\d+")
THOUSANDS = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")  # 1.000 and 1,000 are 1000

Reader = Callable[[Texts], tuple[U64, I64]]  # a batch's token keys, and the number of tokens of each message


class Hashes(NamedTuple):
    """Some runs of tokens: their hashes in order, the questions of each, and a table to pass most others by."""

    values: U64
    questions: I64  # those of run r from ``bounds[r]``
    bounds: I64
    table: "np.typing.NDArray[np.bool_]"


class Index(NamedTuple):
    """The questions of all benchmarks, to be found in texts."""

    questions: list[str]
    runs: dict[int, Hashes]  # by length in tokens
    rare: Hashes  # of each longer question so many of its rarest shingles that one must be met
    shingles: U64  # the distinct ones of question q from ``bounds[q]``; none of one that is looked for as a whole
    bounds: I64
    near: float


class Hit(NamedTuple):
    """A message that holds a question."""

    message: int
    question: int
    share: float  # of the question's shingles; 1 for a run or the whole


@functools.cache
def reader(compiled: bool) -> Reader:
    """What reads token keys: numpy, at once, or loops that take seconds to compile and then a tenth of the time."""

    def read(texts: Texts) -> tuple[U64, I64]:
        keys, message = shingles.tokens(*shingles.decode(texts))
        return keys, np.bincount(message, minlength=len(texts.messages) - 1)

    if not compiled:
        return read
    from stages.lib import kernels

    tables = (shingles.WORD, *kernels.alphabet())

    def read_compiled(texts: Texts) -> tuple[U64, I64]:
        keys = np.empty(int(texts.messages[-1] - texts.messages[0]) + 1, dtype=np.uint64)
        counts = np.zeros(len(texts.messages) - 1, dtype=np.int64)
        kernels.fill_tokens(tuple(texts), tables, kernels.memory(), keys, counts)
        return keys[: int(counts.sum())], counts

    return read_compiled


def index(questions: list[str], ngram: int, share: float) -> Index:
    """The distinct questions that have at least :data:`SHORTEST` tokens."""
    distinct = list(dict.fromkeys(questions))
    keys, counts = reader(False)(shingles.of_strings(distinct))
    message = np.repeat(np.arange(len(counts)), counts)
    runs, long = {}, counts >= ngram
    for length, found, of in hashed(keys, message, ngram):
        wanted = long[of] if length == ngram else (counts[of] == length) & (length >= SHORTEST)
        if wanted.any():
            runs[length] = hashes(found[wanted], of[wanted])
    *_, (_, found, of) = [(0, keys[:0], message[:0]), *hashed(keys, message, SHINGLE)]
    known = hashes(found[long[of]], of[long[of]])
    often = np.diff(known.bounds)
    pairs = sorted(
        (question, int(often[run]), int(known.values[run]))
        for run in range(len(often))
        for question in known.questions[known.bounds[run] : known.bounds[run + 1]].tolist()
    )
    bounds = np.searchsorted([question for question, *_ in pairs], np.arange(len(distinct) + 1))
    values = np.array([value for *_, value in pairs], dtype=np.uint64)
    rare = [
        (values[place], question)
        for question, (begin, end) in enumerate(itertools.pairwise(bounds.tolist()))
        for place in range(begin, min(end, begin + spare(end - begin, share) + 1))
    ]
    chosen = hashes(np.array([v for v, _ in rare], dtype=np.uint64), np.array([q for _, q in rare], dtype=np.int64))
    return Index(distinct, runs, chosen, values, bounds, share)


def spare(count: int, share: float) -> int:
    """How many of a question's shingles may be missing."""
    return count - math.ceil(share * count - 1e-9)


def hashed(keys: U64, message: I64, longest: int) -> Iterator[tuple[int, U64, I64]]:
    """(length, hash of each run of that many tokens within a message, its message), up to ``longest``."""
    found = np.zeros(len(keys), dtype=np.uint64)
    for length in range(1, min(longest, len(keys)) + 1):
        found = found[: len(keys) - length + 1] * np.uint64(TOKEN) + keys[length - 1 :]
        inside = message[length - 1 :] == message[: len(keys) - length + 1]
        yield length, shingles.mix(found[inside]), message[: len(keys) - length + 1][inside]


def hashes(values: U64, questions: I64) -> Hashes:
    """Runs and their questions, each pair once."""
    pairs = np.unique(np.stack([values, questions.astype(np.uint64)], axis=1), axis=0)
    begins = np.flatnonzero(np.append(True, pairs[1:, 0] != pairs[:-1, 0])[: len(pairs)])
    table = np.zeros(1 << BITS, dtype=bool)
    table[pairs[:, 0] >> np.uint64(64 - BITS)] = True
    return Hashes(pairs[begins, 0], pairs[:, 1].astype(np.int64), np.append(begins, len(pairs)), table)


def places(values: U64, known: Hashes) -> tuple[I64, I64]:
    """(where a known run is among these, which one it is)."""
    near = np.flatnonzero(known.table[values >> np.uint64(64 - BITS)])
    which = np.searchsorted(known.values, values[near])
    same = which < len(known.values)
    same[same] = known.values[which[same]] == values[near][same]
    return near[same], which[same]


def find(index: Index, keys: U64, counts: I64) -> Iterator[Hit]:
    """The messages that hold a question, with the first such question, in no order; a message may come twice."""
    message = np.repeat(np.arange(len(counts)), counts)
    longest = max([SHINGLE, *index.runs])
    for length, values, of in hashed(keys, message, longest):
        if length in index.runs:
            known = index.runs[length]
            for place, which in zip(*places(values, known), strict=True):
                yield Hit(int(of[place]), int(known.questions[known.bounds[which]]), 1.0)
        if length == SHINGLE:
            yield from close(index, values, of)


def close(index: Index, values: U64, of: I64) -> Iterator[Hit]:
    """The messages that hold most shingles of a question."""
    met = set[tuple[int, int]]()
    for place, which in zip(*places(values, index.rare), strict=True):
        asked = index.rare.questions[index.rare.bounds[which] : index.rare.bounds[which + 1]]
        met |= {(int(of[place]), question) for question in asked.tolist()}
    for message, question in sorted(met):
        mine = values[slice(*np.searchsorted(of, [message, message + 1]))]
        wanted = index.shingles[index.bounds[question] : index.bounds[question + 1]]
        share = float(np.isin(wanted, mine).mean())
        if share >= index.near:
            yield Hit(message, question, share)


def same_numbers(question: str, text: str) -> bool:
    """Whether a text holds all numbers of a question: with others it asks something else."""
    return set(DIGITS.findall(THOUSANDS.sub("", question))) <= set(DIGITS.findall(THOUSANDS.sub("", text)))
