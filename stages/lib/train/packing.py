"""Several records in one row, none of which sees another.

A row's records have positions of their own, and attention ends where a record ends: transformers reads the bounds
from positions that begin anew, and where a family has no positions (BLOOM and MPT tell distance by slopes, Press et
al. 2021) they are written into the mask. Rows are filled first-fit-decreasing (Johnson 1973), so the same records
give the same rows. Not covered: attention kernels other than transformers' own (sdpa, eager), which read no bounds
from rows in batches, and models that carry a state along the row, such as Mamba; both are refused.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from stages.lib.contract import Refusal

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

IGNORED = -100  # the label that cross-entropy leaves out
Bounds = Literal["positions", "mask"]
# How each family is told where a record ends; tests/test_packing.py compares every one with the record alone.
FAMILIES: dict[str, Bounds] = {
    "bloom": "mask",
    "gemma": "positions",
    "gemma2": "positions",
    "gemma3_text": "positions",
    "gpt2": "positions",
    "gpt_neox": "positions",
    "gptj": "positions",
    "llama": "positions",
    "mistral": "positions",
    "mpt": "mask",
    "qwen2": "positions",
    "qwen3": "positions",
}
TOLERANCE = 1e-3  # of the logits' spread, in fp32; what a leak changes is many times that


def fit(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Indices of the records of each row: the longest first, each into the first row that has room.

    Raises ValueError for a record longer than ``width``. A tree of the most room below each node finds the row.
    """
    if not lengths:
        return []
    leaves = 1 << (len(lengths) - 1).bit_length()
    room = [width] * (2 * leaves)
    rows: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        if length > width:
            raise ValueError(f"a record of {length} tokens does not fit a row of {width}")
        node = 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        if node - leaves == len(rows):
            rows.append([])
        rows[node - leaves].append(index)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return rows


def pack(records: Sequence[dict[str, Any]], width: int) -> list[dict[str, Any]]:
    """Rows of at most ``width`` tokens, with the length of each record in ``seq_lengths``."""
    rows = fit([len(record["input_ids"]) for record in records], width)
    return [joined([records[index] for index in row]) for row in rows]


def joined(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One row; nothing is learned on a record's first token, which the record before it would have to foretell."""
    row: dict[str, Any] = {"input_ids": array("i"), "labels": array("i"), "seq_lengths": []}
    for record in records:
        row["input_ids"].extend(record["input_ids"])
        row["labels"].append(IGNORED)
        row["labels"].extend(record["labels"][1:])
        row["seq_lengths"].append(len(record["input_ids"]))
    return row


def fullness(rows: Sequence[dict[str, Any]], width: int) -> float:
    """The share of the rows' room that holds tokens."""
    return sum(len(row["input_ids"]) for row in rows) / (len(rows) * width)


def collator(pad: int, bounds: Bounds) -> Callable[[Sequence[dict[str, Any]]], dict[str, "torch.Tensor"]]:
    """A batch of rows, [rows, longest], whose padding is one more record that nobody sees."""
    import torch

    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        longest = max(len(row["input_ids"]) for row in rows)
        ids, labels, places = [], [], []
        for row in rows:
            gap = longest - len(row["input_ids"])
            ids.append(list(row["input_ids"]) + [pad] * gap)
            labels.append(list(row["labels"]) + [IGNORED] * gap)
            parts = [*row["seq_lengths"], *([gap] if gap else [])]
            if bounds == "positions":
                places.append([place for part in parts for place in range(part)])
            else:
                places.append([number for number, part in enumerate(parts, 1) for _ in range(part)])
        key = "position_ids" if bounds == "positions" else "attention_mask"
        return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels), key: torch.tensor(places)}

    return collate


def bind(model: "PreTrainedModel") -> Bounds:
    """Have the model keep to the bounds that :func:`collator` gives; refuse one that doesn't."""
    family = model.config.model_type
    kernel = model.config._attn_implementation
    if kernel not in ("sdpa", "eager"):
        raise Refusal(f"sft.packing: the attention kernel {kernel} reads no bounds from rows; set sft.packing: false")
    bounds = FAMILIES.get(family, "positions")
    if bounds == "mask":
        separate(model)
    if family not in FAMILIES:
        leak = strangeness(model, bounds)
        if leak > TOLERANCE if model.dtype.itemsize == 4 else leak > 50 * TOLERANCE:
            raise Refusal(
                f"sft.packing: in a row of several records a model of family {family} answers otherwise than to the"
                f" record alone (by {leak:.2g} of the logits' spread); set sft.packing: false"
            )
    return bounds


def separate(model: "PreTrainedModel") -> None:
    """Turn a mask that numbers the records of a row, [rows, tokens], into one that bounds attention, [rows, 1, t, t].

    It stands before the backbone, which is called the same way with adapters around it or without.
    """
    import torch

    def bound(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        numbers = named.get("attention_mask")
        if numbers is not None and numbers.ndim == 2:
            allowed = torch.tril(numbers[:, :, None] == numbers[:, None, :])[:, None]
            banned = torch.zeros(allowed.shape, dtype=model.dtype, device=allowed.device)
            named["attention_mask"] = banned.masked_fill(~allowed, torch.finfo(model.dtype).min)
        return args, named

    def slopes(mask: "torch.Tensor", heads: int, dtype: "torch.dtype") -> "torch.Tensor":
        """BLOOM's bias grows with the place in the record: in half precision that of a long row would be coarse."""
        places = (mask[:, 0] == 0).sum(-1)  # a token sees its record up to itself
        ones = torch.ones((1, int(places.max())), device=mask.device)
        bias = build_alibi_tensor(ones, heads, dtype)[:, 0]  # [heads, places]
        return bias[:, places - 1].transpose(0, 1).reshape(len(places) * heads, 1, -1)

    model.base_model.register_forward_pre_hook(bound, with_kwargs=True)
    if model.config.model_type == "bloom":
        from transformers.models.bloom.modeling_bloom import build_alibi_tensor

        model.base_model.build_alibi_tensor = slopes


def strangeness(model: "PreTrainedModel", bounds: Bounds) -> float:
    """How far the logits of records in one row are from those of each alone, as a share of their spread.

    The second record comes after two others, so that one which sees them gives other logits.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    size = min(64, model.config.get_text_config().vocab_size)
    probes = [torch.randint(size, (length,), generator=generator).tolist() for length in (7, 12, 9)]
    records = [{"input_ids": probe, "labels": probe} for probe in probes]
    collate = collator(0, bounds)
    was_training = model.training
    model.eval()

    def logits(row: dict[str, Any]) -> "torch.Tensor":
        batch = {key: value.to(model.device) for key, value in collate([row]).items() if key != "labels"}
        with torch.inference_mode():
            return model(**batch, use_cache=False).logits[0].float()

    together = logits(joined(records))
    alone = torch.cat([logits(joined([record])) for record in records])
    model.train(was_training)
    return float((together - alone).abs().max() / alone.std())
