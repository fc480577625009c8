"""A reward model learns from ranked answers, and is measured on pairs that were held out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import reward
from stages.lib import models, recipes, records
from stages.lib.contract import Refusal
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
