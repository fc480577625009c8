"""Answers as they stand in a journal, for tests of journals."""

from stages.lib.journal import line
from stages.lib.journal_index import Entry

KEYS = [f"{number:032x}" for number in range(8)]


def entry(key: str, answer: str = "đáp") -> Entry:
    return Entry(key=key, model="m", prompt="p", input="hỏi", answer=answer, finish_reason="stop", usage={})


def text(*found: Entry) -> bytes:
    return "".join(map(line, found)).encode()
