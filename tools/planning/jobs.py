"""The stages of a recipe as jobs for the arithmetic: what each holds in memory, and how much it has to do.

Follows what the stages do: rlhf is measured before and after by its answers to held-out prompts, its judge stands
beside it whatever it learns from, and five models are benchmarked. Not covered: `quantize`, which needs no more than
the model, and the few questions of a benchmark that are answered in writing.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stages import benchmark, rlhf
from stages.lib import recipes
from stages.lib.train import drift, ppo
from tools.planning import shapes, work
from tools.planning.memory import SHARDS, Job
from tools.planning.shapes import Shape
from tools.planning.work import Work

BASE = Path("models/base")
QUESTIONS = Path("data/sample/benchmark")
ITEM, CHOICES = 256, 4  # tokens of a benchmark's longest questions; answers to choose from, each read with its question
MODELS = ("base", "sft", "rlhf", "int8", "nf4")  # that are benchmarked
Planned = tuple[Job, Work, str]
Tables = dict[str, work.Rows]
Make = Callable[..., Job]


def tables(base: recipes.Scratch | recipes.Hub, shape: Shape, current: bool) -> Tables:
    """What the tables of data/split hold, in tokens of the recipe's own tokenizer where it is at hand.

    ``current`` says whether the recipe is the one of params.yaml: a model from nothing has no other name.
    """
    origin = BASE / "origin.json"
    found = json.loads(origin.read_text(encoding="utf-8")) if origin.is_file() else {}
    if isinstance(base, recipes.Scratch):
        folders = [BASE] if current and "repo" not in found else []
    else:
        made = (found.get("repo"), found.get("revision")) == (base.repo, base.revision)
        folders = [*([BASE] if made else []), Path(base.repo), *shapes.snapshots(base)]
    tokenizer = next((path for folder in folders if (path := folder / "tokenizer.json").is_file()), None)
    return {name: work.rows(name, shape, tokenizer) for name in work.ASSUMED}


def grown(recipe: recipes.Recipe) -> bool:
    """Whether the vocabulary has new pieces, for whose sake sft learns its ends whole."""
    return isinstance(recipe.base, recipes.Hub) and recipe.base.grow > 0


def planned(recipe: recipes.Recipe, shape: Shape, precision: str, processes: int, sets: Tables) -> Iterator[Planned]:
    """(the job, its work, where its rows are known from) of each stage."""
    new = isinstance(recipe.base, recipes.Hub) and shape.bare  # then base told it what turns begin with

    def job(name: str, tuning: recipes.Tuning | None, **more: Any) -> Job:
        launch = recipe.compute.launch if tuning else "single"
        if launch in SHARDS and isinstance(tuning, recipes.Online | recipes.Offline):
            launch = "single"  # it draws answers, which would gather all weights at every token
        share = processes if launch != "single" else 1
        first = name == "sft"  # it learns what is new, and forgets that it was; tokens of a turn only from turns
        unread = new and (first or recipe.sft.mode == "text")
        grows = first and grown(recipe)
        return Job(name, shape, tuning, precision, launch, share, grown=grows, unread=unread, **more)

    yield base(recipe, shape)
    sft, rows = recipe.sft, sets["text" if recipe.sft.mode == "text" else "sft"]
    length = sft.context if sft.packing or sft.mode == "text" else min(sft.context, rows.longest)
    made = job("sft", sft, batch=sft.batch, length=length)
    tokens, mean = rows.count * min(rows.mean, sft.context) * sft.epochs, min(rows.mean, sft.context)
    yield made, Work(tokens, work.training(made, tokens, mean)), rows.source
    reward, rows = recipe.reward, sets["preferences"]
    made = job("reward", reward, batch=2 * reward.batch, length=min(reward.context, rows.longest), head="one")
    tokens, mean = 2 * rows.count * min(rows.mean, reward.context) * reward.epochs, min(rows.mean, reward.context)
    yield made, Work(tokens, work.training(made, tokens, mean)), rows.source
    yield from_ranks(recipe, job, sets) if isinstance(recipe.rlhf, recipes.Offline) else online(recipe, job, sets)
    yield benchmarked(recipe, job, sets)


def base(recipe: recipes.Recipe, shape: Shape) -> Planned:
    """Made from nothing, in float32 on one process; a published one is made on the CPU."""
    made = recipe.base
    if isinstance(made, recipes.Hub):
        return Job("base", shape, None, "fp32", "single", 1, 0, 0), Work(0, 0), "made on the CPU; nothing is trained"
    lora = recipes.Lora(r=1, alpha=1, dropout=0.0)
    tuning = recipe.reward.model_copy(
        update={"method": "full", "optimizer": "adamw", "gradient_checkpointing": False, "accumulate": 1, "lora": lora}
    )
    job = Job("base", shape, tuning, "fp32", "single", 1, made.batch, made.block, head="whole", scratch=True)
    tokens = made.steps * made.batch * made.block
    return job, Work(tokens, work.training(job, tokens, made.block)), "base.steps × batch × block"


def standing(recipe: recipes.Recipe, sets: Tables, shape: Shape) -> dict[str, Any]:
    """What rlhf has beside the learning, whatever its kind: a judge, the start, answers, and rows that are read."""
    told, prompts = recipe.rlhf, sets["prompts"]
    most = min(shape.context, told.context)
    return {
        "judge": True, "frozen": told.method == "full", "answer": told.max_new_tokens,
        "spoken": min(prompts.longest + told.max_new_tokens, most), "speakers": rlhf.speakers(told),
        "judged": told.batch, "rows": told.batch, "read": min(sets["sft"].longest, most),
        "paired": min(sets["preferences"].longest, most),
    }  # fmt: skip


def measuring(made: Job, recipe: recipes.Recipe, sets: Tables, looks: int) -> Work:
    """Held-out prompts answered before and after, held-out conversations and pairs read, and a look now and then."""
    told, prompts, pairs = recipe.rlhf, sets["prompts"], sets["preferences"]
    asked, probed = prompts.held, min(prompts.held, drift.PROBED)
    mean = prompts.mean + told.max_new_tokens
    batches = 2 * -(-asked // made.speakers) + looks * -(-probed // made.speakers)
    heard = (2 * asked + looks * probed) * mean  # what policy and judge read of them
    read = (
        2 * sets["sft"].held * sets["sft"].mean + (2 + looks) * 2 * pairs.held * pairs.mean + looks * probed * 2 * mean
    )
    flops = 2 * heard * work.forward(made.shape, mean, head=False) + read * work.forward(made.shape, mean)
    return work.decoding(made, batches, prompts.mean) + Work(0, flops)


def from_ranks(recipe: recipes.Recipe, job: Make, sets: Tables) -> Planned:
    """Pairs are read side by side; the start is kept beside a policy that moves as a whole."""
    told, rows = recipe.rlhf, sets["preferences"]
    assert isinstance(told, recipes.Offline)
    made = job(
        "rlhf", told, batch=(1 if told.algorithm == "kto" else 2) * told.batch, length=min(told.context, rows.longest),
        head="whole" if told.algorithm == "orpo" else "fused",
        **standing(recipe, sets, job("rlhf", told, batch=0, length=0).shape),
    )  # fmt: skip
    mean = min(rows.mean, told.context)
    tokens = 2 * rows.count * mean * told.epochs
    passes = {"orpo": 0, "dpo": 1, "kto": 3}[told.algorithm]  # the start's; kto also reads mismatched answers by both
    done = Work(tokens, work.training(made, tokens, mean) + passes * tokens * work.forward(made.shape, mean))
    return made, done + measuring(made, recipe, sets, drift.LOOKS + 1), rows.source


def online(recipe: recipes.Recipe, job: Make, sets: Tables) -> Planned:
    """Answers are made, judged, compared with the start, and learned from."""
    told, rows = recipe.rlhf, sets["prompts"]
    assert isinstance(told, recipes.Online)
    classic = told.algorithm == "ppo"  # in parts of `batch` all along; trl draws a whole step's answers at once
    beside = standing(recipe, sets, job("rlhf", told, batch=0, length=0).shape)
    together = told.batch * told.accumulate
    if not classic:
        beside |= {"speakers": max(beside["speakers"], together), "judged": together}
    made = job(
        "rlhf", told, batch=told.batch, length=beside["spoken"], head="whole" if classic else "fused",
        **beside,
    )  # fmt: skip
    mean = rows.mean + told.max_new_tokens
    tokens = told.steps * together * made.processes * mean
    passes = {"grpo": 1, "rloo": 2, "ppo": 2}[told.algorithm] + (told.rewards != "verifiable")
    learned = work.training(made, tokens, mean) * (ppo.EPOCHS if classic else 1)
    flops = learned + passes * tokens * work.forward(made.shape, mean)
    batches = told.steps * made.processes * (together // made.batch if classic else 1)
    drawn = work.decoding(made, batches, rows.mean)
    return made, Work(tokens, flops) + drawn + measuring(made, recipe, sets, drift.LOOKS + 1), rows.source


def benchmarked(recipe: recipes.Recipe, job: Make, sets: Tables) -> Planned:
    """The largest of the models in memory; the work of them all."""
    told, rows, prompts = recipe.benchmark, sets["sft"], sets["prompts"]
    made = job(
        "benchmark", None, batch=0, length=0, answer=told.max_new_tokens, speakers=told.batch,
        spoken=prompts.longest + told.max_new_tokens, rows=told.batch, read=min(told.context, rows.longest),
        items=told.batch * min(ITEM, told.context),
    )  # fmt: skip
    questions = sum(len(path.read_bytes().splitlines()) for path in QUESTIONS.glob("*.jsonl"))
    read = rows.held * min(rows.mean, told.context) + questions * CHOICES * ITEM / 4
    batches = -(-min(benchmark.ANSWERS, prompts.held) // told.batch)
    done = Work(0, 0)
    for name in MODELS:
        done += Work(0, read * work.forward(made.shape, rows.mean)) + work.decoding(made, batches, prompts.mean, name)
    return made, done, f"{len(MODELS)} models; {rows.source}"
