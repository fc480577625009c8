"""A recipe of a published model, as tests of the plan want it."""

from pathlib import Path

from stages.lib import paramfile, recipes
from tools.planning import jobs, work


def hub(repo: str, launch: str = "single", method: str = "lora", grow: int = 0) -> recipes.Recipe:
    tree = paramfile.load(Path(__file__).parents[1] / "recipes" / "tiny.yaml")
    tree["base"] = {"source": "hub", "repo": repo, "revision": "main", "grow": grow}
    tree["compute"] |= {"device": "auto", "precision": "auto", "launch": launch}
    for stage in ("sft", "reward", "rlhf"):
        tree[stage]["method"] = method
    found: recipes.Recipe = paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
    return found


def tables() -> jobs.Tables:
    return {name: work.Rows(2000, 270.0, 1080, "assumed", 100) for name in work.ASSUMED}
