"""The one way to train: from the last checkpoint if there is one, with words for what a machine runs out of.

Not covered: what a trainer is told (``training.py``) and what a checkpoint holds (``checkpoints.py``).
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stages.lib import disk
from stages.lib.contract import Refusal
from stages.lib.train import checkpoints, launch, progress, training

if TYPE_CHECKING:
    from transformers import TrainerCallback

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED")


def fit(
    trainer: Any,
    points: list[training.Point],
    where: checkpoints.Place,
    *,
    name: str,
    tokens: float = 0.0,
    keep: Literal["last", "best"] = "last",
) -> None:
    """Train, and fill the history, which may have begun; ``best`` puts back the best evaluation's weights.

    ``tokens`` are those of a step, or 0 for nobody knows.
    """
    launch.unrounded(trainer)
    launch.read_as_data(trainer)
    points[:] = where.points() or points
    best = checkpoints.Best(trainer.model, where) if keep == "best" else None
    progress.show(trainer, name, tokens)
    trainer.floating_point_ops = lambda _: 0  # else it counts all parameters anew at each step, and nobody asks
    trainer.add_callback(training.recorder(points))
    if best:
        trainer.add_callback(chooser(best))
    if where.save:
        trainer.add_callback(checkpoints.keeper(trainer, where, points, best))
    with explained(where):
        trainer.train(resume_from_checkpoint=str(where.found) if where.found else None)
        training.evaluated(trainer, points)
    if best:
        best.restore()
        points[-1] |= {"kept_eval_loss": round(best.loss, 6), "kept_step": best.step}


def chooser(best: checkpoints.Best) -> "TrainerCallback":
    """A callback that offers the weights of each evaluation."""
    from transformers import TrainerCallback

    class Chooser(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            best.offer(state.global_step, float(metrics["eval_loss"]))

    return Chooser()


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say in words what to do where memory ends, from a stage's first weight to its last; stands before its main."""
    try:
        yield
    except RuntimeError as error:  # torch's own and bitsandbytes'; torch may not be imported before launch.enter
        if not NO_MEMORY.search(str(error)):
            raise
        raise Refusal(
            f"the memory is full ({' '.join(str(error).split())[:160]}): lower batch and raise accumulate by as much,"
            " lower context, set gradient_checkpointing: true, choose lora, qlora or an 8-bit optimizer, or a launch"
            " that shards; `make plan` tells what fits"
        ) from None


@contextmanager
def explained(where: checkpoints.Place) -> Iterator[None]:
    """Say in words that a checkpoint has no room; the last whole one stays."""

    def full() -> str:
        again = "the same command goes on from the last checkpoint" if where.found else "the run begins anew"
        return f"{where.scratch}: no room on the disk for a checkpoint; make some: {again}{checkpoints.others(where)}"

    with disk.room(full, where.scratch):
        yield


@contextmanager
def all_or_none(*outs: Path) -> Iterator[None]:
    """Write all of a stage's outputs or leave none of them behind."""
    done = False
    full = f"{outs[0]}: no room on the disk for it; make some and run it again: it goes on at its last checkpoint"
    try:
        with disk.room(lambda: f"{full} if the recipe saves any"):
            yield
        done = True
    finally:
        for out in [] if done else outs:
            shutil.rmtree(out, ignore_errors=True)
            if out.is_file():
                out.unlink()
