"""Read every dial before anything is spent.

All of params.yaml and of the recipe that it names is held against the schemas, so that a wrong learning rate fails in
the first second and not after the translation was paid. Its first output never changes: whatever waits for it runs
after this stage, and runs again only for reasons of its own. Its second is the one file of launch/ that the recipe
names, so that an edit of another one reruns nothing. What is allowed and yet can change by itself, such as a branch for
a revision, is told on stderr, and so is a recipe that this machine can't train. Beside the files it looks for the
trackers that the environment names. Not covered: whether the values are wise, and how much a published model reads
(``make plan``).
"""

import sys

from stages.lib import contract, paramfile, weights
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.recipes import Recipe, grounded, moving
from stages.lib.train import launch, trackers


def main(dials: Dep, recipes: Dep, launches: Dep, checked: Out, config: Out) -> None:
    """Refuse unknown, missing and mistyped keys, and keys that can't be followed together."""
    params, recipe = paramfile.check(dials, recipes)
    chosen = launches / f"{recipe.compute.launch}.yaml"
    if not chosen.exists():
        raise Refusal(f"compute.launch: {chosen} is missing; take it from git, or another launch")
    # both are asked for their refusals alone
    launch.processes_named(recipe.compute, chosen)
    trackers.named()
    for warning in filter(None, [moving(recipe.base), *untrainable_here(recipe)]):
        print(f"warning: recipes/{params.recipe}.yaml: {warning}", file=sys.stderr)
    config.write_bytes(chosen.read_bytes())
    checked.write_text("Every key of params.yaml and of its recipe has been read and is allowed.\n", encoding="utf-8")


def untrainable_here(recipe: Recipe) -> list[str]:
    """Why training can't run on this machine. No refusal: data may well be made here, and the model elsewhere."""
    try:
        found = grounded(recipe) if weights.device(recipe.compute) == "cpu" else []
    except Refusal as refused:
        return [f"training can't run on this machine: {refused}"]
    return [f"training can't run on this machine, which has no GPU that torch can use: {line}" for line in found]


if __name__ == "__main__":
    contract.run(main)
