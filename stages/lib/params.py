"""What may stand in params.yaml and in a recipe: every key, its type and its bounds.

The schemas hold no defaults, so a key that is missing is an error and a value that a stage sees is always
written in a file. This module can do nothing but hand on what the files say or raise, so it is no
dependency of any stage: a change here reruns nothing. Files are read as YAML 1.2, because DVC writes
``5e-05``, which a YAML 1.1 parser takes for a string.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from stages.lib.contract import Refusal, suggest
from stages.lib.licences import LICENCES, OWN

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Lr = Literal["auto"] | PositiveFloat
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def licence(name: str) -> str:
    """A licence whose terms are known, or a team's own (``LicenseRef-…``)."""
    if name not in LICENCES and not name.startswith(OWN):
        raise ValueError(f"{suggest(name, sorted(LICENCES))}, or {OWN}<name> for one of your own")
    return name


Licence = Annotated[str, AfterValidator(licence)]
Licences = Literal["all", "commercial"] | Annotated[list[Licence], Field(min_length=1)]


class Section(BaseModel):
    """A mapping in which every key is required and no other key is allowed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(Section):
    """An upstream data set: where it is, which bytes it is, how to read it and how it may be used.

    What is optional says how its rows differ from what the format expects.
    """

    url: str
    sha256: Sha256
    format: Literal["alpaca", "dolly", "oasst", "sharegpt", "preferences", "prohow", "text", "lines"]
    licence: Licence
    lang: Literal["en", "vi"]
    limit: PositiveInt | None = None  # so many rows from the top
    files: str | None = None  # of an archive, such as "*.jsonl"
    columns: dict[str, str] | None = None  # our names for theirs: {instruction: câu_hỏi}
    max_refused: Share | None = None  # instead of parse.max_refused


class Parse(Section):
    """When a source is refused as a whole."""

    max_refused: Share


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


class Ratio(Section):
    """Characters of a translation for each character of its source; ``up_to`` is the longest source it is for."""

    up_to: PositiveInt
    lowest: PositiveFloat
    highest: PositiveFloat


class Validate(Section):
    """What a translation may lose or gain before it is refused under a name (``stages/lib/validators.py``)."""

    foreign: Share
    loop: PositiveInt
    loop_unit: PositiveInt
    english: Share
    one_english: Share
    copied: PositiveInt
    diacritics: Share
    own: PositiveInt
    short: Count
    code: Share
    items: Share
    numbers: Share
    measured: Count
    short_ratio: Ratio
    medium_ratio: Ratio
    long_ratio: Ratio
    ends: bool
    sentence_cost: PositiveFloat
    sentence_spread: PositiveFloat
    similarity: float


class Translate(Section):
    """Translation: how its answers are judged."""

    max_refused: Share
    checks: Validate


class Generate(Section):
    """Self-instruct: how many requests, what each shows the teacher, and how unlike the pool an answer must be."""

    seed: int
    licence: Licence
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
    max_repetition: Share
    max_english: Share
    min_judged_syllables: PositiveInt
    min_prose_syllables: PositiveInt


class Dedup(Section):
    """MinHash over syllable shingles; every candidate is verified by its exact Jaccard similarity."""

    shingle: PositiveInt
    permutations: PositiveInt
    bands: PositiveInt
    threshold: Annotated[float, Field(gt=0, le=1)]

    @field_validator("bands")
    @classmethod
    def divides(cls, bands: int, info: ValidationInfo) -> int:
        """A band is a whole number of rows of the signature."""
        if info.data.get("permutations", bands) % bands:
            raise ValueError("it must divide dedup.permutations")
        return bands


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
    licences: Licences
    sources: dict[str, Source]
    parse: Parse
    teacher: Teacher
    translate: Translate
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


def read(dials: Path, recipes: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The params and the recipe that they name as one tree, and the file that each top-level key stands in."""
    tree = load(dials)
    name = validate(str, tree, "recipe", dict.fromkeys(tree, "params.yaml"))
    known = sorted(path.stem for path in recipes.glob("*.yaml"))
    if name not in known:
        raise Refusal(f"params.yaml: recipe: found {name!r}; {suggest(name, known)} (the files in recipes/)")
    recipe = load(recipes / f"{name}.yaml")
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
    """The value as the annotated type, without any conversion, or a refusal that names every key that is wrong."""
    holder = create_model("Holder", __config__=ConfigDict(strict=True), value=(annotation, ...))
    try:
        return holder.model_validate({"value": value}).value  # type: ignore[attr-defined]
    except ValidationError as error:
        raise Refusal(explain(error, annotation, value, place, path)) from None


def check(dials: Path, recipes: Path) -> tuple[Params, Recipe]:
    """Everything in params.yaml and in the recipe that it names, typed, with no key left over."""
    tree, files = read(dials, recipes)
    recipe_file = f"recipes/{tree['recipe']}.yaml"
    params = {key: value for key, value in tree.items() if files[key] == "params.yaml"}
    recipe = {key: value for key, value in tree.items() if files[key] == recipe_file}
    return typed(Params, params, "params.yaml"), typed(Recipe, recipe, recipe_file)


def missing_place(key: str) -> str:
    """The file in which an absent top-level key belongs."""
    return "the recipe" if key in Recipe.model_fields else "params.yaml"


def explain(error: ValidationError, annotation: Any, value: Any, place: str, path: str) -> str:
    """One line a wrong key: the place, its full path, what was found, what is allowed."""
    lines = []
    for fault in error.errors(include_url=False):
        where, found, expected = path, value, annotation
        for key in fault["loc"][1:]:
            inner = member(expected, key)
            if inner is None:  # pydantic also names the branch of a union that it tried
                if fault["type"] == "extra_forbidden" and isinstance(found, dict) and key in found:
                    where, found = f"{where}.{key}".lstrip("."), found[key]
                continue
            where, expected = f"{where}.{key}".lstrip("."), inner
            found = found.get(key) if isinstance(found, dict) else None
        if fault["type"] == "extra_forbidden":
            lines.append(f"{place}: {where} is a key that no stage reads; remove it or correct its name")
        elif fault["type"] == "missing":
            lines.append(f"{place}: {where} is missing; allowed: {allowed(expected)}")
        else:
            shown = json.dumps(found, ensure_ascii=False, default=str)[:80]
            fits = allowed(expected) if fault["type"] != "value_error" else str(fault["ctx"]["error"])
            lines.append(f"{place}: {where}: found {shown} ({type(found).__name__}); allowed: {fits}")
    return "\n".join(dict.fromkeys(lines))


def member(annotation: Any, key: Any) -> Any:
    """The annotation of a key inside an annotated mapping, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return field.rebuild_annotation() if field else None
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return next((inner for part in get_args(annotation) if (inner := member(part, key)) is not None), None)


def allowed(annotation: Any) -> str:
    """The values that an annotation admits, in words."""
    return in_words(TypeAdapter(annotation).json_schema())


def in_words(schema: dict[str, Any]) -> str:
    """A JSON schema as a short phrase."""
    if "$ref" in schema or schema.get("type") == "object":
        return "a mapping; its keys are in stages/lib/params.py"
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(dict.fromkeys(in_words(part) for part in schema.get("anyOf") or schema["oneOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(repr(value) for value in schema.get("enum", [schema.get("const")]))
    names = {"integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false"}
    words = names.get(schema.get("type", ""), "a value")
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "pattern": "matching"}
    return " ".join([words, *(f"{phrase} {schema[name]}" for name, phrase in bounds.items() if name in schema)])
