"""A run of rlhf that broke off, and was started again, gives the bytes of one that did not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stages.lib import recipes
from stages.lib.contract import Refusal
from stages.lib.train import drift, snapshots, trackers
from tests.digests import digests
from tests.full_disk import small_files
from tests.toy_rlhf import OFFLINE, ONLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


# Two and a half passes of four steps each: a checkpoint falls into a pass, and on its end.
DRAWN = {"batch": 2, "accumulate": 2, "steps": 10, "max_kl": 1e9, "lr": 0.002}
RANKED = {"batch": 2, "epochs": 2.5, "max_kl": 1e9, "lr": 0.002, "lora": recipes.Lora(r=4, alpha=8, dropout=0.3)}
PPO = {"algorithm": "ppo", "generations": 1}
WAYS: dict[str, recipes.Rlhf] = {
    "rloo": ONLINE.model_copy(update=DRAWN),
    "rloo, all weights, both rewards": ONLINE.model_copy(update=DRAWN | {"method": "full", "rewards": "both"}),
    "grpo": ONLINE.model_copy(update=DRAWN | {"algorithm": "grpo"}),
    "dpo": OFFLINE.model_copy(update=RANKED),
    "dpo, all weights": OFFLINE.model_copy(update=RANKED | {"method": "full"}),
    "kto": OFFLINE.model_copy(update=RANKED | {"algorithm": "kto", "accumulate": 2}),
    "orpo": OFFLINE.model_copy(update=RANKED | {"algorithm": "orpo"}),
    "ppo": ONLINE.model_copy(update=DRAWN | PPO),
    "ppo, all weights": ONLINE.model_copy(update=DRAWN | PPO | {"method": "full", "rewards": "both"}),
    "ppo, 8 bits": ONLINE.model_copy(update=DRAWN | PPO | {"method": "full", "optimizer": "adamw8bit"}),
}


@contextmanager
def broken_in(last: int) -> Iterator[list[int]]:
    """The steps of a run, which ends with an error in the last of them; every way looks at its weights in each."""
    made, sound = [], drift.sound

    def breaking(policy: Any, step: int) -> None:
        sound(policy, step)
        made.append(step)
        if step == last:
            raise InterruptedError(last)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(drift, "sound", breaking)
        yield made


def curves() -> dict[str, str]:
    """What was told by step; of the last start's steps alone is transformers' mean over the run."""
    return {path: digest for path, digest in digests(trackers.LIVE / "rlhf/plots").items() if "train_loss" not in path}


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_run_gives_the_bytes_of_an_unbroken_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("TRACKERS", "")
    monkeypatch.chdir(tmp_path)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for out in (whole, broken):
        out.mkdir()
    home.run(WAYS[way], whole)
    watched = curves()
    saving = WAYS[way].model_copy(update={"save": 2})
    # from the end of a pass, from within it after that, and from the end of the next; a step was told in vain each time
    for first, last in ((1, 6), (5, 8), (7, 10)):
        with broken_in(last) as steps:
            home.run(saving, broken)
        assert steps == [*range(first, last + 1)]
        assert not list(broken.iterdir())
    home.run(saving, broken)
    histories = [(out / "h.json").read_text(encoding="utf-8").splitlines() for out in (whole, broken)]
    assert histories[0] == histories[1]
    assert digests(whole) == digests(broken)
    assert curves() == watched
    assert not list((tmp_path / "data" / "checkpoints").iterdir())


def test_the_checkpoints_stay_until_the_model_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    saving = OFFLINE.model_copy(update=RANKED | {"save": 2})

    def full(*_: Any) -> None:
        (tmp_path / "model").mkdir()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(Refusal, match=r"model: no room on the disk .*last checkpoint"):
        patch.setattr("stages.lib.models.save", full)
        home.run(saving, tmp_path)
    assert not (tmp_path / "model").exists() and not (tmp_path / "h.json").exists()
    assert len(list((tmp_path / "data" / "checkpoints").glob("rlhf-*/last"))) == 1
    assert home.run(saving, tmp_path)[-1]["step"] == 10


def test_a_disk_that_is_full_at_a_checkpoint_of_ppo_costs_no_whole_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    saving = WAYS["ppo"].model_copy(update={"steps": 6, "save": 2})
    keep = snapshots.keep

    def full(*words: Any) -> None:
        if words[-1][-1]["step"] == 4:
            limit(2000)
        keep(*words)

    with monkeypatch.context() as patch, small_files() as limit:
        patch.setattr(snapshots, "keep", full)
        with pytest.raises(Refusal, match=r"no room on the disk for a checkpoint; .* goes on from the last checkpoint"):
            home.run(saving, tmp_path)
    [left] = (tmp_path / "data" / "checkpoints").glob("rlhf-*")
    assert {path.name for path in left.iterdir()} == {"last", "lock"}
    assert [point["step"] for point in home.run(saving, tmp_path)] == [*range(7), 6]
