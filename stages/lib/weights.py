"""Weights on their device, and rows of tokens as they go in: all that a stage needs that only asks a model.

Weights are safetensors only, and code from a model's folder is never run. Not covered: conversations, and saving
(``stages/lib/models.py``).
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stages.lib.contract import Refusal
from stages.lib.params import Compute

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


LOGITS = 1 << 26  # numbers at once: a quarter of a GB in fp32
HELD = 0.9  # of the GPU's free memory may go to weights


def device(compute: Compute) -> str:
    """Where tensors go."""
    import torch

    return "cuda" if compute.device == "auto" and torch.cuda.is_available() else "cpu"


def precision(compute: Compute) -> Literal["fp32", "bf16", "fp16"]:
    """What the params ask for; ``auto`` is bf16 where a GPU has it, fp16 on an older one, and fp32 on a CPU."""
    import torch

    if compute.precision != "auto":
        return compute.precision
    if device(compute) == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def dtype(compute: Compute) -> "torch.dtype":
    """The type of the weights."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision(compute)]


def placed(kind: Any, folder: Path, compute: Compute, **more: Any) -> "PreTrainedModel":
    """A model on its device, shard by shard; its attention is torch's own code where the family has it."""
    if not any(folder.glob("*.safetensors")):
        raise Refusal(f"{folder} holds no safetensors; weights in other formats can run code and are not read")
    # A quantised model is moved by its loader and refuses to be moved later.
    model = kind.from_pretrained(
        str(folder),
        **{"dtype": dtype(compute), "device_map": device(compute), **more},
        use_safetensors=True,
        trust_remote_code=False,
    )
    for module in model.modules():
        # bitsandbytes repacks 4-bit weights for CPUs with bfloat16: other results on other CPUs, wrong gradients,
        # and an error where the width is no multiple of 64.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def room(folder: Path, compute: Compute) -> str:
    """Where a model goes that only answers: its device, or ``auto`` for weights that one GPU has no room for.

    Then they lie on several, and the rest in the CPU's memory, which is slow and works.
    """
    import torch
    from safetensors import safe_open

    where = device(compute)
    if where == "cpu":
        return where
    wanted, each = 0, dtype(compute).itemsize
    for path in folder.glob("*.safetensors"):
        with safe_open(str(path), "pt") as opened:
            names: Iterable[str] = opened.keys()
            for held in map(opened.get_slice, names):
                wanted += math.prod(held.get_shape()) * (1 if held.get_dtype() in ("I8", "U8") else each)
    free = torch.cuda.mem_get_info()[0]
    if wanted <= HELD * free:
        return where
    print(
        f"{folder}: {wanted / 2**30:.1f} GiB of weights, and the GPU has {free / 2**30:.1f} GiB free: a part of them"
        " stays in the CPU's memory, which is slow",
        file=sys.stderr,
    )
    return "auto"


def padded(rows: Sequence[Sequence[int]], value: int, side: str, where: str) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Rows of ids as (ids, attention mask), both [rows, longest]."""
    import torch

    longest = max(map(len, rows))
    gaps = [longest - len(row) for row in rows]
    if side == "left":
        ids = [[value] * gap + list(row) for row, gap in zip(rows, gaps, strict=True)]
        mask = [[0] * gap + [1] * len(row) for row, gap in zip(rows, gaps, strict=True)]
    else:
        ids = [list(row) + [value] * gap for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * len(row) + [0] * gap for row, gap in zip(rows, gaps, strict=True)]
    return torch.tensor(ids, device=where), torch.tensor(mask, device=where)


def by_length(rows: Sequence[Sequence[int]], batch: int, speaker: Any = None) -> Iterator[list[int]]:
    """Indices in batches of rows of like length, so that little is padding.

    Of a ``speaker`` a number is wanted for each piece of its vocabulary, at each place: the larger that is, the fewer
    rows at once.
    """
    vocabulary = speaker.config.get_text_config().vocab_size if speaker is not None else 0
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
    start = 0
    while start < len(order):
        end = min(start + batch, len(order))
        while end - start > 1 and (end - start) * len(rows[order[end - 1]]) * vocabulary > LOGITS:
            end -= 1
        yield order[start:end]
        start = end
