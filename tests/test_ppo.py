"""PPO's sums by hand, and what it learns and reads by itself. Not covered: whole runs (``test_rlhf.py``)."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.lib import models
from stages.lib.records import Message
from stages.lib.train import checkpoints, ppo, rollouts, training
from tests.toy_rlhf import COMPUTE, ONLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


def test_advantages_are_the_sums_that_define_them() -> None:
    chance = torch.Generator().manual_seed(1)
    earned, values = torch.randn(2, 6, generator=chance), torch.randn(2, 6, generator=chance)
    spoken = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]])
    found = ppo.estimate(earned * spoken, values, spoken)
    for row in range(2):
        places = spoken[row].nonzero()[:, 0].tolist()
        for start in places:
            expected = 0.0
            for place in range(start, places[-1] + 1):
                following = values[row, place + 1] if place < places[-1] else 0.0
                surprise = earned[row, place] + ppo.DECAY * following - values[row, place]
                expected += (ppo.DECAY * ppo.LAMBDA) ** (place - start) * float(surprise)
            assert float(found[row, start]) == pytest.approx(expected, abs=1e-5)
    assert found[spoken == 0].abs().max() == 0
    white = ppo.whitened(found, spoken)[spoken == 1]
    assert float(white.mean()) == pytest.approx(0, abs=1e-6) and float(white.var(correction=0)) == pytest.approx(1)


def test_the_surrogate_gains_nothing_beyond_the_clip() -> None:
    now = torch.tensor([[0.0, math.log(2.0), math.log(0.5)]], requires_grad=True)
    batch = ppo.Batch(
        ids=torch.zeros(1, 3), mask=torch.ones(1, 3), spoken=torch.ones(1, 3), old=torch.zeros(1, 3),
        values=torch.zeros(1, 3), advantages=torch.tensor([[1.0, 1.0, -1.0]]), returns=torch.tensor([[0.0, 1.0, 3.0]]),
    )  # fmt: skip
    surrogate, missed, clipped = ppo.losses(now, torch.tensor([[0.0, 1.0, 1.0]]), batch, batch.spoken.sum())
    assert surrogate.item() == pytest.approx(-(1 + 1.2 - 0.8) / 3)
    assert clipped.item() == pytest.approx(2 / 3)
    assert missed.item() == pytest.approx((0 + 0.8**2 + 2.8**2) / 2 / 3)  # values may move by 0.2 only
    surrogate.backward()
    assert now.grad is not None and now.grad[0].tolist() == pytest.approx([-1 / 3, 0, 0])


def test_ppo_learns_to_say_what_is_rewarded(home: Home, tmp_path: Path) -> None:
    policy = models.load(home.policy, COMPUTE)
    frozen = models.load(home.policy, COMPUTE).eval()
    wanted = home.tokenizer.encode("4")[0]
    section = ONLINE.model_copy(
        update={"algorithm": "ppo", "method": "full", "steps": 25, "batch": 32, "generations": 1, "beta": 0.0}
    )
    prompts = [models.encode_prompt(home.tokenizer, [Message(role="user", content="Sau 3 là gì?")])] * 4
    points: list[training.Point] = []

    def judge(places: Any, answers: Any) -> list[float]:
        return [answer.said.count(wanted) / len(answer.said) for answer in answers]

    torch.manual_seed(1)
    arguments = training.arguments(COMPUTE, 1, "unused", section.model_copy(update={"lr": 0.01}))
    ppo.train(
        policy, frozen, home.tokenizer, prompts, judge, lambda *_: {"kl_answer": 1.0}, arguments, section, 1, points,
        checkpoints.Place(tmp_path, 0),
    )  # fmt: skip
    assert points[-1]["reward"] > 0.5 > 10 * points[0]["reward"]
    assert points[0]["kl_answer"] == pytest.approx(0, abs=1e-4) and points[-1]["kl_answer"] > 1


def test_ppo_reads_in_16_bits_where_it_is_told_to(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Any] = []
    true = rollouts.log_likelihoods

    def spy(logits: Any, *rest: Any) -> Any:
        kinds.append(logits.dtype)
        return true(logits, *rest)

    monkeypatch.setattr(rollouts, "log_likelihoods", spy)
    policy, frozen = (models.load(home.policy, COMPUTE).eval() for _ in range(2))
    section = ONLINE.model_copy(update={"algorithm": "ppo", "method": "full", "steps": 1})
    arguments = training.arguments(COMPUTE.model_copy(update={"precision": "bf16"}), 1, "unused", section)
    points: list[training.Point] = []
    ppo.train(
        policy, frozen, home.tokenizer, [[5, 6]] * 4, lambda places, _: [1.0] * len(places),
        lambda *_: {"kl_answer": 0.0}, arguments, section, 1, points, checkpoints.Place(tmp_path, 0),
    )  # fmt: skip
    assert set(kinds) == {torch.bfloat16} and len(kinds) == 2 + ppo.EPOCHS
    assert all(weight.dtype == torch.float32 for weight in policy.parameters())
