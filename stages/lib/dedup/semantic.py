"""Families of records that say the same in other words, by the cosine of their vectors.

One record of each family that is known so far is embedded; two are joined where their cosine reaches the threshold,
they are of one kind and not ranked under one prompt, and they hold the same numbers, to which encoders are blind
(2 + 3, 2 + 5). Every pair is compared, by products of blocks: no index that could miss one. Vectors are kept as
whole numbers so small that a product is exact in 32 bits, so the order of the sums moves no pair over the
threshold; the vectors themselves are as exact as the encoder's device.

Memory: a block's products; the vectors lie on disk, 2 bytes a number. Work grows with the square of the records:
some minutes for 100,000 on a processor, hours for a million, which wants a GPU. Not covered: which of a family is
kept (``stages/dedup.py``).
"""

import re
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages.lib import determinism, hub, params, records, weights
from stages.lib.dedup import families
from stages.lib.dedup.shingles import U32, U64
from stages.lib.records import Record
from stages.lib.text import embedding

CHUNK = 1024  # records that are embedded together
BLOCK = 2048  # vectors on each side of a product
SCALE = 4000  # whose square a float of 32 bits holds exactly, and so each sum on the way to it
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Alike(NamedTuple):
    """Of each row the first of its family; and the vectors of those that stand for the families before."""

    root: U32
    before: U32
    stand: U32
    vectors: npt.NDArray[np.int16]

    def cosine(self, one: int, other: int) -> float:
        """The cosine of the vectors that stand for two rows; in a chain it may be less than the threshold."""
        first, second = self.vectors[np.searchsorted(self.stand, self.before[[one, other]])].astype(np.int64)
        return float(first @ second) / SCALE**2


def join(table: Path, root: U32, semantic: params.Semantic) -> Alike:
    """The families of a table's rows, given those that are known: for each row the first of its own."""
    determinism.pin(0, semantic.compute.device, semantic.compute.threads)
    stand = np.flatnonzero(root == np.arange(len(root))).astype(np.uint32)
    embed = embedding.encoder(hub.folder(semantic.model, "dedup.semantic.model"), semantic.compute)
    vectors: npt.NDArray[np.int16] = np.empty((0, 1), dtype=np.int16)
    traits = np.zeros(len(stand), dtype=np.uint64)
    siblings = np.zeros(len(stand), dtype=np.uint64)
    rows, place = standing(table, stand), 0
    while some := list(islice(rows, CHUNK)):
        found = embed([said(record) for record in some])
        if not place:  # the file goes when the last view of it does
            with tempfile.TemporaryFile(dir=table.parent) as file:
                vectors = np.memmap(file, np.int16, "w+", shape=(len(stand), found.shape[1]))
        here = slice(place, place + len(some))
        vectors[here] = np.rint(found * SCALE)
        traits[here] = [trait(record) for record in some]
        siblings[here] = [digest(record["group"]) | 1 if record["kind"] == "preference" else 0 for record in some]
        place += len(some)
    parent = connected(vectors, traits, siblings, semantic)
    return Alike(stand[parent[np.searchsorted(stand, root)]], root, stand, vectors)


def standing(table: Path, stand: U32) -> Iterator[Record]:
    """The rows that stand for a family."""
    wanted = iter(stand.tolist())
    next_one = next(wanted, -1)
    for place, record in enumerate(records.read(table)):
        if place == next_one:
            yield record
            next_one = next(wanted, -1)


def said(record: Record) -> str:
    """What is embedded."""
    return records.plain(record)


def trait(record: Record) -> int:
    """What two records must have in common: the kind, how a verdict closes, and the numbers."""
    closing = record["messages"][-1]["role"] if record["kind"] == "verdict" else ""
    return digest([record["kind"], closing, sorted(NUMBER.findall(said(record)))])


def digest(value: object) -> int:
    """64 bits of a value."""
    return int(records.fingerprint(value)[:16], 16)


def connected(vectors: npt.NDArray[np.int16], traits: U64, siblings: U64, semantic: params.Semantic) -> U32:
    """For each vector the first of those that it is connected with."""
    import torch

    parent = np.arange(len(vectors), dtype=np.uint32)
    device = weights.device(semantic.compute)
    least = semantic.threshold * SCALE**2

    def block(start: int) -> torch.Tensor:
        return torch.from_numpy(vectors[start : start + BLOCK].astype(np.float32)).to(device)

    for first in range(0, len(vectors), BLOCK):
        one = block(first)
        for second in range(first, len(vectors), BLOCK):
            left, right = (one @ block(second).T >= least).nonzero().cpu().numpy().T
            left, right = left + first, right + second
            pairs = (left < right) & (traits[left] == traits[right])
            pairs &= (siblings[left] != siblings[right]) | (siblings[left] == 0)
            parent = united(parent, left[pairs], right[pairs])
    return parent


def united(parent: U32, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> U32:
    """The families after some pairs were joined; of each, the first stands for it."""
    while len(left):
        one, other = parent[left], parent[right]
        new = one != other
        left, right, low, high = left[new], right[new], np.minimum(one, other)[new], np.maximum(one, other)[new]
        np.minimum.at(parent, high, low)
        parent = families.roots(parent)
    return parent
