"""The translate stage in a folder of its own, with a teacher who answers by a script."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import translate
from stages.lib import paramfile, records
from stages.lib.params import Fallback, Teacher
from stages.lib.records import Message, Record
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.prices import NOTHING
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.spend import Purse
from stages.lib.translate import translation
from stages.lib.translate.attempts import UNKNOWN

PROMPTS = [Path(f"stages/prompts/{name}.yaml") for name in ("translate", "retranslate", "judge")]
DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
CHECKS = DIALS.translate.checks
PAID = DIALS.teacher.model_copy(update={"engine": "openai", "model": "m", "max_failed": 1.0})
OTHER = Fallback(engine="openai", model="other", base_url="http://127.0.0.1:9/v1", api_key="OTHER_KEY")
FREE = DIALS.spend.model_copy(update={"prices": dict.fromkeys(("m", "other", "project-authors"), NOTHING)})
Script = Callable[[Teacher, Prompt, str], str | Failure]


class Bench:
    """The stage in a folder of its own, with a teacher who answers by a script and counts what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DVC_ROOT", str(folder))
        monkeypatch.setattr("stages.lib.teachers.teacher.engine", lambda name: self.buy)
        self.folder = folder
        self.asked: list[tuple[str, str, str]] = []
        self.calls: list[tuple[str, str, int]] = []  # (model, prompt, how many requests at a time)
        self.script: Script = lambda teacher, prompt, text: Failure(UNKNOWN)

    def buy(
        self, teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
    ) -> dict[str, Failure]:
        """An engine: what no journal knows."""
        failures: dict[str, Failure] = {}
        self.calls.append((teacher.model, prompt.name, len(wanted)))
        for mark, text in wanted.items():
            self.asked.append((teacher.model, prompt.name, text))
            reply = self.script(teacher, prompt, text)
            if isinstance(reply, Failure) and not reply.answered:
                failures[mark] = reply
                continue
            # what was answered badly stands in the journal like any answer; a dash at the end says that it was cut
            bad = isinstance(reply, Failure) and reply.reason
            answer = "" if isinstance(reply, Failure) else reply
            finish = (
                "content_filter" if bad == "refused by the teacher" else "length" if answer.endswith("—") else "stop"
            )
            journal.add(
                Entry(key=mark, model=teacher.model, prompt=prompt.name, input=text, answer=answer,
                      finish_reason=finish, usage={})
            )  # fmt: skip
        return failures

    def run(self, rows: list[Record], script: Script | None = None, teacher: Teacher = PAID, **changes: Any) -> None:
        """Run the stage over some records; what it writes lies in the folder."""
        self.script = script or self.script
        records.write(self.folder / "rows", rows)
        dials = DIALS.translate.model_copy(update={"max_refused": 1.0, **changes})
        (self.folder / "shipped").touch()
        words = [*PROMPTS, *(self.folder / name for name in ("shipped", "kept", "dropped", "quarantine", "spent"))]
        translate.main("s", self.folder / "rows", *words, teacher=teacher, spend=FREE, licences="all", translate=dials)

    def kept(self) -> list[Record]:
        return list(records.read(self.folder / "kept"))

    def texts(self) -> list[list[str]]:
        return [[message["content"] for message in record["messages"]] for record in self.kept()]

    def dropped(self) -> list[str]:
        return [str(dict(record)["reason"]) for record in records.read(self.folder / "dropped")]

    def quarantine(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "quarantine").read_text(encoding="utf-8").splitlines()]


def row(*texts: str, roles: str = "text", lang: str = "en", upstream: str = "1") -> Record:
    names = roles.split()
    messages: list[Message] = [{"role": names[at % len(names)], "content": text} for at, text in enumerate(texts)]
    return records.make("text", messages, source="s", licence="MIT", lang=lang, upstream=upstream)


FINE, FINE_VI = "The weather is fine in town {}.", "Thời tiết ở thị trấn {} rất đẹp."


def towns(count: int) -> list[Record]:
    return [row(FINE.format(number), upstream=str(number)) for number in range(count)]


def texts_of(text: str) -> list[str]:
    tree = json.loads(text)
    return [item["text"] for item in (tree if isinstance(tree, list) else tree["texts"])]


def good(teacher: Teacher, prompt: Prompt, text: str) -> str:
    return translation.answer([FINE_VI.format(part.split()[-1].strip(".")) for part in texts_of(text)])


def lazy(teacher: Teacher, prompt: Prompt, text: str) -> str:
    """The texts as they are, until somebody says what is wrong with them."""
    return good(teacher, prompt, text) if prompt.name == "retranslate" else translation.answer(texts_of(text))


PARAGRAPH, PARAGRAPH_VI = "It rains in town {}. We stay at home.", "Trời mưa ở thị trấn {}. Chúng tôi ở nhà."
SMALL = PAID.model_copy(update={"max_tokens": 100})


def paragraphs(teacher: Teacher, prompt: Prompt, text: str) -> str:
    return translation.answer(
        [part.replace("It rains in town", "Trời mưa ở thị trấn").replace("We stay at home", "Chúng tôi ở nhà")
         for part in texts_of(text)]
    )  # fmt: skip
