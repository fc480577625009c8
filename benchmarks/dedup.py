# mypy: disable-error-code="import-not-found,arg-type"
"""Near-duplicates against the peers: ``python -m benchmarks.dedup 10000 100000 --thresholds 0.8 0.7``.

Every tool works on the same records (``benchmarks/corpus.py``) in a process of its own, on one thread unless the
table says otherwise (set ``RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1``). Two clocks: ``own`` begins at what the tool
takes (ours: text; the peers: ready shingles in the form that each takes fastest, and text where the table says
"strings"); ``from text`` adds to the peers what a plain Python reference needs to make those shingles. Ratios are of
CPU seconds from text, which a busy machine changes little. A document counts as found if a tool puts it with any
other, and truth is exact (``benchmarks/truth.py``). Compiling is told apart. ``--corpus templates`` takes letters of a
few forms instead. Peers: ``pip install datasketch rensa datatrove FastSketchLSH``.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import BANDS, PEERS, PERMUTATIONS, datasketch_strings
from benchmarks.truth import SIZE, reference, truth

OURS, STRINGS = "ours, 1 thread", "datasketch, strings"
# beyond these: minutes or tens of GB; rensa's C-MinHash had not come back from 100,000 after six CPU-minutes
CAPS = {"datasketch": 100_000, STRINGS: 100_000, "datatrove": 100_000, "rensa C-MinHash": 10_000}


def stored(work: Path) -> Any:
    """The records of this run."""
    import pyarrow as pa

    with pa.OSFile(str(work / "texts.arrow")) as file:
        return pa.ipc.open_file(file).read_all()["text"].combine_chunks()


def ours(work: Path, threshold: float, workers: int) -> tuple[Callable[[], Any], dict[str, float]]:
    """The kernel of this project, from the text on."""
    import pyarrow as pa

    from stages.lib.dedup import families, minhash, shingles
    from stages.lib.params import Dedup

    texts = stored(work)
    dedup = Dedup(shingle=SIZE, permutations=PERMUTATIONS, bands=BANDS, threshold=threshold, semantic=None)

    def read(column: Any) -> Iterator[families.Batch]:
        for start in range(0, len(column), 8192):
            batch = shingles.texts(column.slice(start, 8192))
            none = np.zeros(len(batch.records) - 1, dtype=np.uint64)
            yield families.Batch(batch, none, none, none.astype(np.int64))

    start = time.perf_counter()
    engine = minhash.with_numba(SIZE, PERMUTATIONS)
    # enough to need the loops for large buckets, which are compiled when they are needed
    few = [f"một hai ba bốn năm sáu bảy tám {'chín ' * (row % 2)}{row}" for row in range(200)]
    families.find(lambda: read(pa.array(few)), len(few), dedup, engine, 1)
    compiling = time.perf_counter() - start
    return lambda: families.find(lambda: read(texts), len(texts), dedup, engine, workers).root, {"compiling": compiling}


OWN = {OURS: 1, "ours, 2 threads": 2}


def measure(tool: str, work: Path, threshold: float) -> None:
    """Run one tool in this process and write down what it found and what it cost."""
    noted: dict[str, float] = {}
    if tool == STRINGS:
        run = datasketch_strings(stored(work).to_pylist(), threshold)
    elif tool in OWN:
        run, noted = ours(work, threshold, OWN[tool])
    else:
        run = PEERS[tool](np.load(work / "hashes.npy"), np.load(work / "offsets.npy"), threshold)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    before = resident("VmRSS")
    start, used = time.perf_counter(), time.process_time()
    families = run()
    noted |= {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}
    noted["memory"] = resident("VmHWM") - before
    np.save(work / "families.npy", families)
    (work / "noted.json").write_text(json.dumps(noted))


def resident(name: str) -> float:
    """A figure of this process's memory in GB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{name}:\s+(\d+)", status)[0]) * 1024 / 1e9


def in_family(families: Any) -> Any:
    """Whether each document is with another."""
    _, inverse, counts = np.unique(families, return_inverse=True, return_counts=True)
    return (counts[inverse] > 1) | (families < 0)


def main() -> None:
    """Make the records, run the tools, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.7])
    parser.add_argument("--corpus", choices=["records", "templates"], default="records")
    parser.add_argument("--tools", nargs="+", default=[*OWN, STRINGS, *PEERS])
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    if given.only:
        measure(given.only[0], given.work, float(given.only[1]))
        return
    print(
        " · ".join(
            f"{name} {version(name)}"
            for name in ("numba", "numpy", "datasketch", "rensa", "datatrove", "FastSketchLSH")
        )
    )
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            bench(given.corpus, size, given.thresholds, given.tools, Path(folder))


def bench(kind: str, size: int, thresholds: list[float], tools: list[str], work: Path) -> None:
    """One size of corpus, all thresholds and tools."""
    import pyarrow as pa

    from benchmarks import corpus

    texts = corpus.make(size) if kind == "records" else corpus.forms(size)
    with (
        pa.OSFile(str(work / "texts.arrow"), "wb") as file,
        pa.ipc.new_file(file, pa.schema([("text", texts.type)])) as out,
    ):
        out.write_table(pa.table({"text": texts}))
    start = time.process_time()
    hashes, offsets = reference(text.as_py() for text in texts)
    shingling = time.process_time() - start
    print(f"\n{size:,} records, {texts.nbytes / 1e9:.2f} GB, {len(hashes) / size:.0f} shingles each;"
          f" reference shingles {shingling:.1f} s", flush=True)  # fmt: skip
    np.save(work / "hashes.npy", hashes)
    np.save(work / "offsets.npy", offsets)
    del texts
    for threshold in thresholds:
        start = time.perf_counter()
        exact = truth(hashes, offsets, threshold)
        duplicates = in_family(exact)
        print(
            f"\nthreshold {threshold}: {duplicates.sum():,} documents in families ({time.perf_counter() - start:.0f} s)"
        )
        print("| tool | own s | own CPU-s | from text CPU-s | ratio | precision | recall | same family | GB |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
        base = 0.0
        for tool in tools:
            if size > CAPS.get(tool, size):
                continue
            command = [
                sys.executable,
                "-m",
                "benchmarks.dedup",
                str(size),
                "--only",
                tool,
                str(threshold),
                "--work",
                str(work),
            ]
            subprocess.run(command, check=True)
            noted = json.loads((work / "noted.json").read_text())
            families = np.load(work / "families.npy")
            found = in_family(families)
            total = noted["cpu"] + (0 if tool in OWN or tool == STRINGS else shingling)
            base = base or total
            both = (found & duplicates).sum()
            same = "" if (families < 0).any() else f"{np.mean(families == exact):.5f}"
            print(f"| {tool} | {noted['seconds']:.2f} | {noted['cpu']:.2f} | {total:.2f} |"
                  f" {total / base:.1f} | {both / max(1, found.sum()):.5f} | {both / max(1, duplicates.sum()):.5f} |"
                  f" {same} | {noted['memory']:.2f} |"
                  + (f" compiling {noted['compiling']:.1f} s" if "compiling" in noted else ""), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
