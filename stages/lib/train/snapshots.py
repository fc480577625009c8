"""All of the state of a training loop that is this project's own, as a checkpoint to go on from.

It holds the weights that learn, the optimizer's state, every random generator and the history; shared weights are kept
once and stay shared. The loop derives the rest from the number of the step: its rate, and its place in the order of
what it learns from. Tensors are read as safetensors or with ``weights_only``: a checkpoint can't run code. Not covered:
several processes, and where a checkpoint lies and for how long (``checkpoints.py``).
"""

import json
import random
from typing import TYPE_CHECKING, Any

from stages.lib.train import checkpoints

if TYPE_CHECKING:
    import torch

WEIGHTS, OPTIMIZER, CHANCE = "weights.safetensors", "optimizer.pt", "chance.pt"


def keep(where: checkpoints.Place, module: "torch.nn.Module", optimizer: Any, points: list[checkpoints.Point]) -> None:
    """Make a checkpoint after the step of the last point; it is whole or not there."""
    import torch
    from safetensors.torch import save_file

    made = where.scratch / f"checkpoint-{points[-1]['step']}"
    made.mkdir()
    weights = {name: weight.detach().contiguous() for name, weight in checkpoints.trained(module)}
    save_file(weights, str(made / WEIGHTS))
    torch.save(optimizer.state_dict(), made / OPTIMIZER)
    torch.save(chance(), made / CHANCE)
    (made / checkpoints.POINTS).write_text(json.dumps(points), encoding="utf-8")
    checkpoints.publish(made)


def take_up(
    where: checkpoints.Place, module: "torch.nn.Module", optimizer: Any, points: list[checkpoints.Point]
) -> int:
    """Put everything back as the last checkpoint holds it, and tell its step; 0 where there is none."""
    import torch
    from safetensors import safe_open

    found = where.found
    if found is None:
        return 0
    with safe_open(str(found / WEIGHTS), "pt") as opened, torch.no_grad():
        for name, weight in checkpoints.trained(module):
            weight.copy_(opened.get_tensor(name))
    optimizer.load_state_dict(torch.load(found / OPTIMIZER, "cpu", weights_only=True))
    restore(torch.load(found / CHANCE, "cpu", weights_only=True))
    points[:] = where.points()
    return int(points[-1]["step"])


def chance() -> dict[str, Any]:
    """The state of every random generator, in types that are read without running code."""
    import numpy
    import torch

    twister = numpy.random.get_state(legacy=False)
    twister["state"]["key"] = twister["state"]["key"].tolist()
    return {
        "python": random.getstate(),
        "numpy": twister,
        "torch": torch.get_rng_state(),
        "gpu": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore(state: dict[str, Any]) -> None:
    """Let every generator go on from a state."""
    import numpy
    import torch

    random.setstate(state["python"])
    numpy.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["gpu"] is not None:
        torch.cuda.set_rng_state(state["gpu"])
