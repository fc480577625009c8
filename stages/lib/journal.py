"""The teacher's answers, bought once.

A journal is a file of JSON lines, one answer each, only ever appended to. It lies outside every stage's
outputs, because DVC deletes outputs before a run, and under the main checkout even when DVC runs an
experiment in a copy. One process at a time holds it. Journals of several machines merge by
concatenation. Not covered: asking the teacher (``stages/lib/teacher.py``).
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypedDict

from stages.lib.contract import Refusal


class Entry(TypedDict):
    """One answered request. ``key`` is the hash of all that could change the answer."""

    key: str
    model: str
    prompt: str
    input: str
    answer: str
    finish_reason: str
    usage: dict[str, int]


def home() -> Path:
    """The journal of this checkout; DVC_ROOT is the main checkout also in experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "data" / "teacher" / "journal.jsonl"


class Journal:
    """Answers by key: those that ship with the project, and those that this team bought."""

    def __init__(self, *shipped: Path, own: Path) -> None:
        self.own = own
        self.answers: dict[str, Entry] = {}
        self._log: IO[str] | None = None
        for path in (*shipped, own):
            for entry in entries(path):
                # a journal may hold several answers to a question that was once asked again: the last one counts
                self.answers[entry["key"]] = entry

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal alone; another process waits here, then finds the answers that this one bought."""
        self.own.parent.mkdir(parents=True, exist_ok=True)
        with self.own.open("a+", encoding="utf-8") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            self.answers.update((entry["key"], entry) for entry in entries(self.own))
            if torn(self.own):
                log.write("\n")
            self._log = log
            try:
                yield
            finally:
                self._log = None

    def add(self, entry: Entry) -> None:
        """Write an answer down, to the disk, before anybody uses it."""
        if self._log is None:
            raise RuntimeError("the journal is not held: use `with journal.writing()`")
        self._log.write(line(entry))
        self._log.flush()
        os.fsync(self._log.fileno())
        self.answers[entry["key"]] = entry


def line(entry: Entry) -> str:
    """An entry as it stands in a journal."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def torn(path: Path) -> bool:
    """Whether the file ends within a line, as after a power cut."""
    with path.open("rb") as log:
        return bool(log.seek(0, os.SEEK_END)) and log.seek(-1, os.SEEK_END) >= 0 and log.read(1) != b"\n"


def entries(path: Path) -> Iterator[Entry]:
    """The entries of a journal; a line that a crash tore is passed over, since its answer was never used."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as log:
        for number, text in enumerate(log, 1):
            try:
                entry: Any = json.loads(text)
            except json.JSONDecodeError:
                continue
            if not isinstance(entry, dict) or not Entry.__required_keys__ <= entry.keys():
                raise Refusal(f"{path}, line {number}: not a journal entry; it needs {sorted(Entry.__required_keys__)}")
            yield entry  # type: ignore[misc]
