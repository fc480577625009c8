"""Where a run can be watched: DVCLive's files always, and the user's own tracker when their settings name it.

``live/<stage>`` holds every number by step, for ``dvc plots show live/sft`` or an editor's DVC view; git ignores it
and no stage reads it, for it is no part of what a commit is. W&B, MLflow and TensorBoard are asked through transformers
when the environment says so, since these are settings of a person and not of the model: ``WANDB_API_KEY`` or
``WANDB_PROJECT``, ``MLFLOW_TRACKING_URI``, or by name, ``TRACKERS=tensorboard`` (``none`` silences all). DVCLive's own
callback for transformers is not used: it saves run times and models. ``base`` and ppo, whose loops are their own, tell
services nothing. Not covered: what a service does with its share.
"""

import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import paramfile, recipes
from stages.lib.contract import Refusal, suggest

if TYPE_CHECKING:
    from transformers import TrainerCallback

LIVE = Path("live")
SIGNS = {"wandb": ("WANDB_API_KEY", "WANDB_PROJECT"), "mlflow": ("MLFLOW_TRACKING_URI",), "tensorboard": ()}


def told() -> list[str]:
    """What ``TRACKERS`` says, word by word."""
    return os.environ.get("TRACKERS", "").replace(",", " ").split()


def named() -> list[str]:
    """The trackers that the environment names."""
    chosen = told()
    if "none" in chosen:
        return []
    for name in chosen:
        if name not in SIGNS:
            raise Refusal(f"TRACKERS: found {name!r}; {suggest(name, [*SIGNS, 'none'])}")
    found = [name for name, signs in SIGNS.items() if name in chosen or any(os.environ.get(sign) for sign in signs)]
    for name in found:
        package = "tensorboardX" if name == "tensorboard" and find_spec("tensorboardX") else name
        if find_spec(package) is None:
            signs = [sign for sign in ("TRACKERS", *SIGNS[name]) if os.environ.get(sign)]
            verb = "names" if len(signs) == 1 else "name"
            raise Refusal(f"{' and '.join(signs)} {verb} {name}: pip install {name}, or set TRACKERS=none")
    return found


def settings(tuning: recipes.Tuning) -> dict[str, Any]:
    """Trainer arguments: who is told, and under which name."""
    found = named()
    if not found:
        return {"report_to": "none"}
    name = run_name(stage(tuning))
    places = {
        "wandb": {"WANDB_PROJECT": "viet-llm", "WANDB_DIR": str(LIVE)},
        "mlflow": {"MLFLOW_EXPERIMENT_NAME": "viet-llm"},
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": str(LIVE / "tensorboard" / name)},
    }
    for tracker in found:  # another's would be read as a wish for it
        for variable, value in places[tracker].items():
            os.environ.setdefault(variable, value)
    LIVE.mkdir(exist_ok=True)
    return {"report_to": found, "run_name": name}


def stage(tuning: recipes.Tuning) -> str:
    """The stage that a part of the recipe is for."""
    return "rlhf" if isinstance(tuning, recipes.Online | recipes.Offline) else type(tuning).__name__.lower()


def run_name(stage: str) -> str:
    """Stage, recipe and commit, such as ``sft-tiny-7ab59cc``; a commit that was edited since says so."""
    dials = Path("params.yaml")
    recipe = paramfile.load(dials)["recipe"] if dials.exists() else "recipe"
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{stage}-{recipe}-{done.stdout.strip() or 'uncommitted'}"


def writer(stage: str, resume: bool) -> Any:
    """DVCLive's files of a stage, or None: for ``TRACKERS=none``, and where git has no commit, which it needs."""
    if "none" in told():
        return None
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        return Live(str(LIVE / stage), resume=resume, save_dvc_exp=False, dvcyaml=None)
    except SCMError as error:
        print(f"{LIVE}/{stage} is not written: {error}; commit once and it will be")
        return None


def log(writer: Any, step: int, values: Mapping[str, Any]) -> None:
    """Write what was measured at a step."""
    writer.step = step
    for name, value in values.items():
        writer.log_metric(name.replace("eval_", "eval/", 1) if "eval_" in name else f"train/{name}", value)
    writer.make_summary()


def forget(folder: Path, after: int) -> None:
    """Take back what was written after a step: a run that goes on from there writes it anew."""
    for path in folder.rglob("*.tsv"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        steps = [line.partition("\t")[0] for line in lines]  # a power cut leaves lines that begin with none
        kept = [line for line, step in zip(lines, steps, strict=True) if step.isdecimal() and int(step) <= after]
        path.write_text("".join([*lines[:1], *kept]), encoding="utf-8")


def live(tuning: recipes.Tuning) -> "TrainerCallback":
    """A callback that writes each number of a log, by step, to ``live/<stage>``: no run times, no models."""
    from transformers import TrainerCallback

    from stages.lib.train.training import rounded

    class Watcher(TrainerCallback):
        writer: Any = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                self.writer = writer(stage(tuning), resume=state.global_step > 0)  # a killed run goes on
            if self.writer is not None:
                forget(LIVE / stage(tuning), state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.writer is not None:
                log(self.writer, state.global_step, rounded(logs or {}))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.writer is not None:
                self.writer.end()

    return Watcher()
