"""The record: one schema from the first parser to the last trainer, and how it lies on disk.

A record is a row. All its texts are ``messages``, by role: ``system``, ``user`` and ``assistant`` are
turns, ``tool`` is what a tool answered; ``text`` is plain prose; ``chosen`` and ``rejected`` close a preference,
one of them alone a verdict. So whatever works on texts (translate, normalise, mask, deduplicate) walks one list
and needs to know no kinds.

Tables are read and written in batches: memory does not grow with the number of records. Not covered
here: what a good record is (``stages/clean.py``).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 4096  # rows that are read at a time at most, and that a row group of a file holds
BYTES = 1 << 24  # that are read at a time, about
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # hash of kind, language and messages as first parsed or made
        ("source", pa.string()),
        ("licence", pa.string()),  # SPDX identifier
        ("lang", pa.string()),  # ISO 639-1
        ("kind", pa.string()),  # instruction | conversation | preference | verdict | text
        ("messages", MESSAGES),
        ("group", pa.string()),  # records of one group never straddle a split
        ("upstream", pa.string()),  # the row in the upstream file
        ("original", MESSAGES),  # what it was translated from
        ("teacher", pa.string()),  # the model that translated or wrote it
        ("request", pa.string()),  # the teacher's journal key
        (
            "notes",
            pa.list_(pa.string()),
        ),  # what was asked for ("topic: …"), what cleaning changed ("name×count")
    ]
)
JUDGED = SCHEMA.append(pa.field("quality", pa.float64()))  # 0 to 1, as between clean and dedup
DROPPED = SCHEMA.append(pa.field("reason", pa.string())).append(pa.field("detail", pa.string()))


class Message(TypedDict):
    """One text and the part it plays."""

    role: str
    content: str


class Record(TypedDict):
    """A row of :data:`SCHEMA`."""

    id: str
    source: str
    licence: str
    lang: str
    kind: str
    messages: list[Message]
    group: str
    upstream: str
    original: list[Message]
    teacher: str
    request: str
    notes: list[str]


Verdict = tuple[str, str]  # (reason, detail)


def make(
    kind: str, messages: list[Message], *, source: str, licence: str, lang: str, upstream: str, group: str = ""
) -> Record:
    """A new record with its id, and its own group unless it belongs to one."""
    id = fingerprint([kind, lang, [[message["role"], message["content"]] for message in messages]])
    return Record(
        id=id, source=source, licence=licence, lang=lang, kind=kind, messages=messages, group=group or id,
        upstream=upstream, original=[], teacher="", request="", notes=[],
    )  # fmt: skip


def fingerprint(value: object) -> str:
    """The first 128 bits of the SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def prompt(record: Record) -> list[Message]:
    """The turns before the last answer: what a model is given."""
    turns = [message for message in record["messages"] if message["role"] not in ("chosen", "rejected")]
    return turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns


def content(record: Record, role: str) -> str:
    """The last text of a role, or an empty string."""
    return next((message["content"] for message in reversed(record["messages"]) if message["role"] == role), "")


def plain(record: Record) -> str:
    """All texts of a record, a line break between them."""
    return "\n".join(message["content"] for message in record["messages"])


def read(*paths: Path) -> Iterator[Record]:
    """The records of some tables, in order."""
    for path in paths:
        for batch in batches(path):
            yield from batch.to_pylist()


def batches(
    path: Path, columns: list[str] | None = None, most: int = BATCH, bytes: int = BYTES
) -> Iterator[pa.RecordBatch]:
    """A table in pieces of so many rows and, about, bytes at most: long records make small pieces."""
    whole = size(path)
    fitting = bytes * count(path) // max(1, whole)
    # Arrow would buffer the file as a whole, and its threads hold what they freed; both gain nothing here
    with pq.ParquetFile(path, pre_buffer=False) as table:
        yield from table.iter_batches(min(max(fitting, 1), most), columns=columns, use_threads=False)


def count(path: Path) -> int:
    """The number of rows of a table, without reading them."""
    return int(pq.read_metadata(path).num_rows)


def size(path: Path) -> int:
    """The bytes of a table's columns before compression."""
    groups = pq.read_metadata(path)
    return sum(groups.row_group(group).total_byte_size for group in range(groups.num_row_groups))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write beside ``path``; it takes that name when all went well, and is gone when anything failed."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class Table:
    """A Parquet file being written: the same rows give the same bytes, and it is there whole or not at all."""

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA) -> None:
        self.schema = schema
        self.rows = 0
        self._buffer: list[Any] = []
        self._waiting: list[pa.Table] = []
        self._whole = whole(path)
        part = self._whole.__enter__()
        self._writer = pq.ParquetWriter(part, schema, version="2.6", compression="zstd", compression_level=3)

    def add(self, row: Any) -> None:
        """Append a row; batches are written as they fill."""
        self._buffer.append(row)
        self.rows += 1
        if len(self._buffer) == BATCH:
            self._flush()

    def append(self, rows: pa.RecordBatch) -> None:
        """Append rows that are laid out already. How they come in pieces leaves no trace in the file."""
        self._flush()
        self.rows += len(rows)
        self._wait(pa.Table.from_batches([rows.select(self.schema.names)], self.schema))

    def _flush(self) -> None:
        rows, self._buffer = self._buffer, []
        self._wait(pa.Table.from_batches([batch(rows, self.schema)]))

    def _wait(self, rows: pa.Table) -> None:
        """Write what fills row groups, and keep the rest."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= BATCH:
            rows = pa.concat_tables(self._waiting)
            full = len(rows) - len(rows) % BATCH
            for start in range(0, full, BATCH):
                self._writer.write_table(rows.slice(start, BATCH).combine_chunks())
            self._waiting = [rows.slice(full)]

    def __enter__(self) -> "Table":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            if rest := sum(map(len, self._waiting)):
                self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks(), rest)
        self._writer.close()
        self._whole.__exit__(kind, error, trace)


def batch(rows: Iterable[Any], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    """Rows laid out in columns."""
    kept = list(rows)
    columns = [column([row[field.name] for row in kept], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values as a column. Messages are laid out field by field: Arrow itself takes five times as long."""
    if kind != MESSAGES:
        return pa.array(values, kind)
    offsets = list(accumulate(map(len, values), initial=0))
    flat = list(chain.from_iterable(values))
    parts = [pa.array([message[name] for message in flat], pa.string()) for name in ("role", "content")]
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(parts, fields=list(MESSAGES.value_type)), MESSAGES
    )


def write(path: Path, rows: Iterable[Any], schema: pa.Schema = SCHEMA) -> int:
    """Write rows as one table; the number of rows."""
    with Table(path, schema) as table:
        for row in rows:
            table.add(row)
    return table.rows
