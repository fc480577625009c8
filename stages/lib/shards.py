"""Tables sifted shard by shard, in this process, in processes of this machine or on a Ray cluster.

A shard is so many rows as the tables' sizes alone say. What is done to one is a pure function, few shards wait at a
time, and one writer appends what was made of them in their order: so the output is the same bytes whoever did the
work, in whatever order it was done, and memory does not grow with the tables. A worker that is killed is replaced and
its shard done again. Not covered: work that looks at more than one row (``stages/lib/dedup/families.py``).
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib import cluster, records
from stages.lib.contract import Refusal
from stages.lib.params import Runner
from stages.lib.records import DROPPED, SCHEMA, Record, Verdict

ROWS = 1024  # of a shard, at most
POOLED_FROM = 1 << 24  # bytes of records, of which a second cleans some two million: others take as long to start


class Sifted(NamedTuple):
    """A shard's rows: those that stay, and those that go with their ``reason`` and ``detail``."""

    kept: pa.RecordBatch
    dropped: pa.RecordBatch


Work = Callable[[pa.RecordBatch], Sifted]  # a pure function that can be pickled
STARTED: list[Work] = []  # in a worker, what it does: sent once, since a table of phrases may be large
Judge = Callable[[Record], tuple[Record, Verdict | None]]  # the record as it goes on, and why it does not


def sift(
    tables: Iterable[Path], kept: Path, dropped: Path, work: Work, runner: Runner, schema: pa.Schema = SCHEMA
) -> None:
    """Write what ``work`` keeps of some tables' rows to one table, and the rest to another. Nothing vanishes."""
    paths = list(tables)
    size = sum(map(records.size, paths))
    shards = chain.from_iterable(records.batches(path, most=ROWS) for path in paths)
    write(spread(work, shards, size, runner), kept, dropped, schema)


def write(sifted: Iterable[Sifted], kept: Path, dropped: Path, schema: pa.Schema = SCHEMA) -> None:
    """Write sifted shards in the order in which they come."""
    with records.Table(kept, schema) as keep, records.Table(dropped, DROPPED) as drop:
        for found in sifted:
            keep.append(found.kept)
            drop.append(found.dropped)


def spread(work: Work, shards: Iterable[pa.RecordBatch], size: int, runner: Runner) -> Iterator[Sifted]:
    """What is made of each shard, in order; ``size`` is that of all together in bytes."""
    workers = processors()
    if runner == "ray":
        made = cluster.spread(done, (pack(shard) for shard in shards), work)
    elif size < POOLED_FROM or workers == 1:
        return map(work, shards)
    else:
        made = pooled(work, (pack(shard) for shard in shards), workers)
    return (Sifted(*map(unpack, packed)) for packed in made)


def processors() -> int:
    """How many processors there are to use; no result depends on it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def judged(shard: pa.RecordBatch, judge: Judge) -> Sifted:
    """A shard of records, each judged by itself; an error names the record at which it arose."""
    kept: list[Record] = []
    dropped: list[dict[str, Any]] = []
    for record in shard.to_pylist():
        try:
            new, verdict = judge(record)
        except Exception as error:  # whatever it is goes on, with the place where it arose
            error.add_note(f"at the record of {record['source']} whose upstream is {record['upstream']}")
            raise
        if verdict is None:
            kept.append(new)
        else:
            reason, detail = verdict
            dropped.append({**new, "reason": reason, "detail": detail})
    return Sifted(records.batch(kept, SCHEMA), records.batch(dropped, DROPPED))


def parted(shard: pa.RecordBatch, verdicts: Mapping[int, Verdict]) -> Sifted:
    """A shard's rows without a verdict and those with one, by their position."""
    rows = sorted(verdicts)
    gone = pa.array([row in verdicts for row in range(len(shard))], pa.bool_())
    dropped = shard.filter(gone)
    for place, name in enumerate(("reason", "detail")):
        dropped = dropped.append_column(name, pa.array([verdicts[row][place] for row in rows], pa.string()))
    return Sifted(shard.filter(pc.invert(gone)), dropped)


def pack(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as bytes; of a piece of a larger one no more than the piece."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def unpack(packed: pa.Buffer) -> pa.RecordBatch:
    """The batch that was packed; no text is copied."""
    with pa.ipc.open_stream(packed) as stream:
        return stream.read_next_batch()


def done(work: Work, shard: pa.Buffer) -> tuple[pa.Buffer, pa.Buffer]:
    """What a worker does."""
    found = work(unpack(shard))
    return pack(found.kept), pack(found.dropped)


def pooled(work: Work, shards: Iterator[pa.Buffer], workers: int) -> Iterator[tuple[pa.Buffer, pa.Buffer]]:
    """What processes of this machine make of each shard, in order."""
    context = multiprocessing.get_context("spawn")  # a fork would take over locks that threads of Arrow hold
    waiting: deque[pa.Buffer] = deque()
    lost = 0
    while True:  # once, and again with new processes when one was killed
        with ProcessPoolExecutor(workers, context, initializer=begin, initargs=(work,)) as pool:
            try:
                futures = deque(pool.submit(go_on, shard) for shard in waiting)
                while True:
                    while len(waiting) < workers + 2 and (shard := next(shards, None)) is not None:
                        waiting.append(shard)
                        futures.append(pool.submit(go_on, shard))
                    if not waiting:
                        return
                    made = futures.popleft().result()
                    waiting.popleft()
                    lost = 0
                    yield made
            except BrokenProcessPool:
                lost += 1
                if lost > cluster.RETRIES:
                    raise Refusal(
                        f"a worker was killed {lost} times at the same rows, perhaps for the memory that it took;"
                        " `dmesg` may tell. Close other programs, or set `engine: ray` and take more machines"
                    ) from None


def begin(work: Work) -> None:
    """Take up what this process is to do, and end when the one that started it is gone, however that ended."""
    STARTED.append(work)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def go_on(shard: pa.Buffer) -> tuple[pa.Buffer, pa.Buffer]:
    """The work that this process began with, done to one more shard."""
    return done(STARTED[-1], shard)
