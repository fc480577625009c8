"""The rows of a data file, one at a time, whatever the file is: JSON, JSON lines, CSV, Parquet or plain lines.

Memory does not grow with the file: a row of more than :data:`ROW_BOUND` is refused and read past. A row that
can't be read is handed on as :class:`Refused` with its position and its raw text, and the rows behind it are
found again. Rows are numbered from 1 as they stand in the file. Not covered: what a row means
(``stages/lib/formats.py``).
"""

import codecs
import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from stages.lib.containers import Member, Unreadable, members

ROW_BOUND = 16 << 20  # bytes of a line, or characters of a JSON value or a cell
RAW_BOUND = 2000  # characters of a refused row that are kept
CHUNK = 1 << 20
BOM = "\ufeff"
SPACE = re.compile(r"[\s,]*")
CONFLICT = re.compile(r"(<{7}|>{7}|\|{7}|={7})( |$)")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# MongoDB's shell writes these where JSON wants a value; within a JSON string their quotes would be escaped
MONGO = re.compile(
    r'\b(?:ISODate|ObjectId|NumberLong|NumberInt|NumberDecimal|Timestamp|BinData)\(\s*("?)([^()"\\]*)\1\s*\)'
)


@dataclass(frozen=True)
class Refused:
    """An upstream row (or a message within one) that no record could be made of."""

    upstream: str
    reason: str
    raw: str
    detail: str = ""
    unit: str = "row"


Row = tuple[str, Any]  # position, value


class Duplicate(ValueError):
    """An object holds two values under one key."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless one of its keys has two different values: nobody can say which one was meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise Duplicate(key)
    return found


# NaN and Infinity are no JSON, but Python writes them where a value is missing: they are read as null
DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=lambda name: None)
LENIENT = json.JSONDecoder()


def read(path: Path) -> Iterator[Row | Refused]:
    """The rows of one file on disk. Raises Unreadable."""
    for member in members(path):
        yield from rows(member)


def rows(member: Member, suffix: str = "") -> Iterator[Row | Refused]:
    """The rows of a data file; ``suffix`` helps where it has no name of its own (``.csv``, ``.tsv``)."""
    prefix = f"{member.name}:" if member.name else ""
    for item in reader(member, suffix):
        if isinstance(item, Refused):
            yield Refused(prefix + item.upstream, item.reason, item.raw, item.detail) if prefix else item
        else:
            yield prefix + item[0], item[1]


def reader(member: Member, suffix: str) -> Iterator[Row | Refused]:
    """The rows by what the file's beginning and its name say that it is."""
    head = cast(io.BufferedReader, member.file).peek(CHUNK)[:CHUNK]
    if head.startswith(b"PAR1"):
        return parquet(member.file)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:2]:
        raise Unreadable("the text is UTF-16 or binary; save it as UTF-8")
    text = head.decode("utf-8-sig", "replace").lstrip()
    suffix = suffix_of(member.name) or suffix
    if suffix in (".csv", ".tsv"):
        return cells(member.file, "\t" if suffix == ".tsv" else separator(text))
    if text.startswith("[") or pretty(text):
        return values(member.file)
    return json_lines(member.file)


def suffix_of(path: str) -> str:
    """``.csv`` of ``…/list.csv.gz``: the ending of a file's name without what compresses it."""
    names = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    return next((name for name in reversed(names) if name not in (".gz", ".bz2", ".xz", ".zst")), "")


def pretty(text: str) -> bool:
    """Whether JSON objects are written over several lines, or in MongoDB's dialect."""
    first = text.split("\n", 1)[0].rstrip()
    if not first.startswith("{"):
        return False
    return bool(MONGO.search(text)) or first.endswith(("{", ",", "[")) or (first == "{" and len(text) > 1)


def line_by_line(file: BinaryIO) -> Iterator[tuple[int, bytes | Refused]]:
    """(number, bytes) of each line that isn't blank; a line over the bound is read past, not into memory."""
    for number, line in enumerate(iter(lambda: file.readline(ROW_BOUND), b""), 1):
        if len(line) == ROW_BOUND and not line.endswith(b"\n"):
            length = len(line)
            while rest := file.readline(ROW_BOUND):
                length += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield number, too_long(str(number), printable(line[:RAW_BOUND].decode("utf-8", "replace")), length)
        elif not line.isspace():
            yield number, line


