"""Write the recipes of published models: ``python -m tools.recipes``; ``--check`` only says which files differ.

``recipes.yaml`` names the models; how many rows stand in memory together follows from a model's size, and how they are
learned from the method. Where the benchmark's 16-bit weights fill the card, it reads as much as the plan finds room
for. A recipe of any other name is somebody's own and is left alone, as is `tiny`. Not covered:
keys that a task asks for (`mode`, `grow`, `rlhf.rewards`): those are edited in a copy under a name of one's own.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib import paramfile, recipes
from stages.lib.train import packing
from tools.planning import advice, jobs, memory, shapes, work

TABLE = Path(__file__).with_name("recipes.yaml")
FOLDER = Path("recipes")
CONTEXT = 2048
SAVE = 50  # steps between checkpoints, of the hundred or few hundred that some thousands of records make
WAYS = {"full": "all weights", "lora": "LoRA on 16-bit weights", "qlora": "QLoRA: adapters on 4-bit weights"}
SHORT = "this family keeps a score for each two tokens of a row, which short rows keep few"
BENCHMARK = {"batch": 4, "context": CONTEXT, "max_new_tokens": 256}
HOLDS = {8: 7.6, 12: 10.8, 16: 14.7, 24: 22.1, 40: 39.4, 80: 79.2}  # GiB that a card of so many GB has at least
# rows that recipes are meant for: as long as their contexts let them be, and long prompts
SETS = {
    name: work.Rows(5000, 300.0, longest, "assumed", 250)
    for name, longest in {"text": CONTEXT, "sft": CONTEXT, "preferences": 1024, "prompts": 512}.items()
}
LORA = {"r": 16, "alpha": 32, "dropout": 0.05}
ONLINE = {
    "context": 1024,
    "rewards": "model", "steps": 500, "generations": 8, "max_new_tokens": 256, "temperature": 1.0, "beta": 0.04,
    "max_kl": 50.0, "save": 25,
}  # fmt: skip
OFFLINE = {"epochs": 1, "context": 1024, "max_new_tokens": 256, "beta": 0.1, "max_kl": 50.0, "save": 50}


@dataclass(frozen=True)
class Model:
    """A line of the table, and the shape of its model."""

    name: str
    title: str
    repo: str
    revision: str
    licence: str
    rlhf: str
    cards: dict[str, Any]
    gated: str = ""
    weights: str = "safetensors"

    @property
    def shape(self) -> shapes.Shape:
        """The model's sizes, as they are published: a copy in some cache changes nothing."""
        return shapes.published()[self.repo]

    @property
    def rows(self) -> int:
        """Rows of a context that stand in memory together."""
        count = shapes.parameters(self.shape)
        return 8 if count < 7e8 else 4 if count < 2e9 else 2

    def card(self, method: str) -> tuple[int, int]:
        """(how many cards the recipe is meant for, GB of each)."""
        number, _, size = str(self.cards[method]).rpartition("x")
        return int(number or 1), int(size)

    def spills(self, method: str) -> bool:
        """Whether 16-bit weights leave too little room for answers on the card that a recipe is meant for."""
        number, size = self.card(method)
        return number == 1 and 2 * shapes.parameters(self.shape) > 0.6e9 * size


def models() -> list[Model]:
    """The table."""
    return [Model(name=name, **entry) for name, entry in paramfile.load(TABLE).items()]


def files() -> dict[str, str]:
    """What stands in each file of recipes/ that is written here."""
    return {f"{model.name}-{method}.yaml": text(model, method) for model in models() for method in model.cards}


def text(model: Model, method: str) -> str:
    """A recipe."""
    found = tree(model, method)
    return "\n".join([*(f"# {line}" for line in head(model, method, found)), *lines(found, notes(model))]) + "\n"


def head(model: Model, method: str, found: dict[str, Any]) -> Iterator[str]:
    """What people have to know before they run it."""
    number, size = model.card(method)
    cards = f"one card of {size} GB" if number == 1 else f"{number} cards of {size} GB, or more of them"
    yield f"{model.title}, {WAYS[method]}; meant for {cards}."
    gate = f"gated: {model.gated} on its page and set HF_TOKEN" if model.gated else "not gated"
    yield f"Licence: {model.licence}; {gate}."
    if number > 1:
        yield "The reward model and rlhf train adapters, rlhf on one of the cards: shards answer slowly."
    if fits(model, method, found) == "slow":
        yield "The benchmark reads 16-bit weights; a part lies in the CPU's memory, so it is slow."
    if model.weights != "safetensors":
        known = model.weights == "pickles"
        yield (
            "Its weights were published as pickles. First convert them, once:"
            if known
            else "It may hold pickles alone, which was not looked up. If base says so, convert them, once:"
        )
        yield f"python -m tools.convert {model.repo} {model.revision} data/hub/{model.name}"
        yield f"and let base.repo below be data/hub/{model.name}."
    yield "Written by tools/recipes.py from its table: make changes in a copy under another name."


def notes(model: Model) -> dict[str, str]:
    """A remark behind some keys."""
    found = {}
    if model.revision == "main":
        found["base.revision"] = "a branch, which can move: write the commit of models/base/origin.json here"
    if model.shape.built.eager:
        found["sft.packing"] = SHORT
    if model.shape.family.startswith("gemma"):
        found["compute.precision"] = "not auto: fp16, on cards before Ampere, overflows; fp32 works on them"
    return found


