# mypy: disable-error-code="import-not-found,no-untyped-def"
"""The true near-duplicates, by other means than those that are measured.

Shingles by a plain Python reference; pairs by an inverted index over the rarest shingles of each record, which misses
none (prefix filtering; Bayardo et al. 2007), each compared by exact Jaccard similarity.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

SIZE = 3
TONES = "\u0300\u0301\u0303\u0309\u0323"
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
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def truth(hashes: Any, offsets: Any, threshold: float) -> Any:
    """The family of each record by exact Jaccard similarity, named by its first member."""
    from stages.lib.dedup.compiling import compiled

    @compiled
    def prefixes(hashes: Any, offsets: Any, often: Any, threshold: float) -> Any:
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

    @compiled
    def join(keys: Any, rows: Any, hashes: Any, offsets: Any, threshold: float) -> Any:
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
