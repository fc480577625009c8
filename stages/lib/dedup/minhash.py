"""Near-duplicates: MinHash finds candidates, exact Jaccard similarity decides.

Signatures are split into bands, and texts that agree in a whole band are candidates (Broder 1997; Leskovec
et al., "Mining of Massive Datasets", ch. 3). Of a signature only the 32-bit hash of each band is kept. Equal
band keys are found by sorting, in the order of the rows. Everything is a function of the texts and the params:
no hidden seed, no order of threads.

Two engines give the same numbers: numpy, at once, and compiled loops, some hundred times as fast after seconds
of compiling. Not covered: which rows are then one family (``families.py``).
"""

import itertools
import queue
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.lib.dedup import shingles
from stages.lib.dedup.shingles import I64, TOKEN, U32, U64, Texts, digest, mix
from stages.lib.params import Dedup

COMPILED_FROM = 1 << 25  # bytes of text: what numpy reads in the time that compiling takes
COMPARED = 1 << 17  # pairs of rows in one band that are compared without compiling


class Engine(NamedTuple):
    """Three steps of the work; each fills in the arrays that it is given."""

    sketch: Callable[[Texts, U64, U64, U32, U32, U32], None]  # texts, seeds → exact, bands, lengths, runs
    sets: Callable[[Texts, I64, U32, I64, U32], None]  # texts, rows, starts → values, sizes
    connect: Callable[[U32, I64, U32, U32, I64, U32, U64, float], None]  # see `connect`


def engine(size: int, dedup: Dedup) -> Engine:
    """The engine that is done first with so many bytes."""
    return (with_numba if size >= COMPILED_FROM else with_numpy)(dedup.shingle, dedup.permutations)


def permutations(count: int) -> tuple[U32, U32]:
    """Odd multipliers and offsets of ``count`` permutations of the 32-bit numbers."""
    numbers = np.array([digest(f"permutation {index}") >> 32 for index in range(2 * count)], dtype=np.uint32)
    return numbers[:count] | np.uint32(1), numbers[count:]


def signatures(values: U32, offsets: I64, count: int) -> U32:
    """The minimum of each of ``count`` permutations over each set; shape (permutations, sets)."""
    factors, shifts = permutations(count)
    found = np.empty((count, len(offsets) - 1), dtype=np.uint32)
    for place, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
        found[place] = np.minimum.reduceat(values * factor + shift, offsets[:-1])
    return found


def with_numpy(size: int, count: int) -> Engine:
    """The engine that is ready at once, for ``count`` permutations of shingles of ``size`` tokens."""

    def sketch(texts: Texts, seeds: U64, exact: U64, bands: U32, lengths: U32, runs: U32) -> None:
        found = shingles.shingle(texts, size)
        exact[:], lengths[:], runs[:] = found.exact, found.lengths, np.diff(found.offsets)
        signed = signatures(found.values, found.offsets, count)
        for band, rows in enumerate(np.split(signed, len(bands))):
            key = seeds
            for row in rows:
                key = key * np.uint64(TOKEN) + row
            bands[band] = mix(key) >> np.uint64(32)

    def sets(texts: Texts, rows: I64, values: U32, starts: I64, sizes: U32) -> None:
        found = shingles.shingle(texts, size)
        for row in rows:
            one = np.unique(found.values[found.offsets[row] : found.offsets[row + 1]])
            values[starts[row] : starts[row] + len(one)] = one
            sizes[row] = len(one)

    return Engine(sketch, sets, connect_soon)


