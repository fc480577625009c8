"""What a journal has cost, in tokens by model, and what was paid without an answer.

The entries of a journal say what each answer took. A million of them are not read at every start: a snapshot beside
the journal holds the sums so far and how far they go, and only what is new is looked through; it is thrown away when
the journal is another one by now. Also beside it: what was lost to time-outs, and what was under way when a
process was killed, which nobody else would know of. These files are this clone's own and are never shared.

An answer without usage, as some servers give, is journalled with the most that its request can have taken, prompt and
schema included; in a journal of another hand it counts as many tokens as its own texts have bytes.
Whoever holds the journal (``Journal.writing``) is alone, so two processes never share one cap by mistake.
Not covered: prices (``prices.py``).
"""

import hashlib
import json
import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import IO, Any

import orjson
from tqdm import tqdm

from stages.lib.teachers.journal_index import AFTER, HEAD, Entry, parse

SNAPSHOT, LOST, LEDGER = "spent.json", "lost.jsonl", "ledger.jsonl"  # beside the journal; .dvcignore lists them too
UNDER_WAY, BATCHES = "under_way.json", "batches.jsonl"
FORMAT = 1  # of the snapshot; another one is made anew
WINDOW = 4096  # bytes at the begin and at the end of what was read, by which a journal is known again
SHOWN = 1.0  # seconds after which a progress bar appears
BATCHED = "batch"  # 1 in the usage of an answer that was bought at the price of batch files
METERED = "metered"  # 0 in the usage of an answer whose tokens the server did not count
MODEL = len(HEAD) + 32 + len(AFTER)  # where the name of the model stands in a line that this project wrote
USAGE = re.compile(rb'\{"prompt_tokens": (\d+), "completion_tokens": (\d+)(?:, "batch": (1))?\}\}\n')


@dataclass
class Sum:
    """Tokens of some answers; those of ``unmetered`` ones are an upper bound."""

    answers: int = 0
    prompt: int = 0
    completion: int = 0
    unmetered: int = 0

    def add(self, prompt: int, completion: int, metered: bool = True) -> None:
        """Take in one more."""
        self.answers += 1
        self.prompt += prompt
        self.completion += completion
        self.unmetered += not metered


Sums = dict[tuple[str, bool], Sum]  # by model, and whether in batch files


def usage(entry: Entry) -> tuple[int, int, bool]:
    """Prompt tokens, completion tokens and whether the server counted them; if not, they are an upper bound."""
    found = entry["usage"] if isinstance(entry["usage"], dict) else {}
    prompt, completion = found.get("prompt_tokens"), found.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(completion, int):
        return prompt, completion, bool(found.get(METERED, 1))
    return len(str(entry["input"]).encode()), len(entry["answer"].encode()), False


def counted(usage: dict[str, int], prompt: int, completion: int) -> dict[str, int]:
    """The usage that a server told; where it told none, the most that the request can have taken, marked as such."""
    if "prompt_tokens" in usage and "completion_tokens" in usage:
        return usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, METERED: 0}


def batched(entry: Entry) -> bool:
    """Whether an answer was bought at the price of batch files."""
    return isinstance(entry["usage"], dict) and bool(entry["usage"].get(BATCHED))


def total(journal: Path) -> Sums:
    """What all answers of a journal took, by model; reads what is new since the last time."""
    if not journal.exists():
        return {}
    with journal.open("rb") as log:
        end, sums = snapshot(journal, log)
        reached = end
        size = os.fstat(log.fileno()).st_size
        log.seek(end)
        with tqdm(
            total=size, initial=end, desc="what the journal has cost", unit="B", unit_scale=True, delay=SHOWN
        ) as bar:
            for number, text in enumerate(log):
                if not text.endswith(b"\n"):  # torn, or being written: it counts once it is whole
                    break
                count(sums, text)
                reached += len(text)
                if not number % 10_000:
                    bar.update(reached - bar.n)
        if reached > end:
            keep(journal, log, reached, sums)
    return sums


def count(sums: Sums, text: bytes) -> None:
    """Take in a line of a journal; one that is damaged counts nothing, as it answers nothing."""
    place = text.rfind(b', "usage": {')  # within a text its quotes would be escaped
    tail = USAGE.fullmatch(text, place + len(b', "usage": ')) if place >= 0 else None
    if tail and text.startswith(HEAD) and text[MODEL - len(AFTER) : MODEL] == AFTER:
        # what stands between quotes in JSON is the name itself but for what is escaped
        model = text[MODEL : text.index(b'"', MODEL)]
        if b"\\" not in model:
            found = sums.setdefault((model.decode(), bool(tail[3])), Sum())
            found.add(int(tail[1]), int(tail[2]))
            return
    entry = parse(text)
    if entry is not None:
        sums.setdefault((entry["model"], batched(entry)), Sum()).add(*usage(entry))


