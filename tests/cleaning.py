"""What tests of the clean stage share: its dials and filters, and records to judge."""

from pathlib import Path

from stages import clean
from stages.lib import paramfile, records
from stages.lib.records import Message, Record
from stages.lib.text.lexicon import phrases

DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0].clean

FILTERS = clean.build_filters(
    phrases(Path("stages/lexicons/toxic.txt")), phrases(Path("stages/lexicons/spam.txt")), DIALS
)


def instruction(question: str, answer: str) -> Record:
    turns: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return records.make("instruction", turns, source="s", licence="CC0-1.0", lang="vi", upstream="1")


def reason(record: Record) -> str:
    """Why the record is dropped; nothing where it stays."""
    verdict = clean.judge(record, FILTERS)
    return verdict[0] if verdict else ""
