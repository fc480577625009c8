"""Where each answer lies in the journals, so that a million of them cost little memory and open at once.

In memory an answer is 32 bytes: a slot (64 bits of its key), its file, offset and length. It is read and
checked whenever it is asked for, so that nothing that lies elsewhere must be trusted, and a line that a crash
or a bad disk spoilt is passed over, and named, in favour of an earlier answer. Not covered: who may write
(``journal.py``).
"""

import hashlib
import json
import os
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stages.lib.contract import Refusal

BLOCK = 1 << 24  # bytes that are looked through at a time
MERGE = 1 << 16  # new answers until their places join the sorted ones
RECENT = 1 << 12  # answers that were found to be there, and stay in memory until they are fetched
HEAD, AFTER = b'{"key": "', b'", "model": "'  # around the key in a line that this project wrote
TEXTS = ("key", "model", "answer", "finish_reason")  # of an entry, which the stages rely on
DECODE = json.JSONDecoder().raw_decode
MASK = (1 << 64) - 1
DIGITS = np.full(256, 16, np.uint8)
DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
PLACE = np.dtype([("slot", "<u8"), ("offset", "<u8"), ("length", "<u4"), ("file", "<u4")])


class Entry(TypedDict):
    """One answered request. ``key`` is the hash of all that could change the answer."""

    key: str
    model: str
    prompt: str
    input: str
    answer: str
    finish_reason: str
    usage: dict[str, int]


class Answers(Mapping[str, Entry]):
    """The entries of some files by key: the last sound one of the last file counts.

    Whether a key is there is known for certain only after its line was read, so ``len`` reads them all.
    """

    def __init__(self) -> None:
        self._damaged: dict[str, None] = {}
        self._counted = (0, 0, 1)  # (file, offset, line there): how far lines were last counted
        self._files: list[tuple[Path, int]] = []
        self._places = np.empty(0, PLACE)  # by slot, those of one slot in the order in which they were written
        self._columns = columns(self._places)
        self._new: list[tuple[int, int, int, int]] = []
        self._newest: dict[str, int] = {}
        self._recent: dict[str, Entry] = {}

    @property
    def damaged(self) -> list[str]:
        """The lines that are damaged, by file and number, as far as they were met."""
        return list(self._damaged)

    def open(self, path: Path) -> int:
        """A file to find answers in, by number."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, handle)
        self._files.append((path, handle))
        return len(self._files) - 1

    def status(self, file: int) -> os.stat_result:
        """What the system knows of an open file."""
        return os.fstat(self._files[file][1])

    def index(self, file: int, start: int = 0) -> int:
        """Note where a file's entries lie, from the begin of a line on; the place where to go on another time."""
        found, end = [np.empty(0, PLACE)], start
        for begin, block in blocks(self._files[file][1], start):
            places, unusual = scan(block)
            for offset, length in unusual:
                entry = self._parse(block[offset : offset + length], file, begin + offset)
                if entry is not None:
                    places = np.append(places, np.array([(slot(entry["key"]), offset, length, 0)], PLACE))
                elif block.endswith(b"\n"):  # what a crash tore off at the end is no damage: nobody used it
                    self._damage(file, begin + offset)
            if unusual:
                places.sort(order="offset")
            places["offset"] += begin
            places["file"] = file
            found.append(places)
            end = begin + block.rfind(b"\n") + 1
        self._merge(np.concatenate(found))
        return end

    def add(self, entry: Entry, file: int, offset: int, length: int) -> None:
        """Note one entry that was just written."""
        self._newest[entry["key"]] = len(self._new)
        self._new.append((slot(entry["key"]), offset, length, file))
        self._recent.pop(entry["key"], None)
        if len(self._new) >= MERGE:
            self._merge()

    def forget(self, file: int) -> None:
        """Drop what was noted of a file, because it is no longer the one that was read."""
        self._merge()
        self._places = self._places[self._places["file"] != file]
        self._merge()

    def _merge(self, more: NDArray[Any] | None = None) -> None:
        later = np.empty(0, PLACE) if more is None else more
        places = np.concatenate([self._places, np.array(self._new, PLACE), later])
        self._places = places[np.argsort(places["slot"], kind="stable")]
        self._columns = columns(self._places)
        self._new, self._newest, self._recent = [], {}, {}

    def _where(self, file: int, offset: int) -> str:
        path, handle = self._files[file]
        known, start, line = self._counted
        if known != file or start > offset:
            start, line = 0, 1
        line += sum(int((part == 10).sum()) for part in pieces(handle, start, offset))
        self._counted = file, offset, line
        return f"{path}, line {line}"

    def _damage(self, file: int, offset: int) -> None:
        self._damaged[self._where(file, offset)] = None

    def _parse(self, text: bytes, file: int, offset: int) -> Entry | None:
        try:
            return parse(text)
        except Refusal as fault:
            raise Refusal(f"{self._where(file, offset)}: {fault}") from None

    def _read(self, file: int, offset: int, length: int) -> Entry | None:
        entry = self._parse(os.pread(self._files[file][1], length, offset), file, offset)
        if entry is None:
            self._damage(file, offset)
        return entry

    def _find(self, key: str) -> Entry | None:
        entry = None
        if key in self._newest:
            _, offset, length, file = self._new[self._newest[key]]
            entry = self._read(file, offset, length)
        slots, offsets, lengths, files = self._columns
        wanted = slot(key)
        row = bisect_right(slots, wanted) - 1
        # the last one first; some may be spoilt, or belong to another key of the same slot
        while (entry is None or entry["key"] != key) and row >= 0 and slots[row] == wanted:
            entry = self._read(files[row], offsets[row], lengths[row])
            row -= 1
        return None if entry is None or entry["key"] != key else entry

    def __getitem__(self, key: str) -> Entry:
        entry = self._recent.pop(key, None) or self._find(key)
        if entry is None:
            raise KeyError(key)
        return entry

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        entry = self._recent.get(key) or self._find(key)
        if entry is None:
            return False
        if len(self._recent) >= RECENT:
            self._recent = {}
        self._recent[key] = entry
        return True

    def __iter__(self) -> Iterator[str]:
        self._merge()
        last, seen = -1, set[str]()
        for here, offset, length, file in self._places.tolist():
            if here != last:
                last, seen = here, set()
            entry = self._read(file, offset, length)
            if entry is not None and entry["key"] not in seen:
                seen.add(entry["key"])
                yield entry["key"]

    def __len__(self) -> int:
        return sum(1 for _ in self)


