"""Next-token prediction on packed text: a plain loop with Muon for the matrices and AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) learns twice as much from the same
tokens at this size. Its step is scaled to the size of an AdamW step (Liu et al. 2025, arXiv:2502.16982), so
one learning rate serves both. ``torch.optim.Muon`` rounds to bfloat16, whose kernels differ from one CPU to
the next; this one stays in the precision of the weights. Not covered: more than one process, and trackers of services,
which are told nothing; ``live/base`` holds everything.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from stages.lib.train import trackers

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Point = dict[str, float | int]


def pack(rows: Iterable[Sequence[int]], start: int, stop: int, context: int) -> "torch.Tensor":
    """Texts end to end, each between two tokens, cut into [blocks, context]; the last odd piece is left out.

    The two are those around a turn: what was never read before can hardly be learnt by an adapter.
    """
    import torch

    stream = [token for row in rows for token in (start, *row, stop)]
    blocks = len(stream) // context
    return torch.tensor(stream[: blocks * context], dtype=torch.long).view(blocks, context)


def schedule(step: int, steps: int, warmup: float) -> float:
    """The factor of the learning rate: a straight line up over the first share of steps, then one down to zero."""
    rise = max(1, round(steps * warmup))
    return min((step + 1) / rise, (steps - step) / max(1, steps - rise))


def orthogonal(matrix: "torch.Tensor", rounds: int = 5) -> "torch.Tensor":
    """The nearest matrix whose singular values are all about one, by Newton and Schulz's quintic iteration."""
    flat = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    flat = flat / flat.norm().clamp(min=1e-7)
    for _ in range(rounds):
        gram = flat @ flat.T
        flat = 3.4445 * flat + (-4.7750 * gram + 2.0315 * gram @ gram) @ flat
    return flat.T if matrix.shape[0] > matrix.shape[1] else flat


def muon_step(weights: Sequence["torch.Tensor"], momenta: Sequence["torch.Tensor"], lr: float) -> None:
    """One step down an orthogonal direction for each matrix, with Nesterov momentum and decoupled weight decay."""
    for weight, momentum in zip(weights, momenta, strict=True):
        assert weight.grad is not None
        momentum.lerp_(weight.grad, 0.05)
        update = orthogonal(weight.grad.lerp(momentum, 0.95))
        weight.mul_(1 - lr * 0.1).add_(update, alpha=-lr * 0.2 * math.sqrt(max(weight.shape)))


def shuffled(blocks: "torch.Tensor", batch: int, seed: int) -> Iterator["torch.Tensor"]:
    """Batches of blocks without end, each block once an epoch."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(blocks), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            yield blocks[order[start : start + batch]]


def loss(model: "PreTrainedModel", blocks: "torch.Tensor") -> "torch.Tensor":
    """Mean cross-entropy of the next token, in nats."""
    import torch

    logits = model(input_ids=blocks, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), blocks[:, 1:].flatten())


def evaluate(model: "PreTrainedModel", blocks: "torch.Tensor", batch: int) -> float:
    """Mean loss over held-out blocks."""
    import torch

    model.eval()
    with torch.inference_mode():
        total = sum(loss(model, part).item() * len(part) for part in blocks.split(batch))
    model.train()
    return total / len(blocks)


def train(
    model: "PreTrainedModel",
    blocks: "torch.Tensor",
    held_out: "torch.Tensor",
    *,
    batch: int,
    steps: int,
    lr: float,
    warmup: float,
    seed: int,
) -> list[Point]:
    """Train in place; the training loss by step and the validation loss ten times on the way."""
    import torch
    from tqdm import tqdm

    if len(blocks) < batch:
        raise Refusal(
            f"base.batch: found {batch}, but the text fills only {len(blocks)} blocks of base.block tokens;"
            " lower base.batch or base.block, or give more text"
        )
    if services := trackers.named():
        print(f"base tells {' and '.join(services)} nothing; its numbers are in {trackers.LIVE}/base", file=sys.stderr)
    inner = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    chosen = set(map(id, inner))
    outer = [weight for weight in model.parameters() if id(weight) not in chosen]
    momenta = [torch.zeros_like(weight) for weight in inner]
    adam = torch.optim.AdamW(outer, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    where = model.device
    held_out = held_out.to(where)
    history: list[Point] = []
    every = max(1, steps // 10)
    watched = trackers.writer("base", resume=False)
    model.train()
    with tqdm(total=steps, desc="pretrain", unit="step", mininterval=1) as bar:
        for step, part in zip(range(steps), shuffled(blocks, batch, seed), strict=False):
            rate = lr * schedule(step, steps, warmup)
            value = loss(model, part.to(where))
            value.backward()
            torch.nn.utils.clip_grad_norm_(outer, 1.0)
            adam.param_groups[0]["lr"] = rate
            adam.step()
            with torch.no_grad():
                muon_step(inner, momenta, rate)
            model.zero_grad()
            found = {"loss": round(finite(value.item(), step + 1), 6)}
            if (step + 1) % every == 0 or step + 1 == steps:
                found["validation_loss"] = round(evaluate(model, held_out, batch), 6)
            point: Point = {"step": step + 1, **found}
            history.append(point)
            if watched is not None:  # under the names that all stages use there
                trackers.log(watched, step + 1, {name.replace("validation", "eval"): found[name] for name in found})
            bar.update()
            bar.set_postfix_str(progress(bar.format_dict, batch * blocks.shape[1], point), refresh=False)
    if watched is not None:
        watched.end()
    return history


def finite(value: float, step: int) -> float:
    """The loss, if it is a number."""
    if not math.isfinite(value):
        raise Refusal(f"the loss is {value} at step {step}: the learning rate is too high for this model; lower it")
    return value


def progress(bar: Mapping[str, Any], tokens: int, point: Point) -> str:
    """Tokens a second and the loss, for the bar."""
    speed = tokens * bar["n"] / max(bar["elapsed"], 1e-9)
    return f"{speed:,.0f} tokens/s, loss {point['loss']:.3f}"
