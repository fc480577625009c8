"""What a recipe needs of the machine beside its cards: memory and disk.

Not covered: the data, and file systems on which DVC's cache shares its bytes with what was checked out of it.
"""

from stages.lib import recipes
from tools.planning import memory, shapes
from tools.planning.jobs import Planned
from tools.planning.memory import BYTES, GIB, Parts
from tools.planning.shapes import Shape

PROCESS = 2.0 * GIB  # Python, torch and trl, before anything is loaded


def ram(recipe: recipes.Recipe, shape: Shape, precision: str, found: list[Planned], room: float) -> tuple[float, str]:
    """(bytes of the machine's memory at their most, for what)."""
    whole, width = float(shapes.parameters(shape)), BYTES[precision]
    needs: Parts = {"": 0.0}
    if isinstance(recipe.base, recipes.Hub):
        ends = 8.0 * shape.vocabulary * shape.hidden * (recipe.base.grow > 0)
        needs["base is made on the CPU"] = (whole + shape.extra) * shape.published + ends
    for job, *_ in found:
        if job.tuning is not None and job.tuning.method == "qlora":
            needs[f"{job.name}'s adapters are merged there"] = whole * width
        if job.launch == "zero3":
            read = job.processes * whole * (4 if job.full else width)  # by every process, before it is cut
            needs[f"zero3 keeps {job.name}'s weights and states there"] = 16.0 * memory.trainable(job) + read
        if job.launch == "fsdp2":
            copies = max(2, job.processes)  # one for every process before they are cut, two when they are gathered
            needs[f"{job.name}'s shards are cut and put together there"] = copies * memory.weight_bytes(job)
        if job.name == "sft" and recipe.sft.keep == "best":
            needs["sft keeps its best weights there"] = float(memory.trainable(job) * memory.moving(job))
        if job.name == "benchmark" and (left := memory.weight_bytes(job) - room) > 0:
            needs[f"{job.name} keeps there what the card has no room for"] = left
    why, most = max(needs.items(), key=lambda need: need[1])
    return most + PROCESS * max(job.processes for job, *_ in found), why


def saved(recipe: recipes.Recipe, shape: Shape, precision: str, found: list[Planned]) -> Parts:
    """Bytes of each model that the stages write, in the recipe's precision; adapters are kept in float32."""
    count, width = shapes.parameters(shape), BYTES[precision]
    matrices = shape.layers * shapes.layer_matrices(shape)
    learned = next(job for job, *_ in found if job.name == "sft")
    twice = memory.ends(learned)[0] * shape.tied  # peft writes what both ends share under the names of both
    adapter = {"sft's adapter": 4.0 * (memory.trainable(learned) + twice)} if not learned.full else {}
    return {
        "base": float(count * (4 if isinstance(recipe.base, recipes.Scratch) else shape.published)),
        "sft": float(count * width),
        **adapter,
        "reward": float((count - memory.judge_spares(shape)) * width),
        "rlhf": float(count * width),
        "int8": float(matrices + (count - matrices) * width),
        "nf4": memory.packed(shape, count, width),
    }


def disk(recipe: recipes.Recipe, shape: Shape, precision: str, found: list[Planned]) -> tuple[Parts, Parts]:
    """(bytes of each model, bytes of what lies beside them: DVC's cache, the hub's, checkpoints)."""
    models = saved(recipe, shape, precision, found)
    beside = {"the same again in DVC's cache": sum(models.values())}
    if isinstance(recipe.base, recipes.Hub):
        beside["the hub's download"] = float((shapes.parameters(shape) + shape.extra) * shape.published)
    states = [
        # beside the optimizer's state the weights that move, and again as they were at their best
        memory.trainable(job) * memory.moving(job) * (1 + (getattr(job.tuning, "keep", "last") == "best"))
        + memory.state_bytes(job)
        for job, *_ in found
        if job.tuning is not None and job.name != "base" and getattr(job.tuning, "save", 0) > 0
    ]
    if states:
        beside["checkpoints, while one takes another's place"] = 2 * max(states)
    return models, beside
