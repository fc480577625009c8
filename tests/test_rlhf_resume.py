"""A run of rlhf that broke off, and was started again, gives the bytes of one that did not."""

from pathlib import Path
from typing import Any

import pytest

from stages.lib import recipes
from stages.lib.contract import Refusal
from stages.lib.train import checkpoints, fitting, progress
from tests.digests import digests
from tests.toy_rlhf import OFFLINE, ONLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


# Two and a half passes of four steps each: a checkpoint falls into a pass, and on its end.
DRAWN = {"batch": 2, "accumulate": 2, "steps": 10, "max_kl": 1e9, "lr": 0.002}
RANKED = {"batch": 2, "epochs": 2.5, "max_kl": 1e9, "lr": 0.002, "lora": recipes.Lora(r=4, alpha=8, dropout=0.3)}
WAYS: dict[str, recipes.Rlhf] = {
    "rloo": ONLINE.model_copy(update=DRAWN),
    "rloo, all weights, both rewards": ONLINE.model_copy(update=DRAWN | {"method": "full", "rewards": "both"}),
    "grpo": ONLINE.model_copy(update=DRAWN | {"algorithm": "grpo"}),
    "dpo": OFFLINE.model_copy(update=RANKED),
    "dpo, all weights": OFFLINE.model_copy(update=RANKED | {"method": "full"}),
    "kto": OFFLINE.model_copy(update=RANKED | {"algorithm": "kto", "accumulate": 2}),
    "orpo": OFFLINE.model_copy(update=RANKED | {"algorithm": "orpo"}),
}


def break_after(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Have the next run end with an error after so many steps."""
    made = progress.bar

    def bar(*words: Any) -> Any:
        found = made(*words)
        ended = found.on_step_end

        def on_step_end(args: Any, state: Any, control: Any, **more: Any) -> None:
            ended(args, state, control, **more)
            if state.global_step == last:
                raise InterruptedError(last)

        monkeypatch.setattr(found, "on_step_end", on_step_end)
        return found

    monkeypatch.setattr(progress, "bar", bar)


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_run_gives_the_bytes_of_an_unbroken_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for out in (whole, broken):
        out.mkdir()
    home.run(WAYS[way], whole)
    saving = WAYS[way].model_copy(update={"save": 2})
    begun: list[str] = []
    train = fitting.fit

    def fit(trainer: Any, points: Any, where: checkpoints.Place, **more: Any) -> None:
        begun.append(str(where.points()[-1]["step"]) if where.found else "anew")
        train(trainer, points, where, **more)

    monkeypatch.setattr(fitting, "fit", fit)
    for last in (5, 7, 9):  # from the end of a pass, from within it after that, and from the end of the next
        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            break_after(patch, last)
            home.run(saving, broken)
        assert not list(broken.iterdir())
    home.run(saving, broken)
    assert begun == ["anew", "4", "6", "8"]
    histories = [(out / "h.json").read_text(encoding="utf-8").splitlines() for out in (whole, broken)]
    assert histories[0] == histories[1]
    assert digests(whole) == digests(broken)
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


def test_ppo_makes_no_checkpoints_and_says_so(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"rlhf\.save: found 2 with rlhf\.algorithm ppo.*take save: 0, or rloo"):
        home.run(ONLINE.model_copy(update={"algorithm": "ppo", "save": 2}), tmp_path)