def lines(file: BinaryIO) -> Iterator[Row | Refused]:
    """The lines of a plain text file."""
    for number, line in line_by_line(file):
        if isinstance(line, Refused):
            yield line
            continue
        try:
            text = line.decode("utf-8").strip().lstrip(BOM)
        except UnicodeDecodeError:
            yield Refused(str(number), "not UTF-8", line.decode("utf-8", "replace")[:RAW_BOUND])
            continue
        if CONFLICT.match(text):
            yield Refused(str(number), "merge-conflict marker", text)
        elif text:
            yield str(number), text


def json_lines(file: BinaryIO) -> Iterator[Row | Refused]:
    """A JSON value a line."""
    decode, surrogate = DECODER.decode, SURROGATE.search
    for number, line in line_by_line(file):
        if isinstance(line, Refused):
            yield line
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            value = decode(text)
        except UnicodeDecodeError:
            yield Refused(str(number), "not UTF-8", line.decode("utf-8", "replace")[:RAW_BOUND])
        except Duplicate as error:
            yield duplicate(str(number), error, text)
        except json.JSONDecodeError as error:
            yield not_json(str(number), text, f"{error.msg} at column {error.colno}")
        except RecursionError:
            yield not_json(str(number), text, "nested too deeply")
        else:
            if surrogate(line) and not encodable(value):
                yield Refused(str(number), "not UTF-8", printable(text)[:RAW_BOUND], "half of an escaped pair")
            else:
                yield str(number), value


def values(file: BinaryIO) -> Iterator[Row | Refused]:
    """The elements of a JSON array, or JSON values one after the other however they are laid out."""
    window = Window(file)
    window.skip()
    array = window.startswith("[")
    if array:
        window.position += 1
    number = 0
    while window.skip():
        if array and window.startswith("]"):
            window.position += 1
            array = False
            continue
        number += 1
        start = window.position
        try:
            value = window.value()
        except Duplicate as error:
            yield duplicate(str(number), error, window.text[start : window.position])
        except ValueError as error:
            raw, length = window.recover()
            text = printable(raw)
            yield too_long(str(number), text, length) if length > ROW_BOUND else not_json(str(number), text, str(error))
        else:
            if window.surrogates and not encodable(value):
                yield Refused(str(number), "not UTF-8", dump(value)[:RAW_BOUND])
            else:
                window.learn(value)
                yield str(number), value
    if array:
        yield Refused(str(number + 1), "not JSON", "", "the file ends within the array: it was cut")


