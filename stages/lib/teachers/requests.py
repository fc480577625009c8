"""What is asked of a teacher, and what can come of it.

A prompt is a file with a version; with the model and its settings it is part of every request's key, so that a new
wording is a new question and an old answer is never taken for another one's. Not covered: asking
(``teacher.py``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.contract import Refusal
from stages.lib.params import Teacher
from stages.lib.records import fingerprint
from stages.lib.teachers.journal import Entry

KEYS = {"version", "system", "schema"}  # of a prompt file; the schema may be left out


@dataclass(frozen=True)
class Prompt:
    """A system prompt, and the JSON schema of its answers where they have one."""

    name: str
    text: str
    version: int = 1
    schema: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: Path) -> "Prompt":
        """Read a prompt file; its name without the suffix names it in the journal."""
        try:
            tree = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        except YAMLError as error:
            raise Refusal(f"{path}: not YAML: {error}") from None
        if not isinstance(tree, dict) or not KEYS - {"schema"} <= tree.keys() <= KEYS:
            raise Refusal(f"{path}: a prompt has the keys version, system and, where answers have one, schema")
        if not isinstance(tree["version"], int) or not isinstance(tree["system"], str):
            raise Refusal(f"{path}: version is a whole number and system a text")
        return cls(path.stem, tree["system"].strip(), tree["version"], tree.get("schema"))


@dataclass(frozen=True)
class Failure:
    """Why a request has no usable answer; ``answered`` tells a bad answer, which the journal holds, from none."""

    reason: str
    detail: str = ""
    answered: bool = False
    again: bool = True  # to ask once more can't pay twice
    said: str = ""  # what there is of an answer that was cut


def key(teacher: Teacher, prompt: Prompt, text: str) -> str:
    """The hash of all that could change the answer, and of nothing else (an endpoint may move)."""
    nllb = first(teacher).nllb
    decoding = nllb.model_dump() if nllb else None
    return fingerprint(
        [
            teacher.model, teacher.temperature, teacher.max_tokens, decoding,
            prompt.version, prompt.text, prompt.schema, text,
        ]
    )  # fmt: skip


def first(teacher: Teacher) -> Teacher:
    """The teacher itself; how an NLLB model decodes is no part of its requests where only the fallback is one."""
    only = teacher.fallback is not None and teacher.fallback.engine == "nllb" and teacher.engine != "nllb"
    return teacher.model_copy(update={"nllb": None}) if only else teacher


def usable(entry: Entry) -> Entry | Failure:
    """An answer that was finished, or the named reason why it can't be used."""
    if entry["finish_reason"] == "length":
        cut = f"stopped at max_tokens after {len(entry['answer'])} characters"
        return Failure("truncated", cut, answered=True, said=entry["answer"])
    if entry["finish_reason"] != "stop":
        return Failure("refused by the teacher", f"finish_reason {entry['finish_reason']}", answered=True)
    return entry if entry["answer"].strip() else Failure("empty answer", answered=True)
