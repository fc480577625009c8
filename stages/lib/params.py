"""What may stand in params.yaml and in a recipe: every key, its type and its bounds.

The schemas hold no defaults, so a key that is missing is an error and a value that a stage sees is always
written in a file. This module can do nothing but hand on what the files say or raise, so it is no
dependency of any stage: a change here reruns nothing. Files are read as YAML 1.2, because DVC writes
``5e-05``, which a YAML 1.1 parser takes for a string.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from stages.lib.contract import Refusal, suggest

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Lr = Literal["auto"] | PositiveFloat
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A mapping in which every key is required and no other key is allowed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(Section):
    """An upstream data set: where it is, which bytes it is, and how to read it."""

    url: str
    sha256: Sha256
    format: Literal["alpaca", "dolly", "oasst", "sharegpt", "prohow", "lines"]
    licence: str
    lang: Literal["en", "vi"]


class Teacher(Section):
    """Who answers translation and generation requests, and how hard it may be asked."""

    engine: Literal["journal", "openai"]
    model: str
    base_url: str
    temperature: Annotated[float, Field(ge=0, le=2)]
    max_tokens: PositiveInt
    concurrency: PositiveInt
    timeout: PositiveFloat
    retries: Count
    max_failed: Share


class Generate(Section):
    """Self-instruct: how many requests, what each shows the teacher, and how unlike the pool an answer must be."""

    seed: int
    rounds: PositiveInt
    requests: PositiveInt
    seed_examples: PositiveInt
    pool_examples: Count
    tasks: PositiveInt
    novelty: Share


class Clean(Section):
    """Thresholds of the filters; a record outside one is dropped under that filter's name."""

    tone: Literal["old", "new"]
    pii: Literal["mask", "drop"]
    max_syllables: PositiveInt
    min_text_syllables: PositiveInt
    max_symbols: Share
    max_repeats: Share


class Dedup(Section):
    """MinHash over syllable shingles; every candidate is verified by its exact Jaccard similarity."""

    shingle: PositiveInt
    permutations: PositiveInt
    bands: PositiveInt
    threshold: Share


class Decontaminate(Section):
    """Syllables in a row that a training record may not share with a benchmark item."""

    ngram: PositiveInt


class Split(Section):
    """Shares of the groups that are held out."""

    seed: int
    validation: Share
    preferences: Share


class Params(BaseModel):
    """params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    recipe: str
    seed: int
    lr: Lr
    sources: dict[str, Source]
    teacher: Teacher
    generate: Generate
    clean: Clean
    dedup: Dedup
    decontaminate: Decontaminate
    split: Split


class Compute(Section):
    """Where the model stages run. Bits depend on the thread count, so it is a param."""

    device: Literal["cpu", "auto"]
    threads: PositiveInt
    precision: Literal["fp32", "bf16", "fp16"]


class Scratch(Section):
    """A Llama-shaped model made from nothing, with a tokenizer trained on the same text."""

    source: Literal["scratch"]
    vocabulary: PositiveInt
    hidden: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    context: PositiveInt
    batch: PositiveInt
    steps: PositiveInt
    lr: PositiveFloat
    warmup: Share


class Hub(Section):
    """A published model: a hub repository at a pinned revision, or a folder."""

    source: Literal["hub"]
    repo: str
    revision: str


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


class Recipe(BaseModel):
    """recipes/<name>.yaml: one way to train one base model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    compute: Compute
    base: Annotated[Scratch | Hub, Field(discriminator="source")]
    sft: Sft
    reward: Reward
    rlhf: Rlhf
    benchmark: Benchmark


def read(root: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The params and the recipe that they name as one tree, and the file that each top-level key stands in."""
    tree = load(root / "params.yaml")
    name = validate(str, tree, "recipe", {})
    known = sorted(path.stem for path in (root / "recipes").glob("*.yaml"))
    if name not in known:
        raise Refusal(f"params.yaml: recipe: found {name!r}; {suggest(name, known)} (the files in recipes/)")
    recipe = load(root / "recipes" / f"{name}.yaml")
    twice = sorted(set(tree) & set(recipe))
    if twice:
        raise Refusal(f"recipes/{name}.yaml: {twice[0]} stands in params.yaml too; keep one of them")
    files = dict.fromkeys(tree, "params.yaml") | dict.fromkeys(recipe, f"recipes/{name}.yaml")
    return tree | recipe, files


def load(path: Path) -> dict[str, Any]:
    """One YAML 1.2 mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path.name} is missing in {path.parent.resolve().name}/") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise Refusal(f"{path.name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise Refusal(f"{path.name}: found {type(tree).__name__}; it must be a mapping of keys to values")
    return tree


def validate(annotation: Any, tree: dict[str, Any], path: str, files: dict[str, str]) -> Any:
    """The value at a dotted path as the type that a stage's signature gives it."""
    value: Any = tree
    place = files.get(path.split(".")[0]) or missing_place(path.split(".")[0])
    for depth, key in enumerate(keys := path.split(".")):
        if not isinstance(value, dict) or key not in value:
            known = list(value) if isinstance(value, dict) else []
            raise Refusal(f"{place}: {'.'.join(keys[: depth + 1])} is missing; {suggest(key, known)}")
        value = value[key]
    return typed(annotation, value, place, path)


def typed(annotation: Any, value: Any, place: str, path: str = "") -> Any:
    """The value as the annotated type, or a refusal that names every key that is wrong."""
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        raise Refusal(explain(error, value, place, path)) from None


def check(root: Path) -> tuple[Params, Recipe]:
    """Everything in params.yaml and in the recipe that it names, typed, with no key left over."""
    tree, files = read(root)
    recipe_file = f"recipes/{tree['recipe']}.yaml"
    params = {key: value for key, value in tree.items() if files[key] == "params.yaml"}
    recipe = {key: value for key, value in tree.items() if files[key] == recipe_file}
    return typed(Params, params, "params.yaml"), typed(Recipe, recipe, recipe_file)


def missing_place(key: str) -> str:
    """The file in which an absent top-level key belongs."""
    return "the recipe" if key in Recipe.model_fields else "params.yaml"


def explain(error: ValidationError, value: Any, place: str, path: str) -> str:
    """One line a wrong key: the place, its full path, what was found, what is allowed."""
    allowed: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):
        where, holder = path, value
        for key in fault["loc"]:
            if isinstance(holder, dict) and (key in holder or fault["type"] == "missing" and key == fault["loc"][-1]):
                where, holder = f"{where}.{key}".lstrip("."), holder.get(key)
        found = json.dumps(holder, ensure_ascii=False, default=str)
        if fault["type"] == "missing":
            line = f"{place}: {where} is missing; allowed: "
        elif fault["type"] == "extra_forbidden":
            line = f"{place}: {where} is no key that any stage reads; remove it or correct its name"
            allowed.setdefault(line, [])
            continue
        else:
            line = f"{place}: {where}: found {found[:80]} ({type(holder).__name__}); allowed: "
        allowed.setdefault(line, []).append(fault["msg"].removeprefix("Input should be ").replace("Field required", "a value; the schema is in stages/lib/params.py"))
    return "\n".join(line + " or ".join(options) for line, options in allowed.items())
