"""What learns under adapters beside them, and what is left of it in the merged model."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.lib import determinism, models, recipes
from stages.lib.train import adapters
from tests import families
from tests.toy_sft import Home

determinism.pin(1, "cpu", 1)

FP32 = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("name", ["bloom", "llama", "gptj"])  # heads that are tied, free, with a bias
def test_a_judge_learns_the_tokens_of_a_turn_that_are_new(tmp_path: Path, name: str, method: Any) -> None:
    import torch
    from peft import get_peft_model

    from stages import base

    families.build(name, tmp_path / "hub")
    source = recipes.Hub(source="hub", repo=str(tmp_path / "hub"), revision="main", grow=0)
    made, spoken, _, _ = base.from_hub(source, tmp_path, tmp_path)
    models.save(made, spoken, tmp_path / "base")
    judge = models.load_judge(tmp_path / "base", FP32, **adapters.learning(FP32, method, adapters.HEAD))
    judge.config.pad_token_id = spoken.pad_token_id
    plain: dict[str, Any] = {
        "lr": 0.1,
        "batch": 1,
        "accumulate": 1,
        "optimizer": "adamw",
        "gradient_checkpointing": False,
    }
    told = recipes.Reward(
        method=method, epochs=1.0, context=8, save=0, lora=recipes.Lora(r=4, alpha=8, dropout=0.0), **plain
    )
    learner: Any = get_peft_model(judge, adapters.config(told, judge, adapters.HEAD))
    adapters.precise(learner)
    ids = torch.tensor([[1, 2, *made.config.unread]])
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    steps = torch.optim.AdamW(weights, lr=0.1)
    learner(input_ids=ids).logits.sum().backward()
    steps.step()
    learned = families.logits(learner, ids[0].tolist())
    merged = adapters.merge(learner)
    assert families.logits(merged, ids[0].tolist()).allclose(learned, atol=1e-4)
    before, after = (model.get_input_embeddings().weight for model in (made, merged))
    moved = {place for place in range(len(before)) if not before[place].equal(after[place])}
    assert moved == set(made.config.unread)


@pytest.mark.parametrize(("mode", "method"), [("chat", "lora"), ("chat", "full"), ("text", "lora")])
def test_the_tokens_of_a_turn_stay_unread_until_a_conversation_was(tmp_path: Path, mode: str, method: str) -> None:
    from stages import base

    home = Home(tmp_path)
    source = recipes.Hub(source="hub", repo=str(tmp_path / "hub"), revision="main", grow=0)
    families.build("bloom", tmp_path / "hub")
    base.main(home.text, home.text, tmp_path / "bare", tmp_path / "b.json", seed=1, compute=FP32, base=source)
    told = json.loads((tmp_path / "bare/config.json").read_text(encoding="utf-8"))["unread"]
    made = home.run(tmp_path / "made", start=Path("bare"), mode=mode, method=method, epochs=0.1).model
    left = json.loads((made / "config.json").read_text(encoding="utf-8")).get("unread")
    assert len(told) == 2 and left == (told if mode == "text" else None)
    source = recipes.Hub(source="hub", repo=str(made), revision="", grow=0)
    again, _, _, origin = base.from_hub(source, home.text, home.text)
    assert getattr(again.config, "unread", None) == left
    assert origin["template"] == ("added" if mode == "text" else "published")


@pytest.mark.parametrize(("conversed", "left"), [(True, {}), (False, {"unread": [1]})])
def test_what_was_learned_whole_once_is_not_again(conversed: bool, left: dict[str, Any]) -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(grown=True, unread=[1]))
    adapters.settled(model, conversed)
    assert vars(model.config) == left


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("algorithm", ["grpo", "ppo", "dpo"])
def test_what_learns_is_in_fp32_where_the_rest_is_in_16_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, method: str
) -> None:
    import torch

    from stages.lib.train import drift
    from tests import toy_rlhf

    home = toy_rlhf.Home(tmp_path)
    made = models.load(home.policy, FP32)
    made.config.grown = True  # both ends of its vocabulary are copied, and learned whole
    models.save(made, home.tokenizer, home.policy)
    kinds: list[dict[bool, set[Any]]] = []
    true = drift.glance

    def spy(look: Any, policy: Any, frozen: Any) -> dict[str, float]:
        weights = [weight for weight in policy.parameters() if weight.is_floating_point()]
        kinds.append({moves: {w.dtype for w in weights if w.requires_grad == moves} for moves in (True, False)})
        return true(look, policy, frozen)

    monkeypatch.setattr(drift, "glance", spy)
    monkeypatch.setattr(toy_rlhf, "COMPUTE", FP32.model_copy(update={"precision": "bf16"}))
    start = toy_rlhf.OFFLINE if algorithm == "dpo" else toy_rlhf.ONLINE.model_copy(update={"steps": 1})
    home.run(start.model_copy(update={"algorithm": algorithm, "method": method}), tmp_path)
    assert kinds and all(found == {True: {torch.float32}, False: {torch.bfloat16}} for found in kinds)
