"""The stages of a recipe as jobs for the arithmetic: what each holds in memory, and how much it has to do.

A job that does not fit is changed by what hurts least first, and what is proposed has been computed to fit. Not
covered: `quantize`, which needs no more than the model.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stages.lib import recipes
from tools import memory, work
from tools.memory import Job
from tools.shapes import Shape
from tools.work import Work

TOKENIZER = Path("models/base/tokenizer.json")
Planned = tuple[Job, Work, str]
Tables = dict[str, work.Rows]


def tables(shape: Shape) -> Tables:
    """What the tables of data/split hold, in tokens."""
    return {name: work.rows(name, shape, TOKENIZER) for name in work.ASSUMED}


def planned(recipe: recipes.Recipe, shape: Shape, precision: str, processes: int, sets: Tables) -> Iterator[Planned]:
    """(the job, its work, where its rows are known from) of each stage."""

    def job(name: str, tuning: recipes.Tuning | None, **more: Any) -> Job:
        launch = recipe.compute.launch if tuning else "single"
        return Job(name, shape, tuning, precision, launch, processes if tuning else 1, **more)

    yield base(recipe, shape, precision)
    sft, rows = recipe.sft, sets["text" if recipe.sft.mode == "text" else "sft"]
    length = sft.context if sft.packing or sft.mode == "text" else min(sft.context, rows.longest)
    made = job("sft", sft, batch=sft.batch, length=length)
    tokens, mean = rows.count * min(rows.mean, sft.context) * sft.epochs, min(rows.mean, sft.context)
    yield made, Work(tokens, work.training(made, tokens, mean)), rows.source
    reward, rows = recipe.reward, sets["preferences"]
    made = job("reward", reward, batch=2 * reward.batch, length=min(reward.context, rows.longest), head="one")
    tokens, mean = 2 * rows.count * min(rows.mean, reward.context) * reward.epochs, min(rows.mean, reward.context)
    yield made, Work(tokens, work.training(made, tokens, mean)), rows.source
    yield offline(recipe, job, rows) if isinstance(recipe.rlhf, recipes.Offline) else online(recipe, job, sets)
    bench, rows = recipe.benchmark, sets["sft"]
    length = min(bench.context, rows.longest)
    asked = job(
        "benchmark", None, batch=0, length=bench.context + bench.max_new_tokens, answer=bench.max_new_tokens,
        answers=bench.batch, scored=bench.batch * length,
    )  # fmt: skip
    read = rows.count * min(rows.mean, bench.context) / 19  # held out: 5 for every 95 that are trained on
    yield asked, Work(read, read * work.forward(shape, rows.mean), work.decoding(asked, 2, rows.mean)), rows.source


def base(recipe: recipes.Recipe, shape: Shape, precision: str) -> Planned:
    """Made from nothing, in float32 on one process; or only loaded."""
    made = recipe.base
    if isinstance(made, recipes.Hub):
        return Job("base", shape, None, precision, "single", 1, 0, 0), Work(0, 0), "nothing is trained"
    tuning = recipes.Tuning(
        method="full", lr=made.lr, batch=made.batch, optimizer="adamw", gradient_checkpointing=False, accumulate=1,
        lora=recipes.Lora(r=1, alpha=1, dropout=0.0),
    )  # fmt: skip
    job = Job("base", shape, tuning, "fp32", "single", 1, made.batch, made.block, head="whole", scratch=True)
    tokens = made.steps * made.batch * made.block
    return job, Work(tokens, work.training(job, tokens, made.block)), "base.steps × batch × block"


def offline(recipe: recipes.Recipe, job: Callable[..., Job], rows: work.Rows) -> Planned:
    """Pairs are read side by side; the start is kept beside a policy that moves as a whole."""
    rlhf = recipe.rlhf
    assert isinstance(rlhf, recipes.Offline)
    sides = 1 if rlhf.algorithm == "kto" else 2
    made = job(
        "rlhf", rlhf, batch=sides * rlhf.batch, length=min(rlhf.context, rows.longest),
        copies=int(rlhf.method == "full" and rlhf.algorithm != "orpo"),
    )  # fmt: skip
    mean = min(rows.mean, rlhf.context)
    tokens = 2 * rows.count * mean * rlhf.epochs
    reference = 0.0 if rlhf.algorithm == "orpo" else tokens * work.forward(made.shape, mean)
    return made, Work(tokens, work.training(made, tokens, mean) + reference), rows.source


def online(recipe: recipes.Recipe, job: Callable[..., Job], sets: dict[str, work.Rows]) -> Planned:
    """Answers are made, judged, compared with the start, and learned from."""
    rlhf, rows = recipe.rlhf, sets["prompts"]
    assert isinstance(rlhf, recipes.Online)
    judge, reference = int(rlhf.rewards != "verifiable"), int(rlhf.beta > 0)
    made = job(
        "rlhf", rlhf, batch=rlhf.batch, length=min(rows.longest + rlhf.max_new_tokens, rlhf.context),
        answer=rlhf.max_new_tokens, answers=rlhf.batch, copies=judge + (reference if rlhf.method == "full" else 0),
        scored=rlhf.batch * min(sets["sft"].longest, recipe.sft.context),
    )  # fmt: skip
    mean = rows.mean + rlhf.max_new_tokens
    tokens = rlhf.steps * rlhf.batch * mean
    passes = 1 + judge + reference  # the prompt and answer are read anew by each, and once to begin with
    flops = work.training(made, tokens, mean) + passes * tokens * work.forward(made.shape, mean)
    return made, Work(tokens, flops, work.decoding(made, rlhf.steps, rows.mean)), rows.source


Change = tuple[str, Callable[[recipes.Recipe], recipes.Recipe]]


def changed(recipe: recipes.Recipe, stage: str, **keys: Any) -> recipes.Recipe:
    """The recipe with some keys of a stage's section."""
    return recipe.model_copy(update={stage: getattr(recipe, stage).model_copy(update=keys)})