def columns(places: NDArray[Any]) -> list[memoryview]:
    """The slots, offsets, lengths and files as plain numbers, which Python gets out of these fastest."""
    return [memoryview(np.ascontiguousarray(places[name]).data) for name in PLACE.names or ()]


def parse(text: bytes) -> Entry | None:
    """The entry in a line, or None when it is damaged: no JSON, as after a crash, or with something else for a text."""
    shown = text.strip().decode("utf-8", "replace")
    try:
        entry, end = DECODE(shown, 0)
    except (ValueError, RecursionError):  # also numbers and depths that Python doesn't read
        return None
    if end != len(shown):
        return None
    if isinstance(entry, dict) and not all(isinstance(entry.get(name, ""), str) for name in TEXTS):
        return None
    if not isinstance(entry, dict) or not Entry.__required_keys__ <= entry.keys():
        raise Refusal(f"not a journal entry; it needs {sorted(Entry.__required_keys__)}")
    return cast(Entry, entry)


def slot(key: str) -> int:
    """64 bits of a key: its own first ones if it is a hash, as all keys of this project are."""
    try:
        return int(key[:16], 16) & MASK if len(key) == 32 else digest(key)
    except ValueError:
        return digest(key)


def digest(key: str) -> int:
    """64 bits of any text."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def pieces(handle: int, start: int, end: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """The bytes of a file from a place on, or between two places."""
    while data := os.pread(handle, BLOCK if end is None else min(BLOCK, end - start), start):
        yield np.frombuffer(data, np.uint8)
        start += len(data)


def blocks(handle: int, start: int) -> Iterator[tuple[int, bytes]]:
    """(offset, whole lines) until the end of a file; last, if there is one, the line that has no end yet."""
    rest = b""
    while data := os.pread(handle, BLOCK, start + len(rest)):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        if cut:
            yield start, data[:cut]
        start, rest = start + cut, data[cut:]
    if rest:
        yield start, rest


def scan(block: bytes) -> tuple[NDArray[Any], list[tuple[int, int]]]:
    """The places of the lines that look like this project's own, and (offset, length) of the others."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == 10)
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.append(0, ends[:-1] + 1)
    width = len(HEAD) + 32 + len(AFTER)
    usual = ends - starts > width
    heads = sliding_window_view(data, width)[starts[usual]] if usual.any() else np.empty((0, width), np.uint8)
    digits = DIGITS[heads[:, len(HEAD) : len(HEAD) + 32]]
    fixed = np.delete(heads, np.s_[len(HEAD) : len(HEAD) + 32], axis=1)
    own = (fixed == np.frombuffer(HEAD + AFTER, np.uint8)).all(1) & (digits < 16).all(1)
    own &= data[ends[usual] - 1] == ord("}")
    usual[usual] = own
    places = np.zeros(int(own.sum()), PLACE)
    shifts = np.arange(60, -4, -4, dtype=np.uint64)
    places["slot"] = (digits[own, :16].astype(np.uint64) << shifts).sum(1, dtype=np.uint64)
    places["offset"], places["length"] = starts[usual], (ends - starts)[usual]
    other = ~usual & (ends > starts)
    return places, list(zip(starts[other].tolist(), (ends - starts)[other].tolist(), strict=True))
