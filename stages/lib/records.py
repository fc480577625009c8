"""The record: one schema from the first parser to the last trainer, and how it lies on disk.

A record is a row. All its texts are ``messages``, by role: ``system``, ``user`` and ``assistant`` are
turns; ``text`` is plain prose; ``chosen`` and ``rejected`` close a preference. So whatever works on
texts (translate, normalise, mask, deduplicate) walks one list and needs to know no kinds.

Tables are read and written in batches: memory does not grow with the number of records. Not covered
here: what a good record is (``stages/clean.py``).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 4096
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # hash of kind, language and messages as first parsed or made
        ("source", pa.string()),
        ("licence", pa.string()),  # SPDX identifier
        ("lang", pa.string()),  # ISO 639-1
        ("kind", pa.string()),  # instruction | conversation | preference | text
        ("messages", MESSAGES),
        ("group", pa.string()),  # records of one group never straddle a split
        ("upstream", pa.string()),  # the row in the upstream file
        ("original", MESSAGES),  # what it was translated from
        ("teacher", pa.string()),  # the model that translated or wrote it
        ("request", pa.string()),  # the teacher's journal key
        ("notes", pa.list_(pa.string())),  # what cleaning changed, as "name×count"
    ]
)
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
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:32]


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
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(BATCH):
                yield from batch.to_pylist()


def count(path: Path) -> int:
    """The number of rows of a table, without reading them."""
    return int(pq.read_metadata(path).num_rows)


class Table:
    """A Parquet file being written: the same rows give the same bytes."""

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA) -> None:
        self.schema = schema
        self.rows = 0
        self._buffer: list[Any] = []
        self._writer = pq.ParquetWriter(path, schema, version="2.6", compression="zstd", compression_level=3)

    def add(self, row: Any) -> None:
        """Append a row; batches are written as they fill."""
        self._buffer.append(row)
        self.rows += 1
        if len(self._buffer) == BATCH:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._buffer, self.schema))
        self._buffer = []

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        if self._buffer:
            self._flush()
        self._writer.close()


def write(path: Path, rows: Iterable[Any], schema: pa.Schema = SCHEMA) -> int:
    """Write rows as one table; the number of rows."""
    with Table(path, schema) as table:
        for row in rows:
            table.add(row)
    return table.rows


def sift(rows: Iterable[Record], kept: Path, dropped: Path, judge: Callable[[Record], Verdict | None]) -> Counter[str]:
    """Write each record to ``kept``, or to ``dropped`` with the reason that ``judge`` gives. Nothing vanishes."""
    reasons: Counter[str] = Counter()
    with Table(kept) as keep, Table(dropped, DROPPED) as drop:
        for record in rows:
            verdict = judge(record)
            if verdict is None:
                keep.add(record)
            else:
                reason, detail = verdict
                reasons[reason] += 1
                drop.add({**record, "reason": reason, "detail": detail})
    return reasons
