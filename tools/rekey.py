"""File the shipped answers under today's keys: `python -m tools.rekey`.

A journal is keyed by all that could change an answer, the prompt's wording and the examples that a request shows
included, so a new wording or another seed task asks everything anew. That is right for answers that a model gave. The
answers in ``data/sample/teacher.jsonl`` were written by people: translations for the texts themselves, invented tasks
for their place in the order of the requests, evolved ones for the task and the operation that they come of. They stay
right when only the rest of the request changes. Not covered: writing the answers that a new request lacks.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from stages.generate import Maker
from stages.lib import briefs, journal, paramfile, seeds
from stages.lib.contract import Refusal
from stages.lib.journal import Entry
from stages.lib.params import Params, Teacher
from stages.lib.pool import Pool
from stages.lib.requests import Failure, Prompt, key

SHIPPED = Path("data/sample/teacher.jsonl")
SEEDS = Path("data/sample/seed_tasks.jsonl")
LISTS = Path("stages/lexicons/briefs.yaml")
PROMPTS = Path("stages/prompts")
MADE = ("generate", "evolve")  # prompts whose requests depend on the answers before them


def rekey(entries: list[Entry], teacher: Teacher, prompts: dict[str, Prompt]) -> list[Entry]:
    """The same answers with the keys that today's params and prompts give their texts."""
    return [
        {**entry, "model": teacher.model, "key": key(teacher, prompts[entry["prompt"]], entry["input"])}
        for entry in entries
    ]


def replay(entries: list[Entry], params: Params, prompts: dict[str, Prompt], lists: Path, tasks: Path) -> list[Entry]:
    """The invented and evolved tasks as answers to what the stage asks today, in the order in which it asks."""
    invented: Iterator[Entry] = (entry for entry in entries if entry["prompt"] == MADE[0])
    evolved = {origin(entry["input"]): entry for entry in entries if entry["prompt"] == MADE[1]}
    filed: list[Entry] = []

    def asked(prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        found: list[Entry] = []
        for text in texts:
            old = next(invented, None) if prompt.name == MADE[0] else evolved.get(origin(text))
            if old is None:
                raise Refusal(f"{name}: no shipped answer to {text}")
            found.append({**old, "input": text})
        filed.extend(rekey(found, params.teacher, prompts))
        return [*filed[-len(found) :]]

    with closing(Pool(seeds.read(tasks), params.generate.novelty)) as pool:
        made = (prompts[MADE[0]], prompts[MADE[1]])
        for _ in Maker(pool, briefs.load(lists), made, params.teacher, params.generate, asked).run():
            pass
    return filed


def origin(text: str) -> tuple[str, str, str]:
    """What an evolved task comes of, out of the request for it."""
    request = json.loads(text)
    return request["task"]["instruction"], request["task"]["input"], request["operation"]


def main() -> None:
    """Rewrite the shipped journal in place; the entries keep their order."""
    params = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
    prompts = {path.stem: Prompt.load(path) for path in sorted(PROMPTS.glob("*.yaml"))}
    old = list(journal.entries(SHIPPED))
    new = rekey([entry for entry in old if entry["prompt"] not in MADE], params.teacher, prompts)
    new += replay(old, params, prompts, LISTS, SEEDS)
    SHIPPED.write_text("".join(map(journal.line, new)), encoding="utf-8")
    moved = len({entry["key"] for entry in new} - {entry["key"] for entry in old})
    print(f"{SHIPPED}: {moved} of {len(new)} answers have a new key; {len(old)} before")


if __name__ == "__main__":
    main()
