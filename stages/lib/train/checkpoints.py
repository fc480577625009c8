"""Where a training run that was killed goes on: at its last whole checkpoint, to the same bytes.

A run's checkpoints lie under a key that is the hash of all that decides its result: params, data, code and the
libraries' versions, so no other run takes them up. The trainer writes into ``part/``; only a checkpoint that is whole,
and on the disk, is renamed to ``last/``, so one that a kill or a full disk cut short is never read. What transformers
does not keep is kept beside it: the history so far, the best weights, and the state of every random generator at the
start of the epoch, without which the batches would come in another order. Tensors are read as safetensors or with
``weights_only``, DeepSpeed's too: a checkpoint can't run code. One process at a time works on a run, and what nobody
went on with for a month is removed. A run's checkpoints go when its outputs are written; where DVC can't keep these,
for a full disk, they are still in their place: make room, and `dvc commit -f` keeps them. Not covered: the state of
another number of processes, which is another key; a paged optimizer's states, which bitsandbytes puts back whole.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from stages.lib.train import launch

if TYPE_CHECKING:
    from transformers import TrainerCallback

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets")
POINTS, BEST, EPOCH = "points.json", "best.safetensors", "epoch"
ABANDONED = 30 * 24 * 3600  # seconds after which nobody is waiting for a checkpoint any more
Point = dict[str, float | int]


@dataclass(frozen=True)
class Place:
    """A folder for the trainer to write into, and the checkpoint from which to go on."""

    scratch: Path
    save: int  # steps between checkpoints; 0 makes none
    last: Path | None = None

    @property
    def found(self) -> Path | None:
        """The last whole checkpoint, if there is one; the one before, after a kill between two renames."""
        places = [self.last, self.last.with_name("old")] if self.last else []
        return next((place for place in places if place.is_dir()), None)

    def due(self, step: int, steps: int) -> bool:
        """Whether a loop that logs every step makes a checkpoint after this one; from the last none would go on."""
        return self.save > 0 and step % self.save == 0 and step < steps

    def points(self) -> list[Point]:
        """The history up to the checkpoint."""
        found = self.found
        return json.loads((found / POINTS).read_text(encoding="utf-8")) if found else []

    def arguments(self, steps: int) -> dict[str, Any]:
        """When to log, to save, and to evaluate what nothing was learned by yet."""
        return self.rhythm(max(1, steps // 50)) | {"eval_on_start": self.found is None}

    def rhythm(self, every: int) -> dict[str, Any]:
        """When to log and to save: a checkpoint falls on a logged step, for what is summed in between is not in it."""
        if not self.save:
            return {"logging_steps": every}
        if self.save < every:
            return {"logging_steps": self.save, "save_strategy": "steps", "save_steps": self.save}
        return {"logging_steps": every, "save_strategy": "steps", "save_steps": round(self.save / every) * every}


@contextmanager
def place(stage: str, save: int, files: Iterable[Path], settings: object) -> Iterator[Place]:
    """A place that is gone after success; with ``save``, one that the same run finds again after a failure."""
    if not save:
        with tempfile.TemporaryDirectory() as scratch:
            yield Place(Path(scratch), 0)
        return
    home = root() / key(stage, files, settings)
    if not launch.leads():
        yield Place(home / "part", save, home / "last")
        return
    home.mkdir(parents=True, exist_ok=True)
    with held(home):
        sweep()
        shutil.rmtree(home / "part", ignore_errors=True)
        (home / "part").mkdir()
        yield Place(home / "part", save, home / "last")
        shutil.rmtree(home, ignore_errors=True)  # the outputs are written, and nothing here is worth an error


@contextmanager
def held(home: Path) -> Iterator[IO[str]]:
    """Work on a run alone: who kills ``dvc`` may leave its stage behind, still training and writing."""
    with (home / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it when the process ends
        except BlockingIOError:
            lock.seek(0)
            raise Refusal(
                f"{home}: process {lock.read()} trains this very run already; wait for it, or end it and run this again"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def sweep() -> None:
    """Remove the checkpoints of runs that nobody went on with, and say so."""
    for home in sorted(path for path in root().iterdir() if path.is_dir()):
        try:
            touched = max(path.stat().st_mtime for path in (home, *home.iterdir()))
            if time.time() - touched > ABANDONED:  # decides nothing about any output
                with held(home):
                    print(f"{home} is removed: nobody went on with it for a month", file=sys.stderr)
                    shutil.rmtree(home)
        except (Refusal, FileNotFoundError):
            continue  # it is under way, or has just ended


def others(where: Place) -> str:
    """What else lies beside a run's own checkpoints, in words."""
    mine = where.scratch.parent
    found = [path for path in mine.parent.iterdir() if path.is_dir() and path != mine] if where.save else []
    if not found:
        return ""
    size = sum(file.stat().st_size for path in found for file in path.rglob("*") if file.is_file())
    return f"; {mine.parent} holds {size / 1e9:.1f} GB of {len(found)} other runs, which can go if nobody resumes them"


