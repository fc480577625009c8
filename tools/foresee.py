"""What each stage would ask of the teacher, before anybody is asked.

``translate`` asks for its records, which are there to be counted. ``generate`` asks for what depends on the answers
before: its rounds are gone through on the journal alone, to the first request that no journal knows, and the rest is
taken to be like the seed tasks, as many as the params want. Not covered: what a request costs (``tools/price.py``),
judges (``translate.meaning: judge``), and a fallback's own price.
"""

import json
import math
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from tqdm import tqdm

from stages import generate, translate
from stages.lib import records
from stages.lib.generate import briefs, evolution, seeds
from stages.lib.generate.pool import new_pool
from stages.lib.generate.tasks import Task
from stages.lib.licences import allowed
from stages.lib.params import Params
from stages.lib.teachers import costs
from stages.lib.teachers.journal import Journal
from stages.lib.teachers.journal_index import Entry, slot
from stages.lib.teachers.requests import Failure, Prompt, key, usable
from stages.lib.translate import attempts, translation
from tools import estimate
from tools.inputs import inputs

SHIPPED = Path("data/sample/teacher.jsonl")
PROMPTS = Path("stages/prompts")
PARTS = ("generate", "evolve")  # of generate: inventing and evolving
LOOKED_AT = 20_000  # new requests of a stage whose tokens are estimated one by one; the others by their length
DRAWN = 200  # requests of generate from which the usual one is made
KEPT = 0.8  # share of the invented tasks that stay, where no answer has told yet
SHOWN = 1.0  # seconds after which a progress bar appears


@dataclass
class Stage:
    """What one stage would ask for."""

    name: str
    requests: int = 0
    known: int = 0
    prompt: float = 0.0  # tokens of what is new, retries among them
    completion: float = 0.0
    rounds: int = 1  # one after the other
    answers: int = 0  # that the estimate is calibrated by

    @property
    def new(self) -> int:
        """Requests that somebody would have to answer."""
        return self.requests - self.known


class Unknown(Exception):
    """Nobody has answered this yet."""


def foreign(dials: Params, journal: Journal, name: str, table: Path, seen: set[int]) -> Stage:
    """The requests of translate@<name>; one that was made before, there or in another stage, is known by then."""
    teacher, prompt = attempts.first(dials.teacher), Prompt.load(PROMPTS / "translate.yaml")
    stage = Stage(f"translate@{name}")
    texts = looked_at = 0
    with tqdm(total=records.count(table), desc=stage.name, unit="record", delay=SHOWN) as bar:
        for record in records.read(table):
            bar.update()
            if not translate.asks(record, dials.licences):
                continue
            for text in map(translation.request, translation.plan(record["messages"], translation.longest(teacher))):
                wanted = key(teacher, prompt, text)
                stage.requests += 1
                if slot(wanted) in seen or wanted in journal.answers:
                    stage.known += 1
                    continue
                seen.add(slot(wanted))
                texts += len(text)
                if stage.new <= LOOKED_AT:
                    looked_at += len(text)
                    stage.prompt += estimate.asked(prompt, teacher.json_schema, text)
                    stage.completion += estimate.translated(text)
    more = (texts / looked_at if looked_at else 1.0) * (1 + retried(dials))
    return scaled(dials, journal, stage, prompt, estimate.translated, more)


def retried(dials: Params) -> float:
    """The share of translations that are asked for again: of the last runs with this teacher, or what is usual."""
    uses = first = 0
    for bill in sorted(Path("data/vi").glob(f"*{costs.SUFFIX}")):
        table = Path(f"data/records/{bill.name.removesuffix(costs.SUFFIX)}.parquet")
        if not table.exists():
            continue
        models = pq.read_table(bill, columns=["model"])["model"].to_pylist()
        foreign = sum(lang != "vi" for lang in pq.read_table(table, columns=["lang"])["lang"].to_pylist())
        # records that are others by now tell nothing
        if dials.teacher.model in models and foreign <= len(models) <= 2 * foreign:
            uses, first = uses + len(models), first + foreign
    return uses / first - 1 if first else estimate.RETRIED


