"""Answers as they stand in a journal, for tests of journals."""

from pathlib import Path

from stages.lib import records
from stages.lib.teachers.journal import line
from stages.lib.teachers.journal_index import Entry

KEYS = [f"{number:032x}" for number in range(8)]


def entry(key: str, answer: str = "đáp") -> Entry:
    return Entry(key=key, model="m", prompt="p", input="hỏi", answer=answer, finish_reason="stop", usage={})


def text(*found: Entry) -> bytes:
    return "".join(map(line, found)).encode()


def bought(name: str, prompt: int = 3, completion: int = 4, model: str = "m", **usage: int) -> Entry:
    """An answer that was paid for."""
    found = {"prompt_tokens": prompt, "completion_tokens": completion} | usage
    return Entry(
        key=records.fingerprint(name), model=model, prompt="p", input=name, answer=f"to {name}",
        finish_reason="stop", usage=found,
    )  # fmt: skip


def written(own: Path, *found: Entry) -> Path:
    with own.open("a", encoding="utf-8") as log:
        log.writelines(map(line, found))
    return own
