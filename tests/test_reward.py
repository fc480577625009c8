"""A reward model learns from ranked answers, and is measured on pairs that were held out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import reward
from stages.lib import models, recipes, records
from stages.lib.contract import Refusal
from stages.lib.train import launch
from tests.toy_rlhf import COMPUTE, LORA, ONLINE, TUNING, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


REWARD = recipes.Reward(epochs=1.0, context=96, save=0, lora=LORA, **TUNING | {"accumulate": 2})


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_reward_model_is_whole_and_tells_accuracy_and_margin(home: Home, tmp_path: Path, method: str) -> None:
    section = REWARD.model_copy(update={"method": method, "gradient_checkpointing": method == "lora"})
    reward.main(
        home.policy, home.ranked, home.ranked, tmp_path / "judge", tmp_path / "h.json", seed=1, compute=COMPUTE,
        reward=section,
    )  # fmt: skip
    points = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))
    assert {"eval_accuracy", "eval_margin"} <= points[0].keys() & points[-1].keys()
    assert points[-1]["step"] == 1  # 8 pairs, 4 at a time, gathered twice
    judge = models.load_judge(tmp_path / "judge", COMPUTE)
    start = models.load_judge(home.policy, COMPUTE)
    assert judge.config.pad_token_id == home.tokenizer.pad_token_id
    found, was = judge.state_dict(), start.state_dict()
    assert found.keys() == was.keys()
    assert any(not torch.equal(found[name], was[name]) for name in was if "proj" in name)
    home.run(ONLINE, tmp_path, {"judge": tmp_path / "judge"})


def test_every_held_out_pair_counts_the_same(home: Home, tmp_path: Path) -> None:
    section = REWARD.model_copy(update={"method": "full", "batch": 3})  # of 8 pairs two are left for the last batch
    words = [home.policy, home.ranked, home.ranked, tmp_path / "judge", tmp_path / "h.json"]
    reward.main(*words, seed=1, compute=COMPUTE, reward=section)
    told = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))[-1]
    judge = models.load_judge(tmp_path / "judge", COMPUTE)
    margins = []
    with torch.inference_mode():
        for row in reward.pairs(records.read(home.ranked), home.tokenizer, section.context)[0]:
            given = [
                float(judge(input_ids=torch.tensor([row[f"{name}_ids"]])).logits) for name in ("chosen", "rejected")
            ]
            margins.append(given[0] - given[1])
    assert told["eval_margin"] == pytest.approx(sum(margins) / 8, abs=1e-5)
    assert told["eval_accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / 8, abs=1e-6)


def test_what_is_too_long_is_counted_and_said(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {
        name: home.table(name, [
            ("preference", [("user", f"Sau {n} là gì?" * (1 if n < 6 else 41)), ("chosen", "Là."), ("rejected", "?")])
            for n in range(6 + longer)
        ])
        for name, longer in (("some", 2), ("more", 3), ("none", 0))
    }  # fmt: skip

    def run(train: str, validation: str, leads: bool = True) -> list[float]:
        with monkeypatch.context() as process:
            process.setattr(launch, "leads", lambda: leads)
            words = [home.policy, tables[train], tables[validation], tmp_path / "judge", tmp_path / "h.json"]
            reward.main(*words, seed=1, compute=COMPUTE, reward=REWARD)
        first = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))[0]
        return [first[name] for name in ("pairs", "left_out", "held_out_pairs", "held_out_left_out")]

    told = "longer than reward.context (96) and left out: pairs {} beside 6, held_out_pairs {} beside 6\n"
    assert run("some", "more") == [6, 2, 6, 3] and told.format(2, 3) in capsys.readouterr().err
    assert run("none", "more") == [6, 0, 6, 3] and told.format(0, 3) in capsys.readouterr().err
    assert run("none", "none") == [6, 0, 6, 0] and "left out" not in capsys.readouterr().err
    run("some", "more", leads=False)
    assert "left out" not in capsys.readouterr().err


def test_memory_that_ends_while_a_model_is_loaded_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(models, "load_judge", full)
    words = [home.policy, home.ranked, home.ranked, tmp_path / "judge", tmp_path / "h.json"]
    told = r"the memory is full .*20\.00 GiB.*lower batch .*`make plan` tells what fits"
    with pytest.raises(Refusal, match=told):
        reward.main(*words, seed=1, compute=COMPUTE, reward=REWARD)
    with pytest.raises(Refusal, match=told):
        home.run(ONLINE, tmp_path)
