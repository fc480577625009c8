"""What a data file is, by its first bytes and its name, and so how its rows are read.

Not covered: how it is packed (``containers.py``) and what its rows mean (``formats.py``).
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import cast

from stages.lib.sources import json_rows, tables
from stages.lib.sources.containers import Member, Unreadable, members
from stages.lib.sources.rows import CHUNK, Refused, Row


def read(path: Path) -> Iterator[Row | Refused]:
    """The rows of one file on disk. Raises Unreadable."""
    for member in members(path):
        yield from rows(member)


def rows(member: Member, suffix: str = "") -> Iterator[Row | Refused]:
    """The rows of a data file; ``suffix`` helps where it has no name of its own (``.csv``, ``.tsv``)."""
    prefix = f"{member.name}:" if member.name else ""
    for item in reader(member, suffix):
        if isinstance(item, Refused):
            yield replace(item, upstream=prefix + item.upstream)
        else:
            yield prefix + item[0], item[1]


def reader(member: Member, suffix: str) -> Iterator[Row | Refused]:
    """The rows by what the file's beginning and its name say that it is."""
    if peek(member).startswith(b"PAR1"):
        return tables.parquet(member)
    text = beginning(member)
    suffix = suffix_of(member.name) or suffix
    if suffix in (".csv", ".tsv") or tabular(text):
        return tables.cells(member.file, "\t" if suffix == ".tsv" else tables.separator(text))
    if text.startswith("[") or pretty(text):
        return json_rows.values(member.file)
    return json_rows.json_lines(member.file)


def peek(member: Member) -> bytes:
    """The first bytes of a file, which stay to be read."""
    return cast(io.BufferedReader, member.file).peek(CHUNK)[:CHUNK]


def beginning(member: Member) -> str:
    """The first letters of a text. Raises Unreadable when it is no UTF-8 at all."""
    head = peek(member)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:2]:
        raise Unreadable("the text is UTF-16 or binary; save it as UTF-8")
    return head.decode("utf-8-sig", "replace").lstrip()


def tabular(text: str) -> bool:
    """Whether a file without a telling name is a table: a heading, and no line that begins like JSON."""
    lines = text.splitlines()
    return bool(lines) and any(sign in lines[0] for sign in ",;\t") and not re.search(r'(?m)^\s*[\[{"]', text)


def is_json(text: str) -> bool:
    """Whether a text that may be prose is JSON after all, told by its first value."""
    if not text.startswith(("{", "[", '"')):
        return False
    try:
        if text.startswith('"'):
            json.loads(text.split("\n", 1)[0])
        else:
            json_rows.LENIENT.raw_decode(text)
    except json.JSONDecodeError as error:
        cut = len(text) > CHUNK // 4 and (error.pos >= len(text) - 12 or error.msg.startswith("Unterminated"))
        return pretty(text) or cut
    except RecursionError:
        return True
    return True


def suffix_of(path: str) -> str:
    """``.csv`` of ``…/list.csv.gz``: the ending of a file's name without what compresses it."""
    names = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    return next((name for name in reversed(names) if name not in (".gz", ".bz2", ".xz", ".zst")), "")


def pretty(text: str) -> bool:
    """Whether JSON objects are written over several lines, or in MongoDB's dialect."""
    first = text.split("\n", 1)[0].rstrip()
    if not first.startswith("{"):
        return False
    return bool(json_rows.MONGO.search(text)) or first.endswith(("{", ",", "[")) or (first == "{" and len(text) > 1)
