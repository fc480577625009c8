# mypy: disable-error-code="no-untyped-def,assignment,call-arg"
"""Exact Jaccard similarity of sets of 32-bit hashes, and the families that it makes; compiled.

The same families as :func:`stages.lib.dedup.minhash.connect` finds. Sets lie in ascending order, and a comparison stops
as soon as the threshold is out of reach. In a small bucket all pairs are compared. In a large one only those that no
bound tells apart, and no bound loses a pair that is alike: two rows must share one of their rarest hashes (prefix
filtering; Bayardo et al. 2007), early enough for their sizes (Xiao et al. 2008), and the bits in which sketches of
their sets differ are no more than what they may differ in (after Sandes et al. 2019). So letters of one form, each with
words of its own in the gaps, cost about as much each however many they are. Not covered: finding the buckets. What
still grows with the square, at some 0.1 microseconds a pair: letters whose rarest words are the same few, and are not
alike.
"""

import numpy as np
from numba import types
from numba.extending import intrinsic

from stages.lib.dedup.compiling import compiled, compiled_for, filled, given

FEW = 32  # rows in a bucket, of which all pairs are compared
WORDS = 8  # of 64 bits in a sketch
SLOTS = 24  # bits at most, in the tables of a large bucket
LEVELS = 34  # of rarity
NEAR = 1e-6  # more than rounding can add to a number of shingles
N1, N3, N7, N63 = np.uint64(1), np.uint64(3), np.uint64(7), np.uint64(63)


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


@intrinsic
def ones(typing, value):
    """The number of ones in an integer."""

    def build(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


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
def needed(shingles):
    """The whole number that a number of shingles comes to at least."""
    return np.int64(np.ceil(shingles - NEAR))


@compiled
def alike(one, other, values, starts, sizes, siblings, threshold):
    """Whether two rows' sets reach the threshold, which those of siblings never do."""
    if siblings[one] and siblings[one] == siblings[other]:
        return False
    mine, theirs = values[starts[one] : starts[one] + sizes[one]], values[starts[other] : starts[other] + sizes[other]]
    both = len(mine) + len(theirs)
    least = needed(threshold / (1 + threshold) * both)
    if least > min(len(mine), len(theirs)):
        return False
    shared = common(mine, theirs, least)
    return shared / (both - shared) >= threshold


@compiled
def rank(items, keys, ends, ranked):
    """Order some items by their keys, which are less than there are ends; those of one key stay in order."""
    ends[:] = 0
    for place in range(len(items)):
        ends[keys[place] + 1] += 1
    for key in range(1, len(ends)):
        ends[key] += ends[key - 1]
    for place in range(len(items)):
        ranked[ends[keys[place]]] = items[place]
        ends[keys[place]] += 1


@compiled
def may_be_alike(one, other, rows, sketches, sizes, threshold):
    """Whether the sketches of two places leave it open that their sets reach the threshold."""
    both = np.int64(sizes[rows[one]]) + np.int64(sizes[rows[other]])
    spare = both - 2 * needed(threshold / (1 + threshold) * both)
    apart = 0
    for word in range(WORDS):
        apart += np.int64(ones(sketches[one, word] ^ sketches[other, word]))
    return apart <= spare


@compiled
def connect_many(members, parent, values, starts, sizes, siblings, threshold):
    """Join the rows of a large bucket that are alike; compiled when the first such bucket is met.

    From the largest set to the smallest, each is looked up by its rarest hashes in an index of those before it, which
    holds for a hash a list of rows, the smallest set first. Where rows of one family stand side by side in a list, a
    row of that family leaps over them: of a bucket of copies each row costs one comparison.
    """
    total, widest, room = 0, 0, 0
    for row in members:
        size = np.int64(sizes[row])
        total, widest, room = total + size, max(widest, size), room + size - needed(threshold * size) + 1
    keys, ends = np.empty(max(len(members), widest), np.int64), np.empty(max(LEVELS, widest) + 1, np.int64)
    for place in range(len(members)):
        keys[place] = widest - sizes[members[place]]
    rows, ranked = np.empty(len(members), np.uint32), np.empty(widest, np.uint32)
    rank(members, keys, ends, rows)
    bits = 1
    while 4 << bits < total and bits < SLOTS:
        bits += 1
    shift = np.uint32(32 - bits)
    heads, sketches = np.zeros(1 << bits, np.int32), np.zeros((len(rows), WORDS), np.uint64)
    for place in range(len(rows)):
        row = rows[place]
        for value in values[starts[row] : starts[row] + sizes[row]]:
            heads[value >> shift] += 1
            sketches[place, value & N7] ^= N1 << ((value >> N3) & N63)
    rarity = np.zeros(1 << bits, np.uint8)  # the logarithm of how often
    for slot in range(1 << bits):
        while heads[slot]:
            heads[slot] >>= 1
            rarity[slot] += 1
    heads[:] = -1
    # of each entry of the index: the place of its row, the next in its list, and one behind which its family ends
    held, following, leap, count = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32), 0
    met = np.full(len(rows), -1, np.int32)
    for place in range(len(rows)):
        row = rows[place]
        size = np.int64(sizes[row])
        mine = values[starts[row] : starts[row] + size]
        for step in range(size):
            keys[step] = rarity[mine[step] >> shift]
        rank(mine, keys, ends[:LEVELS], ranked)
        root = find(parent, row)
        for step in range(size - needed(2 * threshold / (1 + threshold) * size) + 1):
            # what shares nothing rarer shares at most the rest, which is enough for small sets alone
            largest = (size - step) * (1 + threshold) / threshold - size + NEAR
            at = heads[ranked[step] >> shift]
            while at >= 0 and sizes[rows[held[at]]] <= largest:
                other = held[at]
                family = find(parent, rows[other])
                if family == root:
                    beyond = leap[at]
                    while beyond >= 0 and find(parent, rows[held[beyond]]) == root:
                        beyond = leap[beyond]
                    leap[at] = beyond
                    at = beyond
                    continue
                if met[other] != place:
                    met[other] = place
                    if may_be_alike(place, other, rows, sketches, sizes, threshold) and alike(
                        row, rows[other], values, starts, sizes, siblings, threshold
                    ):
                        parent[max(family, root)] = min(family, root)
                        root = min(family, root)
                at = following[at]
        for step in range(size - needed(threshold * size) + 1):
            slot = ranked[step] >> shift
            held[count], following[count], leap[count], heads[slot] = place, heads[slot], heads[slot], count
            count += 1


