"""What is drawn from a policy, how likely it was, and how far a policy may move from its start."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stages.lib import models, recipes, records
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import drift, online, ppo, rollouts
from tests.toy_rlhf import COMPUTE, OFFLINE, ONLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


def test_distinct_2_counts_different_pairs() -> None:
    assert rollouts.distinct(["một hai một hai", "ba"]) == pytest.approx(2 / 3)
    assert rollouts.distinct(["một", ""]) == 0


@pytest.mark.parametrize("kl", [3.1, float("nan"), float("inf")])
def test_a_policy_that_drifts_away_is_refused(kl: float) -> None:
    drift.check(3.0, 7, most=3.0)
    with pytest.raises(Refusal, match=r"at step 7 .*rlhf\.max_kl is 3.*lower rlhf\.lr.*raise rlhf\.beta"):
        drift.check(kl, 7, most=3.0)


def test_a_model_has_not_moved_from_itself(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE).eval()
    prompts = [models.encode_prompt(home.tokenizer, [Message(role="user", content=text)]) for text in ("3", "Sau 3?")]
    before = torch.get_rng_state()
    settings: dict[str, Any] = {"new_tokens": 5, "batch": 2, "seed": 1}
    answers = drift.probe(policy, home.tokenizer, prompts, **settings)
    assert [answer.prompt for answer in answers] == prompts
    assert drift.divergence(policy, policy, answers, home.tokenizer.pad_token_id, 2) == 0
    assert torch.equal(before, torch.get_rng_state())
    pairs, longer = drift.pairs(records.read(home.ranked), home.tokenizer, 128)
    assert len(pairs) == 8 and longer == 0
    assert home.tokenizer.decode(pairs[0].chosen.said) == "Là 1.<|im_end|>"
    found = drift.told_apart(home.tokenizer, pairs, 3, policy)(policy)
    assert found["preference_accuracy"] == 0.5 and found["preference_margin"] == 0
    assert drift.pairs(records.read(home.ranked), home.tokenizer, 4) == ([], 8)


def test_what_is_read_of_an_answer_is_its_likelihood(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE).eval()
    answers = [rollouts.Answer([5, 6, 7], [8, 9], True), rollouts.Answer([5], [6, 7, 8, 9], False)]
    found = rollouts.read(policy, answers, home.tokenizer.pad_token_id, batch=2)
    for answer, value in zip(answers, found, strict=True):
        ids = torch.tensor([answer.prompt + answer.said])
        with torch.no_grad():
            each = policy(input_ids=ids).logits[0].log_softmax(-1)
        first = len(answer.prompt)
        expected = sum(float(each[first - 1 + place, token]) for place, token in enumerate(answer.said))
        assert value == pytest.approx(expected, abs=1e-4)


def test_a_models_own_settings_bend_nothing_that_is_drawn(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE).eval()
    prompts = [models.encode_prompt(home.tokenizer, [Message(role="user", content="Sau 3 là gì?")])] * 4
    settings: dict[str, Any] = {"new_tokens": 24, "batch": 4, "seed": 1}
    plain = drift.probe(policy, home.tokenizer, prompts, **settings)
    policy.generation_config.update(repetition_penalty=9.0, min_p=0.9, no_repeat_ngram_size=1, top_k=1, typical_p=0.1)
    assert drift.probe(policy, home.tokenizer, prompts, **settings) == plain


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_look_has_the_last_word_on_a_kl_that_scatters(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    section = ONLINE.model_copy(update={"algorithm": algorithm, "max_kl": 5.0})
    true_namer, true_taken = online.namer, ppo.taken

    def wild(*words: Any) -> Any:
        namer = true_namer(*words)
        named = namer.on_log

        def on_log(*words: Any, logs: Any = None, **more: Any) -> None:
            if logs and "kl" in logs:
                logs["kl"] = 99.0
            named(*words, logs=logs, **more)

        monkeypatch.setattr(namer, "on_log", on_log)
        return namer

    monkeypatch.setattr(online, "namer", wild)
    monkeypatch.setattr(ppo, "taken", lambda *words: (true_taken(*words)[0], 99.0))
    points = home.run(section, tmp_path)
    assert points[-2]["kl_answer"] >= 99 and points[-2]["eval_kl_answer"] < 5


@pytest.mark.parametrize(("section", "seen"), [(ONLINE, "eval_kl_answer"), (OFFLINE, "kl_answer")], ids=["rloo", "dpo"])
def test_a_look_leaves_a_step_its_own_log(home: Home, tmp_path: Path, section: recipes.Rlhf, seen: str) -> None:
    points = home.run(section, tmp_path)
    assert [point["step"] for point in points] == [0, 1, 2, 2]  # the last is the summary
    assert all({"loss", "grad_norm", seen} <= point.keys() for point in points[1:-1])