def tree(model: Model, method: str) -> dict[str, Any]:
    """The keys of a recipe."""
    number, _ = model.card(method)
    gemma = model.shape.family.startswith("gemma")
    adapters = "lora" if method == "full" else method
    online = model.rlhf in ("rloo", "grpo")
    found = {
        "compute": {
            "device": "auto", "threads": 4, "precision": "bf16" if gemma else "auto",
            "launch": "fsdp2" if number > 1 else "single",
        },
        "base": {"source": "hub", "repo": model.repo, "revision": model.revision, "grow": 0},
        "sft": sft(model, method, number),
        "reward": {
            **tuning(model, adapters if number > 1 else method, model.rows // 2, number, 1e-4, 1e-5),
            "epochs": 1, "context": 1024, "save": SAVE, "lora": LORA,
        },
        "rlhf": {
            "kind": "online" if online else "offline", "algorithm": model.rlhf,
            **tuning(model, adapters, 4 if online else model.rows // 2, 1, 1e-5 if online else 5e-6, 0.0),
            **(ONLINE if online else OFFLINE), "lora": LORA,
        },
    }  # fmt: skip
    return found | {"benchmark": benchmark(model, method, found)}


def benchmark(model: Model, method: str, rest: dict[str, Any]) -> dict[str, int]:
    """What is read at once: all that was meant, or as much as fits, with fewer rows before shorter ones."""
    sizes = [BENCHMARK | {"context": CONTEXT // cut, "batch": batch} for cut in (1, 2, 4) for batch in (4, 2)]
    meant = ({"benchmark": size} for size in sizes)
    return next(
        new["benchmark"] for new in meant if not model.spills(method) or fits(model, method, rest | new) != "NO"
    )


def fits(model: Model, method: str, found: dict[str, Any]) -> str:
    """Whether the plan has the benchmark fit on the card that a recipe is meant for, be it slowly."""
    recipe: recipes.Recipe = paramfile.typed(recipes.Recipe, found, f"{model.name}-{method}")
    planned = jobs.planned(recipe, model.shape, "bf16", 1, SETS)
    job = next(job for job, *_ in planned if job.name == "benchmark")
    return advice.fits(job, HOLDS[model.card(method)[1]] * memory.GIB)


def packs(shape: shapes.Shape) -> bool:
    """Whether records stay apart in one row, and a full row costs no more than its tokens do."""
    family = {"gemma3": "gemma3_text"}.get(shape.family, shape.family)  # of a model that sees, base takes the reader
    return family in packing.FAMILIES and not shape.built.eager


def sft(model: Model, method: str, number: int) -> dict[str, Any]:
    """A packed row holds several records, so fewer rows stand together and fewer make a step."""
    packed = packs(model.shape)
    batch, rows = (model.rows // 2, 16) if packed else (model.rows, 32)
    return {
        "mode": "chat", **tuning(model, method, batch, number, 2e-4, 1e-5 if model.rows == 2 else 2e-5, rows),
        "schedule": "cosine", "epochs": 2, "context": min(CONTEXT, model.shape.context), "warmup": 0.03,
        "packing": packed, "neftune": 5.0, "keep": "best" if number == 1 else "last", "save": SAVE, "lora": LORA,
    }  # fmt: skip


def tuning(
    model: Model, method: str, batch: int, number: int, lr: float, whole: float, rows: int = 32
) -> dict[str, Any]:
    """What every training section says: a step sees ``rows`` rows on all cards together."""
    optimizer = {"full": "adamw8bit", "lora": "adamw", "qlora": "paged_adamw8bit"}[method]
    return {
        "method": method, "lr": whole if method == "full" else lr, "batch": batch,
        "accumulate": max(1, rows // batch // number), "optimizer": "adamw" if number > 1 else optimizer,
        "gradient_checkpointing": True,
    }  # fmt: skip


def lines(found: dict[str, Any], remarks: dict[str, str], path: str = "", depth: int = 0) -> Iterator[str]:
    """A mapping as YAML, with remarks behind its keys."""
    for key, value in found.items():
        where = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict):
            yield f"{'  ' * depth}{key}:"
            yield from lines(value, remarks, where, depth + 1)
            continue
        remark = f"  # {remarks[where]}" if where in remarks else ""
        yield f"{'  ' * depth}{key}: {scalar(value)}{remark}"


def scalar(value: object) -> str:
    """A value as YAML 1.2 and YAML 1.1 read it alike."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 < value < 0.001:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits}e{int(power)}"
    return str(value)


def main(words: list[str]) -> int:
    """The exit code: 1 where ``--check`` finds a file that differs."""
    parser = argparse.ArgumentParser(prog="python -m tools.recipes", description="Write published models' recipes.")
    parser.add_argument("--check", action="store_true", help="write nothing, and say which files differ from the table")
    check = parser.parse_args(words).check
    wanted = files()
    stale = [
        name
        for name, content in wanted.items()
        if not (path := FOLDER / name).is_file() or path.read_text(encoding="utf-8") != content
    ]
    if check:
        if stale:
            print(f"recipes/: {', '.join(stale)} differ; run `python -m tools.recipes`", file=sys.stderr)
        return int(bool(stale))
    for name in stale:
        (FOLDER / name).write_text(wanted[name], encoding="utf-8")
    print(f"{len(stale)} of {len(wanted)} recipes written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
