"""The teacher's answers, bought once.

A journal is a file of JSON lines, one answer each, only ever appended to. It lies outside every stage's
outputs, because DVC deletes outputs before a run, and under the main checkout even when DVC runs an
experiment in a copy. One process at a time holds it. Journals of several machines merge by
concatenation. Not covered: asking the teacher (``teacher.py``), finding an answer among a
million (``journal_index.py``).
"""

import fcntl
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from stages.lib.contract import Refusal
from stages.lib.teachers.journal_index import BLOCK, Answers, parse
from stages.lib.teachers.journal_index import Entry as Entry


def home() -> Path:
    """The journal of this checkout; DVC_ROOT is the main checkout also in experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "data" / "teacher" / "journal.jsonl"


class Journal:
    """Answers by key: those that ship with the project, and those that this team bought."""

    def __init__(self, *shipped: Path, own: Path) -> None:
        self.own = own
        self.answers = Answers()
        self._log: FileIO | None = None
        self._file, self._end = -1, 0
        self._noted = self._synced = self._warned = 0
        self._swap = threading.Lock()  # the file that is held stays the same while it is brought to the disk
        self._broken = False  # the last write failed, perhaps within a line
        self._begin = 0  # where in the file that is held this process began to write
        for path in shipped:
            if path.exists():
                self.answers.index(self.answers.open(path))
        self._catch_up()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal alone; another process waits here, then finds the answers that this one bought."""
        self._log = hold(self.own)
        self._begin = end(self._log)
        try:
            self._catch_up()
            yield
        finally:
            try:
                if end(self._log) > self._begin:
                    self._follow()
                self.sync()
            finally:
                log, self._log = self._log, None
                log.close()

    def add(self, entry: Entry) -> None:
        """Write an answer down, to the disk, before anybody uses it."""
        self.note(entry)
        self.sync()

    def note(self, entry: Entry) -> None:
        """Write an answer down, where it outlives this process; not yet the machine: that is `sync`'s part."""
        if self._log is None:
            raise RuntimeError("the journal is not held: use `with journal.writing()`")
        data = line(entry).encode("utf-8")
        mend = b"\n" if self._broken and torn(self._log) else b""
        self._broken = True
        put(self._log, mend + data)
        self._broken = False
        self._noted += 1
        if same(self._log, self.own):
            self._end = end(self._log)
            self.answers.add(entry, self._file, self._end - len(data), len(data))
        else:
            self._follow()

    def sync(self) -> None:
        """Bring what was noted to the disk; it may take long, and a thread may do it while others are noted."""
        with self._swap:
            noted = self._noted
            if self._log is not None and noted > self._synced:
                os.fsync(self._log.fileno())
                self._synced = noted

    def warn(self) -> None:
        """Name the damaged lines that were met since the last time: their texts may be bought again."""
        found = [line.rpartition(", ") for line in self.answers.damaged[self._warned :]]
        self._warned += len(found)
        if found:
            first = f"{os.path.relpath(found[0][0])}, {found[0][2]}"
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            print(f"warning: damaged lines of the journal are passed over: {first}{more}", file=sys.stderr)

    def _follow(self) -> None:
        """Take what was bought along to the file that has the name, if that is another one by now."""
        if self._log is None or same(self._log, self.own):
            return
        with self._swap:
            while not same(self._log, self.own):
                self._log = self._moved(self._log)
        self._catch_up()

    def _moved(self, old: FileIO) -> FileIO:
        """The file that has the name by now, held, with all that was bought since the other one was held."""
        new = hold(self.own)
        with old:
            begin = end(new)
            old.seek(self._begin)
            while data := old.read(BLOCK):
                put(new, data)
            os.fsync(new.fileno())
            self._begin = begin
        return new

    def _catch_up(self) -> None:
        """Note what was appended since the last look, or all of it if the file is another one by now."""
        if not self.own.exists():
            return
        if self._file >= 0:
            now, then = self.own.stat(), self.answers.status(self._file)
            if (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino) or now.st_size < self._end:
                self.answers.forget(self._file)
                self._file = -1
        if self._file < 0:
            self._file, self._end = self.answers.open(self.own), 0
        self._end = self.answers.index(self._file, self._end)


def hold(path: Path) -> FileIO:
    """The file of that name, open at its end and locked: not one that was replaced while this process waited."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("a+b", buffering=0)  # what could not be written is not tried again behind our back
        try:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("note: another process holds the journal; waiting for it", file=sys.stderr)
                fcntl.flock(log, fcntl.LOCK_EX)
            if torn(log):
                put(log, b"\n")
            if same(log, path):
                return log
        except BaseException:
            log.close()
            raise
        log.close()


def put(log: FileIO, data: bytes) -> None:
    """Write all of it to the end of a file, or raise."""
    while data:
        data = data[log.write(data) :]


def same(log: FileIO, path: Path) -> bool:
    """Whether a path still leads to the open file, and not to another one or nowhere."""
    try:
        return os.path.samestat(os.fstat(log.fileno()), path.stat())
    except FileNotFoundError:
        return False


def end(log: FileIO) -> int:
    """How long an open file is, whoever wrote to it."""
    return os.fstat(log.fileno()).st_size


def line(entry: Entry) -> str:
    """An entry as it stands in a journal."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def torn(log: FileIO) -> bool:
    """Whether the file ends within a line, as after a power cut."""
    return end(log) > 0 and os.pread(log.fileno(), 1, end(log) - 1) != b"\n"


def entries(path: Path) -> Iterator[Entry]:
    """The entries of a journal; a line that a crash tore is passed over, since its answer was never used."""
    if not path.exists():
        return
    with path.open("rb") as log:
        for number, text in enumerate(log, 1):
            try:
                entry = parse(text)
            except Refusal as fault:
                raise Refusal(f"{path}, line {number}: {fault}") from None
            if entry is not None:
                yield entry
