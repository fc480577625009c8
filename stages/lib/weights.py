"""Weights on their device, and rows of tokens as they go in: all that a stage needs that only asks a model.

Weights are safetensors only, and code from a model's folder is never run. Not covered: conversations, and saving
(``stages/lib/models.py``).
"""

import json
import logging
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
OVERFLOWS = ("gemma3", "gemma3_text")  # families whose layers add up to more than fp16 can hold
HELD = 0.9  # of the GPU's free memory may go to weights

# As soon as they are imported the first tells of kernels that nothing here needs and at every layer that int8 casts to
# fp16, and the second what `whole` refuses or expects; once it is quiet, the third tells of shards that nobody made.
for library in ("bitsandbytes", "transformers.modeling_utils", "transformers.distributed.tensor_parallel"):
    logging.getLogger(library).setLevel(logging.ERROR)


def device(compute: Compute) -> str:
    """Where tensors go; a GPU for which the installed torch was not built is refused before its first kernel fails."""
    if compute.device == "cpu":
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    if torch.version.cuda is None:  # AMD's, whose kernels have other names
        return "cuda"
    capability = torch.cuda.get_device_capability()
    if not runs_on(capability, torch.cuda.get_arch_list()):
        raise Refusal(
            f"compute.device: found auto, and torch {torch.__version__} has no kernels for this GPU,"
            f" {torch.cuda.get_device_name()} (compute capability {capability[0]}.{capability[1]}): install a build of"
            " the same version that has them (README.md: for cards before Turing it is CUDA 12.6's), or set"
            " compute.device to cpu"
        )
    return "cuda"


def runs_on(capability: tuple[int, int], kernels: Iterable[str]) -> bool:
    """Whether any of the kernels ``sm_75``, and for newer cards ``compute_75``, runs on this compute capability.

    Source: https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/#cuda-compatibility-and-upgrades
    """
    for kind, digits in (kernel.split("_", 1) for kernel in kernels):
        major, minor = divmod(int("".join(filter(str.isdigit, digits))), 10)
        if capability >= (major, minor) and (kind == "compute" or capability[0] == major):
            return True
    return False


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


def placed(kind: Any, folder: Path, compute: Compute, new: str = "", **more: Any) -> "PreTrainedModel":
    """A model on its device, shard by shard; its attention is torch's own code where the family has it.

    ``new`` is the layer that the folder need not hold: a head that is to be learned, or one that nobody asks.
    """
    if not any(folder.glob("*.safetensors")):
        raise Refusal(f"{folder} holds no safetensors; weights in other formats can run code and are not read")
    bear(folder, compute)
    # A quantised model is moved by its loader and refuses to be moved later.
    model, told = kind.from_pretrained(
        str(folder),
        **{"dtype": dtype(compute), "device_map": device(compute), **more},
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    whole(model, told, str(folder), new)
    for module in model.modules():
        # bitsandbytes repacks 4-bit weights for CPUs with bfloat16: other results on other CPUs, wrong gradients,
        # and an error where the width is no multiple of 64.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def bear(folder: Path, compute: Compute) -> None:
    """Refuse a precision in which a family's numbers overflow."""
    path = folder / "config.json"
    family = json.loads(path.read_text(encoding="utf-8")).get("model_type") if path.is_file() else None
    if family in OVERFLOWS and precision(compute) == "fp16":
        raise Refusal(
            f"compute.precision: found {compute.precision}, here fp16, in which {folder}, a model of family {family},"
            " overflows; set it to fp32, or take a GPU that has bf16 (Ampere or newer)"
        )


def whole(model: "PreTrainedModel", told: dict[str, Any], name: str, new: str = "") -> None:
    """Refuse a model of which the files hold only a part: what they lack would be made up at random.

    ``told`` is what its loader found; of weights that are tied, one file entry serves for all.
    """
    tied = getattr(model, "all_tied_weights_keys", {})
    lacking = {key for key, *_ in told["mismatched_keys"]} | set(told["missing_keys"])
    lost = sorted(
        key
        for key, _ in model.named_parameters()
        if key in lacking and key not in tied and not (new and new in key.split("."))
    )
    if lost:
        raise Refusal(
            f"{name}: its files lack {len(lost)} of the model's weights, or hold them in another shape, as {lost[0]}:"
            " is the download whole, and config.json of the same model? Fetch or make it again"
        )


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
