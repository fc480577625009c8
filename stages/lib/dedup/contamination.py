"""Which texts hold a benchmark's question: as it is, a long run of it, or nearly all of it.

Texts are tokens (``shingles.py``), so nothing depends on case, composition or tone placement. A question
of fewer than ``ngram`` tokens is looked for as a whole; of a longer one every run of ``ngram`` tokens is, and its runs
of three, of which a text may hold the share ``near`` of the distinct ones, if it also holds the question's numbers:
with others it is another question. That is containment, exact, where MinHash would estimate it: a text that holds so
many shingles holds one of the question's rarest (prefix filtering, Chaudhuri et al. 2006), and only the few texts
that do are compared with it.

What many questions begin or end with (*Chọn đáp án đúng …*) is a template and no evidence for one of them: a run
counts only where more than half of it is the question's own, and of its runs of three those that hold something of its
own. What has too few tokens, such as *12 + 5*, or too few of its own, is looked for as all that a record asks at first,
with its signs. Not covered: the same question in other words.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from stages.lib.dedup import shingles
from stages.lib.dedup.shingles import I64, TOKEN, U64, Texts
from stages.lib.text import vietnamese

SHORTEST = 3  # tokens: fewer than these in a row are no question
SHINGLE = 3  # tokens
SHARED = 3  # questions may hold one run, as wordings of one question do; what more hold is a template
BITS = 20  # of the table that most runs are told apart by
DIGITS = re.compile(r"\d+")
BLANK = re.compile(r" ?([^\w ]) ?")  # which signs may stand with or without
CLOSING = " =?.:!…"
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
    alone: dict[str, int]  # the questions that are looked for as all that is asked, by :func:`key`


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
    from stages.lib.dedup import kernels

    tables = (shingles.WORD, *kernels.alphabet())

    def read_compiled(texts: Texts) -> tuple[U64, I64]:
        keys = np.empty(int(texts.messages[-1] - texts.messages[0]) + 1, dtype=np.uint64)
        counts = np.zeros(len(texts.messages) - 1, dtype=np.int64)
        kernels.fill_tokens(tuple(texts), tables, kernels.memory(), keys, counts)
        return keys[: int(counts.sum())], counts

    return read_compiled


def index(questions: list[str], ngram: int, share: float) -> Index:
    """The distinct questions."""
    distinct = list(dict.fromkeys(questions))
    keys, counts = reader(False)(shingles.of_strings(distinct))
    message = np.repeat(np.arange(len(counts)), counts)
    common = templates(keys, message, ngram)
    own = np.concatenate(([0], np.cumsum(~common)))  # tokens before each
    blended, peculiar = (np.bincount(message[which], minlength=len(counts)) > 0 for which in (common, ~common))
    runs = {}
    for length, found, of in hashed(keys, message, ngram - 1):
        wanted = (counts[of] == length) & (length >= SHORTEST)
        if wanted.any():
            runs[length] = hashes(found[wanted], of[wanted])
    found, of, starts = within(keys, message, ngram)
    wanted = 2 * (own[starts + ngram] - own[starts]) > ngram
    if wanted.any():
        runs[ngram] = hashes(found[wanted], of[wanted])
    found, of, starts = within(keys, message, SHINGLE)
    wanted = (counts[of] >= ngram) & ((own[starts + SHINGLE] > own[starts]) | ~peculiar[of])
    known = hashes(found[wanted], of[wanted])
    few = blended & (np.bincount(known.questions, minlength=len(counts)) < SHORTEST)
    known = hashes(found[wanted & ~few[of]], of[wanted & ~few[of]])
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
    lone = np.flatnonzero(few | (counts < SHORTEST)).tolist()
    alone = {asked: question for question in reversed(lone) if (asked := key(distinct[question]))}
    return Index(distinct, runs, chosen, values, bounds, share, alone)


def templates(keys: U64, message: I64, ngram: int) -> "np.typing.NDArray[np.bool_]":
    """Whether each token stands in a run that more than :data:`SHARED` questions hold."""
    ends = np.zeros(len(keys) + 1, dtype=np.int64)
    found, of, starts = within(keys, message, ngram)
    known = hashes(found, of)
    shared = starts[np.isin(found, known.values[np.diff(known.bounds) > SHARED])]
    np.add.at(ends, shared, 1)
    np.add.at(ends, shared + ngram, -1)
    return np.cumsum(ends)[:-1] > 0


def within(keys: U64, message: I64, length: int) -> tuple[U64, I64, I64]:
    """The hash of each run of so many tokens within a message, its message, and its first token."""
    for reached, found, of in hashed(keys, message, length):
        if reached == length:
            return found, of, np.flatnonzero(message[length - 1 :] == message[: len(keys) - length + 1])
    return keys[:0], message[:0], message[:0]


def key(text: str) -> str:
    """A question as it is looked for where it is all that is asked; empty for one that asks nothing."""
    return BLANK.sub(r"\1", vietnamese.fold(text)).strip(CLOSING)


def told(index: Index) -> dict[str, int]:
    """How many questions there are, how many are looked for only as all that is asked, and how many not at all."""
    return {
        "questions": len(index.questions),
        "alone": len(index.alone),
        "unsearched": sum(not key(question) for question in index.questions),
    }


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


def repeated(index: Index, asked: str) -> int | None:
    """The question that is all that is asked, if any."""
    # folding takes away blanks and closing signs, and marks from their letters
    longest = max(map(len, index.alone), default=0)
    return index.alone.get(key(asked)) if len(asked) <= 4 * longest + 20 else None


def same_numbers(question: str, text: str) -> bool:
    """Whether a text holds all numbers of a question: with others it asks something else."""
    return set(DIGITS.findall(THOUSANDS.sub("", question))) <= set(DIGITS.findall(THOUSANDS.sub("", text)))
