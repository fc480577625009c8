"""How much a stage has to do: rows, tokens, floating-point operations, and hours on a card.

A token costs 2 operations for each parameter of a matrix on the way forward, and 4·layers·width·length for its
attention (both halves of the triangle, as PaLM's appendix B counts); the way back costs twice that, or once where
weights are frozen under adapters; checkpointing adds a way forward. Answers are made a token at a time, which costs
reading the weights, so their hours come from the card's bandwidth. Not covered: reading, saving and evaluation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib import records
from tools import memory, shapes
from tools.memory import Job
from tools.shapes import Shape

SPLIT = Path("data/split")
ASSUMED = {"text": (20_000, 300), "sft": (20_000, 150), "preferences": (5_000, 150), "prompts": (5_000, 40)}
SAMPLE = 2000  # rows that are tokenized
TURN = 5  # tokens of a chat template around each turn
MFU = 0.35
STREAM = 0.5  # of the bandwidth, that decoding reaches


@dataclass(frozen=True)
class Rows:
    """What a table holds."""

    count: int
    mean: float  # tokens
    longest: int
    source: str  # measured by a tokenizer, estimated from syllables, or assumed


def rows(name: str, shape: Shape, tokenizer: Path) -> Rows:
    """The rows of ``data/split/<name>.train.parquet`` in tokens, from a spread sample of them."""
    table = SPLIT / f"{name}.train.parquet"
    if not table.is_file():
        count, syllables = ASSUMED[name]
        mean = syllables * shape.tokens_per_syllable
        return Rows(
            count, mean, round(4 * mean), f"assumed: {count:,} rows of {syllables} syllables; `dvc repro split`"
        )
    import pyarrow.parquet as pq

    total = pq.ParquetFile(table).metadata.num_rows
    if not total:
        return Rows(0, 0.0, 0, f"{table} holds no row")
    every = max(1, total // SAMPLE)
    taken = (row for place, row in enumerate(records.read(table)) if place % every == 0)
    lengths = list(measured(taken, shape, tokenizer))
    by = "models/base's tokenizer" if tokenizer.is_file() else f"{shape.tokens_per_syllable} tokens a syllable"
    return Rows(total, sum(lengths) / len(lengths), max(lengths), f"{table}, {by}")


def measured(taken: Iterable[records.Record], shape: Shape, tokenizer: Path) -> Iterable[int]:
    """Tokens of each record; of a pair, of its longer answer."""
    read: Any = None
    if tokenizer.is_file():
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
    frozen = job.tuning.method != "full" and not job.scratch
    factor = (2 if frozen else 3) + (job.tuning.gradient_checkpointing and not job.scratch)
    adapters = 6.0 * memory.trainable(job) if frozen else 0.0
    return tokens * (factor * once + adapters)


@dataclass(frozen=True)
class Work:
    """What a stage does in all."""

    tokens: float  # that are learned from
    flops: float
    decoded: float = 0.0  # bytes that are read from memory to make answers

    def hours(self, flops_per_second: float, bytes_per_second: float, mfu: float, processes: int) -> float:
        """Wall time on so many cards."""
        seconds = self.flops / (flops_per_second * mfu) + self.decoded / (bytes_per_second * STREAM)
        return seconds / 3600 / processes


def decoding(job: Job, batches: float, prompt: float) -> float:
    """Bytes that are read while batches of answers are made, token by token."""
    model = shapes.parameters(job.shape) * job.width
    context = job.answers * (prompt + job.answer / 2) * shapes.cache(job.shape, job.width)
    return batches * job.answer * (model + context)