class Window:
    """The stretch of a JSON text that is being read: a row or a chunk, whichever is longer."""

    def __init__(self, file: BinaryIO) -> None:
        self.text = ""
        self.position = 0
        self.ended = False
        self.surrogates = False  # whether a row may hold what is no Unicode
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._mongo = bool(MONGO.search(cast(io.BufferedReader, file).peek(CHUNK).decode("utf-8", "replace")))
        self._next = re.compile(r"[\n,]\s*\{")
        self._learned = False
        self.grow()
        self.text = self.text.removeprefix(BOM)

    def grow(self) -> None:
        """Drop what was read and add a chunk, at least as long as what is left."""
        chunk = self._file.read(max(CHUNK, len(self.text) - self.position))
        self.ended = not chunk
        if self._mongo:
            chunk += self._file.readline(ROW_BOUND)  # no construct is cut by the end of the chunk
        text = self._decode(chunk, self.ended)
        self.surrogates = self.surrogates or bool(SURROGATE.search(chunk)) or not encodable(text)
        self.text = self.text[self.position :] + (MONGO.sub(r'"\2"', text) if self._mongo else text)
        self.position = 0

    def skip(self) -> bool:
        """Go to the next value, past blanks and commas; whether there is anything left."""
        while True:
            match = SPACE.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.text) or self.ended:
                return self.position < len(self.text)
            self.grow()

    def startswith(self, sign: str) -> bool:
        """Whether the text goes on with a sign."""
        return self.text.startswith(sign, self.position)

    def value(self) -> Any:
        """The value at the position, and go behind it. Raises ValueError, at the same position, if it is none."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.position)
            except Duplicate:
                # the hook stops before the end is known
                _, self.position = LENIENT.raw_decode(self.text, self.position)
                raise
            except RecursionError:
                raise ValueError("nested too deeply") from None
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 12
                if self.ended or not cut:
                    raise ValueError(f"{error.msg} at character {error.pos - self.position + 1} of the row") from None
            else:
                if end < len(self.text) or self.ended or isinstance(value, dict | list | str):
                    self.position = end
                    return value
            if len(self.text) - self.position > ROW_BOUND:
                raise ValueError("no end in sight")
            self.grow()

    def learn(self, value: Any) -> None:
        """Rows mostly begin with the same key: after a broken one that is where the next is looked for."""
        if not self._learned and isinstance(value, dict) and value:
            self._learned = True
            self._next = re.compile(r"[\n,]\s*\{\s*" + re.escape(json.dumps(next(iter(value)), ensure_ascii=False)))

    def recover(self) -> tuple[str, int]:
        """Go to where the next row seems to begin; the head and the length in characters of what was passed."""
        raw = self.text[self.position : self.position + RAW_BOUND]
        passed, start = 0, self.position + 1
        while not (match := self._next.search(self.text, start)):
            overlap = 200  # the sign of a new row may be cut by the end of the window
            if self.ended:
                passed += len(self.text) - self.position
                self.position = len(self.text)
                return raw, passed
            keep = max(self.position, len(self.text) - overlap)
            passed += keep - self.position
            self.position = keep
            self.grow()
            start = 0
        end = match.start() + 1
        passed += end - self.position
        self.position = end
        return raw[:passed].rstrip(), passed


def cells(file: BinaryIO, delimiter: str) -> Iterator[Row | Refused]:
    """The rows of a table with a heading, as objects of texts."""
    csv.field_size_limit(ROW_BOUND)
    text = io.TextIOWrapper(cast(Any, file), "utf-8-sig", errors="surrogateescape", newline="")
    table = csv.reader(text, delimiter=delimiter)
    heading = [name.strip() for name in next(table, [])]
    if not encodable(heading):
        raise Unreadable("the heading is not UTF-8")
    if twice := {name for name in heading if heading.count(name) > 1}:
        raise Unreadable(f"two columns are called {sorted(twice)[0]!r}")
    number = 0
    while True:
        number += 1
        try:
            row = next(table, None)
        except csv.Error as error:
            yield Refused(str(number), "not CSV", "", str(error))
            continue
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(heading):
            found = f"{len(row)} cells, and the heading has {len(heading)}"
            yield Refused(str(number), "wrong number of cells", printable(delimiter.join(row))[:RAW_BOUND], found)
        elif not encodable(row):
            yield Refused(str(number), "not UTF-8", printable(delimiter.join(row))[:RAW_BOUND])
        else:
            yield str(number), dict(zip(heading, row, strict=True))


def separator(text: str) -> str:
    """The sign between the cells of a heading: spreadsheets in Vietnamese write a semicolon."""
    heading = text.split("\n", 1)[0]
    return max(",;\t", key=heading.count)


def parquet(file: BinaryIO) -> Iterator[Row | Refused]:
    """The rows of a Parquet table as objects."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as spooled:
        if not file.seekable():  # within an archive: the table's index stands at its end
            shutil.copyfileobj(file, spooled)
            file = cast(BinaryIO, spooled)
        number = 0
        try:
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(1024):
                    for row in batch.to_pylist():
                        number += 1
                        yield str(number), row
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise Unreadable(f"Parquet, after row {number}: {' '.join(str(error).split())[:300]}") from None


def encodable(value: Any) -> bool:
    """Whether all its text is Unicode: no byte that was no UTF-8, no half of an escaped pair."""
    try:
        (value if isinstance(value, str) else dump(value)).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def dump(value: Any) -> str:
    """A row as JSON, for the refused file; what JSON doesn't know is written as text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def printable(text: str) -> str:
    """The text with a question mark in place of every byte or half pair that is not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def not_json(number: str, text: str, detail: str) -> Refused:
    """A stretch that is no JSON; a merge that nobody finished is called by its name."""
    reason = "merge-conflict marker" if CONFLICT.match(text) else "not JSON"
    return Refused(number, reason, text[:RAW_BOUND], detail)


def duplicate(number: str, error: Duplicate, text: str) -> Refused:
    """An object in which a key has two values."""
    return Refused(number, "duplicate key", printable(text[:RAW_BOUND]), f"{error} has two values")


def too_long(number: str, raw: str, length: int) -> Refused:
    """A row that is no row of text."""
    return Refused(number, "row too long", raw, f"{length:,} characters or bytes; at most {ROW_BOUND:,} are read")
