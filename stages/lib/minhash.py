"""Near-duplicates: MinHash finds candidates, exact Jaccard similarity decides.

Texts are compared as sets of syllable shingles, blind to case, punctuation, composition and tone placement.
Signatures are split into bands, and texts that agree in a whole band are candidates (Broder 1997; Leskovec
et al., "Mining of Massive Datasets", ch. 3). Everything is a function of the texts and the params: no
hidden seed, no order of threads. Not covered: more texts than their shingles fit in memory.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from stages.lib.vietnamese import key

Shingles = frozenset[int]
Signature = npt.NDArray[np.uint32]


def shingles(text: str, size: int) -> Shingles:
    """64-bit hashes of the runs of ``size`` syllables of a text; a shorter text is one run."""
    words = key(text).split()
    runs = (" ".join(words[place : place + size]) for place in range(max(1, len(words) - size + 1)))
    return frozenset(digest(run) for run in runs)


def digest(text: str) -> int:
    """A 64-bit hash that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def permutations(count: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Multipliers (odd) and offsets of ``count`` multiply-shift hashes (Dietzfelbinger et al. 1997)."""
    numbers = np.array([digest(f"permutation {index}") for index in range(2 * count)], dtype=np.uint64)
    return numbers[:count] | np.uint64(1), numbers[count:]


def signature(hashes: Shingles, hashers: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]) -> Signature:
    """The minimum of each hash over a set; shape (permutations,)."""
    values = np.fromiter(hashes, dtype=np.uint64, count=len(hashes))
    factors, offsets = hashers
    hashed = (values[:, None] * factors[None, :] + offsets[None, :]) >> np.uint64(32)
    return hashed.min(axis=0).astype(np.uint32)


def candidates(signatures: Iterable[Signature], bands: int) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) of positions whose signatures agree in at least one band; a pair may come twice."""
    first: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(bands)]
    for later, signed in enumerate(signatures):
        for band, rows in zip(first, np.split(signed, bands), strict=True):
            bucket = band[rows.tobytes()]
            yield from ((earlier, later) for earlier in bucket)
            bucket.append(later)


def jaccard(one: Shingles, other: Shingles) -> float:
    """The share of shingles that two sets have in common, 0 to 1."""
    return len(one & other) / len(one | other)


class Families:
    """Union-find: what is joined, directly or through others, is one family."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """The family's smallest member."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Make one family of two."""
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low
