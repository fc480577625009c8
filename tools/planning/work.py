"""How much a stage has to do: rows, tokens, floating-point operations, and hours on a card.

A token costs 2 operations for each parameter of a matrix on the way forward, and 4·layers·width·length for its
attention (both halves of the triangle, as PaLM's appendix B counts); the way back costs twice that, or once where
weights are frozen under adapters; checkpointing adds a way forward. Answers are made a token at a time, which costs
reading the weights, so their hours come from the card's bandwidth, or from Python, which calls one layer after the
other, where that takes longer. Not covered: loading, saving, and the validation loss of sft and reward.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib import records
from tools.planning import memory, shapes
from tools.planning.memory import BYTES, Job
from tools.planning.shapes import Shape

SPLIT = Path("data/split")
ASSUMED = {"text": (20_000, 300), "sft": (20_000, 150), "preferences": (5_000, 150), "prompts": (5_000, 40)}
SAMPLE = 2000  # rows that are tokenized
TURN = 5  # tokens of a chat template around each turn
MFU = 0.35
STREAM = 0.5  # of the bandwidth, that decoding reaches
CALL = 0.0008  # seconds in which transformers calls a layer; twice that with adapters. An estimate
HELD_OUT = 19  # rows trained on for each that is held out: split.validation is 5%


@dataclass(frozen=True)
class Rows:
    """What a table holds."""

    count: int
    mean: float  # tokens
    longest: int
    source: str  # measured by a tokenizer, estimated from syllables, or assumed
    held: int  # rows that are held out


def rows(name: str, shape: Shape, tokenizer: Path | None) -> Rows:
    """The rows of ``data/split/<name>.train.parquet`` in tokens, from a spread sample of them."""
    table = SPLIT / f"{name}.train.parquet"
    if not table.is_file():
        count, syllables = ASSUMED[name]
        mean = syllables * shape.tokens_per_syllable
        told = f"assumed: {count:,} rows of {syllables} syllables"
        return Rows(count, mean, round(4 * mean), told, count // HELD_OUT)
    import pyarrow.parquet as pq

    total = pq.ParquetFile(table).metadata.num_rows
    validation = SPLIT / f"{name}.validation.parquet"
    held = pq.ParquetFile(validation).metadata.num_rows if validation.is_file() else total // HELD_OUT
    if not total:
        return Rows(0, 0.0, 0, f"{table} holds no row", held)
    every = max(1, total // SAMPLE)
    taken = (row for place, row in enumerate(records.read(table)) if place % every == 0)
    lengths = list(measured(taken, shape, tokenizer))
    by = "its own tokenizer" if tokenizer else f"{shape.tokens_per_syllable} tokens a syllable"
    return Rows(total, sum(lengths) / len(lengths), max(lengths), f"{table}, {by}", held)


def measured(taken: Iterable[records.Record], shape: Shape, tokenizer: Path | None) -> Iterable[int]:
    """Tokens of each record; of a pair, of its longer answer."""
    read: Any = None
    if tokenizer:
        from tokenizers import Tokenizer

        read = Tokenizer.from_file(str(tokenizer))

    def tokens(text: str) -> int:
        return (
            len(read.encode(text, add_special_tokens=False).ids)
            if read
            else round(len(text.split()) * shape.tokens_per_syllable)
        )

    for row in taken:
        turns = [(message["role"], tokens(message["content"]) + TURN) for message in row["messages"]]
        ends = [count for role, count in turns if role in ("chosen", "rejected")]
        yield sum(count for role, count in turns if role not in ("chosen", "rejected")) + max(ends, default=0)


def forward(shape: Shape, length: float, head: bool = True) -> float:
    """Operations for a token on its way forward."""
    matrices = shape.layers * shapes.layer_matrices(shape) + head * shape.vocabulary * shape.hidden
    return 2.0 * matrices + 4.0 * shape.layers * shape.heads * shape.head_dim * length


def training(job: Job, tokens: float, length: float) -> float:
    """Operations to learn from so many tokens in rows of a mean length."""
    assert job.tuning is not None
    once = forward(job.shape, length, job.head != "one")
    factor = (3 if job.full else 2) + job.checkpointed
    if job.full:
        return tokens * factor * once
    head = 2.0 * job.shape.vocabulary * job.shape.hidden * memory.learns_head(job)  # its gradient; to look up is free
    return tokens * (factor * once + 6.0 * memory.adapted(job) + head)


@dataclass(frozen=True)
class Work:
    """What a stage does in all."""

    tokens: float  # that are learned from
    flops: float
    decoded: float = 0.0  # bytes that are read from memory to make answers
    calls: float = 0.0  # of a layer, for the same answers

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.tokens + other.tokens, self.flops + other.flops, self.decoded + other.decoded,
            self.calls + other.calls,
        )  # fmt: skip

    def hours(self, flops_per_second: float, bytes_per_second: float, mfu: float, processes: int) -> float:
        """Wall time on so many cards."""
        answering = max(self.decoded / (bytes_per_second * STREAM), self.calls * CALL)
        return (self.flops / (flops_per_second * mfu) + answering) / 3600 / processes


def decoding(job: Job, batches: float, prompt: float, model: str = "") -> Work:
    """What it takes to make batches of answers, token by token, by the job's model or a quantised one."""
    width = BYTES[job.precision]
    each = float(job.held)
    if model == "int8":
        each = 1.0
    elif model == "nf4" or (job.tuning is not None and job.tuning.method == "qlora" and not job.scratch):
        each = memory.NF4 + 2 * width  # spelled out, and then read
    elif job.held != width:
        each = job.held + 2 * width  # cast anew for each token, and then read
    context = job.speakers * (prompt + job.answer / 2) * shapes.cache(job.shape, width)
    tokens = batches * job.answer
    adapted = job.tuning is not None and not job.full
    return Work(
        0, 0, tokens * (shapes.parameters(job.shape) * each + context), tokens * job.shape.layers * (1 + adapted)
    )
