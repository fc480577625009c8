"""A run can be watched, by those whom the user names, and what it makes is the same."""

import importlib.util
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.lib import recipes
from stages.lib.contract import Refusal
from stages.lib.train import trackers
from tests import toy_stage

TUNING = recipes.Reward(
    method="full", lr=0.001, epochs=1.0, batch=4, accumulate=1, context=64, optimizer="adamw", save=0,
    gradient_checkpointing=False, lora=recipes.Lora(r=4, alpha=8, dropout=0.0),
)  # fmt: skip
VARIABLES = ("TRACKERS", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
             "TENSORBOARD_LOGGING_DIR")  # fmt: skip
UNWATCHED = """
import sys
from stages import sft
from stages.lib import contract
from stages.lib.train import trackers
trackers.writer = lambda *_, **__: None
contract.run(sft.main)
"""


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A user without settings, in an empty folder."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what the code sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, []),
        ({"TRACKERS": "tensorboard"}, ["tensorboard"]),
        ({"TRACKERS": "mlflow, wandb"}, ["wandb", "mlflow"]),
        ({"WANDB_API_KEY": "k"}, ["wandb"]),
        ({"WANDB_PROJECT": "p", "MLFLOW_TRACKING_URI": "file:x"}, ["wandb", "mlflow"]),
        ({"WANDB_API_KEY": "k", "TRACKERS": "none"}, []),
    ],
)
def test_the_environment_names_the_trackers(
    variables: dict[str, str], found: list[str], own: pytest.MonkeyPatch
) -> None:
    own.setattr(trackers, "find_spec", lambda _: True)
    for name, value in variables.items():
        own.setenv(name, value)
    assert trackers.named() == found
    told = trackers.settings(TUNING)
    if found:
        assert told == {"report_to": found, "run_name": "reward-recipe-uncommitted"}
        assert trackers.settings(TUNING) == told  # the next trainer of a process hears the same
    else:
        assert told == {"report_to": "none"} and not Path("live").exists()


def test_unknown_and_missing_trackers_are_refused_in_words(own: pytest.MonkeyPatch) -> None:
    own.setattr(trackers, "find_spec", lambda _: None)
    own.setenv("TRACKERS", "wandbb")
    with pytest.raises(Refusal, match="did you mean 'wandb'"):
        trackers.named()
    own.setenv("TRACKERS", "tensorboard")
    with pytest.raises(Refusal, match="TRACKERS names tensorboard: pip install tensorboard, or set TRACKERS=none"):
        trackers.named()
    own.delenv("TRACKERS")
    own.setenv("WANDB_API_KEY", "k")
    with pytest.raises(Refusal, match="WANDB_API_KEY names wandb"):
        trackers.named()
    own.setenv("WANDB_PROJECT", "p")
    with pytest.raises(Refusal, match="WANDB_API_KEY and WANDB_PROJECT name wandb"):
        trackers.named()