def snapshot(journal: Path, log: IO[bytes]) -> tuple[int, Sums]:
    """How far a journal was read before, and the sums until there; nothing if it was another journal."""
    try:
        found = orjson.loads(journal.with_name(SNAPSHOT).read_bytes())
        end, known = int(found["end"]), found["mark"]
        sums = {(str(model), bool(batch)): Sum(*map(int, numbers)) for model, batch, *numbers in found["sums"]}
        ours = found["format"] == FORMAT and end <= os.fstat(log.fileno()).st_size and mark(log, end) == known
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}  # none yet, or not one that this wrote
    return (end, sums) if ours else (0, {})


def keep(journal: Path, log: IO[bytes], end: int, sums: Sums) -> None:
    """Write the snapshot, whole or not at all."""
    rows = [[model, batch, *astuple(found)] for (model, batch), found in sorted(sums.items())]
    part = journal.with_name(f"{SNAPSHOT}.{os.getpid()}.part")
    part.write_bytes(orjson.dumps({"format": FORMAT, "end": end, "mark": mark(log, end), "sums": rows}) + b"\n")
    os.replace(part, journal.with_name(SNAPSHOT))


def mark(log: IO[bytes], end: int) -> str:
    """What tells a journal from another of the same length: its file, its begin, and the end of what was read."""
    status = os.fstat(log.fileno())
    digest = hashlib.blake2b(f"{status.st_dev} {status.st_ino}".encode(), digest_size=16)
    digest.update(os.pread(log.fileno(), min(WINDOW, end), 0))
    digest.update(os.pread(log.fileno(), min(WINDOW, end), max(0, end - WINDOW)))
    return digest.hexdigest()


@dataclass(frozen=True)
class Loss:
    """Tokens that may have been billed without an answer: at most so many, and why."""

    model: str
    prompt: int
    completion: int
    batch: bool
    why: str


def lose(journal: Path, loss: Loss) -> None:
    """Write a loss down, to the disk."""
    append(journal.with_name(LOST), asdict(loss))


def append(path: Path, row: dict[str, Any]) -> None:
    """One more line of JSON, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        log.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of JSON of a file that may not be there; one that a crash tore is passed over."""
    if path.exists():
        for text in path.read_bytes().splitlines():
            try:
                row = orjson.loads(text)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def losses(journal: Path) -> list[Loss]:
    """All that may have been billed without an answer."""
    return [Loss(**row) for row in rows(journal.with_name(LOST))]


def open_batches(journal: Path) -> dict[str, dict[str, Any]]:
    """The rows of the batches that were sent and not fetched, to whatever address, by their marks."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows(journal.with_name(BATCHES)):
        if row.pop("done"):
            found.pop(row["mark"], None)
        else:
            found[row["mark"]] = row
    return found


def pending(journal: Path) -> dict[str, Loss]:
    """What each of those batches may still cost, by its mark."""
    found: dict[str, Loss] = {}
    for mark, row in open_batches(journal).items():
        prompt, completion = row.get("tokens", (0, 0))
        found[mark] = Loss(row["model"], prompt, completion, True, "not fetched")
    return found


def under_way(journal: Path) -> Loss | None:
    """What another process had asked for and not yet seen answered when it was killed; not what is in batch files."""
    for row in rows(journal.with_name(UNDER_WAY)):
        loss = Loss(**row)
        return loss if loss.prompt or loss.completion else None
    return None


class UnderWay:
    """A file that always says what is under way: no answer tells of it when this process is killed."""

    def __init__(self, journal: Path, model: str) -> None:
        self._path = journal.with_name(UNDER_WAY)
        known = json.dumps({"model": model, "batch": False, "why": "killed while it was under way"})
        # numbers of one width, so that a new line covers the old one
        self._line = known.replace("%", "%%").removesuffix("}") + ', "prompt": %18d, "completion": %18d}\n'
        self._handle = -1

    def write(self, prompt: int, completion: int) -> None:
        """Say how many tokens are under way at most: one write at the begin of the file, some microseconds."""
        if self._handle < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            weakref.finalize(self, os.close, self._handle)
        os.pwrite(self._handle, (self._line % (prompt, completion)).encode(), 0)
