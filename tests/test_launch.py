"""Which launches are refused, what each process is told, and how accelerate reads every config."""

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from stages.lib import recipes
from stages.lib.contract import Refusal
from stages.lib.train import launch
from tests import toy_stage

LORA = recipes.Lora(r=4, alpha=8, dropout=0.0)


def tuning(**changes: Any) -> recipes.Sft:
    known: dict[str, Any] = {
        "mode": "chat", "method": "lora", "lr": 0.01, "schedule": "linear", "epochs": 1.0, "batch": 4, "accumulate": 2,
        "context": 64, "warmup": 0.1, "packing": False, "neftune": 0.0, "keep": "last", "lora": LORA, "save": 0,
        "optimizer": "adamw", "gradient_checkpointing": False,
    }  # fmt: skip
    return recipes.Sft(**(known | changes))


def compute(name: Any, device: Any = "auto") -> recipes.Compute:
    return recipes.Compute(device=device, threads=1, precision="fp32", launch=name)


@pytest.mark.parametrize(
    ("name", "device", "changes", "words"),
    [
        ("fsdp2", "auto", {"method": "qlora"}, "4-bit weights can't be cut"),
        ("zero3", "auto", {"method": "qlora"}, "4-bit weights can't be cut"),
        ("zero2", "auto", {"optimizer": "adamw8bit"}, "only adamw can keep its states in shards"),
        ("zero3", "auto", {}, "pip install deepspeed"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    name: str, device: str, changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Refusal, match=words):
        launch.check(compute(name, device), tuning(**changes))


def test_what_draws_answers_is_not_sharded_and_one_process_keeps_to_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    online = recipes.Online(
        kind="online", algorithm="rloo", rewards="model", method="lora", lr=0.001, steps=2, batch=4, generations=2,
        context=96, max_new_tokens=4, temperature=1.0, beta=0.05, max_kl=100.0, save=0, lora=LORA, optimizer="adamw",
        accumulate=1, gradient_checkpointing=False,
    )  # fmt: skip
    sharded = ("single", "fsdp2", "zero3")
    assert [name for name in get_args(recipes.Launch) if launch.alone(compute(name), online)] == list(sharded)
    assert [name for name in get_args(recipes.Launch) if launch.alone(compute(name), tuning())] == ["single"]
    for name in sharded:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
        launch.enter(compute(name), online)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    launch.check(compute("ddp"), online)


def test_the_number_of_processes_is_the_configs_or_that_of_the_gpus(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = root / "launch/ddp.yaml"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert launch.processes_wanted(compute("ddp"), config) == 4
    with pytest.raises(Refusal, match="add num_processes: 2"):
        launch.processes_wanted(compute("ddp", "cpu"), config)
    (tmp_path / "own.yaml").write_text(config.read_text(encoding="utf-8") + "num_processes: 3\n", encoding="utf-8")
    assert launch.processes_wanted(compute("ddp", "cpu"), tmp_path / "own.yaml") == 3
    own = tmp_path / "own.yaml"
    for wrong in ("two", 0):
        own.write_text(f"num_processes: {wrong}\n", encoding="utf-8")
        with pytest.raises(Refusal, match=r"launch/ddp\.yaml: num_processes: found .* whole number"):
            launch.processes_wanted(compute("ddp"), own)
    with pytest.raises(Refusal, match="dvc repro check"):
        launch.processes_wanted(compute("ddp"), tmp_path / "none.yaml")


@pytest.mark.parametrize(("shown", "found"), [(None, "0"), ("2,3", "2"), ("GPU-ab,GPU-cd", "GPU-ab"), ("", "")])
@pytest.mark.parametrize(("name", "started", "ranks", "all_shown"), [
    ("single", False, None, False), ("ddp", True, None, False), ("fsdp2", True, "1", False), ("ddp", True, "2", True),
])  # fmt: skip
def test_one_process_sees_one_gpu(
    shown: str | None, found: str, name: str, started: bool, ranks: str | None, all_shown: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(launch, "follow_parent", lambda: None)
    told = {"CUDA_VISIBLE_DEVICES": shown, launch.LAUNCHED: name if started else None, "WORLD_SIZE": ranks}
    for key, value in told.items():
        monkeypatch.setenv(key, value or "")
        if value is None:
            monkeypatch.delenv(key)
    launch.enter(compute(name), tuning())
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == (shown if all_shown else found)


def test_a_stage_that_is_no_command_is_not_launched() -> None:
    with pytest.raises(Refusal, match="python -m stages"):
        launch.command(compute("ddp"), Path("x.yaml"), 2)


def test_one_process_counts_its_own_rows() -> None:
    assert (launch.rows(tuning()), launch.processes(), launch.leads()) == (8, 1, True)
    assert launch.placement(compute("single")) == launch.placement(compute("ddp")) == {}
    assert launch.placement(compute("fsdp2")) == {"device_map": None}


@pytest.mark.parametrize(
    ("rows", "ranks", "epochs", "steps"),
    [(16, "1", 3.0, 6), (9, "1", 2.0, 4), (3, "1", 3.0, 3), (17, "1", 1.0, 3), (17, "2", 2.0, 4), (1, "1", 0.1, 1)],
)
def test_every_pass_over_the_rows_ends_with_a_step(
    rows: int, ranks: str, epochs: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(launch.LAUNCHED, "ddp")
    monkeypatch.setenv("WORLD_SIZE", ranks)
    assert launch.steps(rows, tuning(epochs=epochs)) == steps


@pytest.mark.parametrize("name", get_args(recipes.Launch))
def test_the_check_stage_lays_out_the_launch_of_the_recipe(
    name: str, root: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    (tmp_path / "empty").mkdir()
    folder = toy_stage.copied(tmp_path / "empty", tmp_path / "x", root, name)
    recipe = folder / "recipes/toy.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("device: cpu", "device: auto"), encoding="utf-8")
    words = ["stages.check", "params.yaml", "recipes", root / "launch", "data/checked", "data/launch.yaml"]
    told = run(folder, *words)
    assert told.returncode == 0, told.stderr
    assert (folder / "data/launch.yaml").read_bytes() == (root / f"launch/{name}.yaml").read_bytes()
    words[3] = "recipes"
    told = run(folder, *words)
    assert told.returncode == 2 and f"recipes/{name}.yaml is missing" in told.stderr


def test_the_check_stage_refuses_a_launch_on_a_cpu_that_counts_no_processes(
    root: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    (tmp_path / "empty").mkdir()
    folder = toy_stage.copied(tmp_path / "empty", tmp_path / "x", root, "ddp")
    (folder / "launch").mkdir()
    config, plain = folder / "launch/ddp.yaml", (root / "launch/ddp.yaml").read_text(encoding="utf-8")
    words = ["stages.check", "params.yaml", "recipes", "launch", "data/checked", "data/launch.yaml"]
    for more, code in (("", 2), ("num_processes: 2\n", 0)):
        config.write_text(plain + more, encoding="utf-8")
        told = run(folder, *words)
        assert (told.returncode, "add num_processes: 2" in told.stderr) == (code, not more), told.stderr
        assert (folder / "data/checked").exists() == bool(more)


READ = """
import json, os, sys
from accelerate.commands import launch
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

words = ["--config_file", sys.argv[1], "--num_processes", "2", "-m", "stages.sft"]
told, *_ = launch._validate_launch_command(launch.launch_command_parser().parse_args(words))
told.deepspeed_fields_from_accelerate_config = ""
made = prepare_deepspeed_cmd_env(told)[1] if told.use_deepspeed else prepare_multi_gpu_env(told)
kinds = {"multi": told.multi_gpu, "fsdp": told.use_fsdp, "deepspeed": told.use_deepspeed,
         "processes": told.num_processes}
if "--plugin" in sys.argv:
    os.environ.update(made)
    from accelerate.utils import DeepSpeedPlugin
    from transformers.integrations import HfDeepSpeedConfig
    plugin = DeepSpeedPlugin()
    HfDeepSpeedConfig(plugin.deepspeed_config)
    made = plugin.deepspeed_config["zero_optimization"]
print(json.dumps([kinds, made]))
"""


def read(path: Path, *words: str) -> Any:
    """A config as accelerate reads it."""
    process = toy_stage.started(
        "-c", READ, str(path), *words, folder=path.parent, root=path.parent, OMP_NUM_THREADS="1"
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("ddp", "multi", {}),
        ("fsdp2", "fsdp", {"FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}),
        ("zero2", "deepspeed", {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}),
        (
            "zero3",
            "deepspeed",
            {
                "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
                "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "cpu",
                "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu",
                "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
            },
        ),
    ],
)
def test_accelerate_reads_every_config(name: str, kind: str, settings: dict[str, str], root: Path) -> None:
    kinds, variables = read(root / f"launch/{name}.yaml")
    assert kinds == {"multi": False, "fsdp": False, "deepspeed": False, kind: True, "processes": 2}
    assert settings.items() <= variables.items()


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize(("name", "stage", "where"), [("zero2", 2, "none"), ("zero3", 3, "cpu")])
def test_deepspeed_is_told_what_the_config_says(name: str, stage: int, where: str, root: Path) -> None:
    _, zero = read(root / f"launch/{name}.yaml", "--plugin")
    assert (zero["stage"], zero["offload_optimizer"]["device"]) == (stage, where)
