# mypy: disable-error-code="no-untyped-def,assignment"
"""Exact Jaccard similarity of sets of 32-bit hashes, and the families that it makes; compiled.

The same as :func:`stages.lib.minhash.connect` computes. Sets lie in ascending order, and a comparison stops as soon
as the threshold is out of reach. Not covered: finding the pairs.
"""

import numpy as np
from numba import types

from stages.lib.compiling import compiled, compiled_for, filled, given


@compiled
def arrange(values, found, end, starts):
    """Append hashes in ascending order, each once: into buckets by their top bits, then by insertion."""
    bits = 0
    while 1 << bits < len(values):
        bits += 1
    shift = np.uint32(32 - bits)
    starts[: (1 << bits) + 1] = 0
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


@compiled
def alike(one, other, values, starts, sizes, threshold):
    """Whether two rows' sets reach the threshold."""
    mine, theirs = values[starts[one] : starts[one] + sizes[one]], values[starts[other] : starts[other] + sizes[other]]
    both = len(mine) + len(theirs)
    least = np.int64(np.floor(threshold / (1 + threshold) * both))
    if least > min(len(mine), len(theirs)):
        return False
    shared = common(mine, theirs, least)
    return shared / (both - shared) >= threshold


@compiled_for(
    given(types.uint32), given(types.int64), filled(types.uint32), given(types.uint32), given(types.int64),
    given(types.uint32), given(types.uint64), types.float64,
)  # fmt: skip
def connect(members, bounds, parent, values, starts, sizes, siblings, threshold):
    """Join, in each bucket, the rows that are alike: ``members[bounds[b]:bounds[b + 1]]`` are bucket b.

    A bucket's rows are kept as lists by family, so that a row is compared with a family until one of it is alike:
    of a bucket of copies each row costs one comparison, of a bucket of strangers all pairs are compared.
    """
    widest = 0
    for bucket in range(len(bounds) - 1):
        widest = max(widest, bounds[bucket + 1] - bounds[bucket])
    heads, tails, following = np.empty(widest, np.int64), np.empty(widest, np.int64), np.empty(widest, np.int64)
    for bucket in range(len(bounds) - 1):
        # most buckets hold two rows that an earlier band joined
        root, joined = find(parent, members[bounds[bucket]]), True
        for place in range(bounds[bucket] + 1, bounds[bucket + 1]):
            if find(parent, members[place]) != root:
                joined = False
                break
        if joined:
            continue
        count = 0
        for place in range(bounds[bucket], bounds[bucket + 1]):
            row = members[place]
            for family in range(count):
                first = find(parent, members[bounds[bucket] + heads[family]])
                mine = find(parent, row)
                at = -1 if first == mine else heads[family]
                while at >= 0:
                    other = members[bounds[bucket] + at]
                    related = siblings[row] and siblings[row] == siblings[other]
                    if not related and alike(row, other, values, starts, sizes, threshold):
                        parent[max(first, mine)] = min(first, mine)
                        break
                    at = following[at]
            # the row, and then every family that it joined, goes to the end of the first of them
            root = find(parent, row)
            kept, home = 0, -1
            for family in range(count):
                head, tail = heads[family], tails[family]
                if find(parent, members[bounds[bucket] + head]) == root:
                    if home >= 0:
                        following[tails[home]] = head
                        tails[home] = tail
                        continue
                    home = kept
                heads[kept], tails[kept] = head, tail
                kept += 1
            at = place - bounds[bucket]
            following[at] = -1
            if home >= 0:
                following[tails[home]] = at
                tails[home] = at
            else:
                heads[kept] = tails[kept] = at
                kept += 1
            count = kept
