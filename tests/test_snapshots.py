"""A loop that goes on from a snapshot makes the steps of one that was never left, whatever learns, and by what.

Not covered: whole runs (``test_rlhf_resume.py``).
"""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from stages.lib import models, recipes
from stages.lib.train import adapters, checkpoints, snapshots, training
from tests.toy_rlhf import COMPUTE, ONLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


class Loop:
    """A policy that learns to foretell tokens of chance, and a value head beside it."""

    def __init__(self, home: Home, section: recipes.Online, vocabulary: dict[str, Any]) -> None:
        from peft import get_peft_model
        from transformers import Trainer, TrainingArguments

        arguments = TrainingArguments(**training.arguments(COMPUTE, 1, "unused", section))
        policy: Any = models.load(home.policy, COMPUTE, **adapters.learning(COMPUTE, section.method))
        assert policy.get_input_embeddings().weight is policy.get_output_embeddings().weight
        for name, value in vocabulary.items():
            setattr(policy.config, name, value)
        if (config := adapters.config(section, policy)) is not None:
            policy = get_peft_model(policy, config)
            adapters.precise(policy)
        self.both = torch.nn.ModuleDict({"policy": policy, "head": torch.nn.Linear(64, 1)})
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, policy)
        self.optimizer = kind([weight for _, weight in checkpoints.trained(self.both)], **settings)
        self.points: list[training.Point] = [{"step": 0}]

    def step(self) -> None:
        drawn = [random.randrange(200), numpy.random.randint(200), *torch.randint(200, (6,)).tolist()]
        ids = torch.tensor([drawn])
        output = self.both["policy"](input_ids=ids, labels=ids, output_hidden_states=True)
        loss = output.loss + (self.both["head"](output.hidden_states[-1]) - 1).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.points.append({"step": len(self.points), "loss": loss.item()})


LEARNERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "adapters": ({}, {}),
    "adapters and a grown vocabulary": ({}, {"grown": True}),
    "adapters and rows of unread tokens": ({}, {"unread": [3, 4]}),
    "all weights": ({"method": "full"}, {}),
    "all weights, 8 bits": ({"method": "full", "optimizer": "adamw8bit"}, {}),
    "all weights, factored": ({"method": "full", "optimizer": "adafactor"}, {}),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_loop_goes_on_as_if_it_had_never_been_left(home: Home, tmp_path: Path, learner: str) -> None:
    changes, vocabulary = LEARNERS[learner]
    section = ONLINE.model_copy(update=changes)
    where = checkpoints.Place(tmp_path / "part", 2, tmp_path / "last")
    where.scratch.mkdir()
    loop = Loop(home, section, vocabulary)
    assert snapshots.take_up(where, loop.both, loop.optimizer, loop.points) == 0 == loop.points[-1]["step"]
    for step in range(4):
        if step == 2:
            snapshots.keep(where, loop.both, loop.optimizer, loop.points)
        loop.step()
    again = Loop(home, section, vocabulary)
    again.step()
    assert snapshots.take_up(where, again.both, again.optimizer, again.points) == 2
    for _ in range(2):
        again.step()
    assert again.points == loop.points
    assert all(torch.equal(one, other) for one, other in zip(
        loop.both.state_dict().values(), again.both.state_dict().values(), strict=True
    ))  # fmt: skip


class Code:
    """What a pickle runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code was run",))


@pytest.mark.parametrize("name", [snapshots.OPTIMIZER, snapshots.CHANCE])
def test_a_snapshot_runs_no_code(home: Home, tmp_path: Path, name: str) -> None:
    where = checkpoints.Place(tmp_path / "part", 2, tmp_path / "last")
    where.scratch.mkdir()
    loop = Loop(home, ONLINE, {})
    snapshots.keep(where, loop.both, loop.optimizer, loop.points)
    torch.save({"state": Code()}, tmp_path / "last" / name)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        snapshots.take_up(where, loop.both, loop.optimizer, loop.points)
