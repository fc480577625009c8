"""Which keys of a recipe make a stage fit a card: what hurts least first, computed, and allowed by the recipe's rules.

Not covered: several keys that would each do a little.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from stages.lib import recipes
from stages.lib.weights import HELD
from tools.planning import jobs, memory
from tools.planning.memory import Job
from tools.planning.shapes import Shape

LAUNCHES = ("", "single", "fsdp2", "zero3")  # the recipe's own first
LEAST = 64  # tokens of an answer, below which it is none; of a context four times that


def changed(recipe: recipes.Recipe, stage: str, launch: str = "", **keys: Any) -> recipes.Recipe | None:
    """The recipe with some keys of a stage's section, if it may be so."""
    tree = recipe.model_dump()
    tree[stage] |= keys
    if launch:
        tree["compute"]["launch"] = launch
    try:
        return recipes.Recipe.model_validate(tree)
    except ValidationError:
        return None


def changes(recipe: recipes.Recipe, stage: str) -> Iterator[dict[str, Any]]:
    """Keys of the stage's section that save memory, each on top of those before, what hurts least first."""
    section = getattr(recipe, stage)
    trained = isinstance(section, recipes.Tuning)
    keys: dict[str, Any] = {}
    if trained and not section.gradient_checkpointing:
        keys["gradient_checkpointing"] = True
        yield dict(keys)
    batch, accumulate = section.batch, getattr(section, "accumulate", 0)
    while batch % 2 == 0:
        batch //= 2
        keys["batch"] = batch
        if accumulate:
            accumulate *= 2
            keys["accumulate"] = accumulate
        yield dict(keys)
    if trained and section.method == "full":
        yield keys | {"optimizer": "adamw8bit"}
        yield keys | {"method": "lora"}
    if trained and section.method != "qlora":
        keys["method"] = "qlora"
        yield dict(keys)
    if stage == "sft" and jobs.grown(recipe):  # adapters are few; the ends of the vocabulary beside them are not
        keys["optimizer"] = "adafactor"
        yield dict(keys)
    group = getattr(section, "generations", 0)  # the answers of a step are drawn together: fewer, if need be
    while group and accumulate % 2 == 0 and batch * accumulate // 2 % group == 0:
        accumulate //= 2
        keys["accumulate"] = accumulate
        yield dict(keys)
    for name, least in (("context", 4 * LEAST), ("max_new_tokens", LEAST)):
        value = getattr(section, name, 0)
        while value > least:
            value //= 2
            keys[name] = value
            yield dict(keys)


def relaxed(recipe: recipes.Recipe, stage: str, keys: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The keys with ever smaller batches, from the recipe's own: a later key may have made room for it."""
    batch, own = keys.get("batch", 0), getattr(recipe, stage).batch
    if batch:
        yield {key: value for key, value in keys.items() if key not in ("batch", "accumulate")}
    times = own // batch // 2 if batch else 0
    while times > 1:
        larger = {"batch": batch * times}
        yield keys | larger | ({"accumulate": keys["accumulate"] // times} if "accumulate" in keys else {})
        times //= 2
    yield keys


def advice(
    recipe: recipes.Recipe, shape: Shape, precision: str, processes: int, sets: jobs.Tables, stage: str, room: float
) -> str:
    """The recipe's keys with which the stage fits, computed; or that none does."""

    def tried(keys: dict[str, Any], launch: str = "") -> Job | None:
        """The stage so changed, if that is allowed and fits."""
        other = changed(recipe, stage, launch, **keys)
        if other is None:
            return None
        found = jobs.planned(other, shape, precision, processes if other.compute.launch != "single" else 1, sets)
        job = next(job for job, *_ in found if job.name == stage)
        return job if fits(job, room) != "NO" else None

    def told(words: dict[str, Any], job: Job) -> str:
        listed = ", ".join(f"{key}: {str(value).lower()}" for key, value in words.items())
        cut = f"{memory.peak(job) / memory.GIB:.1f} GiB" + ", of which a part in the CPU's memory" * (
            fits(job, room) == "slow"
        )
        return f"{listed} -> {cut}" + ", the rest in the CPU's memory" * (job.launch == "zero3")

    steps = [] if stage == "base" else list(changes(recipe, stage))
    for launch in LAUNCHES if stage != "benchmark" else ("",):
        if launch == "fsdp2" and processes == 1:
            continue  # one shard is the whole
        for keys in [{}, *steps] if launch else steps:
            if tried(keys, launch) is None:
                continue
            kept, job = next((each, job) for each in relaxed(recipe, stage, keys) if (job := tried(each, launch)))
            words = {"compute.launch": launch} if launch else {}
            return told(words | {f"{stage}.{key}": value for key, value in kept.items()}, job)
    none = "no key of the recipe makes it fit; take a smaller model or a larger card"
    whole = stage == "sft" and jobs.grown(recipe)
    return none + ", or base.grow: 0: new pieces have both ends of the vocabulary learned whole" * whole


def fits(job: Job, room: float) -> str:
    """yes, NO, or ``slow`` for a model that only answers and may lie partly in the CPU's memory."""
    found = memory.parts(job)
    if memory.peak(job) <= room:
        return "yes"
    spills = job.tuning is None and found["weights"] > HELD * (room - memory.CONTEXT)
    return "slow" if spills and memory.passing(found) <= (1 - HELD) * room else "NO"