def changes(recipe: recipes.Recipe, stage: str) -> Iterator[dict[str, Any]]:
    """Keys of the stage's section that save memory, each on top of those before, what hurts least first."""
    section = getattr(recipe, stage)
    keys: dict[str, Any] = {}
    if stage != "benchmark" and not section.gradient_checkpointing:
        keys["gradient_checkpointing"] = True
        yield dict(keys)
    batch, accumulate = section.batch, getattr(section, "accumulate", None)
    least = getattr(section, "generations", 1)
    while batch % 2 == 0 and batch // 2 >= least:
        batch //= 2
        keys["batch"] = batch
        if accumulate is not None:
            accumulate *= 2
            keys["accumulate"] = accumulate
        yield dict(keys)
    if stage == "benchmark":
        return
    if section.method == "full":
        yield keys | {"optimizer": "adamw8bit"}
        yield keys | {"method": "lora"}
    if section.method != "qlora":
        keys["method"] = "qlora"
        yield dict(keys)
    context = getattr(section, "context", 0)
    while context > 256:
        context //= 2
        keys["context"] = context
        yield dict(keys)


def relaxed(recipe: recipes.Recipe, stage: str, keys: dict[str, Any], times: int) -> dict[str, Any]:
    """The keys with a batch so many times larger, up to the recipe's own: a later key may have made room for it."""
    own = getattr(recipe, stage).batch
    if "batch" not in keys or keys["batch"] * times > own:
        return keys
    if keys["batch"] * times == own:
        return {key: value for key, value in keys.items() if key not in ("batch", "accumulate")}
    larger = {"batch": keys["batch"] * times}
    return keys | larger | ({"accumulate": keys["accumulate"] // times} if "accumulate" in keys else {})


def advice(
    recipe: recipes.Recipe, shape: Shape, precision: str, processes: int, sets: Tables, stage: str, room: float
) -> str:
    """The recipe's keys with which the stage fits, computed; or that none does."""

    def need(tried: recipes.Recipe) -> float:
        found = planned(tried, shape, precision, processes, sets)
        return next(memory.peak(job) for job, *_ in found if job.name == stage)

    def told(words: dict[str, Any], found: float) -> str:
        listed = ", ".join(f"{key}: {str(value).lower()}" for key, value in words.items())
        return f"{listed} -> {found / memory.GIB:.1f} GiB"

    best, steps = "", [] if stage == "base" else list(changes(recipe, stage))
    for keys in steps:
        if need(changed(recipe, stage, **keys)) <= room:
            for kept in (relaxed(recipe, stage, keys, times) for times in (1, 2, 4, 8, 16, 32, 64)):
                if (found := need(changed(recipe, stage, **kept))) <= room:
                    best = told({f"{stage}.{key}": value for key, value in kept.items()}, found)
            return best
    cut = recipe.model_copy(update={"compute": recipe.compute.model_copy(update={"launch": "zero3"})})
    for keys in steps if stage not in ("base", "benchmark") else []:
        kept = {key: value for key, value in keys.items() if key not in ("method", "context")}
        if (found := need(changed(cut, stage, **kept))) <= room:
            words = {"compute.launch": "zero3"} | {f"{stage}.{key}": value for key, value in kept.items()}
            return told(words, found) + ", the rest in the CPU's memory"
    return "no key of the recipe makes it fit; take a smaller model or a larger card"
