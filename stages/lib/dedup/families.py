"""Families of near-duplicates among any number of records, read twice and never held.

First reading: of each record the hash of all it says and its band keys. Rows that say the same are one family at
once, and one of them stands for all. Rows whose band key another row has too are suspects: the second reading
keeps their shingle sets, exact Jaccard similarity decides, and families are the connected components of what is
alike. Which pairs are alike is a function of the texts, so no order of rows, batches or threads can matter.

Memory, by record: 4 bytes a band until the bands are sorted, then 4 for each band that makes it a suspect and 4
for each shingle of a suspect; 41 bytes throughout; and a few batches. A bucket of many takes, while it is worked on,
about as much again as its rows' shingles. Not covered: which of a family is kept (``stages/dedup.py``).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from stages.lib.dedup import minhash
from stages.lib.dedup.minhash import Engine
from stages.lib.dedup.shingles import I64, TOKEN, U32, U64, Texts
from stages.lib.params import Dedup

Given = TypeVar("Given")
Made = TypeVar("Made")


class Batch(NamedTuple):
    """Consecutive records: only those of one kind (a hash) are compared, and siblings (0: none) are not."""

    texts: Texts
    kinds: U64
    siblings: U64
    answers: I64  # the message whose length counts; -1 where there is none


class Families(NamedTuple):
    """Of each row: the first of its family, the first that says the same, the hash of both, its answer's length."""

    root: U32
    twin: U32
    exact: U64
    answer: U32
    values: U32
    starts: I64
    sizes: U32

    def similarity(self, one: int, other: int) -> float:
        """The exact Jaccard similarity of two rows of one family."""
        if self.exact[one] == self.exact[other]:
            return 1.0
        first, second = (
            self.values[self.starts[row] : self.starts[row] + self.sizes[row]] for row in self.twin[[one, other]]
        )
        shared = len(np.intersect1d(first, second, assume_unique=True))
        return shared / (len(first) + len(second) - shared)


def find(
    read: Callable[[], Iterable[Batch]],
    rows: int,
    dedup: Dedup,
    engine: Engine,
    workers: int,
    advance: Callable[[int], object] = lambda done: None,
) -> Families:
    """The families of ``rows`` records; ``read`` is called twice, ``advance`` with the rows done in each reading."""
    exact, siblings = np.zeros(rows, dtype=np.uint64), np.zeros(rows, dtype=np.uint64)
    answer, sizes = np.zeros(rows, dtype=np.uint32), np.zeros(rows, dtype=np.uint32)

    def sketch(place: int, batch: Batch) -> int:
        here = slice(place, place + len(batch.kinds))
        lengths = np.zeros(len(batch.texts.messages) - 1, dtype=np.uint32)
        engine.sketch(batch.texts, batch.kinds, exact[here], bands[:, here], lengths, sizes[here])
        exact[here] = exact[here] * np.uint64(TOKEN) + batch.kinds
        siblings[here] = batch.siblings
        answer[here] = np.where(batch.answers >= 0, np.append(lengths, np.uint32(0))[batch.answers], 0)
        return len(batch.kinds)

    bands = np.zeros((dedup.bands, rows), dtype=np.uint32)
    for done in spread(sketch, placed(read()), workers):
        advance(done)
    twin = twins(exact, siblings)
    alone = np.flatnonzero(twin == np.arange(rows, dtype=np.uint32)).astype(np.uint32)
    found = list(spread(lambda _, keys: minhash.buckets(keys, alone), enumerate(bands), workers))
    bands = np.zeros((dedup.bands, 0), dtype=np.uint32)  # the keys have served
    found = minhash.once(found)
    suspect = np.zeros(rows, dtype=bool)
    for members, _ in found:
        suspect[members] = True
    sizes[~suspect] = 0
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    values = np.empty(int(sizes.sum(dtype=np.int64)), dtype=np.uint32)

    def collect(place: int, batch: Batch) -> int:
        here = slice(place, place + len(batch.kinds))
        engine.sets(batch.texts, np.flatnonzero(suspect[here]), values, starts[here], sizes[here])
        return len(batch.kinds)

    for done in spread(collect, placed(read()), workers):
        advance(done)
    parent = twin.copy()
    for members, bounds in found:
        engine.connect(members, bounds, parent, values, starts, sizes, siblings, dedup.threshold)
    return Families(roots(parent), twin, exact, answer, values, starts, sizes)


def placed(batches: Iterable[Batch]) -> Iterator[tuple[int, Batch]]:
    """Each batch and the number of its first row."""
    place = 0
    for batch in batches:
        yield place, batch
        place += len(batch.kinds)


def spread(work: Callable[[int, Given], Made], items: Iterable[tuple[int, Given]], workers: int) -> Iterator[Made]:
    """What some threads make of some things, in order; few things wait at a time."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Made]] = deque()
        for place, item in items:
            waiting.append(pool.submit(work, place, item))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def twins(exact: U64, siblings: U64) -> U32:
    """For each row the first that says the same and has the same siblings."""
    keys = exact + siblings * np.uint64(TOKEN)
    order = np.argsort(keys, kind="stable")
    new = np.append(True, keys[order[1:]] != keys[order[:-1]])[: len(keys)]
    first = np.empty(len(keys), dtype=np.uint32)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return first


def roots(parent: U32) -> npt.NDArray[np.uint32]:
    """The first row of each row's family."""
    while (above := parent[parent]).tobytes() != parent.tobytes():
        parent = above
    return parent