def invented(dials: Params, journal: Journal) -> Stage:
    """The requests of generate: gone through as far as the journal knows them, then estimated."""
    author, dial, stage = attempts.author(dials.teacher), dials.generate, Stage("generate")
    if author is None or not allowed(dial.licence, dials.licences):
        return stage
    teacher, dials = author, dials.model_copy(update={"teacher": author})
    stage.rounds, files = dial.rounds, inputs()
    prompts, lists, tasks = files.prompts(), briefs.load(files.lists), seeds.read(files.seed_file)
    known, kept = Counter[str](), dict[str, int]()

    def answers(prompt: Prompt, texts: list[str], _: str) -> list[Entry | Failure]:
        part = PARTS[prompts.index(prompt)]
        kept.setdefault(part, len(pool))  # when it begins
        found = [journal.answers.get(key(teacher, prompt, text)) for text in texts]
        known[part] += sum(answer is not None for answer in found)
        if None in found:
            raise Unknown
        return [usable(answer) for answer in found if answer]

    with new_pool(tasks, dial.novelty) as pool:
        maker = generate.Maker(pool, lists, prompts, teacher, dial, answers)
        try:
            for _ in tqdm(maker.run(), desc="generate", unit="task", delay=SHOWN):
                pass
            left = Counter[str]()
        except Unknown:
            left = remaining(dials, len(pool), known, kept)
    stage.known, stage.requests = known.total(), known.total() + left.total()
    a_task = estimate.tokens(json.dumps(tasks, ensure_ascii=False)) / len(tasks)
    drawn = typical(dials, tasks, lists)
    for name, prompt, count in zip(PARTS, prompts, (dial.tasks, 1), strict=True):

        def written(_: str, tokens: float = estimate.REPLY + count * a_task) -> float:
            return tokens

        part, texts = Stage(name, requests=left[name]), drawn[name]
        each = sum(estimate.asked(prompt, teacher.json_schema, text) for text in texts) / len(texts)
        part.prompt, part.completion = each * part.new, written("") * part.new
        scaled(dials, journal, part, prompt, written, 1.0)
        stage.prompt, stage.completion = stage.prompt + part.prompt, stage.completion + part.completion
        stage.answers = part.answers if prompt is prompts[0] else stage.answers
    return stage


def remaining(dials: Params, kept: int, known: Counter[str], begun: dict[str, int]) -> Counter[str]:
    """How many requests are left of inventing and of evolving."""
    dial = dials.generate
    left = Counter[str]()
    if "evolve" not in begun:
        share = kept / (known["generate"] * dial.tasks) if known["generate"] >= estimate.ENOUGH else KEPT
        wanted = math.ceil((dial.wanted - kept) / (dial.tasks * max(share, 0.01)))
        left["generate"] = max(0, min(wanted, dial.rounds * dial.requests - known["generate"]))
        begun = {"evolve": kept + round(left["generate"] * dial.tasks * share)}
    evolved = sum(round(share * begun["evolve"]) for share in evolution.rounds(dial.evolve))
    left["evolve"] = max(0, evolved - known["evolve"])
    return left


def typical(dials: Params, tasks: list[Task], lists: briefs.Lists) -> dict[str, list[str]]:
    """Requests as they will be, by prompt, as if the seed tasks had been invented."""
    dial = dials.generate
    rng, briefing = random.Random(dial.seed), briefs.Briefs(lists, dial.seed)
    with new_pool(tasks, dial.novelty) as pool:
        for task in tasks:
            pool.add(task, generate.to_record(task, "", dial.licence))
        inventing = [
            generate.request(pool, dial, rng, briefing.deal(dial.tasks) if briefs.due(place, dial.briefed) else {})
            for place in range(1, DRAWN + 1)
        ]
    operations = list(lists.operations.items())
    evolving = [
        evolution.request(task, *operations[place % len(operations)])
        for place, task in enumerate(rng.choices(tasks, k=DRAWN))
    ]
    return {"generate": inventing, "evolve": evolving}


def scaled(
    dials: Params, journal: Journal, stage: Stage, prompt: Prompt, answered: estimate.Answered, more: float
) -> Stage:
    """A stage whose tokens are calibrated, and extended to what was not looked at one by one."""
    teacher = dials.teacher
    found = estimate.calibrate([SHIPPED, journal.own], teacher.model, prompt, teacher.json_schema, answered)
    stage.prompt *= found.prompt * more
    stage.completion = min(stage.completion * found.completion * more, stage.new * more * teacher.max_tokens)
    stage.answers = found.answers
    return stage
