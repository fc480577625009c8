"""What a recipe needs before it runs: ``make plan``, or for another one ``make plan RECIPE=tiny GPU=rtx-3060``.

Prints for each stage the parameters, the memory of a process by part and whether it fits, then the tokens, the
operations, and hours and prices on known cards. All of it is arithmetic on the recipe and on data/split: nothing is
downloaded and no model is loaded. Prices are estimates (``tools/gpus.yaml``), and hours hold at the stated share of a
card's peak. Not covered: the stages before `base`; what the teacher costs.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.lib import paramfile, recipes
from stages.lib.contract import Refusal, suggest
from tools import jobs, memory, shapes, work
from tools.jobs import Planned
from tools.memory import GIB

CARDS = Path(__file__).with_name("gpus.yaml")
COLUMNS = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "cache", "others", "context")
HEADS = ("weights", "lora", "grads", "optim", "activ", "logits", "cache", "other", "fixed")
DONG = 26300.0  # for a dollar, where params.yaml has no spend.dong
WIDTH = 100


@dataclass(frozen=True)
class Card:
    """A graphics card, or this machine's memory."""

    name: str
    memory: float  # GiB
    bandwidth: float = 0.0  # GB/s
    fp32: float = 0.0  # TFLOPS
    fp16: float = 0.0
    bf16: float = 0.0
    price: float = 0.0  # dollars an hour
    note: str = ""

    def precision(self, wanted: str) -> str:
        """What ``auto`` means here."""
        return wanted if wanted != "auto" else "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"


def main(argv: list[str] | None = None) -> int:
    """Read the recipe, count, print."""
    chosen = arguments(argv)
    try:
        print(page(chosen.recipe, chosen.gpu, chosen.processes, chosen.mfu))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.plan", description="What a recipe needs before it runs.")
    parser.add_argument("--recipe", help="a name in recipes/, instead of the one in params.yaml")
    parser.add_argument("--gpu", help="a card of tools/gpus.yaml, instead of the one in this machine")
    parser.add_argument("--processes", type=int, default=1, help="cards that share the work, one process each")
    parser.add_argument("--mfu", type=float, default=work.MFU, help="share of a card's peak that training reaches")
    return parser.parse_args(argv)


def page(named: str | None, gpu: str | None, processes: int, mfu: float) -> str:
    """Everything, as text."""
    if processes < 1 or not 0 < mfu <= 1:
        raise Refusal(f"--processes {processes}, --mfu {mfu}: at least one process, and a share between 0 and 1")
    cards = {name: Card(name, **entry) for name, entry in paramfile.load(CARDS).items()}
    if gpu is not None and gpu not in cards:
        raise Refusal(f"GPU: {gpu!r} is not in tools/gpus.yaml; {suggest(gpu, list(cards))}")
    name, recipe, dong = read(named)
    shape, source = shapes.of(recipe.base)
    card = cards[gpu] if gpu else at_hand(recipe.compute.device)
    precision = card.precision(recipe.compute.precision)
    sets = jobs.tables(shape)
    found = list(jobs.planned(recipe, shape, precision, processes, sets))
    by = f"{recipe.compute.launch} × {processes}"
    lines = [
        f"{name}: a {shape.family} of {short(shapes.parameters(shape))} parameters (from {source}), {precision}, {by}",
        f"Memory of a process in GiB, on {card.name} ({card.memory:.0f} GiB)",
        "",
        *memory_table(found, card),
        "",
    ]
    for job, *_ in found:
        if memory.peak(job) > card.memory * GIB:
            room = card.memory * GIB
            lines += wrapped(f"{job.name}: {jobs.advice(recipe, shape, precision, processes, sets, job.name, room)}")
    lines += [""] * (lines[-1] != "") + [*work_table(found), ""]
    lines += [
        f"Hours and prices on {processes} card(s) at {mfu:.0%} of peak; prices are estimates, see tools/gpus.yaml"
    ]
    lines += cost_table(recipe, found, cards.values(), shape, processes, mfu, dong, sets)
    return "\n".join(line.rstrip() for line in lines)


def read(named: str | None) -> tuple[str, recipes.Recipe, float]:
    """(the recipe's name, the recipe, đồng for a dollar)."""
    dials = paramfile.load(Path("params.yaml"))
    name = named or str(dials.get("recipe"))
    known = sorted(path.stem for path in Path("recipes").glob("*.yaml"))
    if name not in known:
        raise Refusal(f"RECIPE: found {name!r}; {suggest(name, known)} (the files in recipes/)")
    file = f"recipes/{name}.yaml"
    recipe: recipes.Recipe = paramfile.typed(recipes.Recipe, paramfile.load(Path(file)), file)
    return name, recipe, float((dials.get("spend") or {}).get("dong", DONG))


