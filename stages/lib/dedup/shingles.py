"""From text to the 32-bit hashes of its syllable shingles, straight from UTF-8 bytes.

A token is a maximal run of letters and digits, or one character of a script that sets no spaces (Han, kana).
A token's key is a polynomial in its letters, to which each combining mark adds at the place of the letter under
it and each of the five tones adds at no place: so keys are blind to case, to composition (NFC, NFD and anything
between) and to where a tone stands (hoà, hòa), and see every other difference. A shingle is ``size`` tokens in a
row; a shorter text is one shingle. A text without any letter or digit is compared byte by byte.

This is the definition, in numpy, and quick enough for some ten thousand records; ``kernels.py``
computes the same numbers in one pass. Not covered: capitals of the Turkish dotless i and of the like, whose
small letters are several; numbers written with separators, which are several tokens.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# odd multipliers of the polynomials over letters, over a shingle's tokens and over a text's tokens, and of `mix`
LETTER, TOKEN, TEXT = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F
MIX = 0xE7037ED1A0B428DB

GAP, RUN, MARK, LONE = 0, 1, 2, 3  # what a character is: between tokens, of a run, on another, a token by itself
TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")
IDEOGRAPHS = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0x20000, 0x2F800), range(0x30000, 0x40000))
UNSPACED = (*IDEOGRAPHS, range(0x3005, 0x3008), range(0x3040, 0x3100), range(0x31F0, 0x3200))
LAST = 0x40000  # from here on nothing is assigned but tags, variation selectors and private use
WORD = np.array([byte >= 0x80 or chr(byte).isalnum() for byte in range(256)], dtype=np.uint8)


class Texts(NamedTuple):
    """Records as UTF-8: record r is the messages ``records[r]`` to ``records[r + 1]``, message m likewise of bytes."""

    data: U8
    messages: I64
    records: I64


class Shingles(NamedTuple):
    """Of each record its shingle hashes (a multiset), from ``offsets[r]``; ``exact`` of all its tokens in order."""

    values: U32
    offsets: I64
    exact: U64
    lengths: U32  # tokens of each message


class Fold(NamedTuple):
    """What a character does to the key of the token it stands in: ``key * LETTER ** letters + add``, and its tones."""

    kind: int
    letters: int
    add: int
    tone: int


def digest(text: str) -> int:
    """A 64-bit hash that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def mix(value: U64) -> U64:
    """Spread every bit of a 64-bit number over all of it."""
    value = (value ^ (value >> np.uint64(32))) * np.uint64(MIX)
    value = (value ^ (value >> np.uint64(29))) * np.uint64(MIX)
    return value ^ (value >> np.uint64(32))


def scatter(code: int) -> int:
    """A 64-bit hash of one code point."""
    value = ((code + 1) ^ ((code + 1) >> 32)) * MIX % 2**64
    value = (value ^ (value >> 29)) * MIX % 2**64
    return value ^ (value >> 32)


def fold(code: int) -> Fold:
    """How a code point counts, by its canonical decomposition and, of letters, the case folding of the capital."""
    if 0xD800 <= code < 0xE000 or code >= LAST:
        return Fold(MARK if code >> 8 in (0xE00, 0xE01) else GAP, 0, 0, 0)
    if any(code in block for block in IDEOGRAPHS):
        return Fold(LONE, 1, scatter(code), 0)
    kind, letters, add, tone = GAP, 0, 0, 0
    for part in unicodedata.normalize("NFD", chr(code)):
        category = unicodedata.category(part)
        if category[0] == "M" or category == "Cf":
            kind = kind or MARK
            if part in TONES:
                tone += scatter(ord(part))
            elif category[0] == "M" and not 0xFE00 <= ord(part) <= 0xFE0F and part != "\u034f":
                add += scatter(ord(part))
        elif category[0] in "LN":
            kind = kind or (LONE if any(ord(part) in block for block in UNSPACED) else RUN)
            for letter in unicodedata.normalize("NFD", part.upper().casefold()):
                marks = unicodedata.category(letter)[0] == "M"
                letters += not marks
                add = add * (1 if marks else LETTER) + scatter(ord(letter))
        else:
            return Fold(GAP, 0, 0, 0)
    return Fold(kind, letters, add % 2**64, tone % 2**64)


def texts(column: pa.Array) -> Texts:
    """A column of strings, or of lists of structs with a ``content``, as bytes and offsets; no text is copied."""
    if pa.types.is_list(column.type):
        records = np.asarray(column.offsets, dtype=np.int64)
        strings = column.values.field("content").slice(records[0], records[-1] - records[0])
        records = records - records[0]
    else:
        records = np.arange(len(column) + 1, dtype=np.int64)
        strings = column
    strings = strings.cast(pa.large_string())
    _, offsets, data = strings.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[strings.offset :][: len(strings) + 1] if offsets else np.zeros(1)
    return Texts(np.frombuffer(data or b"", dtype=np.uint8), bounds.astype(np.int64, copy=False), records)


def of_strings(strings: Iterable[str]) -> Texts:
    """Python strings as records of one message each; half a surrogate pair becomes a question mark."""
    return texts(pa.array([text.encode("utf-8", "replace").decode() for text in strings], type=pa.string()))


