"""What the stages did not pass on: counted by stage, reason and source, with some of each to look at.

The shown ones are a random draw, the same in every run: those whose hash is smallest. So they come from all of a
table, memory holds only them, and the order of rows and files changes nothing. Not covered: texts that a stage
changed and kept.
"""

import hashlib
import heapq
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from stages.lib import records
from stages.lib.clean import pii
from stages.lib.text import vietnamese

ENDS = (".refused.jsonl", ".dropped.parquet")
EXAMPLES = 10  # of each reason
SHOWN = 300  # characters
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")  # a letter in JSON that could not be read
FENCES = re.compile(r"`+|~~~")


class Loss(NamedTuple):
    """A row that a stage did not pass on."""

    stage: str
    source: str
    reason: str
    detail: str
    text: str
    row: str  # what tells it from others


@dataclass
class Losses:
    """All of them, as the card tells of them."""

    rows: int = 0  # upstream rows that were read
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by stage
    sources: dict[str, dict[str, Counter[str]]] = field(  # by stage
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    drawn: dict[tuple[str, str], list[tuple[int, Loss]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, loss: Loss) -> None:
        """Count one, and keep it for a while if it is drawn."""
        self.reasons[loss.stage][loss.reason] += 1
        self.sources[loss.stage][loss.source][loss.reason] += 1
        digest = hashlib.sha256("\0".join((loss.source, loss.row, loss.text)).encode("utf-8", "replace")).digest()
        drawn = self.drawn[loss.stage, loss.reason]
        entry = (-int.from_bytes(digest[:16]), loss)
        if len(drawn) < EXAMPLES:
            heapq.heappush(drawn, entry)
        elif entry > drawn[0]:
            heapq.heapreplace(drawn, entry)

    def dropped(self) -> dict[str, Any]:
        """Counts by stage: of each reason, and of each reason in each source."""
        return {stage: {"reasons": self.reasons[stage], "sources": self.sources[stage]} for stage in self.reasons}

    def examples(self) -> dict[str, list[dict[str, str]]]:
        """Those that were drawn, by ``stage: reason``, as they may be shown."""
        return {
            f"{stage}: {reason}": [shown(loss) for _, loss in sorted(drawn, key=itemgetter(0), reverse=True)]
            for (stage, reason), drawn in sorted(self.drawn.items())
        }


def shown(loss: Loss) -> dict[str, str]:
    """An example without personal data: what is dropped before the clean stage has not been masked yet."""
    text = masked(loss.text)
    cut = text if len(text) <= SHOWN else text[:SHOWN].rstrip() + " …"
    return {"source": loss.source, "detail": masked(loss.detail), "text": cut}


def masked(text: str) -> str:
    """A text without personal data, in code and in what JSON escapes, too: nobody runs an example."""
    plain = vietnamese.whole(ESCAPED.sub(lambda match: chr(int(match[1], 16)), text))
    return pii.mask(FENCES.sub("'", pii.mask(plain)[0]).replace("://", ": "))[0]


def count(paths: Iterable[Path]) -> Losses:
    """The losses that some ``*.refused.jsonl`` and ``*.dropped.parquet`` hold."""
    losses = Losses()
    for path in paths:
        for found in refused(path) if path.suffix == ".jsonl" else dropped(path):
            if isinstance(found, Loss):
                losses.add(found)
            else:
                losses.rows += found
    return losses


def refused(path: Path) -> Iterator[Loss | int]:
    """The rows that could not be parsed, and the number of all rows, which the last line tells."""
    source = path.name.split(".")[0]
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "reason" not in row:
                yield int(row["rows"])
                continue
            detail = f"row {row['upstream']} {row['detail']}".strip()
            yield Loss("parse", source, row["reason"], detail, row["raw"], row["upstream"])


def dropped(path: Path) -> Iterator[Loss]:
    """The records that a later stage dropped."""
    stage = "translate" if path.parent.name == "vi" else path.name.split(".")[0]
    for record in records.read(path):
        row: Any = record
        yield Loss(
            stage, row["source"], row["reason"], row["detail"], records.plain(record), f"{row['upstream']} {row['id']}"
        )
