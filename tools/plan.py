"""What a recipe needs before it runs: ``make plan``, or for another one ``make plan RECIPE=tiny GPU=rtx-3060``.

Prints for each stage the parameters, the memory of a process by part and whether it fits, then the machine's memory and
disk, the tokens, the operations, and hours and prices on known cards. All of it is arithmetic on the recipe and on
data/split: nothing is downloaded and no model is loaded. Prices are estimates (``tools/planning/gpus.yaml``), and hours
hold at the stated share of a card's peak. Not covered: the stages before `base`; what the teacher costs (``make
price``).
"""

import argparse
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from stages.lib import paramfile, recipes
from stages.lib.contract import Refusal
from tools.planning import advice, cards, cautions, jobs, machine, memory, shapes, work
from tools.planning.jobs import Planned
from tools.planning.memory import GIB

COLUMNS = {
    "weights": "weights", "adapters": "lora", "optimizer": "optim", "others": "other", "context": "fixed",
    "gradients": "grads", "activations": "activ", "logits": "head", "answering": "answer", "reading": "read",
}  # fmt: skip
LEGEND = """  peak = weights + lora + optim + other + fixed + the most of: grads + activ + head; answer; read
  other: the reward model, and the frozen start of full training; fixed: driver, shards put together
  answer: keys and values while answers are made; read: logits of held-out text and of questions"""
FITS = {
    "slow": "it works, with a part of the weights in the CPU's memory, and takes many times as long",
    "tight": "less than a tenth of the memory is left over, of which a screen or other programs take some",
}
TIGHT = 0.9  # of a card's memory
DONG = 26300.0  # for a dollar, where params.yaml has no spend.dong
WIDTH = 100


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
    parser.add_argument("--gpu", help="a card of tools/planning/gpus.yaml, instead of the one in this machine")
    parser.add_argument("--processes", type=int, default=1, help="cards that share the work, one process each")
    parser.add_argument("--mfu", type=float, default=work.MFU, help="share of a card's peak that training reaches")
    return parser.parse_args(argv)


def page(named: str | None, gpu: str | None, processes: int, mfu: float) -> str:
    """Everything, as text."""
    if processes < 1 or not 0 < mfu <= 1:
        raise Refusal(f"--processes {processes}, --mfu {mfu}: at least one process, and a share between 0 and 1")
    chosen = cards.named(gpu) if gpu is not None else None
    name, recipe, dong, current = read(named)
    shape, source = shapes.of(recipe.base)
    card = chosen or cards.at_hand(recipe.compute.device)
    shared = recipe.compute.launch != "single"
    precision, room = card.precision(recipe.compute.precision), card.memory * GIB
    sets = jobs.tables(recipe.base, shape, current)
    found = list(jobs.planned(recipe, shape, precision, processes, sets))
    by = f"{recipe.compute.launch} × {processes}" if shared else "one process"
    lines = [
        f"{name}: a {shape.family} of {short(shapes.parameters(shape))} parameters (from {source}), {precision}, {by}",
        *(
            line
            for told in cautions.warnings(recipe, shape, card, precision, processes)
            for line in wrapped(f"warning: {told}")
        ),
        f"Memory of a process in GiB, on {card.name} ({card.memory:.0f} GiB)",
        "",
        *memory_table(found, room),
    ]
    for job, *_ in found:
        if advice.fits(job, room) == "NO":
            told = advice.advice(recipe, shape, precision, processes, sets, job.name, room)
            lines += wrapped(f"{job.name} does not fit. {told}")
    lines += ["", *machine_lines(recipe, shape, precision, found, room), "", *work_table(found), ""]
    if recipe.compute.device == "cpu":
        return "\n".join(line.rstrip() for line in [*lines, "No card is used: compute.device is cpu."])
    rented = f"{processes} cards" if processes > 1 else "one card"
    lines += [f"Hours and prices on {rented} at {mfu:.0%} of peak; prices are estimates, see tools/planning/gpus.yaml"]
    mine = chosen or cards.driven(card.name, card.memory)
    lines += cost_table(recipe, found, cards.known().values(), mine, shape, processes, mfu, dong, sets)
    return "\n".join(line.rstrip() for line in lines)


def read(named: str | None) -> tuple[str, recipes.Recipe, float, bool]:
    """(the recipe's name, the recipe, đồng for a dollar, whether params.yaml names it)."""
    dials = paramfile.load(Path("params.yaml"))
    name = named or str(dials.get("recipe"))
    known = sorted(path.stem for path in Path("recipes").glob("*.yaml"))
    if name not in known:
        raise Refusal(f"RECIPE: found {name!r}; {shapes.near(name, known) or 'look among the files in recipes/'}")
    file = f"recipes/{name}.yaml"
    recipe: recipes.Recipe = paramfile.typed(recipes.Recipe, paramfile.load(Path(file)), file)
    return name, recipe, float((dials.get("spend") or {}).get("dong", DONG)), name == dials.get("recipe")


