"""What may stand in params.yaml: every key, its type and its bounds.

The schemas hold no defaults, so a key that is missing is an error and a value that a stage sees is always
written in a file. This module can do nothing but raise, so it is no dependency of any stage: a change here reruns
nothing. Not covered: recipes (``stages/lib/recipes.py``), the files and the words for what is wrong with
them (``stages/lib/paramfile.py``).
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from stages.lib.contract import suggest
from stages.lib.licences import LICENCES, OWN

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Lr = Literal["auto"] | PositiveFloat
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]  # what every library takes
Runner = Literal["local", "ray"]
Variable = Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")]
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


class Nllb(Section):
    """How an NLLB model decodes; part of the key of its answers."""

    quantization: Literal["float32", "int8", "int8_float16", "float16"]
    beam: PositiveInt


class Fallback(Section):
    """Who is asked when the teacher's answer fails its checks twice; the rest is as the teacher's."""

    engine: Literal["openai", "batch", "nllb"]
    model: str
    base_url: str
    api_key: Variable


class Teacher(Section):
    """Who answers translation and generation requests, and how hard it may be asked."""

    engine: Literal["journal", "openai", "batch", "nllb"]
    model: str
    base_url: str
    api_key: Variable
    temperature: Annotated[float, Field(ge=0, le=2)]
    max_tokens: PositiveInt
    json_schema: bool
    concurrency: PositiveInt
    requests_per_minute: Count
    tokens_per_minute: Count
    timeout: PositiveFloat
    retries: Count
    max_failed: Share
    nllb: Nllb | None
    fallback: Fallback | None

    @field_validator("fallback")
    @classmethod
    def one_nllb(cls, fallback: Fallback | None, info: ValidationInfo) -> Fallback | None:
        """``nllb`` says how the one NLLB model decodes, whether it is the teacher or the fallback."""
        engines = [info.data.get("engine"), fallback.engine if fallback else None]
        if "nllb" in engines and info.data.get("nllb") is None:
            raise ValueError("engine nllb needs teacher.nllb: {quantization: int8, beam: 4}")
        if engines == ["nllb", "nllb"]:
            raise ValueError("a fallback of engine nllb needs another engine before it")
        return fallback


class Price(Section):
    """Dollars for a million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


class Spend(Section):
    """What the teacher may cost, and what its tokens do."""

    cap: Annotated[float, Field(ge=0)]
    dong: PositiveFloat
    batch: Share
    prices: dict[str, Price]


class Checks(Section):
    """What a translation may lose before it is refused under a name (``stages/lib/translate/validators.py``)."""

    english: Share
    diacritics: Share
    code: Share
    items: Share
    numbers: Share


class Compute(Section):
    """Where a model runs. Bits depend on the thread count, so it is a param."""

    device: Literal["cpu", "auto"]
    threads: PositiveInt
    precision: Literal["fp32", "bf16", "fp16", "auto"]  # auto: bf16 where the GPU has it, else fp16; fp32 on a CPU


class Encoder(Section):
    """A sentence encoder for many languages, and the lowest cosine between a text and its translation."""

    model: str
    lowest: Annotated[float, Field(ge=-1, le=1)]
    compute: Compute


class Translate(Section):
    """Translation: how its answers are judged."""

    max_refused: Share
    meaning: Literal["none", "lexicon", "embedding", "judge"]
    encoder: Encoder | None
    checks: Checks


class Generate(Section):
    """Self-instruct: how many requests, what each shows the teacher, and how unlike the pool an answer must be."""

    seed: Seed
    licence: Licence
    wanted: PositiveInt
    rounds: PositiveInt
    requests: PositiveInt
    seed_examples: PositiveInt
    pool_examples: Count
    tasks: PositiveInt
    briefed: Share
    novelty: Share
    evolve: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


class Toxicity(Section):
    """A sequence classifier for what the lexicon let pass; ``harmless`` is its label for what is fine."""

    model: str
    harmless: str
    threshold: Share
    compute: Compute


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
    toxicity: Toxicity | None


class Semantic(Section):
    """A sentence encoder, and the cosine from which two texts say the same."""

    model: str
    threshold: Annotated[float, Field(gt=0, le=1)]
    compute: Compute


class Dedup(Section):
    """MinHash over syllable shingles; every candidate is verified by its exact Jaccard similarity."""

    shingle: PositiveInt
    permutations: PositiveInt
    bands: PositiveInt
    threshold: Annotated[float, Field(gt=0, le=1)]
    semantic: Semantic | None

    @field_validator("bands")
    @classmethod
    def divides(cls, bands: int, info: ValidationInfo) -> int:
        """A band is a whole number of rows of the signature."""
        if info.data.get("permutations", bands) % bands:
            raise ValueError("it must divide dedup.permutations")
        return bands


class Decontaminate(Section):
    """How much of a benchmark's question a training record may not hold."""

    ngram: Annotated[int, Field(ge=3)]
    near: Annotated[float, Field(gt=0, le=1)]


class Split(Section):
    """Shares of the groups that are held out."""

    seed: Seed
    validation: Share
    preferences: Share


class Params(BaseModel):
    """params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    recipe: str
    seed: Seed
    lr: Lr
    engine: Runner
    licences: Licences
    sources: dict[str, Source]
    parse: Parse
    teacher: Teacher
    spend: Spend
    translate: Translate
    generate: Generate
    clean: Clean
    dedup: Dedup
    decontaminate: Decontaminate
    split: Split
