# mypy: disable-error-code="no-untyped-def,assignment,call-arg,import-untyped,var-annotated"
"""The loops of deduplication, compiled: what ``shingles`` and ``minhash`` define, in one pass over the bytes.

A text costs a read of its bytes: runs of ASCII letters, digits and bytes above them are looked up whole, up to 16
bytes as two integers, in a table of runs met before, so that UTF-8 is decoded and folded once for each spelling of
a syllable and not for each place. The table is a cache (a collision overwrites), which no result depends on.
Compiled functions hold no lock: threads run them on batches of their own. They import numba, so whoever needs them
imports this module inside a function; compiling takes seconds, which is why small tables do without.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from stages.lib.dedup import shingles
from stages.lib.dedup.compiling import compiled, compiled_for, filled, given
from stages.lib.dedup.overlap import arrange
from stages.lib.dedup.shingles import GAP, IDEOGRAPHS, LAST, LONE, MARK, RUN, U8, U64, fold

LETTER, TOKEN, TEXT, MIX = (
    np.uint64(value) for value in (shingles.LETTER, shingles.TOKEN, shingles.TEXT, shingles.MIX)
)
LASTING = np.uint64(LAST)
N1, N8, N29, N32 = np.uint64(1), np.uint64(8), np.uint64(29), np.uint64(32)
ZERO = np.uint64(0)
SLOTS = 15  # bits
SLOT = np.uint64(64 - SLOTS)
TOP = np.uint32(0xFFFFFFFF)
# per byte: adding FROM_x carries into the top bit from x on, adding ABOVE_x behind it
LOW, HIGH, CASE, FROM_A, ABOVE_Z, FROM_0, ABOVE_9 = (
    np.uint64(0x0101010101010101 * byte) for byte in (0x7F, 0x80, 0x20, 0x1F, 0x05, 0x50, 0x46)
)
N3, N7, N16, N64 = np.uint64(3), np.uint64(7), np.uint64(16), np.uint64(64)


TEXTS = types.Tuple([given(types.uint8), given(types.int64), given(types.int64)])
TABLES = types.Tuple([given(types.uint8)] * 2 + [given(types.uint64)] * 3)


def alphabet() -> tuple[U8, U64, U64, U64]:
    """(kind, factor, add, tone) of every code point below ``LAST``."""
    kinds, adds = np.full(LAST, LONE, dtype=np.uint8), shingles.mix(np.arange(1, LAST + 1, dtype=np.uint64))
    factors, tones = np.full(LAST, LETTER), np.zeros(LAST, dtype=np.uint64)
    powers = shingles.powers(shingles.LETTER, 32)
    for code in sorted(set(range(LAST)).difference(*IDEOGRAPHS)):
        found = fold(code)
        kinds[code], factors[code], adds[code], tones[code] = found.kind, powers[found.letters], found.add, found.tone
    return kinds, factors, adds, tones


def memory() -> U64:
    """An empty table of runs: the bytes as two integers, and the key."""
    return np.zeros((1 << SLOTS, 4), dtype=np.uint64)


@intrinsic
def eight(typing, data, place):
    """The eight bytes from a place on as one little-endian integer."""

    def build(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(data, types.int64), build


@intrinsic
def trailing(typing, value):
    """The number of zeros below the lowest one of an integer."""

    def build(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@compiled
def gaps(word):
    """The top bit of each of eight bytes that is ASCII and neither a letter nor a digit."""
    ascii = word & LOW
    letter = ((ascii | CASE) + FROM_A) & ~((ascii | CASE) + ABOVE_Z)
    digit = (ascii + FROM_0) & ~(ascii + ABOVE_9)
    return ~(word | letter | digit) & HIGH


@compiled
def mix(value):
    value = (value ^ (value >> N32)) * MIX
    value = (value ^ (value >> N29)) * MIX
    return value ^ (value >> N32)


@compiled
def spell(data, start, end, kinds, factors, adds, tones, keys, count):
    """Append the keys of the tokens between two places of UTF-8 text."""
    key, tone, state = ZERO, ZERO, GAP
    place = start
    while place < end:
        byte = np.int64(data[place])
        more = (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
        code = byte
        if more == 1:
            code = byte & 0x1F
        elif more == 2:
            code = byte & 0x0F
        elif more == 3:
            code = byte & 0x07
        place += 1
        while more > 0 and place < end:
            code = code << 6 | np.int64(data[place]) & 0x3F
            place += 1
            more -= 1
        if code < LAST:
            kind, factor, add, toned = kinds[code], factors[code], adds[code], tones[code]
        else:
            kind, factor, add, toned = np.uint8(MARK if code >> 8 in (0xE00, 0xE01) else GAP), N1, ZERO, ZERO
        if kind == MARK:
            if state != GAP:
                key += add
                tone += toned
            continue
        if state != GAP and not (kind == RUN and state == RUN):
            keys[count] = mix(key + tone) | N1
            count += 1
            state = GAP
        if kind != GAP:
            key = (key if state == RUN else ZERO) * factor + add
            tone = (tone if state == RUN else ZERO) + toned
            state = RUN if kind == RUN else LONE
    if state != GAP:
        keys[count] = mix(key + tone) | N1
        count += 1
    return count


@compiled
def cut(data, start, end, word, found, count):
    """Append the runs of a message: (its first 8 bytes, the next 8, where it begins, where it ends)."""
    place = start
    while place + 16 <= end:
        # no branch depends on where a run ends, unless it is longer than 8 bytes
        begin = place
        low, high = eight(data, place), ZERO
        ends = gaps(low)
        if ends:
            low &= ((ends & -ends) >> N7) - N1
            place += np.int64(trailing(ends) >> N3)
        else:
            high = eight(data, place + 8)
            ends = gaps(high)
            place += 16
            if ends:
                high &= ((ends & -ends) >> N7) - N1
                place += np.int64(trailing(ends) >> N3) - 8
            while place < end and word[data[place]]:
                place += 1
        found[count, 0], found[count, 1], found[count, 2], found[count, 3] = low, high, begin, place
        count += low != ZERO
        place += 1
    while place < end:
        begin = place
        low, high, shift = ZERO, ZERO, ZERO
        while place < end and word[data[place]]:
            if place < begin + 8:
                low |= np.uint64(data[place]) << shift
            elif place < begin + 16:
                high |= np.uint64(data[place]) << (shift - N64)
            shift += N8
            place += 1
        found[count, 0], found[count, 1], found[count, 2], found[count, 3] = low, high, begin, place
        count += low != ZERO
        place += 1
    return count


@compiled
def scan(data, start, end, tables, memo, found, keys, count):
    """Append the keys of a message's tokens."""
    word, kinds, factors, adds, tones = tables
    for run in range(cut(data, start, end, word, found, 0)):
        low, high = found[run, 0], found[run, 1]
        slot = ((low ^ (high * TOKEN)) * MIX) >> SLOT
        if memo[slot, 0] == low and memo[slot, 1] == high and found[run, 3] - found[run, 2] <= N16:
            keys[count] = memo[slot, 2]
            count += memo[slot, 2] != ZERO
            continue
        before = count
        begin, place = np.int64(found[run, 2]), np.int64(found[run, 3])
        count = spell(data, begin, place, kinds, factors, adds, tones, keys, count)
        if count - before <= 1 and place - begin <= 16:
            memo[slot, 0], memo[slot, 1] = low, high
            memo[slot, 2] = keys[before] if count > before else ZERO
    return count