def memory_table(found: list[Planned], room: float) -> list[str]:
    """A line for each stage: each part, and whether it fits."""
    rows: list[tuple[str, ...]] = [("stage", *COLUMNS.values(), "peak", "fits")]
    seen: set[str] = set()
    for job, *_ in found:
        if job.name == "base" and job.tuning is None:
            rows.append((job.name, *["-"] * (len(COLUMNS) + 1), "CPU"))
            continue
        parts, fits = memory.parts(job), advice.fits(job, room)
        if fits == "yes" and memory.peak(job) > TIGHT * room:
            fits = "tight"
        seen.add(fits)
        cells = [gib(parts.get(key, 0)) for key in COLUMNS]
        rows.append((job.name, *cells, gib(memory.peak(job)), fits))
    return [*aligned(rows), *LEGEND.splitlines(), *(f"  {word}: {told}" for word, told in FITS.items() if word in seen)]


def machine_lines(
    recipe: recipes.Recipe, shape: shapes.Shape, precision: str, found: list[Planned], room: float
) -> list[str]:
    """The machine's own memory, and its disk."""
    most, why = machine.ram(recipe, shape, precision, found, room)
    models, beside = machine.disk(recipe, shape, precision, found)
    total = sum(models.values()) + sum(beside.values())
    unit, name = (GIB, "GiB") if total >= GIB else (GIB >> 10, "MiB")
    each, rest = (
        ", ".join(f"{what} {gib(count * GIB / unit)}" for what, count in sizes.items()) for sizes in (models, beside)
    )
    told = f"Disk: about {total / unit:.0f} {name}: models {gib(sum(models.values()) * GIB / unit)} ({each}); {rest}"
    return [*wrapped(f"RAM of the machine: about {gib(most)} GiB" + (f": {why}" if why else "")), *wrapped(told)]


def work_table(found: list[Planned]) -> list[str]:
    """A line for each stage: parameters that learn, tokens, operations, where the counts come from."""
    rows = [("stage", "trained", "rows×tokens", "tokens", "FLOPs")]
    sources = ["from"]
    for job, done, source in found:
        trained = (short(memory.trainable(job)), f"{job.batch}×{job.length}") if job.tuning else ("-", "-")
        rows.append((job.name, *trained, short(done.tokens), short(done.flops)))
        sources.append(source)
    told = ["  assumed, since data/split is not there yet: `dvc repro split` makes it"]
    return [f"{line}   {source}"[:WIDTH] for line, source in zip(aligned(rows), sources, strict=True)] + [
        *told * any("assumed" in source for source in sources),
        "  FLOPs a token: forward 2N + 4·layers·width·length; full ×3; LoRA ×2 + 6·adapters; checkpointing +1",
    ]


def cost_table(
    recipe: recipes.Recipe,
    found: list[Planned],
    rented: Iterable[cards.Card],
    mine: cards.Card | None,
    shape: shapes.Shape,
    processes: int,
    mfu: float,
    dong: float,
    sets: jobs.Tables,
) -> list[str]:
    """A line for each card: hours of each stage, in all, dollars and đồng; they are none where one does not fit."""
    rows = [("card", "GiB", *(job.name for job, *_ in found), "hours", "$", "1000 đồng")]
    known: dict[str, list[Planned]] = {}
    for card in rented:
        wanted = recipe.compute.precision
        precision = card.precision(wanted)
        peak = float(getattr(card, precision)) or card.fp16 or card.fp32
        if wanted == "bf16" and not card.bf16:
            peak = card.fp32  # it has no tensor cores for bfloat16
        stages = known.setdefault(precision, list(jobs.planned(recipe, shape, precision, processes, sets)))
        each, cells, whole = [], [], True
        for job, done, _ in stages:
            rate = card.fp32 if job.width == 4 else peak
            hours = done.hours(rate * 1e12, card.bandwidth * 1e9, mfu, job.processes)
            each.append(hours)
            fits = advice.fits(job, card.memory * GIB) if hours else "yes"
            whole &= fits != "NO"
            cells.append(clock(hours) + {"yes": "", "slow": "~", "NO": "*"}[fits])
        price = sum(each) * processes * card.price  # all are rented, also while one of them works
        cost = "free" if not card.price else f"{price:,.2f}"
        told = (clock(sum(each)), cost, f"{price * dong / 1000:,.0f}") if whole else ("-", "-", "-")
        name = f"{card.name} <" if card == mine else card.name
        rows.append((name, f"{card.memory:.0f}", *cells, *told))
    legend = "  * does not fit that card; ~ fits partly, and takes many times as long"
    return [*aligned(rows), legend + "; < is the one above" * (mine is not None)]


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
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `make plan | head` wants no more, and no traceback
    sys.exit(main())
