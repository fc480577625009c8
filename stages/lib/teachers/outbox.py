"""The batches that were sent and not yet fetched, on paper: a process that comes later knows of them.

Beside the journal stand a log, a line for each step of a batch, and a copy of each file of requests until its answers
are fetched. A line without an id was written before the batch was sent: whether it got there only the server knows.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.teachers import account
from stages.lib.teachers.spend import Hold

FOLDER = "batches"  # beside the journal


@dataclass
class Sent:
    """A batch at the server; ``tokens`` are those that it may take at most, prompts and completions."""

    mark: str
    model: str
    prompt: str
    address: str
    id: str = ""
    tokens: tuple[int, int] = (0, 0)
    holds: dict[str, Hold] = field(default_factory=dict)  # of the requests that are not settled, by key


class Outbox:
    """What this clone sent."""

    def __init__(self, journal: Path) -> None:
        self._log, self._folder = journal.with_name(account.BATCHES), journal.with_name(FOLDER)
        self._journal = journal

    def open(self, address: str) -> list[Sent]:
        """The batches that were sent to an address and not fetched."""
        return [Sent(**row) for row in account.open_batches(self._journal).values() if row["address"] == address]

    def note(self, sent: Sent, *, done: bool = False) -> None:
        """Write down where a batch stands."""
        row = {"mark": sent.mark, "id": sent.id, "model": sent.model, "prompt": sent.prompt, "address": sent.address}
        account.append(self._log, {**row, "tokens": sent.tokens, "done": done})
        if done:
            self.file(sent).unlink(missing_ok=True)

    def file(self, sent: Sent) -> Path:
        """The requests of a batch."""
        return self._folder / f"{sent.mark}.jsonl"

    def write(self, sent: Sent, lines: Iterable[bytes]) -> None:
        """Keep the file of a batch that is about to be sent, on the disk when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.file(sent).open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())

    def requests(self, sent: Sent) -> dict[str, Any]:
        """The body of each request of a batch, by key."""
        with self.file(sent).open(encoding="utf-8") as lines:
            return {row["custom_id"]: row["body"] for row in map(json.loads, lines)}
