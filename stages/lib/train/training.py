"""What the trainers share: data sets from records, one set of arguments, and a history without a clock."""

import json
import math
import warnings
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import params, recipes, weights
from stages.lib.contract import Refusal
from stages.lib.train import trackers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainerCallback

Point = dict[str, float | int]
OPTIMIZERS = {"adamw8bit": "adamw_8bit", "paged_adamw8bit": "paged_adamw_8bit", "adafactor": "adafactor"}
CLOCKS = ("runtime", "per_second", "epoch", "total_flos", "num_tokens", "step_time")


def rounded(logs: Mapping[str, Any]) -> Point:
    """The numbers of a log that do not depend on the machine's speed, to six digits."""
    return {
        key: round(float(value), 6)
        for key, value in sorted(logs.items())
        if isinstance(value, int | float) and not any(clock in key for clock in CLOCKS)
    }


def write_history(path: Path, points: Iterable[Mapping[str, float | int]]) -> None:
    """A list of ``{"step": n, …}``, as ``dvc plots`` reads it."""
    text = "[\n" + ",\n".join(json.dumps(dict(point)) for point in points) + "\n]\n"
    path.write_text(text, encoding="utf-8")


def recorder(points: list[Point]) -> "TrainerCallback":
    """A callback that keeps every log by step, and stops when the loss is no number."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            found = rounded(logs or {})
            for key, value in found.items():
                if key.endswith("loss") and not math.isfinite(value):
                    why = "the learning rate is too high for this model; lower it in the recipe, or set lr"
                    if not state.global_step:
                        why = (
                            "so it is before anything was learned: the base model's weights are damaged, or too large"
                            " for compute.precision (fp32 and bf16 hold larger numbers than fp16)"
                        )
                    raise Refusal(f"{key} is {value} at step {state.global_step}: {why}")
            # where fp16 overflows a step is skipped, and its gradients have no norm that JSON could hold
            found = {key: value for key, value in found.items() if math.isfinite(value)}
            if found.keys() - {"train_loss"}:
                if points and points[-1]["step"] == state.global_step:
                    points[-1].update(found)
                else:
                    points.append({"step": state.global_step, **found})

    return Recorder()


def arguments(
    compute: recipes.Compute, seed: int, scratch: str, tuning: recipes.Tuning, *, lr: params.Lr = "auto"
) -> dict[str, Any]:
    """Arguments that all trainers take: no checkpoints, seeds from the params."""
    on_cpu = weights.device(compute) == "cpu"
    precision = weights.precision(compute)
    if on_cpu and tuning.optimizer == "paged_adamw8bit":
        raise Refusal("optimizer: paged_adamw8bit needs a GPU, whose memory it pages; choose adamw8bit or adamw")
    # transformers gives up these names in its next version, and trl's trainers still ask for them
    warnings.filterwarnings("ignore", r"`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
    return {
        "output_dir": scratch,
        "learning_rate": tuning.lr if lr == "auto" else lr,
        **trackers.settings(tuning),
        "save_strategy": "no",
        "seed": seed,
        "data_seed": seed,
        "use_cpu": on_cpu,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "dataloader_pin_memory": not on_cpu,
        "gradient_checkpointing": tuning.gradient_checkpointing,
        # every adapter is used in every step; to look for others costs a walk through the graph
        **({"ddp_find_unused_parameters": False} if tuning.method != "full" else {}),
        "adam_beta2": 0.95,  # a short run can't wait for the thousand steps over which 0.999 averages
        "lr_scheduler_type": "linear",
        "logging_nan_inf_filter": False,  # it would write the mean of earlier losses where one is no number
        "save_total_limit": 1,
        **({"optim": OPTIMIZERS[tuning.optimizer]} if tuning.optimizer in OPTIMIZERS else {}),
    }


def lean(model: "PreTrainedModel") -> None:
    """Have trl's head on a CPU read what is learned from and no more, as it does on a GPU.

    Of itself it scores every token there, and lays the logits of any vocabulary into rows of 32,768, which the
    processor's caches are no friend of.
    """
    from trl.trainer import utils

    utils._use_triton = lambda _: True  # asked in that module only for whether to leave out what is not learned
    rows = model.get_output_embeddings().weight.shape[0]
    utils._CHUNKED_LOGPROB_CHUNK_SIZE = min(rows, utils._CHUNKED_LOGPROB_CHUNK_SIZE)


def dataset(rows: list[dict[str, Any]]) -> Any:
    """Rows as a data set that leaves no file behind; arrays of 32-bit ids stay as small as they are."""
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    if not any(isinstance(values, array) for values in rows[0].values()):
        return Dataset.from_list(rows)

    def column(name: str) -> Any:
        if not isinstance(rows[0][name], array):
            return pa.array([row[name] for row in rows])
        ends = np.cumsum([0, *(len(row[name]) for row in rows)])
        return pa.LargeListArray.from_arrays(ends, np.concatenate([np.asarray(row[name]) for row in rows]))

    return Dataset(pa.table({name: column(name) for name in rows[0]}))


def evaluated(trainer: Any, points: list[Point]) -> None:
    """See to it that the last point holds an evaluation of the finished model, where there is something to evaluate."""
    if trainer.eval_dataset is not None and trainer.state.global_step % trainer.args.eval_steps:
        trainer.evaluate()