def powers(base: int, count: int) -> U64:
    """The powers 0 to ``count`` of an odd multiplier, modulo 2^64."""
    found = np.ones(count + 1, dtype=np.uint64)
    found[1:] = base
    return np.multiply.accumulate(found)


def shingle(batch: Texts, size: int) -> Shingles:
    """The shingles of each record of a batch."""
    codes, message = decode(batch)
    keys, where = tokens(codes, message)
    lengths = np.bincount(where, minlength=len(batch.messages) - 1).astype(np.uint32)
    before = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    offsets = before[batch.records]
    keys, offsets = with_wordless(batch, keys[offsets[0] : offsets[-1]], offsets - offsets[0])
    counts = np.diff(offsets)
    runs = np.maximum(1, counts - size + 1)
    bounds = np.concatenate(([0], np.cumsum(runs)))
    record = np.repeat(np.arange(len(runs)), runs)
    first = offsets[:-1][record] + np.arange(bounds[-1]) - bounds[:-1][record]
    values = np.zeros(len(first), dtype=np.uint64)
    padded = np.append(keys, np.zeros(size, dtype=np.uint64))
    for step in range(size):
        values = np.where(step < counts[record], values * np.uint64(TOKEN) + padded[first + step], values)
    ranks = np.repeat(offsets[1:], counts) - np.arange(len(keys)) - 1
    weights = powers(TEXT, int(counts.max(initial=0)))[ranks]
    exact = mix(sums(keys * weights, offsets))
    return Shingles((mix(values) >> np.uint64(32)).astype(np.uint32), bounds, exact, lengths)


def decode(batch: Texts) -> tuple[I64, I64]:
    """The code points of a batch, and the message that each stands in."""
    start, end = int(batch.messages[0]), int(batch.messages[-1])
    data = np.append(batch.data[start:end], np.zeros(3, dtype=np.uint8)).astype(np.int64)
    lead = np.flatnonzero((data[:-3] & 0xC0) != 0x80)
    first = data[lead]
    extra = (first >= 0xC0).astype(np.int64) + (first >= 0xE0) + (first >= 0xF0)
    codes = first & np.array([0x7F, 0x1F, 0x0F, 0x07])[extra]
    for step in (1, 2, 3):
        codes = np.where(step <= extra, codes << 6 | data[lead + step] & 0x3F, codes)
    return codes, np.searchsorted(batch.messages - start, lead, side="right") - 1


def tokens(codes: I64, message: I64) -> tuple[U64, I64]:
    """The keys of all tokens, and the message of each."""
    alphabet, inverse = np.unique(codes, return_inverse=True)
    folds = [fold(int(code)) for code in alphabet] or [Fold(GAP, 0, 0, 0)]
    kind = np.array([found.kind for found in folds])[inverse]
    bases = np.flatnonzero(kind != MARK)
    # the letter under each mark is the last character before it that is no mark
    under = bases[np.maximum(np.cumsum(kind != MARK) - 1, 0)] if len(bases) else np.zeros(len(kind), dtype=np.int64)
    inside = (kind[under] % 2 == 1) & (message[under] == message) & (under <= np.arange(len(kind)))
    before = np.concatenate(([-1], bases[:-1])) if len(bases) else bases
    runs_on = (kind[bases] == RUN) & (kind[before] == RUN) & (message[bases] == message[before]) & (before >= 0)
    starting = np.zeros(len(kind), dtype=bool)
    starting[bases[~runs_on & (kind[bases] % 2 == 1)]] = True
    starts = np.flatnonzero(starting[inside])
    chosen = inverse[inside]
    letters = np.cumsum(np.array([found.letters for found in folds])[chosen])
    bounds = np.append(starts, len(chosen))
    after = np.repeat(letters[bounds[1:] - 1], np.diff(bounds)) - letters
    weights = powers(LETTER, int(after.max(initial=0)))[after]
    added = np.array([found.add for found in folds], dtype=np.uint64)[chosen]
    toned = np.array([found.tone for found in folds], dtype=np.uint64)[chosen]
    return mix(sums(added * weights + toned, bounds)) | np.uint64(1), message[inside][starts]


def with_wordless(batch: Texts, keys: U64, offsets: I64) -> tuple[U64, I64]:
    """Give the records without a token one for each of their bytes that is no space."""
    empty = np.flatnonzero(np.diff(offsets) == 0)
    bounds = batch.messages[batch.records]
    drawn = [batch.data[bounds[row] : bounds[row + 1]] for row in empty]
    drawn = [data[data > 32] for data in drawn]
    sizes = np.array([len(data) for data in drawn], dtype=np.int64)
    if not sizes.sum():
        return keys, offsets
    added = mix(np.concatenate(drawn).astype(np.uint64) + np.uint64(LAST)) | np.uint64(1)
    grown = np.diff(offsets)
    grown[empty] = sizes
    return np.insert(keys, np.repeat(offsets[empty], sizes), added), np.concatenate(([0], np.cumsum(grown)))


def sums(values: U64, bounds: I64) -> U64:
    """The sums modulo 2^64 of runs of values."""
    total = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(values, dtype=np.uint64)))
    return total[bounds[1:]] - total[bounds[:-1]]
