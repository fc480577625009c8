# mypy: disable-error-code="import-not-found,arg-type"
"""Near-duplicates against the peers: ``python -m benchmarks.dedup 10000 100000 --thresholds 0.8 0.7``.

Every tool works on the same records (``benchmarks/corpus.py``) in a process of its own, on one thread unless the
table says otherwise. Two clocks: ``own`` begins at what the tool takes (ours: text; the peers: ready shingles in the
form that each takes fastest, except where the table says "strings"), ``from text`` adds to the peers what a plain
Python reference needs to make those shingles. Ratios are of
its CPU seconds, which a busy machine changes little. Truth is the exact Jaccard similarity of
the reference's sets: an inverted index over the rarest shingles of each record (prefix filtering; Bayardo et al. 2007)
finds every pair, so nothing there rests on MinHash. A document counts as found if a tool puts it with any other.
Compiling is told apart. Peers: ``pip install datasketch rensa datatrove FastSketchLSH``.
"""

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PERMUTATIONS, BANDS, SIZE = 128, 32, 3
TONES = "\u0300\u0301\u0303\u0309\u0323"
OURS, STRINGS = "ours, 1 thread", "datasketch, strings"
# beyond these: minutes or tens of GB; rensa's C-MinHash had not come back from 100,000 after six CPU-minutes
CAPS = {"datasketch": 100_000, STRINGS: 100_000, "datatrove": 100_000, "rensa C-MinHash": 10_000}
RUNS = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")


def spelt(word: str) -> str:
    """A syllable as its small letters, then its tone."""
    plain = unicodedata.normalize("NFD", word.lower())
    tones = sorted(letter for letter in plain if letter in TONES)
    return unicodedata.normalize("NFC", "".join(letter for letter in plain if letter not in TONES)) + "".join(tones)


def reference(texts: Iterable[str]) -> tuple[Any, Any]:
    """The shingles of each text as sorted sets of 64-bit hashes: (hashes, offsets)."""
    known: dict[str, int] = {}

    def key(word: str) -> int:
        if word not in known:
            known[word] = hash64(spelt(word))
        return known[word]

    parts, offsets = [], [0]
    odd = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
    for text in texts:
        keys = np.array([key(word) for word in RUNS.findall(text)], dtype=np.uint64)
        shingles = sum(keys[step : len(keys) - SIZE + 1 + step] * odd[step] for step in range(SIZE))
        shingles = np.unique(shingles ^ (shingles >> np.uint64(31)))
        parts.append(shingles)
        offsets.append(offsets[-1] + len(shingles))
    return np.concatenate(parts), np.array(offsets, dtype=np.int64)


