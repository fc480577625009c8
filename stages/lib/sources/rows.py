"""A row of a data file, one that was refused, and the plain lines that rows lie on.

Memory does not grow with the file: a row of more than :data:`ROW_BOUND` is refused and read past. Rows are numbered
from 1 as they stand in the file. Not covered: JSON (``json_rows.py``), tables (``tables.py``),
which of them a file is (``datafile.py``), and what a row means (``formats.py``).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

ROW_BOUND = 16 << 20  # bytes of a line, or characters of a JSON value or a cell
RAW_BOUND = 2000  # characters of a refused row that are kept
CHUNK = 1 << 20
BOM = "\ufeff"
CONFLICT = re.compile(r"(<{7}|>{7}|\|{7}|={7})( |$)")


@dataclass(frozen=True)
class Refused:
    """An upstream row (or a message within one) that no record could be made of."""

    upstream: str
    reason: str
    raw: str
    detail: str = ""
    unit: str = "row"
    part: str = ""  # of the row: a message, an instance


Row = tuple[str, Any]  # position, value


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


def too_long(number: str, raw: str, length: int) -> Refused:
    """A row that is no row of text."""
    return Refused(number, "row too long", raw, f"{length:,} characters or bytes; at most {ROW_BOUND:,} are read")
