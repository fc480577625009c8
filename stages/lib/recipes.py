"""What may stand in a recipe: every key, its type and its bounds.

Like params.yaml's own schemas (``stages/lib/params.py``) these hold no defaults and can do nothing but raise, so they
are no dependency of any stage. What two keys can't do together is told here, too, so that ``check`` and ``make plan``
see it before anything runs. Not covered: whether a model fits the machine (``tools/plan.py``), and what only the
machine can tell, such as whether DeepSpeed is installed (``stages/lib/train/launch.py``).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from stages.lib import params
from stages.lib.params import Count, Section, Share

Launch = Literal["single", "ddp", "fsdp2", "zero2", "zero3"]
Optimizer = Literal["adamw", "adamw8bit", "paged_adamw8bit", "adafactor"]
Method = Literal["full", "lora", "qlora"]
SHARDING: tuple[Launch, ...] = ("fsdp2", "zero3")  # no process holds all weights
DEEPSPEED: tuple[Launch, ...] = ("zero2", "zero3")


class Compute(params.Compute):
    """Where the model stages run."""

    launch: Launch  # launch/<name>.yaml, an accelerate config; single needs none


class Scratch(Section):
    """A Llama-shaped model made from nothing, with a tokenizer trained on the same text."""

    source: Literal["scratch"]
    vocabulary: PositiveInt
    hidden: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    context: PositiveInt
    block: PositiveInt
    batch: PositiveInt
    steps: PositiveInt
    lr: PositiveFloat
    warmup: Share


class Hub(Section):
    """A published model: a hub repository at a pinned revision, or a folder."""

    source: Literal["hub"]
    repo: Annotated[str, Field(min_length=1)]
    revision: str
    grow: Count  # Vietnamese pieces that are added to its vocabulary


Base = Annotated[Scratch | Hub, Field(discriminator="source")]


class Lora(Section):
    """Low-rank adapters on every linear layer (Hu et al. 2021)."""

    r: PositiveInt
    alpha: PositiveInt
    dropout: Share


class Tuning(Section):
    """What every training stage is told: which weights move, and how."""

    method: Method
    lr: PositiveFloat
    batch: PositiveInt  # rows that one process reads at once
    accumulate: PositiveInt  # such batches in a step
    optimizer: Optimizer
    gradient_checkpointing: bool
    lora: Lora


class Sft(Tuning):
    """Supervised fine-tuning on the assistant's tokens, or on all of a plain text."""

    mode: Literal["chat", "text"]
    schedule: Literal["linear", "cosine"]
    epochs: PositiveFloat
    context: PositiveInt
    warmup: Share
    save: Count  # steps between checkpoints, from which a killed run goes on; 0 makes none
    packing: bool
    neftune: Annotated[float, Field(ge=0)]  # noise of the embeddings (Jain et al. 2023); 0 makes none
    keep: Literal["last", "best"]  # the weights at the end, or where validation loss was lowest


class Reward(Tuning):
    """A Bradley-Terry reward model on ranked answers."""

    epochs: PositiveFloat
    context: PositiveInt
    save: Count


class Online(Tuning):
    """Reinforcement learning on the policy's own answers; ``batch`` counts answers."""

    kind: Literal["online"]
    algorithm: Literal["rloo", "grpo", "ppo"]
    rewards: Literal["model", "verifiable", "both"]
    steps: PositiveInt
    generations: PositiveInt  # answers to each prompt
    context: PositiveInt  # tokens of a prompt and its answer at most
    max_new_tokens: PositiveInt
    temperature: PositiveFloat
    beta: Annotated[float, Field(ge=0)]  # how firmly the policy is held to where it started
    max_kl: PositiveFloat  # nats for an answer; a run beyond it stops
    save: Count


class Offline(Tuning):
    """Learning from ranked answers without a reward model: pairs (dpo, orpo) or single verdicts, too (kto)."""

    kind: Literal["offline"]
    algorithm: Literal["dpo", "kto", "orpo"]
    epochs: PositiveFloat
    context: PositiveInt
    max_new_tokens: PositiveInt  # of the answers by which it is measured
    beta: PositiveFloat
    max_kl: PositiveFloat
    save: Count


Rlhf = Annotated[Online | Offline, Field(discriminator="kind")]


def kind_of(algorithm: object) -> str:
    """The kind of rlhf that an algorithm is of; nothing where there is no such algorithm."""
    kinds: dict[str, type[Tuning]] = {"online": Online, "offline": Offline}
    known = {name: get_args(section.model_fields["algorithm"].annotation) for name, section in kinds.items()}
    return next((name for name, algorithms in known.items() if algorithm in algorithms), "")


class Benchmark(Section):
    """How the models are measured."""

    batch: PositiveInt
    context: PositiveInt
    max_new_tokens: PositiveInt


class Recipe(BaseModel):
    """recipes/<name>.yaml: one way to train one base model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    compute: Compute
    base: Base
    sft: Sft
    reward: Reward
    rlhf: Rlhf
    benchmark: Benchmark

    @model_validator(mode="after")
    def sound(self) -> Self:
        """Refuse keys that can't be followed together, all of them at once."""
        found = list(unreadable(self))
        for tuning in (self.sft, self.reward, self.rlhf):
            found += untrainable(self.compute, tuning)
        if found:
            raise ValueError("\n".join(dict.fromkeys(found)))
        return self


