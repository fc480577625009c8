"""All tasks so far: the seeds, and what was kept of the teacher's inventions, in the order in which they came.

The seeds stand in memory. Of the others only what the novelty filter compares does; their texts lie in a temporary
file, so that a pool of a million tasks takes some hundred megabytes. Not covered: what makes a task good by itself
(``tasks.py``).
"""

import json
import random
import tempfile
from array import array
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from stages.lib.generate.novelty import Novelty
from stages.lib.generate.tasks import Task, fault
from stages.lib.records import Record, Verdict


@dataclass(frozen=True)
class Kept:
    """A task that became a record, and what its descendants need to know of it."""

    task: Task
    id: str
    group: str
    notes: list[str]


class Pool:
    """Tasks by place, and whether a new one is unlike all of them; their texts go to ``spool``."""

    def __init__(self, seeds: list[Task], novelty: float, spool: IO[bytes]) -> None:
        self.seeds = seeds
        self._bound = novelty
        self._known = Novelty(task["instruction"] for task in seeds)
        self._offsets = array("Q")
        self._spool = spool

    def __len__(self) -> int:
        """How many were kept, without the seeds."""
        return len(self._offsets)

    def add(self, task: Task, record: Record) -> int:
        """Take a task in; its place."""
        kept = Kept(task, record["id"], record["group"], record["notes"])
        self._offsets.append(self._spool.seek(0, 2))
        self._spool.write(json.dumps(asdict(kept), ensure_ascii=False).encode("utf-8") + b"\n")
        self._known.add(task["instruction"])
        return len(self) - 1

    def kept(self, place: int) -> Kept:
        """What was kept at a place."""
        self._spool.seek(self._offsets[place])
        return Kept(**json.loads(self._spool.readline()))

    def sample(self, seeds: int, invented: int, rng: random.Random) -> list[Task]:
        """So many tasks of each sort, or as many as there are."""
        shown = rng.sample(self.seeds, min(seeds, len(self.seeds)))
        places = rng.sample(range(len(self)), min(invented, len(self)))
        return shown + [self.kept(place).task for place in places]

    def judge(self, task: Task, kin: Collection[int] = ()) -> Verdict | None:
        """Why a task is not kept, with the detail, or None; it may be like those of which it was made."""
        if verdict := fault(task):
            return verdict
        but = {len(self.seeds) + place for place in kin}
        if found := self._known.nearest(task["instruction"], above=self._bound, but=but):
            similarity, place = found
            alike = self.seeds[place] if place < len(self.seeds) else self.kept(place - len(self.seeds)).task
            return "not novel", f"ROUGE-L {similarity:.2f} with: {alike['instruction']}"
        return None


@contextmanager
def new_pool(seeds: list[Task], novelty: float, beside: Path | None = None) -> Iterator[Pool]:
    """A pool whose texts lie beside an output, since there is room where that has room."""
    with tempfile.TemporaryFile("w+b", dir=beside.parent if beside else None) as spool:
        yield Pool(seeds, novelty, spool)
