"""What may stand in a recipe: every key, its type and its bounds.

Like params.yaml's own schemas (``stages/lib/params.py``) these hold no defaults and can do nothing but raise, so they
are no dependency of any stage. Not covered: whether a model fits the machine (``tools/plan.py``).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from stages.lib import params
from stages.lib.params import Count, Section, Share

Launch = Literal["single", "ddp", "fsdp2", "zero2", "zero3"]
Optimizer = Literal["adamw", "adamw8bit", "paged_adamw8bit", "adafactor"]
Method = Literal["full", "lora", "qlora"]


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
    repo: str
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


class Offline(Tuning):
    """Learning from ranked answers without a reward model: pairs (dpo, orpo) or single verdicts, too (kto)."""

    kind: Literal["offline"]
    algorithm: Literal["dpo", "kto", "orpo"]
    epochs: PositiveFloat
    context: PositiveInt
    max_new_tokens: PositiveInt  # of the answers by which it is measured
    beta: PositiveFloat
    max_kl: PositiveFloat


Rlhf = Annotated[Online | Offline, Field(discriminator="kind")]


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