@compiled
def read(texts, record, size, tables, memo, found, keys, values, lengths):
    """Fill in a record's shingles: their number and the hash of the tokens in order."""
    data, messages, records = texts
    count = 0
    for message in range(records[record], records[record + 1]):
        before = count
        count = scan(data, messages[message], messages[message + 1], tables, memo, found, keys, count)
        lengths[message - records[0]] = count - before
    if count == 0:
        for place in range(messages[records[record]], messages[records[record + 1]]):
            if data[place] > 32:
                keys[count] = mix(np.uint64(data[place]) + LASTING) | N1
                count += 1
    exact = ZERO
    for place in range(count):
        exact = exact * TEXT + keys[place]
    runs = max(1, count - size + 1)
    width = min(size, count)
    for place in range(runs):
        value = ZERO
        for step in range(width):
            value = value * TOKEN + keys[place + step]
        values[place] = np.uint32(mix(value) >> N32)
    return runs, mix(exact)


@compiled
def longest(texts):
    """The size in bytes of the largest record."""
    _, messages, records = texts
    found = 0
    for record in range(len(records) - 1):
        found = max(found, messages[records[record + 1]] - messages[records[record]])
    return found


@compiled
def minima(values, count, factors, offsets, least):
    """The minimum of each permutation over a record's shingles, four of them at a time."""
    for row in range(len(least)):
        least[row] = TOP
    # to repeat the last value changes no minimum
    for place in range(count, count + 3):
        values[place] = values[count - 1]
    for place in range(0, count, 4):
        one, two, three, four = values[place], values[place + 1], values[place + 2], values[place + 3]
        for row in range(len(least)):
            factor, offset = factors[row], offsets[row]
            first = min(np.uint32(one * factor + offset), np.uint32(two * factor + offset))
            second = min(np.uint32(three * factor + offset), np.uint32(four * factor + offset))
            least[row] = min(least[row], min(first, second))


