"""A stage on several processes: it turns into accelerate's launcher, which runs the same stage in each of them.

The recipe's ``compute.launch`` names an accelerate config in launch/, which the check stage lays at
``data/launch.yaml``, so that an edit of one that is not in use reruns nothing. Its ``num_processes`` counts the
processes; without it every GPU gets one. One step of the optimiser sees batch x accumulate x processes rows, the same
rows in the same order as one process with that many. The stage's process becomes the launcher itself (exec), so its
output, its signals and its end are the launcher's, and no process outlives it. Where weights lie in shards, rlhf
keeps to one process on one GPU: it draws answers, which would gather all weights at every token. Not covered: several
machines, and pretraining from nothing.
"""

import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import recipes
from stages.lib.contract import Refusal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = Path("data/launch.yaml")
LAUNCHED = "VIET_LLM_LAUNCHED"  # set for the launcher and all that it starts
SHARDING = recipes.SHARDING


def enter(compute: recipes.Compute, tuning: recipes.Tuning, config: Path = CONFIG) -> None:
    """Begin a stage's main: return at once in the only process, or in one of many; else turn into the launcher."""
    if alone(compute, tuning):
        show_one_gpu()
        return
    if LAUNCHED in os.environ:
        follow_parent()
        if processes() == 1:
            show_one_gpu()
        if compute.device == "cpu" and compute.launch == "fsdp2":
            shard_on_cpu()
        if compute.launch in recipes.DEEPSPEED:
            # DeepSpeed calls torch's functions by names that torch gives up, at every step
            warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
        return
    check(compute, tuning)
    words = command(compute, config, processes_wanted(compute, config))
    sys.stdout.flush()
    sys.stderr.flush()
    forced = {"DS_ACCELERATOR": "cpu"} if compute.device == "cpu" else {}  # DeepSpeed takes a GPU where it sees one
    os.execve(sys.executable, words, os.environ | {LAUNCHED: compute.launch} | forced)


def alone(compute: recipes.Compute, tuning: recipes.Tuning) -> bool:
    """Whether the stage is one process, by its recipe or since it draws answers from a model that would be sharded."""
    draws = isinstance(tuning, recipes.Online | recipes.Offline)
    return compute.launch == "single" or (draws and compute.launch in SHARDING)


def check(compute: recipes.Compute, tuning: recipes.Tuning) -> None:
    """Refuse what can't work, before anything is started."""
    from importlib.util import find_spec

    if found := list(recipes.untrainable(compute, tuning)):
        raise Refusal("\n".join(found))
    if compute.launch in recipes.DEEPSPEED and find_spec("deepspeed") is None:
        raise Refusal(f"compute.launch: {compute.launch} needs DeepSpeed: pip install deepspeed, or take fsdp2")


def processes_wanted(compute: recipes.Compute, config: Path) -> int:
    """The config's own number of processes, or one for each GPU."""
    if not config.exists():
        raise Refusal(f"{config} is missing; `dvc repro check` lays it there")
    if found := processes_named(compute, config):
        return found
    import torch

    if not torch.cuda.device_count():
        raise Refusal(unnumbered(compute))
    return torch.cuda.device_count()


def processes_named(compute: recipes.Compute, config: Path) -> int | None:
    """The config's own number of processes, or None where the GPUs are to be counted."""
    from pydantic import PositiveInt

    from stages.lib import paramfile

    tree, place = paramfile.load(config), f"launch/{compute.launch}.yaml"
    if tree.get("num_processes") is not None:
        return int(paramfile.validate(PositiveInt, tree, "num_processes", {"num_processes": place}))
    if compute.device == "cpu":
        raise Refusal(unnumbered(compute))
    return None


def unnumbered(compute: recipes.Compute) -> str:
    """What to do about a launch that no GPUs give a number of processes."""
    return f"launch/{compute.launch}.yaml: without a GPU it must say how many: add num_processes: 2"


def command(compute: recipes.Compute, config: Path, wanted: int) -> list[str]:
    """The launcher's command line, around the words that this stage was called with."""
    spec = sys.modules["__main__"].__spec__
    if spec is None or not spec.name.startswith("stages."):
        raise Refusal(f"compute.launch: {compute.launch} needs the stage to be run by its command, python -m stages.…")
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    if wanted == 1 and compute.launch == "ddp":  # accelerate wants two for it, and one alone needs no wrapper
        return [sys.executable, "-m", spec.name, *sys.argv[1:]]
    options = ["--config_file", str(config), "--num_processes", str(wanted)]
    return [*launcher, *options, "-m", spec.name, *sys.argv[1:]]