def root() -> Path:
    """Checkpoints of this checkout; DVC_ROOT is the main checkout also in experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "data" / "checkpoints"


def key(stage: str, files: Iterable[Path], settings: object) -> str:
    """The hash of all that decides what a run gives."""
    found = hashlib.blake2b(digest_size=16)
    code = [
        Path(module.__file__)
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == "stages" and module.__file__
    ]
    versions = [f"{name} {version(name)}" for name in LIBRARIES]
    found.update(json.dumps([stage, repr(settings), versions, launch.processes()]).encode())
    for path in (*files, *code):
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if part.is_file():
                with part.open("rb") as opened:
                    found.update(part.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return f"{stage}-{found.hexdigest()}"


def keeper(trainer: Any, where: Place, points: list[Point], best: "Best | None") -> "TrainerCallback":
    """A callback that makes the trainer's checkpoints whole, and gives them their name."""
    from accelerate import PartialState
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):
        begun_from = where.found  # not later: by then there is one of this very run

        def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
            begun = where.scratch / EPOCH
            if self.begun_from:
                for _epoch in range(int(state.epoch)):  # each draws once from a generator that is a sampler's own
                    next(iter(train_dataloader.batch_sampler))
                # one that ended an epoch holds how the next begins
                trainer._load_rng_state(str(self.begun_from / EPOCH if state.epoch % 1 else self.begun_from))
                self.begun_from = None
            begun.mkdir(exist_ok=True)
            trainer._save_rng_state(str(begun))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps:
                control.should_save = False  # from the end a trainer would go on for one step too many

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            PartialState().wait_for_everyone()
            if args.should_save:
                made = where.scratch / f"checkpoint-{state.global_step}"
                shutil.copytree(where.scratch / EPOCH, made / EPOCH)
                (made / POINTS).write_text(json.dumps(points), encoding="utf-8")
                if best:
                    best.write(made / BEST)
                publish(made)
            PartialState().wait_for_everyone()

    return Keeper()


def publish(made: Path) -> None:
    """Put a finished checkpoint in the place of the last one, after its bytes have reached the disk."""
    for path in (*made.rglob("*"), made):
        opened = os.open(path, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)
    last, old = made.parent.parent / "last", made.parent.parent / "old"
    if last.is_dir():  # else old is all that there is
        shutil.rmtree(old, ignore_errors=True)
        last.rename(old)
    made.rename(last)
    shutil.rmtree(old, ignore_errors=True)


class Best:
    """The trainable weights of the evaluation with the lowest loss; a copy on the CPU of the process that leads."""

    def __init__(self, model: Any, where: Place) -> None:
        self.model = model
        self.step, self.loss = 0, float("inf")
        self.weights: dict[str, Any] = {}
        if where.found and (where.found / BEST).is_file():
            from safetensors import safe_open

            with safe_open(str(where.found / BEST), "pt") as opened:
                kept = opened.metadata()
                if launch.leads():
                    self.weights = opened.get_tensors()
            self.step, self.loss = int(kept["step"]), float.fromhex(kept["loss"])

    def offer(self, step: int, loss: float) -> None:
        """Keep the weights as they are if none were better; those before the first step are no result."""
        if step and loss < self.loss:
            self.step, self.loss = step, loss
            if launch.leads():
                self.weights = {name: weight.detach().to("cpu", copy=True) for name, weight in trained(self.model)}

    def restore(self) -> None:
        """Put the kept weights back."""
        import torch

        with torch.no_grad():
            for name, weight in trained(self.model) if launch.leads() else ():
                weight.copy_(self.weights[name])

    def write(self, path: Path) -> None:
        """Into a checkpoint, if there is something to keep."""
        from safetensors.torch import save_file

        if self.weights:
            save_file(self.weights, str(path), {"step": str(self.step), "loss": self.loss.hex()})


def trained(model: Any) -> Iterator[tuple[str, Any]]:
    """The weights that move, by name; those that are shared have one."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
