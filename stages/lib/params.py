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
    """How much of a benchmark's question a training record may not hold."""

    ngram: Annotated[int, Field(ge=3)]
    near: Annotated[float, Field(gt=0, le=1)]


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
    spend: Spend
    translate: Translate
    generate: Generate
    clean: Clean
    dedup: Dedup
    decontaminate: Decontaminate
    split: Split