def with_numba(size: int, count: int) -> Engine:
    """The engine for many texts; its steps hold no lock."""
    from stages.lib.dedup import kernels, overlap

    tables = (shingles.WORD, *kernels.alphabet())
    factors, shifts = permutations(count)
    # each thread borrows a table of spellings and gives it back with what it learnt
    memories: queue.SimpleQueue[U64] = queue.SimpleQueue()

    def borrow() -> U64:
        try:
            return memories.get_nowait()
        except queue.Empty:
            return kernels.memory()

    def sketch(texts: Texts, seeds: U64, exact: U64, bands: U32, lengths: U32, runs: U32) -> None:
        memory, keys = borrow(), np.empty(bands.shape, dtype=np.uint32)
        kernels.sketch(tuple(texts), size, factors, shifts, seeds, tables, memory, exact, keys, lengths, runs)
        bands[:] = keys  # a view of another layout would be compiled for anew
        memories.put(memory)

    def sets(texts: Texts, rows: I64, values: U32, starts: I64, sizes: U32) -> None:
        memory = borrow()
        kernels.sets(tuple(texts), size, tables, memory, rows, values, starts, sizes)
        memories.put(memory)

    return Engine(sketch, sets, overlap.connect)


def buckets(keys: U32, rows: U32) -> tuple[U32, I64]:
    """The rows whose key another row has too, bucket by bucket and in order, and where each bucket begins."""
    packed = keys[rows].astype(np.uint64) << np.uint64(32) | rows
    packed.sort()
    sorted_keys = (packed >> np.uint64(32)).astype(np.uint32)
    same = sorted_keys[1:] == sorted_keys[:-1]
    inside = np.zeros(len(packed), dtype=bool)
    inside[1:] |= same
    inside[:-1] |= same
    begins = np.flatnonzero(inside & ~np.concatenate(([False], same))[: len(packed)])
    places = np.cumsum(inside, dtype=np.int64) - 1
    bounds = np.append(places[begins], places[-1] + 1 if len(places) else 0)
    return (packed[inside] & np.uint64(0xFFFFFFFF)).astype(np.uint32), bounds


def once(found: list[tuple[U32, I64]]) -> list[tuple[U32, I64]]:
    """The same buckets, those of two rows once however many bands they come from, in the order of their rows."""
    pairs, larger = [], []
    for members, bounds in found:
        sizes = np.diff(bounds)
        first = bounds[:-1][sizes == 2]
        pairs.append(members[first].astype(np.uint64) << np.uint64(32) | members[first + 1])
        wide = sizes > 2
        larger.append((members[np.repeat(wide, sizes)], np.concatenate(([0], np.cumsum(sizes[wide])))))
    packed = np.concatenate(pairs)
    packed.sort()  # quicker than np.unique, which hashes
    packed = packed[np.append(True, packed[1:] != packed[:-1])[: len(packed)]]
    twos = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32).ravel()
    return [(twos, np.arange(0, len(twos) + 1, 2)), *larger]


def connect(
    members: U32, bounds: I64, parent: U32, values: U32, starts: I64, sizes: U32, siblings: U64, threshold: float
) -> None:
    """Join in each bucket the rows whose sets are alike; siblings are not, and joined rows are not compared."""
    kept: dict[int, frozenset[int]] = {}

    def shingles_of(row: int) -> frozenset[int]:
        if row not in kept:
            kept[row] = frozenset(values[starts[row] : starts[row] + sizes[row]].tolist())
        return kept[row]

    for begin, end in itertools.pairwise(bounds.tolist()):
        rows = members[begin:end].tolist()
        if len({find(parent, row) for row in rows}) == 1:
            continue
        for row, other in itertools.combinations(rows, 2):
            one, two = find(parent, row), find(parent, other)
            related = siblings[row] and siblings[row] == siblings[other]
            if one != two and not related and jaccard(shingles_of(row), shingles_of(other)) >= threshold:
                parent[max(one, two)] = min(one, two)


def connect_soon(
    members: U32, bounds: I64, parent: U32, values: U32, starts: I64, sizes: U32, siblings: U64, threshold: float
) -> None:
    """The same, compiled where so many pairs are to be compared that compiling takes less time."""
    counts = np.diff(bounds)
    join = connect
    if (counts * (counts - 1) // 2).sum() > COMPARED:
        from stages.lib.dedup import overlap

        join = overlap.connect
    join(members, bounds, parent, values, starts, sizes, siblings, threshold)


def find(parent: U32, row: int) -> int:
    """The smallest member of a family."""
    while (above := int(parent[row])) != row:
        parent[row] = parent[above]
        row = int(parent[row])
    return row


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """The share of shingles that two sets have in common, 0 to 1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