def test_a_run_is_named_by_its_stage_its_recipe_and_its_commit(own: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("recipe: tiny\n", encoding="utf-8")
    assert trackers.run_name("sft") == "sft-tiny-uncommitted"
    for words in (["init"], ["add", "."], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-m", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    stage, recipe, short = trackers.run_name("sft").split("-")
    assert (stage, recipe, commit.startswith(short)) == ("sft", "tiny", True)
    (tmp_path / "params.yaml").write_text("recipe: other\n", encoding="utf-8")
    assert trackers.run_name("sft") == f"sft-other-{short}-dirty"


def test_each_number_is_written_by_step_and_no_clock(own: pytest.MonkeyPatch) -> None:
    watcher: Any = trackers.live(TUNING)
    state = SimpleNamespace(is_world_process_zero=True, global_step=0)
    watcher.on_train_begin(None, state, None)
    for step, logs in ((1, {"loss": 2.5, "train_runtime": 3.0}), (2, {"eval_loss": 2.0, "eval_runtime": 1.0})):
        state.global_step = step
        watcher.on_log(None, state, None, logs=logs)
    watcher.on_train_end(None, state, None)
    files = {str(path.relative_to("live/reward")) for path in Path("live/reward").rglob("*") if path.is_file()}
    assert files == {"metrics.json", "plots/metrics/train/loss.tsv", "plots/metrics/eval/loss.tsv"}
    rows = Path("live/reward/plots/metrics/train/loss.tsv").read_text(encoding="utf-8").split()
    assert rows == ["step", "loss", "1", "2.5"]


@pytest.mark.parametrize(("begun", "found"), [(0, [1, 2]), (3, [0, 1, 2, 3, 4, 5])])
def test_a_killed_run_that_goes_on_has_each_step_once(own: pytest.MonkeyPatch, begun: int, found: list[int]) -> None:
    for first, steps, loss in ((0, range(6), 1.0), (begun, range(begun + 1, begun + 3), 2.0)):
        watcher: Any = trackers.live(TUNING)
        state = SimpleNamespace(is_world_process_zero=True, global_step=first)
        watcher.on_train_begin(None, state, None)
        for state.global_step in steps:
            watcher.on_log(None, state, None, logs={"loss": loss, "eval_loss": loss})
        with Path("live/reward/plots/metrics/train/loss.tsv").open("a", encoding="utf-8") as cut:
            cut.write("\0\0" if loss == 1.0 else "")  # by a power cut
    for name in ("train", "eval"):
        lines = Path(f"live/reward/plots/metrics/{name}/loss.tsv").read_text(encoding="utf-8").splitlines()[1:]
        assert lines == [f"{step}\t{2.0 if step > begun else 1.0}" for step in found]


def test_a_model_from_nothing_is_watched_too_and_is_the_same(
    own: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from stages.lib import models
    from stages.lib.train import pretrain

    spoken = models.train_tokenizer(["Sau 3 là gì? Là 4."] * 9, 300, 64)
    shape = recipes.Scratch(
        source="scratch", vocabulary=300, hidden=32, layers=1, heads=2, context=64, block=16, batch=2, steps=12, lr=0.1,
        warmup=0.1,
    )  # fmt: skip
    blocks = pretrain.pack([[*range(9, 99)] * 2], 3, 4, shape.block)

    def run() -> tuple[list[pretrain.Point], bytes]:
        torch.manual_seed(1)
        made = models.new_llama(shape, spoken)
        points = pretrain.train(
            made, blocks[2:], blocks[:2], batch=shape.batch, steps=shape.steps, lr=shape.lr, warmup=shape.warmup, seed=1
        )
        return points, b"".join(weight.detach().numpy().tobytes() for weight in made.parameters())

    own.setenv("TRACKERS", "none")
    unwatched = run()
    assert not Path("live").exists() and not capsys.readouterr().err.count("nothing")
    own.setattr(trackers, "find_spec", lambda _: True)
    own.setenv("TRACKERS", "wandb")
    assert run() == unwatched
    assert "base tells wandb nothing; its numbers are in live/base\n" in capsys.readouterr().err
    for name, key in (("train", "loss"), ("eval", "validation_loss")):
        rows = Path(f"live/base/plots/metrics/{name}/loss.tsv").read_text(encoding="utf-8").splitlines()[1:]
        assert rows == [f"{point['step']}\t{point[key]}" for point in unwatched[0] if key in point]
    assert {path.name for path in Path("live/base").rglob("*") if path.is_file()} == {"metrics.json", "loss.tsv"}


def test_another_process_writes_nothing(own: pytest.MonkeyPatch) -> None:
    watcher: Any = trackers.live(TUNING)
    state = SimpleNamespace(is_world_process_zero=False, global_step=0)
    watcher.on_train_begin(None, state, None)
    watcher.on_log(None, state, None, logs={"loss": 1.0})
    watcher.on_train_end(None, state, None)
    assert not Path("live").exists()


def test_a_repository_without_a_commit_is_no_reason_to_fail(
    own: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from dvc.repo import Repo

    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    Repo.init(str(tmp_path)).close()
    assert trackers.writer("sft", resume=False) is None
    assert "live/sft is not written" in capsys.readouterr().out


def test_who_watches_changes_no_byte(tmp_path: Path, root: Path) -> None:
    start = toy_stage.made(tmp_path / "start", root)
    folders = [toy_stage.copied(start, tmp_path / name, root) for name in ("watched", "unwatched")]
    started = [
        toy_stage.trained(folders[0], root, TRACKERS="tensorboard" if importlib.util.find_spec("tensorboard") else ""),
        toy_stage.started("-c", UNWATCHED, *toy_stage.WORDS, folder=folders[1], root=root),
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    made = [
        {path.relative_to(folder): path.read_bytes() for path in [folder / "history.json", *folder.glob("model/*")]}
        for folder in folders
    ]
    assert made[0] == made[1] and len(made[0]) > 3
    assert not (folders[1] / "live").exists()
    points = json.loads(made[0][Path("history.json")])
    rows = (folders[0] / "live/sft/plots/metrics/train/loss.tsv").read_text(encoding="utf-8").splitlines()[1:]
    expected = [f"{point['step']}\t{point['loss']}" for point in points if "loss" in point]
    assert rows == expected
