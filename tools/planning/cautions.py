"""What to know of a recipe before it runs on a card: keys that a stage would refuse hours later, or that do nothing.

Not covered: what no card changes, which ``stages/lib/recipes.py`` refuses; memory (``advice.py``).
"""

from collections.abc import Iterator

from stages.lib import recipes
from stages.lib.weights import OVERFLOWS
from tools.planning.advice import changed
from tools.planning.cards import TURING, Card
from tools.planning.shapes import Shape

READING = ("sft", "reward", "rlhf", "benchmark")  # each holds its context against what the model reads


def warnings(recipe: recipes.Recipe, shape: Shape, card: Card, precision: str, processes: int) -> Iterator[str]:
    """What may make another model than this one, or none at all, and what was asked for in vain."""
    base, launch = recipe.base, recipe.compute.launch
    if told := recipes.moving(base):
        yield told
    yield from beyond(recipe, shape)
    if not card.fp16:
        yield from (f"without a GPU training can't run: {told}" for told in recipes.grounded(recipe))
    if precision == "bf16" and not card.bf16 and card.fp16:
        other = changed(recipe, "compute", precision="auto")
        heeded = other is not None and not list(meant(other, shape, card, card.precision("auto")))
        take = "auto or fp32" if heeded else "fp32"
        yield f"compute.precision: found bf16, which {card.name} does not have: take {take}, or a newer card"
    yield from meant(recipe, shape, card, precision)
    if recipe.compute.device == "auto" and card.fp16 and card.capability < TURING:
        old = f"{card.name} has compute capability {card.capability}"
        yield f"{old}, for which torch's usual build has no kernels: take that for CUDA 12.6 (README.md)"
        yield f"{old}, and int8 asks for {TURING}, says bitsandbytes: benchmark@int8 may stop there"
    if recipe.compute.device == "cpu" and card.fp16:
        yield f"compute.device: cpu keeps this recipe to the CPU, also beside this card: {card.name}"
    if launch == "single" and processes > 1:
        yield f"compute.launch: single keeps to one of the {processes} cards"
    if launch != "single" and processes == 1:
        yield f"compute.launch: {launch} shares the work among cards, and this plan is for one: GPUS=4 is for four"


def beyond(recipe: recipes.Recipe, shape: Shape) -> Iterator[str]:
    """Contexts that are longer than what the model reads, which its stage refuses once the model is there."""
    for stage in READING if shape.built.bounded else ():
        context = getattr(recipe, stage).context
        if context > shape.context:
            yield f"{stage}.context: found {context}; the model reads at most {shape.context} tokens, so lower it"


def meant(recipe: recipes.Recipe, shape: Shape, card: Card, precision: str) -> Iterator[str]:
    """What can't be followed in the precision that ``auto`` comes to mean on a card."""
    if recipe.compute.precision != "auto" or recipe.compute.device == "cpu":
        return
    compute = recipe.compute.model_copy(update={"precision": precision})
    found = list(recipes.unreadable(recipe.model_copy(update={"compute": compute})))
    for tuning in (recipe.sft, recipe.reward, recipe.rlhf):
        found += recipes.untrainable(compute, tuning)
    if not found and precision == "fp16" and shape.family in OVERFLOWS:
        found = [f"compute.precision: found fp16, in which a {shape.family} overflows; take fp32, or a newer card"]
    for told in dict.fromkeys(found):
        yield f"auto is {precision} on {card.name}: {told}"
