"""Tokens per second of the sft stage beside a bare PyTorch loop and trl's own script, on the same model and rows.

``python -m benchmarks.train`` runs two models on one CPU thread; ``--shape 1b --method full`` and the like want a GPU.
Each contestant is a process (``benchmarks/racers.py``); they take turns, and ratios are of medians. Conversations come
from ``data/split`` (``dvc repro split``), the model is random; for a GPU the rows are as long as the context, and
memory is compared with what ``make plan`` foretells. Not covered: several GPUs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path

from benchmarks.racers import Race
from stages.lib import determinism, records
from stages.lib.contract import Refusal
from tools.planning import cards, memory, work
from tools.planning.memory import GIB, Job
from tools.planning.shapes import Shape

ROOT = Path(__file__).parents[1]
SPLIT = Path("data/split/sft.train.parquet")
HELD_OUT = 16  # rows; evaluation is not timed
SHAPES = {
    "tiny": Shape("llama", 1024, 96, 2, 3, 3, 32, 256, True, 512),  # of the default recipe
    "small": Shape("llama", 1024, 320, 5, 5, 5, 64, 896, True, 512),
    "1b": Shape("llama", 128256, 2048, 16, 32, 8, 64, 8192, True, 8192),
    "7b": Shape("llama", 32000, 4096, 32, 32, 32, 128, 11008, False, 8192),
    "8b": Shape("llama", 128256, 4096, 32, 32, 8, 128, 14336, False, 8192),
}
HEADS = ["model", "who", "tokens/s", "of bare", "per CPU-s", "of bare", "to step 1, s", "loss", "padding"]
GPU_HEADS = [*HEADS[:4], "MFU", "allocated, GiB", "taken, GiB", "planned, GiB", "to step 1, s", "loss"]


def main(argv: list[str] | None = None) -> int:
    """Make each race, let them take turns, print a row for each contestant."""
    told = arguments(argv)
    card = None if told.cpu else gpu()
    heads = GPU_HEADS if card else HEADS
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    for name in told.shape:
        for method in told.method:
            race = Race(
                SHAPES[name], method, told.packed, told.context, told.batch, told.steps, told.checkpoint,
                told.optimizer, "cuda" if card else "cpu", bool(card) or told.bf16, rank=told.rank,
            )  # fmt: skip
            label = f"{name} {method}{' packed' if told.packed else ''}{' checkpointed' if told.checkpoint else ''}"
            if card and (need := memory.peak(planned(race))) > card.memory * GIB:
                print(f"| {label} | does not fit: {need / GIB:.0f} GiB planned, {card.name} has {card.memory:.0f} |")
                continue
            found = raced(race, told.repeats, told.free, bool(card) or told.long)
            bare = found["bare"]
            for who, runs in found.items():
                cells = on_gpu(race, runs, bare, card) if card else on_cpu(runs, bare)
                print(f"| {label} | {who} | " + " | ".join(cells) + " |", flush=True)
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="Tokens per second of training.")
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), default=["tiny", "small"])
    parser.add_argument("--method", nargs="+", choices=["full", "lora", "qlora"], default=["full", "lora"])
    parser.add_argument("--packed", action="store_true", help="rows of several records")
    parser.add_argument("--checkpoint", action="store_true", help="activations are computed anew on the way back")
    parser.add_argument("--optimizer", choices=["adamw", "adamw8bit", "paged_adamw8bit"], default="adamw")
    parser.add_argument("--free", action="store_true", help="also with the kernels that this CPU is best at")
    parser.add_argument("--bf16", action="store_true", help="as on a GPU: weights, or activations, in bf16")
    parser.add_argument("--long", action="store_true", help="as on a GPU: rows that fill the context")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args(argv)


def gpu() -> cards.Card | None:
    """The first GPU as tools/planning/gpus.yaml knows it."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", "--id=0"]
    name, _, size = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().rpartition(", ")
    found = cards.driven(name, float(size) / 1024)
    if found is None:
        raise Refusal(
            f"{name} of {size} MiB is not in tools/planning/gpus.yaml: add its peak, or measure this CPU with --cpu"
        )
    return found


