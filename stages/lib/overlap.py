# mypy: disable-error-code="no-untyped-def,assignment"
"""Exact Jaccard similarity of sets of 32-bit hashes, and the families that it makes; compiled.

The same as :func:`stages.lib.minhash.connect` computes. Sets lie in ascending order, and a comparison stops as soon
as the threshold is out of reach. Not covered: finding the pairs.
"""

import numpy as np
from numba import types

from stages.lib.compiling import compiled, compiled_for, filled, given


@compiled
def arrange(values, found, end):
    """Append hashes in ascending order, each once: into buckets by their top bits, then by insertion."""
    bits = 0
    while 1 << bits < len(values):
        bits += 1
    shift = np.uint32(32 - bits)
    starts = np.zeros((1 << bits) + 1, dtype=np.int64)
    for value in values:
        starts[(np.int64(value) >> shift) + 1] += 1
    for bucket in range(1 << bits):
        starts[bucket + 1] += starts[bucket]
    for value in values:
        bucket = np.int64(value) >> shift
        found[end + starts[bucket]] = value
        starts[bucket] += 1
    for place in range(end + 1, end + len(values)):
        value = found[place]
        hole = place
        while hole > end and found[hole - 1] > value:
            found[hole] = found[hole - 1]
            hole -= 1
        found[hole] = value
    last = end
    for place in range(end + 1, end + len(values)):
        if found[place] != found[last]:
            last += 1
            found[last] = found[place]
    return last + 1


@compiled
def common(one, other, least):
    """How many hashes two sets share; less than ``least`` as soon as it can't be reached."""
    spare = len(one) + len(other) - 2 * least
    left, right, shared = 0, 0, 0
    while left < len(one) and right < len(other) and left + right - 2 * shared <= spare:
        low, high = one[left], other[right]
        left += low <= high
        right += high <= low
        shared += low == high
    return shared


@compiled
def find(parent, row):
    """The smallest member of a family."""
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@compiled_for(
    given(types.uint32), given(types.int64), filled(types.uint32), given(types.uint32), given(types.int64),
    given(types.uint32), given(types.uint64), types.float64,
)  # fmt: skip
def connect(members, bounds, parent, values, starts, sizes, siblings, threshold):
    """Join, in each bucket, the rows that are alike: ``members[bounds[b]:bounds[b + 1]]`` are bucket b."""
    for bucket in range(len(bounds) - 1):
        for later in range(bounds[bucket] + 1, bounds[bucket + 1]):
            row = members[later]
            mine = values[starts[row] : starts[row] + sizes[row]]
            for earlier in range(bounds[bucket], later):
                other = members[earlier]
                one, two = find(parent, row), find(parent, other)
                if one == two or (siblings[row] and siblings[row] == siblings[other]):
                    continue
                theirs = values[starts[other] : starts[other] + sizes[other]]
                both = len(mine) + len(theirs)
                least = np.int64(np.floor(threshold / (1 + threshold) * both))
                if least > min(len(mine), len(theirs)):
                    continue
                shared = common(mine, theirs, least)
                if shared / (both - shared) >= threshold:
                    parent[max(one, two)] = min(one, two)