@compiled
def joined(rows, parent):
    """Whether some rows are one family already."""
    root, place = find(parent, rows[0]), 1
    while place < len(rows) and find(parent, rows[place]) == root:
        place += 1
    return place == len(rows)


@compiled_for(
    given(types.uint32), given(types.int64), filled(types.uint32), given(types.uint32), given(types.int64),
    given(types.uint32), given(types.uint64), types.float64,
)  # fmt: skip
def connect_few(members, bounds, parent, values, starts, sizes, siblings, threshold):
    """Join the rows of small buckets that are alike."""
    for bucket in range(len(bounds) - 1):
        rows = members[bounds[bucket] : bounds[bucket + 1]]
        # most buckets hold two rows that an earlier band joined
        if len(rows) > FEW or joined(rows, parent):
            continue
        for place in range(1, len(rows)):
            for other in rows[:place]:
                one, two = find(parent, rows[place]), find(parent, other)
                if one != two and alike(rows[place], other, values, starts, sizes, siblings, threshold):
                    parent[max(one, two)] = min(one, two)


def connect(members, bounds, parent, values, starts, sizes, siblings, threshold):
    """Join, in each bucket, the rows that are alike: ``members[bounds[b]:bounds[b + 1]]`` are bucket b."""
    connect_few(members, bounds, parent, values, starts, sizes, siblings, threshold)
    large = np.flatnonzero(np.diff(bounds) > FEW)
    for begin, end in zip(bounds[large], bounds[large + 1], strict=True):
        rows = members[begin:end]
        if not joined(rows, parent):
            connect_many(rows, parent, values, starts, sizes, siblings, threshold)
