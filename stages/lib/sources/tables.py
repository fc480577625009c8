"""Tables row by row: CSV and TSV with a heading, and Parquet.

A broken row of a CSV is refused by its first line, and the next line is tried. Of a Parquet table a row group is held,
whose size its writer chose; one in an archive is copied to a temporary file first. Not covered: tables without a
heading, and spreadsheets.
"""

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from stages.lib.sources.containers import Member, Unreadable
from stages.lib.sources.rows import CONFLICT, RAW_BOUND, ROW_BOUND, Refused, Row, encodable, printable

CELLS_BOUND = 1 << 20  # characters of a row: each line of a broken one is tried as the beginning of another


class Lines:
    """The lines of a table, of which the last ones can be given back."""

    def __init__(self, file: BinaryIO) -> None:
        self._text = io.TextIOWrapper(cast(Any, file), "utf-8-sig", errors="surrogateescape", newline="")
        self._again: list[str] = []  # last first
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._text.readline(CELLS_BOUND)
        if not line:
            raise StopIteration
        self.taken.append(line)
        if sum(map(len, self.taken)) > CELLS_BOUND:
            raise csv.Error("a quote that is not closed, or a row without an end")
        return line

    def refuse_first(self) -> str:
        """Give back all lines that were taken but the first, which is returned."""
        first, *others = self.taken or [""]
        self._again += reversed(others)
        self.taken = []
        piece = first
        while len(piece) == CELLS_BOUND and not piece.endswith("\n"):  # the rest of a line without an end
            piece = self._again.pop() if self._again else self._text.readline(CELLS_BOUND)
        return first


def cells(file: BinaryIO, delimiter: str) -> Iterator[Row | Refused]:
    """The rows of a table with a heading, as objects of texts. After a broken row the next line is tried."""
    csv.field_size_limit(ROW_BOUND)
    lines = Lines(file)
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    heading: list[str] = []
    while not any(heading):
        try:
            heading = [name.strip() for name in next(table)]
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(f"the heading: {error}") from None
    lines.taken.clear()
    if not encodable(heading):
        raise Unreadable("the heading is not UTF-8")
    if twice := {name for name in heading if name and heading.count(name) > 1}:
        raise Unreadable(f"two columns are called {sorted(twice)[0]!r}")
    number = 0
    while True:
        try:
            row = next(table)
            fault = "" if len(row) == len(heading) else f"{len(row)} cells, and the heading has {len(heading)}"
            reason = "wrong number of cells"
        except StopIteration:
            return
        except csv.Error as error:
            row, reason, fault = ["?"], "not CSV", str(error)
        if not row:
            lines.taken.clear()
            continue
        number += 1
        if fault:
            first = printable(lines.refuse_first().rstrip("\r\n"))
            reason = "merge-conflict marker" if CONFLICT.match(first) else reason
            yield Refused(str(number), reason, first[:RAW_BOUND], fault)
            table = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        lines.taken.clear()
        if encodable(row):
            yield str(number), dict(zip(heading, row, strict=True))
        else:
            yield Refused(str(number), "not UTF-8", printable(delimiter.join(row))[:RAW_BOUND])


def separator(text: str) -> str:
    """The sign between the cells of a heading: spreadsheets in Vietnamese write a semicolon."""
    heading = text.split("\n", 1)[0]
    return max(",;\t", key=heading.count)


def parquet(member: Member) -> Iterator[Row | Refused]:
    """The rows of a Parquet table as objects."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as spooled:
        file = member.file
        if not member.on_disk:  # the table's index stands at its end
            shutil.copyfileobj(file, spooled)
            file = cast(BinaryIO, spooled)
        number = 0
        try:
            with pq.ParquetFile(file, pre_buffer=False) as table:  # else all of it is held at once
                names = table.schema_arrow.names
                if len(set(names)) < len(names):
                    raise Unreadable("two columns have the same name")
                for batch in table.iter_batches(1024):
                    for row in batch.to_pylist():
                        number += 1
                        yield str(number), row
        except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError, LookupError) as error:
            raise Unreadable(f"Parquet, after row {number}: {' '.join(str(error).split())[:300]}") from None