def hash64(text: str) -> int:
    """Eight bytes of BLAKE2."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def truth(hashes: Any, offsets: Any, threshold: float) -> Any:
    """The family of each record by exact Jaccard similarity, named by its first member."""
    from numba import njit

    @njit  # type: ignore[misc]
    def prefixes(hashes, offsets, often, threshold):  # type: ignore[no-untyped-def]
        found, rows, count = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64), 0
        for row in range(len(offsets) - 1):
            mine = hashes[offsets[row] : offsets[row + 1]]
            rarity = np.empty(len(mine), np.int64)
            for place in range(len(mine)):
                rarity[place] = often[mine[place] >> np.uint64(37)]
            order = np.argsort(rarity * len(hashes) + np.arange(len(mine)))
            for place in order[: len(mine) - int(np.ceil(threshold * len(mine) - 1e-9)) + 1]:
                if rarity[place] > 1:
                    found[count], rows[count] = mine[place], row
                    count += 1
        return found[:count].copy(), rows[:count].copy()

    @njit  # type: ignore[misc]
    def join(keys, rows, hashes, offsets, threshold):  # type: ignore[no-untyped-def]
        parent = np.arange(len(offsets) - 1)
        begin = 0
        while begin < len(keys):
            end = begin
            while end < len(keys) and keys[end] == keys[begin]:
                end += 1
            for one in range(begin, end):
                for two in range(begin, one):
                    a, b = rows[one], rows[two]
                    while parent[a] != a:
                        a = parent[a]
                    while parent[b] != b:
                        b = parent[b]
                    parent[rows[one]], parent[rows[two]] = a, b
                    if a == b:
                        continue
                    x = hashes[offsets[rows[one]] : offsets[rows[one] + 1]]
                    y = hashes[offsets[rows[two]] : offsets[rows[two] + 1]]
                    if min(len(x), len(y)) < threshold * max(len(x), len(y)):
                        continue
                    i, j, shared = 0, 0, 0
                    while i < len(x) and j < len(y):
                        if x[i] == y[j]:
                            i, j, shared = i + 1, j + 1, shared + 1
                        elif x[i] < y[j]:
                            i += 1
                        else:
                            j += 1
                    if shared / (len(x) + len(y) - shared) >= threshold:
                        parent[max(a, b)] = min(a, b)
            begin = end
        for row in range(len(parent)):
            parent[row] = parent[parent[row]]
        return parent

    # the order must be the same in every record: rarity, then the hash, in which a record's shingles stand already
    often = np.bincount((hashes >> np.uint64(37)).astype(np.int64), minlength=1 << 27)
    keys, rows = prefixes(hashes, offsets, often, threshold)
    order = np.argsort(keys, kind="stable")
    return join(keys[order], rows[order], hashes, offsets, threshold)


def components(count: int, pairs: Iterator[tuple[int, int]]) -> Any:
    """Families of what is paired, named by the first member."""
    parent = list(range(count))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, two in pairs:
        low, high = sorted((find(one), find(two)))
        parent[high] = low
    return np.array([find(row) for row in range(count)])


def stored(work: Path) -> Any:
    """The records of this run."""
    import pyarrow as pa

    with pa.OSFile(str(work / "texts.arrow")) as file:
        return pa.ipc.open_file(file).read_all()["text"].combine_chunks()


def ours(work: Path, threshold: float, workers: int) -> tuple[Callable[[], Any], dict[str, float]]:
    """The kernel of this project, from the text on."""
    import pyarrow as pa

    from stages.lib import families, minhash, shingles
    from stages.lib.params import Dedup

    texts = stored(work)
    dedup = Dedup(shingle=SIZE, permutations=PERMUTATIONS, bands=BANDS, threshold=threshold)

    def read(column: Any) -> Iterator[families.Batch]:
        for start in range(0, len(column), 8192):
            batch = shingles.texts(column.slice(start, 8192))
            none = np.zeros(len(batch.records) - 1, dtype=np.uint64)
            yield families.Batch(batch, none, none, none.astype(np.int64))

    start = time.perf_counter()
    engine = minhash.with_numba(SIZE, PERMUTATIONS)
    families.find(lambda: read(pa.array(["một hai ba bốn năm", "một hai ba bốn năm sáu"])), 2, dedup, engine, 1)
    compiling = time.perf_counter() - start
    return lambda: families.find(lambda: read(texts), len(texts), dedup, engine, workers).root, {"compiling": compiling}


def datasketch(hashes: Any, offsets: Any, threshold: float) -> Callable[[], Any]:
    """MinHash objects in a MinHashLSH."""
    from datasketch import MinHash, MinHashLSH

    low = (hashes >> np.uint64(32)).tolist()
    sets = [low[begin:end] for begin, end in itertools.pairwise(offsets)]

    def run() -> Any:
        index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        signed = MinHash.bulk(sets, num_perm=PERMUTATIONS, hashfunc=lambda value: value)
        with index.insertion_session() as session:
            for row, signature in enumerate(signed):
                session.insert(row, signature)
        return components(len(sets), ((row, found) for row, one in enumerate(signed) for found in index.query(one)))

    return run


def datasketch_strings(work: Path, threshold: float) -> Callable[[], Any]:
    """As its manual shows it: shingles as strings, hashed by SHA-1, from the text on."""
    from datasketch import MinHash, MinHashLSH

    texts = stored(work).to_pylist()

    def run() -> Any:
        known: dict[str, str] = {}
        index, signed = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS), []
        for row, text in enumerate(texts):
            words = [known.get(word) or known.setdefault(word, spelt(word)) for word in RUNS.findall(text)]
            one = MinHash(num_perm=PERMUTATIONS)
            one.update_batch({" ".join(words[place : place + SIZE]).encode() for place in range(len(words) - SIZE + 1)})
            index.insert(row, one)
            signed.append(one)
        return components(len(texts), ((row, found) for row, one in enumerate(signed) for found in index.query(one)))

    return run


def rensa(kind: str, hashes: Any, offsets: Any, threshold: float) -> Callable[[], Any]:
    """R-MinHash or C-MinHash objects and their candidates."""
    import rensa as library

    raw = hashes.astype("<u8").tobytes()
    tokens = [raw[place : place + 8] for place in range(0, len(raw), 8)]
    sets = [tokens[begin:end] for begin, end in itertools.pairwise(offsets)]

    def run() -> Any:
        if kind == "R":
            signed = library.RMinHash.from_token_sets(sets, PERMUTATIONS, 42)
            index = library.RMinHashLSH(threshold, PERMUTATIONS, BANDS)
            index.insert_pairs(list(enumerate(signed)))
            found = index.query_all(signed)
        else:
            signed = library.CMinHash.from_token_sets(sets, PERMUTATIONS, 42)
            keeper = library.CMinHashDeduplicator(threshold, PERMUTATIONS)
            keeper.add_pairs([(str(row), one) for row, one in enumerate(signed)])
            found = [[int(other) for other in others] for others in keeper.get_duplicate_sets(signed)]
            # it indexes only what it keeps: a row that it left out finds its keepers
        return components(len(sets), ((row, other) for row, others in enumerate(found) for other in others))

    return run


def rensa_flat(hashes: Any, offsets: Any, threshold: float) -> Callable[[], Any]:
    """R-MinHash over flat hashes: flags, no pairs."""
    import rensa as library

    ends = offsets.astype(np.uint64)

    def run() -> Any:
        matrix = library.RMinHash.digest_matrix_from_flat_token_hashes(hashes, ends, PERMUTATIONS, 42)
        flags = library.RMinHashLSH(threshold, PERMUTATIONS, BANDS).query_duplicate_flags_matrix_one_shot(matrix)
        return np.where(np.array(flags, dtype=bool), -1, np.arange(len(flags)))

    return run


def fastsketch(pairs: bool, hashes: Any, offsets: Any, threshold: float) -> Callable[[], Any]:
    """Fast Similarity Sketch: flags, or the candidates of each row."""
    from FastSketchLSH import LSH, FastSimilaritySketch

    ends = offsets.astype(np.uint64)

    def run() -> Any:
        sketches = FastSimilaritySketch(size=PERMUTATIONS).batch_csr(hashes, ends, prehashed=True, num_threads=1)
        index = LSH(num_perm=PERMUTATIONS, num_bands=BANDS, num_threads=1)
        if not pairs:
            flags = np.asarray(index.insert_and_query_duplicates(sketches), dtype=bool)
            return np.where(flags, -1, np.arange(len(flags)))
        index.insert(sketches)
        found, bounds = index.query(sketches, format="csr")
        rows = np.repeat(np.arange(len(bounds) - 1), np.diff(np.asarray(bounds).astype(np.int64)))
        return components(len(sketches), zip(rows.tolist(), np.asarray(found).tolist(), strict=True))

    return run


def datatrove(hashes: Any, offsets: Any, threshold: float) -> Callable[[], Any]:
    """The signature and the bucket step over files, on shingles that are ready."""
    import struct

    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash
    from loguru import logger

    logger.remove()
    minhash.load_word_tokenizer = lambda language: None  # the shingles are ready
    config = minhash.MinhashConfig(n_grams=SIZE, num_buckets=BANDS, hashes_per_bucket=PERMUTATIONS // BANDS)
    low = hashes >> np.uint64(32)

    def run() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            sign = minhash.MinhashDedupSignature(f"{folder}/signatures", config)
            sign.get_shingles = lambda text: low[offsets[int(text)] : offsets[int(text) + 1]].reshape(-1, 1)
            sign.run(Document(text=str(row), id=str(row)) for row in range(len(offsets) - 1))
            step = minhash.MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)
            for band in range(BANDS):
                step.run(None, band, BANDS)
            found = b"".join(path.read_bytes() for path in sorted(Path(f"{folder}/buckets").rglob("*.dups")))
            return components(len(offsets) - 1, ((one, two) for _, one, _, two in struct.iter_unpack("<4I", found)))

    return run


PEERS: dict[str, Callable[[Any, Any, float], Callable[[], Any]]] = {
    "datasketch": datasketch,
    "datatrove": datatrove,
    "rensa R-MinHash": lambda *given: rensa("R", *given),
    "rensa C-MinHash": lambda *given: rensa("C", *given),
    "FastSketchLSH": lambda *given: fastsketch(True, *given),
    "rensa flat (flags)": rensa_flat,
    "FastSketchLSH (flags)": lambda *given: fastsketch(False, *given),
}
OWN = {OURS: 1, "ours, 2 threads": 2}


def measure(tool: str, work: Path, threshold: float) -> None:
    """Run one tool in this process and write down what it found and what it cost."""
    noted: dict[str, float] = {}
    if tool == STRINGS:
        run = datasketch_strings(work, threshold)
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
            bench(size, given.thresholds, given.tools, Path(folder))


def bench(size: int, thresholds: list[float], tools: list[str], work: Path) -> None:
    """One size of corpus, all thresholds and tools."""
    import pyarrow as pa

    from benchmarks import corpus

    texts = corpus.make(size)
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
