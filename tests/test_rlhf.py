"""Every way to learn from rewards, in whole runs on models of a few thousand weights."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import base
from stages.lib import models, recipes, weights
from stages.lib.contract import Refusal
from stages.lib.train import drift, online, ppo
from tests import families
from tests.toy_rlhf import COMPUTE, DROPPING, OFFLINE, ONLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


EVERYWHERE = {
    "reward", "reward_stderr", "length", "ended", "distinct_2", "perplexity", "right", "preference_accuracy",
    "preference_margin", "ranking_accuracy",
}  # fmt: skip

WAYS: dict[str, recipes.Rlhf] = {
    "rloo": ONLINE,
    "grpo, all weights, both rewards": ONLINE.model_copy(
        update={"algorithm": "grpo", "method": "full", "rewards": "both"}
    ),
    "rloo, verifiable, no beta": ONLINE.model_copy(update={"rewards": "verifiable", "beta": 0.0}),
    "rloo, dropout": ONLINE.model_copy(update={"lora": DROPPING, "lr": 0.1}),
    "ppo, dropout": ONLINE.model_copy(update={"algorithm": "ppo", "lora": DROPPING, "lr": 0.1}),
    "ppo": ONLINE.model_copy(update={"algorithm": "ppo", "rewards": "both", "gradient_checkpointing": True}),
    "ppo, all weights": ONLINE.model_copy(update={"algorithm": "ppo", "method": "full", "generations": 1}),
    "dpo": OFFLINE,
    "dpo, all weights": OFFLINE.model_copy(update={"method": "full", "accumulate": 2}),
    "dpo, qlora": OFFLINE.model_copy(update={"method": "qlora"}),
    "kto": OFFLINE.model_copy(update={"algorithm": "kto"}),
    "orpo": OFFLINE.model_copy(update={"algorithm": "orpo"}),
    "orpo, all weights": OFFLINE.model_copy(update={"algorithm": "orpo", "method": "full"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_moves_the_policy_and_is_measured_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if "dropout" in way:  # what is learned from an answer once is as likely as when it was drawn
        monkeypatch.setattr(ppo, "EPOCHS", 1)
    points = home.run(WAYS[way], tmp_path)
    last = points[-1]
    assert {f"{name}_{side}" for name in EVERYWHERE for side in ("before", "after")} <= last.keys()
    assert {"kl_after", "reward_gain", "reward_gain_stderr"} <= last.keys()
    assert last["preference_accuracy_before"] == 0.5
    assert last["kl_after"] > 0
    assert all(math.isfinite(value) for point in points for value in point.values())
    looked = "eval_" if isinstance(WAYS[way], recipes.Online) else ""
    seen = {looked + name for name in ("reward", "kl_answer", "length", "ended", "preference_accuracy")}
    assert seen <= points[0].keys() and seen <= points[-2].keys()
    assert points[0]["step"] == 0 and points[0][f"{looked}kl_answer"] == 0
    assert {"reward", "length", "ended", "distinct_2", "kl_answer"} <= points[-2].keys()
    if "dropout" in way:
        clipped = {key: value for key, value in points[-2].items() if "clip_ratio" in key}
        assert clipped and not any(clipped.values())
    start, now = (models.load(path, COMPUTE).state_dict() for path in (home.policy, tmp_path / "model"))
    assert start.keys() == now.keys()
    assert any(not torch.equal(start[name], now[name]) for name in start)


def test_the_same_seed_gives_the_same_policy(home: Home, tmp_path: Path) -> None:
    section = ONLINE.model_copy(update={"algorithm": "ppo"})
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        home.run(section, tmp_path / name, seed=seed)
        weights.append((tmp_path / name / "model/model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("section", [ONLINE, OFFLINE], ids=["rloo", "dpo"])
def test_a_tracker_hears_what_the_history_holds(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: recipes.Rlhf
) -> None:
    from transformers import TrainerCallback, trainer

    heard: list[set[str]] = []

    class Tracker(TrainerCallback):
        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            heard.append(set(logs))

    monkeypatch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Tracker])
    points = home.run(section, tmp_path)
    kept = set().union(*points[1:-1]) - {"step"}
    assert kept - {"train_loss"} <= set().union(*heard)
    assert {"kl_answer", "reward"} <= kept and not any("distinct_2/" in name for logs in heard for name in logs)


def test_what_is_too_long_is_counted_and_said(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = home.table("mixed", [("prompt", [("user", f"Sau {n} là gì?" * (1 + 40 * (n > 5)))]) for n in range(8)])
    first = home.run(ONLINE, tmp_path, {"prompts": asked, "validation": asked})[0]
    names = ("prompts", "prompts_too_long", "held_out", "held_out_too_long", "pairs_too_long")
    assert [first[name] for name in names] == [6, 2, 6, 2, 0]
    assert "left out: prompts 2 beside 6, held_out 2 beside 6\n" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["bloom", "gemma3"])
def test_other_families_learn_from_rewards_too(home: Home, tmp_path: Path, family: str) -> None:
    families.build(family, tmp_path / "hub")
    words = home.table("words", [("text", [("text", text)]) for text in families.TEXTS[:4]])
    source = recipes.Hub(source="hub", repo=str(tmp_path / "hub"), revision="main", grow=0)
    base.main(words, words, tmp_path / "base", tmp_path / "b.json", seed=1, compute=COMPUTE, base=source)
    tokenizer = models.load_tokenizer(tmp_path / "base")
    scorer = models.load_judge(tmp_path / "base", COMPUTE)
    scorer.config.get_text_config().pad_token_id = scorer.config.pad_token_id = tokenizer.pad_token_id
    models.save(scorer, tokenizer, tmp_path / "judge")
    for algorithm in ("rloo", "ppo"):
        section = ONLINE.model_copy(update={"algorithm": algorithm, "steps": 1, "temperature": 9.0})
        last = home.run(section, tmp_path, {"policy": tmp_path / "base", "judge": tmp_path / "judge"})[-1]
        assert last["kl_after"] > 0 and math.isfinite(last["perplexity_after"])


def other_tokenizer(home: Home, tmp_path: Path) -> dict[str, Path]:
    tokenizer = models.train_tokenizer(["Hà Nội, Đà Nẵng, Cần Thơ"] * 9, 300, 128)
    models.save(models.load_judge(home.judge, COMPUTE), tokenizer, tmp_path / "other")
    return {"judge": tmp_path / "other"}


def long_prompts(home: Home, tmp_path: Path) -> dict[str, Path]:
    return {"prompts": home.table("long", [("prompt", [("user", "Sau 3 là gì? " * 60)])])}


def no_values(home: Home, tmp_path: Path) -> dict[str, Path]:
    said = "Tùy bạn, nhưng nên nghĩ kỹ. Rồi hãy hỏi lại."
    return {"sft_train": home.table("said", [("instruction", [("user", "Sao?"), ("assistant", said)])])}


def long_pairs(home: Home, tmp_path: Path) -> dict[str, Path]:
    said = [("preference", [("user", "Sao?"), ("chosen", "Là 4. " * 60), ("rejected", "?")])]
    return {"preferences_train": home.table("pairs", said)}


def long_measures(home: Home, tmp_path: Path) -> dict[str, Path]:
    return {"preferences_validation": long_pairs(home, tmp_path)["preferences_train"]}


def good_alone(home: Home, tmp_path: Path) -> dict[str, Path]:
    said = [("verdict", [("user", f"Sau {n} là gì?"), ("chosen", f"Là {n + 1}.")]) for n in range(4)]
    return {"preferences_train": home.table("good", said)}


def nothing(home: Home, tmp_path: Path) -> dict[str, Path]:
    return {}


WRONG: dict[str, tuple[recipes.Rlhf, dict[str, Any], Callable[[Home, Path], dict[str, Path]], str]] = {
    "batch": (ONLINE, {"batch": 5}, nothing, r"rlhf\.batch: found 5 answers, 1 times in a step, which"),
    "generations": (ONLINE, {"generations": 1}, nothing, r"rlhf\.generations: found 1; rloo compares"),
    "another tokenizer": (ONLINE, {}, other_tokenizer, "other reads other tokens.*dvc repro reward"),
    "long prompts": (ONLINE, {}, long_prompts, r"long\.parquet holds no prompt that leaves room"),
    "no room at all": (ONLINE, {"max_new_tokens": 95}, nothing, "leaves room for rlhf.max_new_tokens"),
    "no values": (ONLINE, {"rewards": "verifiable"}, no_values, "no answer to a training prompt that ends in a value"),
    "no pair that fits": (OFFLINE, {}, long_pairs, r"pairs\.parquet holds nothing that dpo learns from"),
    "no pair to measure by": (
        OFFLINE, {}, long_measures, r"pairs\.parquet holds no ranked pair of at most 96 tokens"
    ),
    "too few prompts": (ONLINE, {"batch": 32}, nothing, r"prompts\.parquet: found 8 prompts .* a step of rloo asks 16"),
    "a context beyond the model": (OFFLINE, {"context": 999}, nothing, r"rlhf\.context: found 999"),
    "an online one, too": (ONLINE, {"context": 999}, nothing, r"rlhf\.context: found 999"),
    "good answers alone": (OFFLINE, {"algorithm": "kto"}, good_alone, "4 good and 0 bad ones; give it some"),
    "no number in rloo": (ONLINE, {"lr": 1e38}, nothing, "weights are no numbers"),
    "no number in ppo": (ONLINE, {"lr": 1e38, "algorithm": "ppo"}, nothing, "weights are no numbers"),
    "drift of rloo": (ONLINE, {"max_kl": 1e-9, "lr": 0.1}, nothing, r"at step \d .*rlhf\.max_kl is 1e-09"),
    "drift of ppo": (ONLINE, {"algorithm": "ppo", "max_kl": 1e-9, "lr": 0.1}, nothing, r"rlhf\.max_kl is 1e-09"),
    "drift of dpo": (OFFLINE, {"max_kl": 1e-9}, nothing, r"at step \d .*rlhf\.max_kl is 1e-09"),
    "no number": (OFFLINE, {"algorithm": "orpo", "lr": 1e38}, nothing, r"no numbers after step \d.*lower rlhf\.lr"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_no_model_is_written(home: Home, tmp_path: Path, name: str) -> None:
    section, changes, prepare, told = WRONG[name]
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(Refusal, match=told):
        home.run(section.model_copy(update=changes), out, prepare(home, tmp_path))
    if name.startswith("drift"):  # how it came to that is kept
        points = json.loads((out / "h.json").read_text(encoding="utf-8"))
        assert points[0]["step"] == 0 and "prompts" in points[0] and points[-1]["step"] == 1  # of two: it was stopped
        (out / "h.json").unlink()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("algorithm", "last"), [("grpo", 1), ("dpo", 2)])
def test_a_drift_that_no_look_saw_is_found_all_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, last: int
) -> None:
    monkeypatch.setattr(drift, "due", lambda *_: False)
    start = OFFLINE if algorithm == "dpo" else ONLINE.model_copy(update={"steps": 3})
    section = start.model_copy(update={"algorithm": algorithm, "max_kl": 1e-9, "lr": 0.1})
    with pytest.raises(Refusal, match=r"rlhf\.max_kl is 1e-09"):
        home.run(section, tmp_path)
    assert json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))[-1]["step"] == last


def test_ppo_is_refused_where_auto_comes_to_mean_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "precision", lambda _: "fp16")
    section = ONLINE.model_copy(update={"algorithm": "ppo"})
    with pytest.raises(Refusal, match=r"compute\.precision.* fp16, whose gradients"):
        online.check(section, COMPUTE.model_copy(update={"precision": "auto"}))
    online.check(ONLINE, COMPUTE.model_copy(update={"precision": "auto"}))
