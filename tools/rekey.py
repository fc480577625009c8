"""File the shipped answers under today's keys: `python -m tools.rekey`.

A journal is keyed by all that could change an answer, the prompt's wording included, so a new wording asks
everything anew. That is right for answers that a model gave. The answers in ``data/sample/teacher.jsonl`` were
written by people for the texts themselves, and stay right when only the wording changes.
"""

from pathlib import Path

from stages.lib import journal, paramfile
from stages.lib.journal import Entry
from stages.lib.params import Teacher
from stages.lib.requests import Prompt, key

SHIPPED = Path("data/sample/teacher.jsonl")
PROMPTS = Path("stages/prompts")


def rekey(entries: list[Entry], teacher: Teacher, prompts: dict[str, Prompt]) -> list[Entry]:
    """The same answers with the keys that today's params and prompts give their texts."""
    return [
        {**entry, "model": teacher.model, "key": key(teacher, prompts[entry["prompt"]], entry["input"])}
        for entry in entries
    ]


def main() -> None:
    """Rewrite the shipped journal in place; the entries keep their order."""
    teacher = paramfile.check(Path("params.yaml"), Path("recipes"))[0].teacher
    prompts = {path.stem: Prompt.load(path) for path in sorted(PROMPTS.glob("*.yaml"))}
    old = list(journal.entries(SHIPPED))
    new = rekey(old, teacher, prompts)
    SHIPPED.write_text("".join(map(journal.line, new)), encoding="utf-8")
    moved = sum(one["key"] != other["key"] for one, other in zip(old, new, strict=True))
    print(f"{SHIPPED}: {moved} of {len(new)} answers have a new key")


if __name__ == "__main__":
    main()
