"""What may stand in a recipe: every key, its type and its bounds.

Like params.yaml's own schemas (``stages/lib/params.py``) these hold no defaults and can do nothing but raise, so they
are no dependency of any stage. Not covered: whether a model fits the machine.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from stages.lib.params import Compute, Section, Share


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


Base = Annotated[Scratch | Hub, Field(discriminator="source")]


class Lora(Section):
    """Low-rank adapters on every linear layer (Hu et al. 2021)."""

    r: PositiveInt
    alpha: PositiveInt
    dropout: Share


class Sft(Section):
    """Supervised fine-tuning on the assistant's tokens."""

    method: Literal["full", "lora", "qlora"]
    lr: PositiveFloat
    epochs: PositiveFloat
    batch: PositiveInt
    accumulate: PositiveInt
    context: PositiveInt
    warmup: Share
    lora: Lora


class Reward(Section):
    """A Bradley-Terry reward model on ranked answers."""

    lr: PositiveFloat
    epochs: PositiveFloat
    batch: PositiveInt
    context: PositiveInt


class Rlhf(Section):
    """Reinforcement learning against the reward model."""

    method: Literal["rloo", "grpo"]
    lr: PositiveFloat
    steps: PositiveInt
    prompts: PositiveInt
    generations: PositiveInt
    max_new_tokens: PositiveInt
    temperature: PositiveFloat
    beta: Annotated[float, Field(ge=0)]
    lora: Lora


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
