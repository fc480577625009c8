# mypy: disable-error-code="import-not-found,arg-type"
"""Other tools for near-duplicates, each as a function that makes ready and returns one that runs.

What runs returns the family of each record, named by its first member, or -1 for a record that is only flagged.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.truth import RUNS, SIZE, spelt

PERMUTATIONS, BANDS = 128, 32


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


def datasketch_strings(texts: list[str], threshold: float) -> Callable[[], Any]:
    """As its manual shows it: shingles as strings, hashed by SHA-1, from the text on."""
    from datasketch import MinHash, MinHashLSH

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
