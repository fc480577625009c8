"""What the plan warns of before anything runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plan as measure
from stages.lib import models, paramfile, recipes
from tools.planning import cards, cautions, shapes

FOLDER = Path(__file__).parents[1] / "recipes"
CARDS = cards.known() | {"cpu": cards.Card("this machine's CPU", 24.0, fp32=1.0)}


def changed(name: str, changes: dict[str, Any]) -> recipes.Recipe:
    tree = paramfile.load(FOLDER / f"{name}.yaml")
    for path, value in changes.items():
        section, key = path.split(".")
        assert key in tree[section]
        tree[section][key] = value
    found: recipes.Recipe = paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
    return found


def told(recipe: recipes.Recipe, shape: shapes.Shape, card: str, processes: int = 1) -> str:
    precision = CARDS[card].precision(recipe.compute.precision)
    return "\n".join(cautions.warnings(recipe, shape, CARDS[card], precision, processes))


PPO = {"rlhf.algorithm": "ppo"}
LONG = "found 4096; the model reads at most 2048 tokens, so lower it"


@pytest.mark.parametrize(
    ("name", "changes", "card", "processes", "said"),
    [
        ("qwen3-8b-qlora", {}, "t4", 1, ""),
        ("qwen3-8b-qlora", {"base.revision": "main"}, "rtx-3090", 1, "base.revision: main of Qwen/Qwen3-8B"),
        ("qwen3-8b-qlora", {}, "rtx-3090", 4, "compute.launch: single keeps to one of the 4 cards"),
        ("qwen3-8b-lora", {"compute.launch": "ddp"}, "rtx-3090", 1, "this plan is for one: GPUS=4 is for four"),
        ("qwen3-8b-qlora", {}, "cpu", 1, "without a GPU training can't run: sft.optimizer: found paged_adamw8bit;"),
        ("qwen3-0.6b-lora", {}, "cpu", 1, ""),
        ("tiny", {}, "cpu", 1, ""),
        ("tiny", {}, "a100-80", 1, "keeps this recipe to the CPU, also beside this card: a100-80"),
        # auto only where it can be followed
        ("qwen3-8b-qlora", {"compute.precision": "bf16"}, "t4", 1, "found bf16, which t4 does not have: take auto or"),
        ("gemma-3-1b-qlora", {}, "t4", 1, "found bf16, which t4 does not have: take fp32, or a newer card"),
        ("pythia-410m-lora", PPO | {"compute.precision": "bf16"}, "v100", 1, "take fp32, or a newer card"),
        # what auto means on the card
        ("qwen3-0.6b-lora", {}, "v100", 1, "v100 has compute capability 7.0, for which torch's usual build has no"),
        ("qwen3-0.6b-lora", {}, "p100", 1, "p100 has compute capability 6.0, and int8 asks for 7.5"),
        ("qwen3-0.6b-lora", {}, "t4", 1, ""),
        ("qwen3-0.6b-lora", {"compute.device": "cpu"}, "v100", 1, "compute.device: cpu keeps"),
        ("pythia-410m-lora", PPO, "v100", 1, "auto is fp16 on v100: rlhf.algorithm: found ppo with compute.precision"),
        ("pythia-410m-lora", PPO, "rtx-3060", 1, ""),
        ("pythia-410m-lora", PPO | {"compute.device": "cpu"}, "v100", 1, "compute.device: cpu keeps"),
        # what the model reads
        *(
            ("pythia-410m-lora", {f"{stage}.context": 4096}, "rtx-3060", 1, f"{stage}.context: {LONG}")
            for stage in ("sft", "reward", "rlhf", "benchmark")
        ),
        ("bloomz-560m-lora", {"sft.context": 4096}, "rtx-3060", 1, ""),
        (
            "tiny",
            {"benchmark.context": 1024},
            "a100-80",
            1,
            "benchmark.context: found 1024; the model reads at most 512",
        ),
    ],
)
def test_what_may_go_wrong_is_told_first(
    name: str, changes: dict[str, Any], card: str, processes: int, said: str
) -> None:
    recipe = changed(name, changes)
    found = told(recipe, shapes.of(recipe.base)[0], card, processes)
    assert said in found if said else found == ""
    assert ("auto is" in found) == ("auto is" in said)


def test_a_folder_of_a_family_that_overflows_is_known_by_its_shape(tmp_path: Path) -> None:
    recipe = changed("qwen3-0.6b-lora", {"base.repo": str(tmp_path)})
    gemma = replace(measure.TOY["gemma3_text"], context=4096)
    assert "auto is fp16 on t4: compute.precision: found fp16, in which a gemma3_text overflows" in told(
        recipe, gemma, "t4"
    )
    assert "auto is" not in told(recipe, gemma, "rtx-3060")
    held = changed("qwen3-0.6b-lora", {"base.repo": str(tmp_path), "compute.precision": "bf16"})
    assert "take fp32, or a newer card" in told(held, gemma, "t4")


@pytest.mark.parametrize("family", sorted(measure.TOY))
def test_the_families_whose_contexts_are_bounded_are_those_of_the_stages(family: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    shape = measure.TOY[family]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(measure.config(shape))
    assert models.longest(model) == (shape.context if shape.built.bounded else None)
