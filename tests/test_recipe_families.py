"""A recipe of every model, followed by sft, reward and rlhf: its own sections, on a toy of its family.

Of the methods that a model has recipes for, the models take turns. Cut is only what toys have no room or time for:
rows, contexts, steps and answers; and ``paged_adamw8bit``, which pages a GPU's memory, is ``adamw8bit`` here. Precision
is bf16, as ``auto`` is on a GPU. Not covered: how well a family learns (``test_families.py``).
"""

import gc
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import base, reward, rlhf, sft
from stages.lib import determinism, models, paramfile, recipes
from stages.lib.train import drift, fitting
from tests import families
from tools import recipes as table

determinism.pin(1, "cpu", 1)

# transformers gives up these names in its next version, and trl's trainers still ask for them
pytestmark = pytest.mark.filterwarnings(
    "ignore:`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated:FutureWarning"
)

MODELS = table.models()
CHOSEN = [(model.name, sorted(model.cards)[turn % len(model.cards)]) for turn, model in enumerate(MODELS)]
COMPUTE = recipes.Compute(device="cpu", threads=1, precision="bf16", launch="single")


def cut(section: Any, **more: Any) -> Any:
    """A section of a recipe for a toy."""
    paged = section.optimizer == "paged_adamw8bit"
    small = {"batch": 4, "accumulate": 1, "context": 96} | ({"optimizer": "adamw8bit"} if paged else {})
    return section.model_copy(update=small | more)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables that all learn from; toys of the families come beside them."""
    home = tmp_path_factory.mktemp("hub")
    asked = families.ASKED
    families.table(home / "text", "text", [[("text", text)] for text in families.NEWS])
    families.table(home / "chat", "instruction", [[("user", q), ("assistant", families.SAID)] for q in asked])
    families.table(home / "prompts", "prompt", [[("user", q)] for q in asked])
    families.table(
        home / "pairs", "preference", [[("user", q), ("chosen", families.SAID), ("rejected", "?")] for q in asked]
    )
    return home


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Each trainer collects garbage several times, and would look through all modules for it: half of the time."""
    gc.freeze()
    yield
    gc.unfreeze()


def made(hub: Path, family: str) -> Path:
    """A toy of a family as the base stage leaves it, as a path below the hub."""
    if not (hub / family / "base").exists():
        families.build(family, hub / family)
        source = recipes.Hub(source="hub", repo=str(hub / family), revision="main", grow=0)
        words = [hub / "text", hub / "text", hub / family / "base", hub / family / "base.json"]
        base.main(*words, seed=1, compute=COMPUTE, base=source)
    return Path(family, "base")


@pytest.mark.parametrize(("name", "method"), CHOSEN)
def test_a_recipe_can_be_followed_to_its_end(
    hub: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, method: str
) -> None:
    path = root / "recipes" / f"{name}-{method}.yaml"
    recipe = paramfile.typed(recipes.Recipe, paramfile.load(path), path.name)
    start = made(hub, next(family for prefix, family in families.OF.items() if name.startswith(prefix)))
    monkeypatch.chdir(hub)  # stages run where the base model is a relative path
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # its checkpoints
    learned: list[torch.dtype] = []
    fit, glance = fitting.fit, drift.glance

    def fitted(trainer: Any, *words: Any, **more: Any) -> None:
        learned.extend(weight.dtype for weight in trainer.model.parameters() if weight.requires_grad)
        fit(trainer, *words, **more)

    def seen(look: Any, policy: Any, frozen: Any) -> dict[str, float]:
        learned.extend(weight.dtype for weight in policy.parameters() if weight.requires_grad)
        return glance(look, policy, frozen)

    monkeypatch.setattr(fitting, "fit", fitted)
    monkeypatch.setattr(drift, "glance", seen)
    chat, pairs, prompts, text = (hub / kind for kind in ("chat", "pairs", "prompts", "text"))
    told = {stage: tmp_path / f"{stage}.json" for stage in ("sft", "reward", "rlhf")}
    tuned, judge, policy = (tmp_path / stage for stage in told)
    sft.main(
        start, chat, chat, text, text, tuned, told["sft"], seed=1, lr="auto", compute=COMPUTE,
        sft=cut(recipe.sft, epochs=1.0),
    )  # fmt: skip
    reward.main(tuned, pairs, pairs, judge, told["reward"], seed=1, compute=COMPUTE, reward=cut(recipe.reward))
    online = isinstance(recipe.rlhf, recipes.Online)
    few = {"steps": 1, "generations": 2} if online else {"epochs": 1.0}
    rlhf.main(
        tuned, judge, prompts, prompts, chat, chat, pairs, pairs, policy, told["rlhf"], seed=1, compute=COMPUTE,
        rlhf=cut(recipe.rlhf, max_new_tokens=4, **few),
    )  # fmt: skip
    for stage, history in told.items():
        points = json.loads(history.read_text(encoding="utf-8"))
        assert points[-1]["step"] > 0 and all(math.isfinite(value) for point in points for value in point.values())
        assert stage == "rlhf" or any(point.get("grad_norm", 0) > 0 for point in points)
    assert set(learned) == {torch.float32}
    assert models.load(policy, COMPUTE).dtype == models.load_judge(judge, COMPUTE).dtype == torch.bfloat16