@compiled_for(
    TEXTS, types.int64, given(types.uint32), given(types.uint32), given(types.uint64), TABLES, filled(types.uint64, 2),
    filled(types.uint64), filled(types.uint32, 2), filled(types.uint32), filled(types.uint32),
)  # fmt: skip
def sketch(texts, size, factors, offsets, seeds, tables, memo, exact, bands, lengths, runs):
    """Fill in, for each record of a batch, the hash of all it says, its band keys and its messages' lengths."""
    room = longest(texts) + 4
    keys, values, found = np.empty(room, np.uint64), np.empty(room, np.uint32), np.empty((room // 2 + 2, 4), np.uint64)
    least = np.empty(len(factors), dtype=np.uint32)
    rows = len(factors) // len(bands)
    for record in range(len(texts[2]) - 1):
        count, exact[record] = read(texts, record, size, tables, memo, found, keys, values, lengths)
        runs[record] = count
        minima(values, count, factors, offsets, least)
        for band in range(len(bands)):
            key = seeds[record]
            for row in range(band * rows, band * rows + rows):
                key = key * TOKEN + np.uint64(least[row])
            bands[band, record] = np.uint32(mix(key) >> N32)


@compiled_for(
    TEXTS, types.int64, TABLES, filled(types.uint64, 2), given(types.int64), filled(types.uint32), given(types.int64),
    filled(types.uint32),
)  # fmt: skip
def sets(texts, size, tables, memo, rows, found, starts, sizes):
    """Write the shingles of some records as sets in ascending order, each from its start; and their sizes."""
    room = longest(texts) + 1
    keys, values, runs = np.empty(room, np.uint64), np.empty(room, np.uint32), np.empty((room // 2 + 2, 4), np.uint64)
    lengths = np.empty(len(texts[1]), dtype=np.uint32)
    scratch = np.empty(2 * room + 2, dtype=np.int64)
    for record in rows:
        count, _ = read(texts, record, size, tables, memo, runs, keys, values, lengths)
        sizes[record] = arrange(values[:count], found, starts[record], scratch) - starts[record]


@compiled_for(TEXTS, TABLES, filled(types.uint64, 2), filled(types.uint64), filled(types.int64))
def fill_tokens(texts, tables, memo, keys, counts):
    """Write the token keys of all messages of a batch, one behind the other, and the number of each message's."""
    data, messages, _ = texts
    widest = 0
    for message in range(len(counts)):
        widest = max(widest, messages[message + 1] - messages[message])
    found = np.empty((widest // 2 + 2, 4), np.uint64)
    end = 0
    for message in range(len(counts)):
        before = end
        end = scan(data, messages[message], messages[message + 1], tables, memo, found, keys, end)
        counts[message] = end - before
