"""MinHash on a Ray cluster: texts go out batch by batch, sketches and shingle sets come back.

Reading the table, sorting the bands, comparing the candidates and joining families stay on one node: they take a
fifth of the work and need all rows' keys in one place. Not covered: tables whose keys do not fit that node
(``families.py`` tells how many bytes a row takes).
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from stages.lib import cluster
from stages.lib.dedup import minhash
from stages.lib.dedup.shingles import I64, U32, U64, Texts
from stages.lib.params import Dedup

RETRIES = cluster.RETRIES


@contextmanager
def sketching(size: int, dedup: Dedup) -> Iterator[tuple[minhash.Engine, int]]:
    """An engine for so many bytes of text whose readings are done by Ray, and how many of them may run at a time."""
    with cluster.connected() as ray:
        sketches = ray.remote(num_cpus=1, max_retries=RETRIES)(sketched)
        drawings = ray.remote(num_cpus=1, max_retries=RETRIES)(drawn)

        def sketch(texts: Texts, seeds: U64, exact: U64, bands: U32, lengths: U32, runs: U32) -> None:
            task = sketches.remote(size, dedup, texts, seeds)
            exact[:], bands[:], lengths[:], runs[:] = cluster.result(ray, task)

        def sets(texts: Texts, rows: I64, values: U32, starts: I64, sizes: U32) -> None:
            if len(rows):
                begin, end = int(starts[rows[0]]), int(starts[rows[-1]] + sizes[rows[-1]])
                task = drawings.remote(size, dedup, texts, rows, starts - begin, sizes, end - begin)
                values[begin:end], sizes[:] = cluster.result(ray, task)

        workers = int(ray.cluster_resources()["CPU"])
        yield minhash.Engine(sketch, sets, local(size, dedup).connect), workers


@functools.cache
def local(size: int, dedup: Dedup) -> minhash.Engine:
    """The engine of this process: compiled once in each worker."""
    return minhash.engine(size, dedup)


def sketched(size: int, dedup: Dedup, texts: Texts, seeds: U64) -> tuple[U64, U32, U32, U32]:
    """What a worker makes of a batch: (exact, bands, lengths, runs)."""
    rows = len(seeds)
    exact, bands = np.zeros(rows, dtype=np.uint64), np.zeros((dedup.bands, rows), dtype=np.uint32)
    lengths, runs = np.zeros(len(texts.messages) - 1, dtype=np.uint32), np.zeros(rows, dtype=np.uint32)
    local(size, dedup).sketch(texts, seeds, exact, bands, lengths, runs)
    return exact, bands, lengths, runs


def drawn(size: int, dedup: Dedup, texts: Texts, rows: I64, starts: I64, sizes: U32, room: int) -> tuple[U32, U32]:
    """The shingle sets of some rows of a batch, from ``starts`` on, and how large each is."""
    values, found = np.zeros(room, dtype=np.uint32), np.array(sizes)
    local(size, dedup).sets(texts, rows, values, starts, found)
    return values, found
