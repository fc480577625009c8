"""File the shipped answers under the keys of today's requests: ``python -m tools.rekey``.

A key changes with the prompt, the params, and with what a request says beside the text, so that a change of
``generate``, of its lists or of the seed tasks asks everything anew. That is right for answers that a model gave. The
answers in ``data/sample/teacher.jsonl`` were written by people: translations for the texts themselves, invented tasks
for their place in the order of the requests, evolved ones for the task and the operation that they come of. They stay
right when only the rest of the request changes. None is ever deleted: one that nobody asks for any more stays as it
is. Not covered: writing the answers that a new request lacks.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from stages.generate import Maker
from stages.lib import paramfile
from stages.lib.contract import Refusal
from stages.lib.generate import briefs, seeds
from stages.lib.generate.pool import new_pool
from stages.lib.params import Params, Teacher
from stages.lib.teachers import journal
from stages.lib.teachers.journal import Entry
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.translate import attempts
from tools.inputs import Inputs, inputs


def rekey(entries: list[Entry], teacher: Teacher, prompts: dict[str, Prompt]) -> list[Entry]:
    """The same answers with the keys that today's params and prompts give their texts."""
    return [{**entry, "key": key(teacher, prompts[entry["prompt"]], entry["input"])} for entry in entries]


def replay(entries: list[Entry], params: Params, files: Inputs) -> tuple[list[Entry], list[Entry]]:
    """The invented and evolved tasks as answers to what the stage asks today, in its order; and what it doesn't ask."""
    teacher = attempts.author(params.teacher)
    if teacher is None:
        raise Refusal("teacher: an NLLB model invents nothing, so that no invented task can be filed")
    inventing, evolving = prompts = files.prompts()
    by_name = {prompt.name: prompt for prompt in prompts}
    left = {entry["key"]: entry for entry in entries if entry["prompt"] in by_name}
    invented: Iterator[Entry] = iter([entry for entry in entries if entry["prompt"] == inventing.name])
    evolved = {origin(entry["input"]): entry for entry in entries if entry["prompt"] == evolving.name}
    filed: list[Entry] = []

    def asked(prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        found: list[Entry] = []
        for text in texts:
            old = next(invented, None) if prompt == inventing else evolved.get(origin(text))
            if old is None:
                raise Refusal(f"{name}: no shipped answer to {text}")
            left.pop(old["key"], None)
            found.append({**old, "input": text})
        filed.extend(rekey(found, teacher, by_name))
        return [*filed[-len(found) :]]

    with new_pool(seeds.read(files.seed_file), params.generate.novelty) as pool:
        for _ in Maker(pool, briefs.load(files.lists), prompts, teacher, params.generate, asked).run():
            pass
    return filed, list(left.values())


def origin(text: str) -> tuple[str, str, str]:
    """What an evolved task comes of, out of the request for it."""
    request = json.loads(text)
    return request["task"]["instruction"], request["task"]["input"], request["operation"]


def check(entries: list[Entry], teacher: Teacher, shipped: Path) -> None:
    """Refuse to put one teacher's answers under the name of another."""
    others = sorted({entry["model"] for entry in entries} - {teacher.model})
    if others:
        raise Refusal(
            f"params.yaml: teacher.model: found {teacher.model}, and {shipped} holds answers of {', '.join(others)}; "
            "an answer is filed under its own teacher alone"
        )


def main() -> None:
    """Rewrite the shipped journal in place; the entries keep their order."""
    params = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
    files = inputs()
    prompts = {path.stem: Prompt.load(path) for path in sorted(files.wording.parent.glob("*.yaml"))}
    old = list(journal.entries(files.shipped))
    check(old, params.teacher, files.shipped)
    names = {files.wording.stem, files.evolving.stem}
    teacher = attempts.first(params.teacher)
    new = rekey([entry for entry in old if entry["prompt"] not in names], teacher, prompts)
    filed, left = replay(old, params, files)
    new += filed + left
    files.shipped.write_text("".join(map(journal.line, new)), encoding="utf-8")
    moved = len({entry["key"] for entry in new} - {entry["key"] for entry in old})
    print(f"{files.shipped}: {moved} of {len(new)} answers have a new key; {len(old)} before")
    if left:
        print(f"note: {len(left)} answers are to nothing that generate asks today; they stay as they are")


if __name__ == "__main__":
    main()
