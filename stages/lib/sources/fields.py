"""What the fields of a row say: one text under many names, an instruction, the turns before it.

Not covered: which fields make a record (``formats.py`` and the modules that it lists).
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from stages.lib.records import Message
from stages.lib.sources import rows
from stages.lib.sources.rows import RAW_BOUND, Refused


class Parsed(NamedTuple):
    """One record to be: its kind, its texts, where it stood, and the group that it must not be split from."""

    kind: str
    messages: list[Message]
    upstream: str
    group: str = ""
    lang: str = ""
    part: str = ""  # of the row: an instance


class Fault(ValueError):
    """Why a row is no record."""


Found = Iterable[Parsed | Refused]
NO_INPUT = re.compile(r"^\W*((?i:no\s*input|none|n/a|not applicable)|NA)\W*$")
FAILED = "|||TRANSLATION_FAILED|||"
# instructions come under many names; the first that a row has is taken
INSTRUCTION = ("instruction", "prompt", "question", "query")
ABOUT = ("input", "context")
ANSWER = ("output", "response", "answer", "completion")
# Dolly and others are also published inside Alpaca's own prompt
TEMPLATE = re.compile(
    r"Below is an instruction that describes a task.*?### Instruction:\s*(?P<instruction>.*?)"
    r"(?:\s*### Input:\s*(?P<about>.*?))?\s*### Response:\s*",
    re.DOTALL,
)


def refused(number: str, reason: str, row: Any, part: str = "") -> Refused:
    """A row that is no record, or a part of a row, with the text that it was."""
    return Refused(number, reason, rows.printable(rows.dump(row)[:RAW_BOUND]), "", "part" if part else "row", part)


def text(row: dict[str, Any], names: Iterable[str]) -> str:
    """The text under the first of some names that has any, or an empty one. Raises Fault if it is no text."""
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            value = joined(name, value)
        if FAILED in value:
            raise Fault("failure marker")
        if value := value.strip():
            return value
    return ""


def joined(name: str, value: Any) -> str:
    """The one text in a list: translators that work in pieces leave lists of them. Raises Fault."""
    if isinstance(value, list):
        if None in value:
            raise Fault(f"a null in {name}")
        if all(isinstance(part, str) for part in value):
            return "\n\n".join(value)
    raise Fault(f"{name} is not a text")


def needed(row: dict[str, Any], names: tuple[str, ...]) -> str:
    """Like :func:`text`; raises Fault when there is none."""
    if value := text(row, names):
        return value
    name = next((name for name in names if row.get(name) is not None), None)
    raise Fault(f"empty {name}" if name else f"{names[0]} is missing")


def asked(row: dict[str, Any]) -> str:
    """An instruction with the text that it is about, if any."""
    instruction, about = needed(row, INSTRUCTION), text(row, ABOUT)
    if instruction.startswith("Below is an") and (match := TEMPLATE.fullmatch(instruction)):
        instruction, about = match["instruction"], match["about"] or about
    about = "" if NO_INPUT.match(about) else about
    return f"{instruction}\n\n{about}" if about else instruction


def before(row: dict[str, Any]) -> list[Message]:
    """The turns before the instruction: a system text and LLaMA-Factory's ``history`` of questions and answers."""
    turns: list[Message] = [{"role": "system", "content": system}] if (system := text(row, ["system"])) else []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise Fault("history is not a list of questions and answers")
    for exchange in history:
        if not isinstance(exchange, list) or len(exchange) != 2 or not all(isinstance(part, str) for part in exchange):
            raise Fault("history is not a list of questions and answers")
        turns += [
            {"role": role, "content": part.strip()} for role, part in zip(("user", "assistant"), exchange, strict=True)
        ]
    return turns