def unreadable(recipe: Recipe) -> Iterator[str]:
    """What the base model can't do: a line for each key, with what was found and what to do."""
    base, compute = recipe.base, recipe.compute
    if isinstance(base, Hub):
        yield from unfindable(base)
        if "gemma-3" in base.repo.lower() and (compute.precision == "fp16" or risks_fp16(compute)):
            yield (
                f"compute.precision: found {compute.precision} with {base.repo}, whose activations are beyond what fp16"
                " can hold (auto is fp16 on GPUs before Ampere); take bf16, or fp32 where the GPU has no bf16"
            )
        return
    if base.hidden % base.heads:
        yield f"base.hidden: found {base.hidden}, which base.heads ({base.heads}) does not divide; change one of them"
    if base.block > base.context:
        yield f"base.block: found {base.block}; it can't be longer than base.context ({base.context})"
    for name in ("sft", "reward", "rlhf"):
        context = getattr(getattr(recipe, name), "context", 0)
        if context > base.context:
            yield f"{name}.context: found {context}; the model reads at most base.context ({base.context}) tokens"


def unfindable(base: Hub) -> Iterator[str]:
    """What names neither a folder of this machine nor a repository of the hub."""
    if Path(base.repo).is_dir():
        return
    if base.repo.startswith((".", "~", "data/")) or base.repo.count("/") > 1 or Path(base.repo).is_absolute():
        yield (
            f"base.repo: found {base.repo!r}: no such folder; `python -m tools.convert OWNER/NAME REVISION {base.repo}`"
            " makes it of a model that was published as pickles. Else correct the path, which is seen from the"
            " repository's root and has no ~, or name a hub repository as owner/name; in the copies of the repository"
            " that --temp and --queue make, data/ is not there: name the folder from / on"
        )
    elif not base.revision:
        yield f"base.revision: found '' with {base.repo}; name a commit of it, or a branch such as main"


def risks_fp16(compute: Compute) -> bool:
    """Whether ``auto`` can come to mean fp16."""
    return compute.precision == "auto" and compute.device == "auto"


def untrainable(compute: Compute, tuning: Tuning) -> Iterator[str]:
    """What a training section can't follow: a line for each key, with what was found and what to do."""
    alone = isinstance(tuning, Online | Offline)  # of what shards, rlhf takes one process
    name, launch = "rlhf" if alone else type(tuning).__name__.lower(), compute.launch
    shards = launch in SHARDING and not alone
    if shards and tuning.method == "qlora":
        yield (
            f"{name}.method: found qlora with compute.launch {launch}; 4-bit weights can't be cut into shards here:"
            " take launch: ddp, which keeps them whole on every GPU, or method: lora"
        )
    if (shards or launch == "zero2") and tuning.optimizer != "adamw":
        yield (
            f"{name}.optimizer: found {tuning.optimizer} with compute.launch {launch}; only adamw can keep its states"
            " in shards, and in shards they are small: take optimizer: adamw, or launch: ddp"
        )
    if tuning.optimizer == "paged_adamw8bit" and compute.device == "cpu":
        yield (
            f"{name}.optimizer: found paged_adamw8bit; it needs a GPU, whose memory it pages: take adamw8bit or adamw"
        )
    if isinstance(tuning, Sft) and shards and tuning.keep == "best":
        yield (
            f"sft.keep: found best with compute.launch {launch}; it holds a whole copy of the weights, which {launch}"
            " spreads: take keep: last"
        )
    if isinstance(tuning, Online | Offline) and tuning.max_new_tokens >= tuning.context:
        yield (
            f"rlhf.max_new_tokens: found {tuning.max_new_tokens}, which leaves no room for a prompt in rlhf.context"
            f" ({tuning.context}); lower it, or raise rlhf.context"
        )
    if isinstance(tuning, Offline) and tuning.algorithm == "kto" and tuning.batch < 2:
        yield (
            f"rlhf.batch: found {tuning.batch}; kto compares an answer with the others of its batch: raise it to 2 or"
            " more, or take algorithm: dpo"
        )
    if isinstance(tuning, Online):
        yield from undrawable(compute, tuning)


def undrawable(compute: Compute, rlhf: Online) -> Iterator[str]:
    """What learning from answers can't follow."""
    if rlhf.batch * rlhf.accumulate % rlhf.generations:
        yield (
            f"rlhf.batch: found {rlhf.batch} answers, {rlhf.accumulate} times in a step, which rlhf.generations"
            f" ({rlhf.generations}) does not divide; change one of them"
        )
    if rlhf.algorithm != "ppo" and rlhf.generations < 2:
        yield (
            f"rlhf.generations: found {rlhf.generations}; {rlhf.algorithm} compares answers to the same prompt: raise"
            " it to 2 or more, or take algorithm: ppo"
        )
    ppo = "rlhf.algorithm: found ppo with compute."
    if rlhf.algorithm == "ppo" and compute.launch != "single":
        yield f"{ppo}launch {compute.launch}; it runs in one process: take single, or rloo"
    if rlhf.algorithm == "ppo" and compute.precision == "fp16":
        yield f"{ppo}precision fp16, whose gradients it doesn't scale; take bf16 or fp32, or rloo"


def grounded(recipe: Recipe) -> list[str]:
    """What can't be followed on a machine without a GPU by a recipe that takes one where there is one."""
    if recipe.compute.device == "cpu":
        return []
    compute = recipe.compute.model_copy(update={"device": "cpu"})
    tunings = (recipe.sft, recipe.reward, recipe.rlhf)
    return list(dict.fromkeys(line for tuning in tunings for line in untrainable(compute, tuning)))


def moving(base: Base) -> str:
    """A warning where the base model can change under its name; nothing where a commit or a folder is named."""
    if isinstance(base, Scratch) or Path(base.repo).is_dir() or re.fullmatch("[0-9a-f]{40}", base.revision):
        return ""
    return (
        f"base.revision: {base.revision} of {base.repo} is a branch or a tag, which can move; once base has run,"
        " models/base/origin.json names the commit to write here"
    )
