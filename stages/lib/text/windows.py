"""Texts of any length through a model that reads so many tokens at a time.

A text is cut into windows that follow one another, each with the tokenizer's own marks around it, and windows of
like length go through the model together. Not covered: windows that overlap, and word segmentation, which some
Vietnamese models (PhoBERT) were trained with.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import params, weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 32  # windows
LONGEST = 256  # tokens of a window, the marks included
SPARE = 2  # positions that RoBERTa's kind counts and can't use


def load(kind: Any, folder: Path, compute: params.Compute) -> tuple["PreTrainedTokenizerBase", "PreTrainedModel"]:
    """A tokenizer and a model that is only asked; no code from the folder is run."""
    from transformers import AutoTokenizer

    model = weights.placed(kind, folder, compute, new="pooler").eval()
    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False), model


def windows(
    tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel", texts: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """The token ids of each window, and the text that it is of; an empty text has one window."""
    framed, inner = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    start = next((place for place in range(len(framed)) if framed[place : place + len(inner)] == inner), 0)
    before, after = framed[:start], framed[start + len(inner) :]
    positions = getattr(model.config, "max_position_embeddings", LONGEST + SPARE) - SPARE
    size = max(1, min(LONGEST, positions, tokenizer.model_max_length) - len(before) - len(after))
    rows, owners = [], []
    for owner, ids in enumerate(tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]):
        for place in range(0, max(1, len(ids)), size):
            rows.append([*before, *ids[place : place + size], *after] or [tokenizer.pad_token_id])
            owners.append(owner)
    return rows, owners


def forward(
    tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel", texts: Sequence[str]
) -> Iterator[tuple[list[int], "torch.Tensor", Any]]:
    """The texts of some windows, their attention mask [windows, tokens] and what the model says of them, in turn."""
    import torch

    rows, owners = windows(tokenizer, model, texts)
    for indices in weights.by_length(rows, BATCH):
        ids, mask = weights.padded(
            [rows[index] for index in indices], tokenizer.pad_token_id or 0, "right", str(model.device)
        )
        with torch.inference_mode():
            yield [owners[index] for index in indices], mask, model(input_ids=ids, attention_mask=mask)
