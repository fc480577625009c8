"""What `make repro` made, at a look: ``python -m tools.summary``.

Reads what the report stage wrote to metrics/; a number that isn't there is shown as a dash. Not covered:
differences between commits (`dvc metrics diff`).
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCORES = Path("metrics/scores.json")
PAGE = Path("metrics/report.html")
NEXT = """
  make chat                                   talk to these models
  .venv/bin/dvc exp run -S lr=2e-4            see what another learning rate does
  make verify                                 make it all again elsewhere, and compare it to the bit"""


def main() -> None:
    """Print the scores and what to do next."""
    print()
    if SCORES.exists():
        print(table(json.loads(SCORES.read_text(encoding="utf-8")).get("models", {})))
    else:
        print(f"{SCORES} is missing: `make repro` makes it")
    if PAGE.exists():
        print(f"\n  The report with plots and samples: {PAGE.resolve().as_uri()}")
    print(NEXT)


def table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each model: accuracy with its standard error, perplexity, size."""
    rows = [("model", "accuracy", "perplexity", "size")]
    rows += [
        (name, accuracy(scores), number(scores.get("perplexity"), ".1f"), size(scores))
        for name, scores in models.items()
    ]
    return "\n".join(line(row, widths(rows)) for row in rows)


def widths(rows: Iterable[tuple[str, ...]]) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def line(row: tuple[str, ...], width: list[int]) -> str:
    """A row, its first cell to the left and its numbers to the right."""
    first, *others = (
        cell.ljust(w) if place == 0 else cell.rjust(w) for place, (cell, w) in enumerate(zip(row, width, strict=True))
    )
    return "  ".join(["", first, *others])


def accuracy(scores: Mapping[str, Any]) -> str:
    """A share with its standard error, in percent."""
    value, error = scores.get("accuracy"), scores.get("accuracy_stderr")
    shown = number(value, ".1%")
    return f"{shown} ± {number(error, '.1%')}" if isinstance(error, int | float) and shown != "–" else shown


def size(scores: Mapping[str, Any]) -> str:
    """Bytes as megabytes of 10⁶."""
    value = scores.get("size_bytes")
    return f"{value / 1e6:.1f} MB" if isinstance(value, int | float) else "–"


def number(value: Any, form: str) -> str:
    """A number in some form, or a dash."""
    return format(value, form) if isinstance(value, int | float) and not isinstance(value, bool) else "–"


if __name__ == "__main__":
    main()
