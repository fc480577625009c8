import re
from pathlib import Path

import pytest

from stages.lib import paramfile, recipes
from tests.families import FAMILIES, OF

FILES = sorted(Path(__file__).parents[1].joinpath("recipes").glob("*.yaml"))
HUB = [path for path in FILES if path.stem != "tiny"]
READS = {"bloomz": 2048, "open-llama": 2048, "gpt-j": 2048, "mpt": 2048, "pythia": 2048}  # tokens, as published
KEEPS = ("llama", "llama3", "qwen2", "qwen3", "gemma3", "gemma3_sees")  # families whose attention knows positions


def recipe(path: Path) -> recipes.Recipe:
    tree = paramfile.load(path)
    found = paramfile.typed(recipes.Recipe, tree, f"recipes/{path.name}")
    assert isinstance(found, recipes.Recipe)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_a_screenful_that_fits_its_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 85
    assert text.startswith("# ")
    assert recipe(path)


@pytest.mark.parametrize("path", HUB, ids=lambda path: path.stem)
def test_a_recipe_is_of_a_known_family_and_of_one_piece(path: Path) -> None:
    found, text = recipe(path), path.read_text(encoding="utf-8")
    name, _, method = path.stem.rpartition("-")
    assert isinstance(found.base, recipes.Hub)
    [family] = {family for prefix, family in OF.items() if name.startswith(prefix)}
    assert family in FAMILIES
    assert found.sft.method == method and found.rlhf.method in (method, "lora")
    assert "# Licence: " in text and ("gated: accept" in text or "not gated" in text)
    assert re.fullmatch("[0-9a-f]{40}", found.base.revision) or f"revision: {found.base.revision}  # a branch" in text
    limit = next((limit for prefix, limit in READS.items() if name.startswith(prefix)), 8192)
    assert found.sft.context <= limit and found.reward.context <= limit and found.benchmark.context <= limit
    assert found.compute.device == "auto" and found.compute.precision == "auto"
    assert found.sft.packing == (family in KEEPS)
    assert found.sft.save and found.reward.save
    if isinstance(found.rlhf, recipes.Online):
        assert found.rlhf.batch * found.rlhf.accumulate % found.rlhf.generations == 0
    if method == "full":
        assert found.sft.gradient_checkpointing and found.sft.lr <= 5e-5
    else:
        assert found.compute.launch == "single"


def test_all_ways_of_a_model_share_its_revision() -> None:
    pins: dict[str, set[str]] = {}
    for path in HUB:
        base = recipe(path).base
        assert isinstance(base, recipes.Hub)
        pins.setdefault(base.repo, set()).add(base.revision)
    assert [repo for repo, revisions in pins.items() if len(revisions) > 1] == []
    assert {family for family in OF.values()} <= set(FAMILIES)
    # every family of the table is some recipe's, or a relative that a folder may be of
    used = {family for path in HUB for prefix, family in OF.items() if path.stem.startswith(prefix)}
    assert set(FAMILIES) - used == {"mistral"}
