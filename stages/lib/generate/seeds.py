"""The tasks from which self-instruct starts: this project's, or a team's own file.

A row is a seed task of self-instruct (``instruction`` and ``instances`` of ``input`` and ``output``, of which the
first is taken) or one of Alpaca (``instruction``, ``input`` if there is one, ``output``), in JSON, JSON lines, CSV, TSV
or Parquet. A file with a fault is refused as a whole, with the line and the key: seeds are few, and all that is
bought depends on them. Not covered: whether they are good.
"""

import unicodedata
from pathlib import Path
from typing import Any

from stages.lib.contract import Refusal, suggest
from stages.lib.generate.tasks import FIELDS, Task
from stages.lib.sources import datafile, rows
from stages.lib.sources.containers import Unreadable
from stages.lib.text import vietnamese


def read(path: Path) -> list[Task]:
    """All tasks of a file, in order."""
    try:
        found = [seed(path, item) for item in datafile.read(path)]
    except Unreadable as error:
        raise Refusal(f"{path}: {error}") from None
    if not found:
        raise Refusal(f"{path}: holds no seed task")
    return found


def seed(path: Path, item: rows.Row | rows.Refused) -> Task:
    """One row as a task."""
    if isinstance(item, rows.Refused):
        raise Refusal(f"{path}, row {item.upstream}: {item.reason} {item.detail}".rstrip())
    number, row = item
    place = f"{path}, row {number}"
    if not isinstance(row, dict):
        raise Refusal(f"{place}: found {type(row).__name__}; a seed task is an object with instruction and output")
    task = {"instruction": text(place, row, "instruction")}
    inner, where = row, place
    if "instances" in row:
        instances = row["instances"]
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise Refusal(f"{place}: instances: found {str(instances)[:40]!r}; it is a list of objects, at least one")
        inner, where = instances[0], f"{place}: instances[0]"
    return task | {"input": text(where, {"input": "", **inner}, "input"), "output": text(where, inner, "output")}


def text(place: str, row: dict[str, Any], name: str) -> str:
    """A field as a text; only the input may be empty."""
    if name not in row:
        raise Refusal(f"{place}: {name} is missing; {suggest(name, [key for key in row if key] or list(FIELDS))}")
    value = "" if row[name] is None and name == "input" else row[name]
    if not isinstance(value, str):
        raise Refusal(f"{place}: {name}: found {type(value).__name__}; it must be a text")
    value = unicodedata.normalize("NFC", vietnamese.whole(value)).strip()
    if not value and name != "input":
        raise Refusal(f"{place}: {name} is empty")
    return value
