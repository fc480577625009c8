"""How many tokens requests and their answers will have, before anybody is asked.

Without the model's tokenizer there are two ways to know. Cold: a text is cut into words, numbers and signs, as the
tokenizers of today's models do before they look into their vocabularies, and each kind of piece has a usual number of
tokens. Calibrated: as soon as a journal holds answers of the same model to the same prompt, their usage says by what
factor the cold estimate is off, for prompts and for answers. Not covered: hidden reasoning of a model that has never
been asked; the factor knows of it afterwards.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.lib.teachers import account
from stages.lib.teachers.journal import entries
from stages.lib.teachers.journal_index import Entry, parse
from stages.lib.teachers.requests import Prompt

PIECE = re.compile(r" ?[^\W\d_]+|\d{1,3}| ?[^\w\s]+|\s+|_+")
# Tokens of a piece in vocabularies of 100,000 and more (o200k and its like). With them English has about 4.1 characters
# a token and Vietnamese 3.2, which lies within what is published: 4 to 4.5, and 2.6 to 3.2.
ASCII, OTHER = 1.1, 1.35
VIETNAMESE = 3.2  # characters a token
RATIO = 1.0  # characters of a translation for each of its English source: 1.01 in IWSLT'15 tst2012, 0.96 in the sample
TEMPLATE = 11  # tokens around a system and a user message
REPLY, TEXT = 6, 3  # tokens of JSON around all translations, and around each of them
RETRIED = 0.05  # share of requests that are made once more, where no run has told yet
ENOUGH = 20  # answers from which a factor is taken
SAMPLE = 2000  # answers that are looked at for it

Answered = Callable[[str], float]  # completion tokens of the answer to a request


@dataclass(frozen=True)
class Factors:
    """How far cold estimates are off for one model and one prompt, and how many answers say so."""

    prompt: float = 1.0
    completion: float = 1.0
    answers: int = 0


def tokens(text: str) -> float:
    """Tokens of a text, cold."""
    pieces = PIECE.findall(text)
    ascii_only = sum(map(str.isascii, pieces))
    return ASCII * ascii_only + OTHER * (len(pieces) - ascii_only)


def asked(prompt: Prompt, schema: bool, text: str) -> float:
    """Prompt tokens of a request, cold; servers that are sent a schema count it too."""
    shape = json.dumps(prompt.schema, ensure_ascii=False) if schema and prompt.schema else ""
    return TEMPLATE + tokens(prompt.text) + tokens(shape) + tokens(text)


def translated(text: str) -> float:
    """Completion tokens of the answer to a translation request, cold."""
    try:
        texts = [str(part["text"]) for part in json.loads(text)]
    except (ValueError, RecursionError, KeyError, TypeError):
        texts = [text]
    return REPLY + sum(TEXT + len(part) * RATIO / VIETNAMESE for part in texts)


def calibrate(journals: Iterable[Path], model: str, prompt: Prompt, schema: bool, answered: Answered) -> Factors:
    """The factors that a model's own answers to this prompt tell; ``answered`` is the cold estimate of an answer."""
    took = wrote = guessed_in = guessed_out = 0.0
    count = 0
    for path in journals:
        for entry in sample(path):
            prompt_tokens, completion_tokens, metered = account.usage(entry)
            if metered and entry["model"] == model and entry["prompt"] == prompt.name:
                took, wrote, count = took + prompt_tokens, wrote + completion_tokens, count + 1
                guessed_in += asked(prompt, schema, entry["input"])
                guessed_out += answered(entry["input"])
    if count < ENOUGH or not took or not wrote:
        return Factors()
    return Factors(took / guessed_in, wrote / guessed_out, count)


def sample(path: Path) -> Iterator[Entry]:
    """Entries from all over a journal, about :data:`SAMPLE` of them, or all of a small one."""
    size = path.stat().st_size if path.exists() else 0
    if size < SAMPLE * 4096:
        yield from entries(path)
        return
    with path.open("rb") as log:
        for number in range(SAMPLE):
            log.seek(size * number // SAMPLE)
            if log.tell():
                log.readline()  # the rest of a line
            text = log.readline()
            entry = parse(text) if text.endswith(b"\n") else None
            if entry is not None:
                yield entry


def seconds(journal: Path, models: set[str], completion: float) -> tuple[float, bool]:
    """How long an answer takes while others are under way, and whether runs of this clone have told."""
    slots = bought = 0.0
    for row in account.rows(journal.with_name(account.LEDGER)):
        if set(row.get("models", [])) == models and row.get("bought"):
            slots, bought = slots + row["slot_seconds"], bought + row["bought"]
    return (slots / bought, True) if bought >= ENOUGH else (1.0 + completion / 60, False)
