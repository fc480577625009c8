"""Perplexity on the assistant's tokens of held-out conversations: every model reads the same rendering.

Per token, so it compares models that share a tokenizer; the loss per character is given beside it for those
that do not.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stages.lib import models, weights
from stages.lib.contract import Refusal
from stages.lib.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def assistant(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Iterable[Record],
    *,
    batch: int,
    context: int,
) -> dict[str, float | int]:
    """``perplexity``, ``nats_per_character``, ``tokens`` and ``truncated`` records over all assistant tokens.

    Raises :class:`Refusal` when no record holds an assistant's token within ``context`` tokens.
    """
    import torch

    encoded, characters, truncated = [], 0, 0
    for row in rows:
        ids, mask = models.encode(tokenizer, row["messages"])
        truncated += len(ids) > context
        if any(mask[1:context]):
            encoded.append((ids[:context], mask[:context]))
            characters += len(
                tokenizer.decode([i for i, m in zip(ids[:context], mask, strict=False) if m], skip_special_tokens=True)
            )
    if not encoded:
        raise Refusal("no validation record holds an assistant's turn within the context; raise split.validation")
    total, tokens = 0.0, 0
    for indices in weights.by_length([ids for ids, _ in encoded], batch, model):
        ids, attention = weights.padded([encoded[i][0] for i in indices], 0, "right", str(model.device))
        spoken, _ = weights.padded([encoded[i][1] for i in indices], 0, "right", str(model.device))
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
        targets = ids[:, 1:].masked_fill(spoken[:, 1:] == 0, -100)
        total += float(
            torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="sum")
        )
        tokens += int((targets != -100).sum())
    return {
        "perplexity": round(math.exp(total / tokens), 6),
        "nats_per_character": round(total / max(1, characters), 6),
        "tokens": tokens,
        "truncated": truncated,
    }