def follow_parent() -> None:
    """End at once when the launcher says so, and when it ends without a word; the kernel sees to that (Linux)."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an exception would wait for the other processes, which have ended
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def show_one_gpu() -> None:
    """Hide all GPUs but the first: trainers spread one process over all that it sees, and trl's refuse that."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def shard_on_cpu() -> None:
    """Let accelerate shard on CPUs, too: nothing but its name for such processes keeps FSDP from them."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    begin = PartialState.__init__

    def named(self: Any, *words: Any, **more: Any) -> None:
        begin(self, *words, **more)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU  # its device stays the CPU, its backend gloo

    PartialState.__init__ = named


def processes() -> int:
    """How many processes share this stage."""
    return int(os.environ.get("WORLD_SIZE", "1")) if LAUNCHED in os.environ else 1


def leads() -> bool:
    """Whether this process writes what the stage makes."""
    return processes() == 1 or os.environ["RANK"] == "0"


def placement(compute: recipes.Compute) -> dict[str, Any]:
    """Loading arguments: accelerate places what it shards; all else goes to the process's own device."""
    return {"device_map": None} if compute.launch in SHARDING else {}


def rows(tuning: Any) -> int:
    """The rows of one step of the optimiser, told once where they are not what the recipe says at first sight."""
    whole = tuning.batch * tuning.accumulate * processes()
    if processes() > 1 and leads():
        print(f"{whole} rows a step: batch {tuning.batch} x accumulate {tuning.accumulate} x {processes()} processes")
    return whole


def steps(rows: int, tuning: recipes.Sft | recipes.Reward | recipes.Offline) -> int:
    """Optimiser steps of the recipe's passes over the rows; a pass ends with a step, however few rows it has left."""
    batches = math.ceil(rows / (tuning.batch * processes()))
    return max(1, round(tuning.epochs * math.ceil(batches / tuning.accumulate)))


def together(trainer: Any) -> Any:
    """A class of trainers whose groups of like length span the batches of all processes, as one process deals them."""
    if processes() == 1:
        return trainer

    class Together(trainer):
        def _get_train_sampler(self, *words: Any) -> Any:
            sampler = super()._get_train_sampler(*words)
            if hasattr(sampler, "lengths"):
                sampler.batch_size *= processes()
            return sampler

    return Together


def unrounded(trainer: Any) -> None:
    """Leave what a sharded model gives as it is: accelerate would round its losses to 16 bits, too."""
    import dataclasses

    plugin = trainer.accelerator.state.fsdp_plugin if trainer.is_fsdp_enabled else None
    if plugin is not None and plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = dataclasses.replace(plugin.mixed_precision_policy, output_dtype=None)


def read_as_data(trainer: Any) -> None:
    """Let DeepSpeed read its shards of a checkpoint as data: it would unpickle them, and so run what they say."""
    if not trainer.is_deepspeed_enabled:
        return
    import torch
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    torch.serialization.add_safe_globals([DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address])
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


def whole(trainer: Any, fresh: Callable[[], "PreTrainedModel"]) -> Any:
    """The trained model in one piece, or None where this process has nothing to write.

    Shards are gathered into ``fresh()``, the model as it was loaded, with the trained adapters' shape around it.
    """
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled  # one process may hold a single shard
    if processes() == 1 and not sharded:
        return trainer.model
    import torch

    accelerator, model = trainer.accelerator, trainer.model
    state = None
    if sharded:
        state = accelerator.get_state_dict(trainer.model_wrapped)  # every process takes part
    accelerator.wait_for_everyone()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if not leads():
        return None
    if state is None:
        return model
    if trainer.is_deepspeed_enabled:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # else it would cut the fresh model, too
    made: Any = fresh()
    made.config = model.config
    if hasattr(model, "peft_config"):
        from peft import get_peft_model

        made = get_peft_model(made, model.peft_config["default"])
    tied = {name for name in made.state_dict() if name not in state}
    missing = made.load_state_dict(state, strict=False)
    if missing.unexpected_keys or tied - set(getattr(made, "all_tied_weights_keys", ())):
        raise RuntimeError(f"gathered weights don't fit the model: {missing}")
    return made