def raced(race: Race, repeats: int, free: bool, filled: bool) -> dict[str, list[dict[str, float]]]:
    """The figures of every run, by contestant."""
    pinned = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **determinism.CPU} if race.device == "cpu" else {}
    loose = {key: value for key, value in pinned.items() if key not in determinism.CPU}
    turns = {"stage": ("stage", pinned), "bare": ("bare", pinned), "trl": ("trl", pinned)}
    if free and race.device == "cpu":
        turns |= {"bare, free kernels": ("bare", loose), "trl, free kernels": ("trl", loose)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ready(race, folder, filled)
        for _ in range(repeats):
            for name, (who, variables) in turns.items():
                found[name].append(run(who, folder, variables))
    return found


def ready(race: Race, folder: Path, filled: bool) -> None:
    """Rows, a model, and a commit, without which DVCLive writes nothing."""
    if not SPLIT.exists():
        raise Refusal(f"{SPLIT} is missing: `dvc repro split` makes it")
    chats = [[(turn["role"], turn["content"]) for turn in row["messages"]] for row in records.read(SPLIT)]
    if filled:
        chats = [chats[0], *long(chats[1:], race.context)]  # the stage wants one end of turn to learn from
    share = 5 if race.packing and not filled else 1  # records of a packed row, roughly
    rows = [
        records.make(
            "instruction", [{"role": role, "content": text} for role, text in chat],
            source="benchmark", licence="CC0-1.0", lang="vi", upstream=str(number),
        )
        for number, chat in enumerate(islice(cycle(chats), race.steps * race.batch * share))
    ]  # fmt: skip
    records.write(folder / "train.parquet", rows)
    records.write(folder / "validation.parquet", rows[:HELD_OUT])
    (folder / "made").mkdir()
    (folder / "rows").mkdir()
    lines = "".join(json.dumps({"messages": row["messages"]}, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows" / "train.jsonl").write_text(lines, encoding="utf-8")
    (folder / "race.json").write_text(json.dumps(asdict(race)), encoding="utf-8")
    git = ["git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message=rows"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    started("model", folder, {})


def long(chats: list[list[tuple[str, str]]], context: int) -> Iterator[list[tuple[str, str]]]:
    """Conversations that fill the context: one question, and answers without end."""
    answers = cycle([text for chat in chats for role, text in chat if role == "assistant"])
    for chat in chats:
        said: list[str] = []
        while sum(map(len, said)) < 6 * context:
            said.append(next(answers))
        yield [chat[0], ("assistant", " ".join(said))]


def started(who: str, folder: Path, variables: dict[str, str]) -> None:
    """One process, in the folder; what it says is shown if it fails."""
    loose = {key: value for key, value in os.environ.items() if key not in (*determinism.CPU, "TRACKERS")}
    env = loose | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")} | variables
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.racers", who], cwd=folder, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Refusal(f"{who} failed:\n{done.stdout[-3000:]}")


def run(who: str, folder: Path, variables: dict[str, str]) -> dict[str, float]:
    """The figures of one run."""
    begun = time.monotonic()
    started(who, folder, variables)
    found: dict[str, float] = json.loads((folder / f"{who}.json").read_text(encoding="utf-8"))
    return found | {"begun": found["begun"] - begun}


def median(runs: list[dict[str, float]], figure: str) -> float:
    """Of a figure; of tokens for each unit of a kind of seconds."""
    if figure in ("wall", "cpu"):
        return statistics.median(run["tokens"] / run[figure] for run in runs)
    return statistics.median(run[figure] for run in runs)


def speeds(runs: list[dict[str, float]], bare: list[dict[str, float]], seconds: str) -> list[str]:
    """Tokens for a second, with their range, and as a share of the bare loop's."""
    each = sorted(run["tokens"] / run[seconds] for run in runs)
    share = median(runs, seconds) / median(bare, seconds)
    return [f"{median(runs, seconds):,.0f} ({each[0]:,.0f}–{each[-1]:,.0f})", f"{share:.1%}"]


def on_cpu(runs: list[dict[str, float]], bare: list[dict[str, float]]) -> list[str]:
    """Cells of a contestant."""
    padding = 1 - median(runs, "tokens") / median(runs, "room")
    return [
        *speeds(runs, bare, "wall"), *speeds(runs, bare, "cpu"), f"{median(runs, 'begun'):.1f}",
        f"{median(runs, 'loss'):.5f}", f"{padding:.1%}",
    ]  # fmt: skip


def planned(race: Race) -> Job:
    """The race as `make plan` sees it."""
    return Job("sft", race.shape, race.sft(), "bf16", "single", 1, race.batch, race.context)


def on_gpu(race: Race, runs: list[dict[str, float]], bare: list[dict[str, float]], card: cards.Card) -> list[str]:
    """Cells of a contestant; operations are those that the result needs, what is computed anew not counted."""
    job = planned(race)
    plain = Job(**vars(job) | {"tuning": race.sft().model_copy(update={"gradient_checkpointing": False})})
    needed = work.training(plain, 1, race.context) * median(runs, "wall")
    sizes = [median(runs, "allocated"), median(runs, "reserved"), memory.peak(job)]
    return [
        *speeds(runs, bare, "wall"), f"{needed / (card.bf16 * 1e12):.1%}", *(f"{size / GIB:.1f}" for size in sizes),
        f"{median(runs, 'begun'):.1f}", f"{median(runs, 'loss'):.5f}",
    ]  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")
