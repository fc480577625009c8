"""Where a run keeps its checkpoints, under which key, for how long, and who may go on from them."""

import fcntl
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from stages.lib.contract import Refusal
from stages.lib.train import checkpoints, launch


def test_a_kill_between_two_renames_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    where = checkpoints.Place(tmp_path / "part", 3, tmp_path / "last")
    assert where.found is None
    for name in ("old", "part/checkpoint-6"):
        (tmp_path / name).mkdir(parents=True)
    assert where.found == tmp_path / "old"
    checkpoints.publish(tmp_path / "part/checkpoint-6")
    assert where.found == tmp_path / "last" and not (tmp_path / "old").exists()


def test_one_process_of_many_copies_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv(launch.LAUNCHED, "ddp")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, kept in (("0", 1.0), ("1", 2.0)):
        monkeypatch.setenv("RANK", rank)
        model = torch.nn.Linear(2, 2)
        best = checkpoints.Best(model, checkpoints.Place(Path("x"), 0))
        torch.nn.init.constant_(model.weight, 1.0)
        best.offer(3, 0.5)
        torch.nn.init.constant_(model.weight, 2.0)
        best.offer(6, 0.7)
        best.restore()
        assert (best.step, best.loss, float(model.weight.detach()[0, 0])) == (3, 0.5, kept)
        assert bool(best.weights) == (rank == "0")


def test_another_run_has_another_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("a")
    first = checkpoints.key("sft", [data], (1, "auto"))
    assert first == checkpoints.key("sft", [data], (1, "auto"))
    assert first != checkpoints.key("sft", [data], (2, "auto"))
    assert first != checkpoints.key("sft", [data], (1, 0.5))
    assert first != checkpoints.key("reward", [data], (1, "auto"))
    data.write_text("b")
    assert first != checkpoints.key("sft", [data], (1, "auto"))


def test_other_code_libraries_and_processes_have_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "toy.py"
    code.write_text("a", encoding="utf-8")
    (module := ModuleType("stages.toy")).__file__ = str(code)
    monkeypatch.setitem(sys.modules, "stages.toy", module)

    def key() -> str:
        return checkpoints.key("sft", [], 1)

    found = [key()]
    code.write_text("b", encoding="utf-8")
    found.append(key())
    monkeypatch.setenv(launch.LAUNCHED, "ddp")
    monkeypatch.setenv("WORLD_SIZE", "2")
    found.append(key())
    for library in checkpoints.LIBRARIES:
        monkeypatch.setattr(checkpoints, "version", lambda name, new=library: f"{version(name)}{'+' * (name == new)}")
        found.append(key())
    assert len(set(found)) == len(found) == 3 + len(checkpoints.LIBRARIES) > 6
    assert found[-1] == key()


def test_one_process_at_a_time_works_on_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with checkpoints.place("sft", 3, [], 1) as where:
        with checkpoints.place("sft", 3, [], 2) as other:  # another run is no hindrance
            assert other.scratch != where.scratch
        with pytest.raises(Refusal, match=rf"process {os.getpid()} trains this very run already; wait for it, or end"):
            checkpoints.place("sft", 3, [], 1).__enter__()
        assert where.scratch.is_dir()
    assert not list(checkpoints.root().iterdir())


@pytest.mark.parametrize(("days", "stays"), [(29, True), (31, False)])
def test_what_nobody_goes_on_with_is_removed_after_a_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], days: int, stays: bool
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    homes = [checkpoints.root() / name for name in ("sft-left", "reward-left", "sft-busy")]
    then = time.time() - days * 24 * 3600
    for home in homes:
        (home / "last").mkdir(parents=True)
        (home / "lock").touch()
        for path in (home / "lock", home / "last", home):
            os.utime(path, (then, then))
    with (homes[2] / "lock").open() as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        with checkpoints.place("sft", 3, [], 1):
            assert [home.is_dir() for home in homes] == [stays, stays, True]
    assert (f"{homes[0]} is removed: nobody went on with it for a month" in capsys.readouterr().err) is not stays


@pytest.mark.parametrize(
    ("save", "steps", "found"), [(0, 1000, (20, None)), (3, 40, (1, 3)), (50, 1000, (20, 40)), (7, 1000, (7, 7))]
)
def test_a_checkpoint_falls_on_a_logged_step(save: int, steps: int, found: tuple[int, int | None]) -> None:
    told = checkpoints.Place(Path("x"), save).arguments(steps)
    assert (told["logging_steps"], told.get("save_steps")) == found


@pytest.mark.parametrize(("save", "found"), [(0, []), (4, [4, 8]), (5, [5])])
def test_after_the_last_step_there_is_nothing_to_go_on_with(save: int, found: list[int]) -> None:
    where = checkpoints.Place(Path("x"), save)
    assert [step for step in range(1, 11) if where.due(step, 10)] == found
