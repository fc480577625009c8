"""A million records through the data stages: ``python -m benchmarks.scale 100000 1000000``.

Makes the tables that ``clean`` reads (``benchmarks/scale_corpus.py``) and runs the commands of dvc.yaml on them, one
after the other, with every ``data/…`` moved into a folder of its own. Of each stage: wall time, processor time, rows
in and out, and the peak of the memory of all its processes together, what they share counted once (proportional set
size, sampled). Limit the processors with ``taskset -c 0,1``. Not covered: a cold disk; a cluster's other nodes.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from stages.lib import records
from tools import graph

STAGES = ("clean", "dedup", "decontaminate", "split")
SAMPLED = 0.1  # seconds


def moved(word: str, folder: Path) -> str:
    """A word of a command with its data in another folder; what ships with the project stays where it is."""
    return str(folder / word) if word.startswith("data/") and not word.startswith("data/sample/") else word


def memory(process: int) -> int:
    """The bytes of a process and of all that it started; what is gone meanwhile counts nothing."""
    total = 0
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            total += int(line.split()[1]) * 1024 if line.startswith("Pss:") else 0
        tasks = list(Path(f"/proc/{process}/task").glob("*/children"))
        children = [child for task in tasks for child in task.read_text(encoding="utf-8").split()]
    except (FileNotFoundError, ProcessLookupError):
        return total
    return total + sum(memory(int(child)) for child in children)


def measured(command: list[str]) -> tuple[float, float, int]:
    """Seconds, processor seconds and peak bytes of a command."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    with subprocess.Popen([sys.executable, *command[1:]]) as process:
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(SAMPLED)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def questions(words: list[str]) -> list[str]:
    """What the benchmarks ask that a command takes."""
    files = [Path(word) for word in words if word.endswith(".jsonl")]
    return [json.loads(line)["question"] for path in files for line in path.read_text(encoding="utf-8").splitlines()]


def bench(count: int, commands: dict[str, list[str]], folder: Path) -> None:
    """One size: its tables, then stage after stage."""
    from benchmarks import scale_corpus

    given = {stage: [moved(word, folder) for word in words] for stage, words in commands.items()}
    inputs = [Path(word) for word in given["clean"][5:] if word.endswith(".parquet")]
    scale_corpus.tables(inputs, count, questions(commands["decontaminate"]))
    (folder / "data/split").mkdir(exist_ok=True)
    print(f"\n## {count:,} records, {sum(map(records.size, inputs)) / 1e9:.2f} GB\n")
    print("| stage | s | CPU-s | rows in | rows out | rows/s | peak GB |\n|---|--:|--:|--:|--:|--:|--:|", flush=True)
    total, top, rows = 0.0, 0, count
    for stage, words in given.items():
        seconds, used, peak = measured(words)
        written = sorted(path for path in map(Path, words) if str(path).startswith(f"{folder}/data/{stage}"))
        out = sum(
            records.count(path)
            for path in written
            if path.suffix == ".parquet" and ".dropped" not in path.name and "prompts" not in path.name
        )
        print(
            f"| {stage} | {seconds:.1f} | {used:.1f} | {rows:,} | {out:,} | {rows / seconds:,.0f} | {peak / 1e9:.2f} |",
            flush=True,
        )
        total, top, rows = total + seconds, max(top, peak), out
    print(f"| all | {total:.1f} | | {count:,} | {rows:,} | {count / total:,.0f} | {top / 1e9:.2f} |\n")
    for stage in STAGES[:-1]:
        lost = Counter(
            batch["reason"][place].as_py()
            for batch in records.batches(folder / f"data/{stage}.dropped.parquet", ["reason"])
            for place in range(len(batch))
        )
        print(f"{stage}: " + ", ".join(f"{reason} {number:,}" for reason, number in lost.most_common()), flush=True)


def main() -> None:
    """Every size in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--work", type=Path, help="where to put the tables: some 2 GB for a million records")
    given = parser.parse_args()
    commands = {node.name: shlex.split(node.cmd) for node in graph.read_nodes(Path.cwd()) if node.name in STAGES}
    print(
        f"Python {platform.python_version()}, {len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}"
    )
    for size in given.sizes:
        with tempfile.TemporaryDirectory(dir=given.work) as folder:
            bench(size, {stage: commands[stage] for stage in STAGES}, Path(folder))


if __name__ == "__main__":
    main()