def at_hand(device: str) -> Card:
    """The first GPU of this machine; else, and for a recipe that keeps to the CPU, the machine's own memory."""
    if device == "auto" and shutil.which("nvidia-smi"):
        import torch

        if torch.cuda.is_available():
            found = torch.cuda.get_device_properties(0)
            modern = found.major >= 8
            return Card(found.name, found.total_memory / GIB, fp16=1.0, bf16=float(modern))
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Card("this machine's CPU", pages * size / GIB, fp32=1.0)


def memory_table(found: list[Planned], card: Card) -> list[str]:
    """A line for each stage: what is trained, each part, and whether it fits."""
    rows: list[tuple[str, ...]] = [("stage", "trained", *HEADS, "peak", "fits")]
    for job, *_ in found:
        parts = memory.parts(job)
        parts["context"] += sum(parts.get(key, 0) for key in ("gathered", "casts", "unpacked"))
        cells = [gib(parts.get(key, 0)) for key in COLUMNS]
        need = memory.peak(job)
        fits = "yes" if need <= card.memory * GIB else "NO"
        rows.append((job.name, short(memory.trainable(job)) if job.tuning else "-", *cells, gib(need), fits))
    return aligned(rows)


def work_table(found: list[Planned]) -> list[str]:
    """A line for each stage: tokens, operations, where the counts come from."""
    rows = [("stage", "rows×tokens", "tokens", "FLOPs")]
    sources = ["from"]
    for job, done, source in found:
        rows.append(
            (job.name, f"{job.batch}×{job.length}" if job.batch else "-", short(done.tokens), short(done.flops))
        )
        sources.append(source)
    return [f"{line}   {source}"[:WIDTH] for line, source in zip(aligned(rows), sources, strict=True)] + [
        "  FLOPs a token: forward 2N + 4·layers·width·length; full ×3; LoRA ×2 + 6·adapters; checkpointing +1"
    ]


def cost_table(
    recipe: recipes.Recipe,
    found: list[Planned],
    cards: Iterable[Card],
    shape: shapes.Shape,
    processes: int,
    mfu: float,
    dong: float,
    sets: jobs.Tables,
) -> list[str]:
    """A line for each card: hours of each stage, in all, dollars and đồng; a stage that does not fit is marked."""
    rows = [("card", "GiB", *(job.name for job, *_ in found), "hours", "$", "1000 đồng")]
    known: dict[str, list[Planned]] = {}
    for card in cards:
        wanted = recipe.compute.precision
        precision = card.precision(wanted)
        peak = float(getattr(card, precision)) or card.fp16 or card.fp32
        if wanted == "bf16" and not card.bf16:
            peak = card.fp32  # it has no tensor cores for bfloat16
        stages = known.setdefault(precision, list(jobs.planned(recipe, shape, precision, processes, sets)))
        each, cells = [], []
        for job, done, _ in stages:
            rate = card.fp32 if job.precision == "fp32" else peak
            hours = done.hours(rate * 1e12, card.bandwidth * 1e9, mfu, job.processes)
            each.append(hours)
            cells.append(clock(hours) + ("*" if memory.peak(job) > card.memory * GIB else ""))
        price = sum(hours * job.processes for hours, (job, *_) in zip(each, stages, strict=True)) * card.price
        cost = "free" if not card.price else f"{price:,.2f}"
        rows.append((card.name, f"{card.memory:.0f}", *cells, clock(sum(each)), cost, f"{price * dong / 1000:,.0f}"))
    return [*aligned(rows), "  * does not fit that card"]


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows in columns, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(c.ljust(w) if not at else c.rjust(w) for at, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def wrapped(text: str) -> list[str]:
    """Advice within the page's width."""
    import textwrap

    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def gib(count: float) -> str:
    """Bytes as GiB of three digits, a dash for none at all."""
    value = count / GIB
    return "-" if not count else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def short(value: float) -> str:
    """A count with three digits and a letter."""
    for power, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g}{letter}" if value < 999.5 * power else f"{value / power:.0f}{letter}"
    return f"{value:.0f}"


def clock(hours: float) -> str:
    """Hours, or minutes and seconds where they are few."""
    return "-" if not hours else f"{hours:.1f}h" if hours >= 1 else f"{hours * 60:.0f}m" if hours > 1 / 60 else "<1m"


if __name__ == "__main__":
    sys.exit(main())
