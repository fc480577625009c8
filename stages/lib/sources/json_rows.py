"""JSON lines, JSON arrays and JSON values one after the other, row by row, whatever is wrong with some of them.

A row that can't be read is handed on as :class:`stages.lib.sources.rows.Refused`, and the rows behind it are found
again. A key that stands twice in an object with different values is a fault; NaN and Infinity, which are no JSON, are
null, as Python writes them where a value is missing. MongoDB's dialect is read too. Not covered: other dialects
(JSON5).
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from stages.lib.sources.rows import (
    BOM,
    CHUNK,
    CONFLICT,
    RAW_BOUND,
    ROW_BOUND,
    Refused,
    Row,
    dump,
    encodable,
    line_by_line,
    printable,
    too_long,
)

SPACE = re.compile(r"[\s,]*")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# MongoDB's shell writes these where JSON wants a value. Behind a key they can be told from the same words within a
# text, whose quotes would be escaped; elsewhere only the parser can tell
CALL = r'(?:ISODate|ObjectId|NumberLong|NumberInt|NumberDecimal|Timestamp|BinData)\(\s*("?)([^()"\\]*)\2\s*\)'
MONGO = re.compile(r'((?<!\\)"\s*:\s*)' + CALL)
MONGO_HERE = re.compile("()" + CALL)
OBJECT = re.compile(r'[\n,]\s*\{\s*"')


class Duplicate(ValueError):
    """An object holds two values under one key."""

    raw = ""  # the row, where it isn't at hand otherwise


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless one of its keys has two different values: nobody can say which one was meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise Duplicate(key)
    return found


# NaN and Infinity are no JSON, but Python writes them where a value is missing: they are read as null
DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=lambda name: None)
LENIENT = json.JSONDecoder()


def json_lines(file: BinaryIO) -> Iterator[Row | Refused]:
    """A JSON value a line."""
    decode, surrogate = DECODER.decode, SURROGATE.search
    for number, line in line_by_line(file):
        if isinstance(line, Refused):
            yield line
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            value = decode(text)
        except UnicodeDecodeError:
            yield Refused(str(number), "not UTF-8", line.decode("utf-8", "replace")[:RAW_BOUND])
        except Duplicate as error:
            yield duplicate(str(number), error, text)
        except json.JSONDecodeError as error:
            yield not_json(str(number), text, f"{error.msg} at column {error.colno}")
        except (RecursionError, ValueError) as error:  # a number of over 4,300 digits
            yield not_json(str(number), text, "nested too deeply" if isinstance(error, RecursionError) else str(error))
        else:
            if surrogate(line) and not encodable(value):
                yield Refused(str(number), "not UTF-8", printable(text)[:RAW_BOUND], "half of an escaped pair")
            else:
                yield str(number), value


def values(file: BinaryIO) -> Iterator[Row | Refused]:
    """The elements of a JSON array, or JSON values one after the other however they are laid out."""
    window = Window(file)
    window.skip()
    array = window.startswith("[")
    if array:
        window.position += 1
    number = 0
    found: Any = None
    while found is not None or window.skip():
        if found is None and array and window.startswith("]"):
            window.position += 1
            array = False
            continue
        number += 1
        try:
            value = window.value() if found is None else found.pop()
        except Duplicate as error:
            yield duplicate(str(number), error, error.raw)
        except ValueError as error:
            raw, length, found = window.recover()
            text = printable(raw)
            array = array and not (window.ended and window.text.rstrip().endswith("]"))
            if length > ROW_BOUND:
                yield too_long(str(number), text, length)
            else:
                yield not_json(str(number), text, f"{error}; {length:,} characters were passed over")
            continue
        else:
            if window.surrogates and not encodable(value):
                yield Refused(str(number), "not UTF-8", printable(dump(value))[:RAW_BOUND])
            else:
                window.learn(value)
                yield str(number), value
        found = None
    if array:
        yield Refused(str(number + 1), "not JSON", "", "the file ends within the array: it was cut")


class Window:
    """The stretch of a JSON text that is being read: a row or a chunk, whichever is longer."""

    def __init__(self, file: BinaryIO) -> None:
        self.text = ""
        self.position = 0
        self.ended = False
        self.surrogates = False  # whether a row may hold what is no Unicode
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._mongo = bool(MONGO.search(cast(io.BufferedReader, file).peek(CHUNK).decode("utf-8", "replace")))
        self._keys: set[str] = set()
        self._dropped = 0  # characters before the window
        self.grow()
        self.text = self.text.removeprefix(BOM)

    def grow(self) -> None:
        """Drop what was read and add a chunk, at least as long as what is left."""
        chunk = self._file.read(max(CHUNK, len(self.text) - self.position))
        self.ended = not chunk
        if self._mongo:
            chunk += self._file.readline(ROW_BOUND)  # no construct is cut by the end of the chunk
        text = self._decode(chunk, self.ended)
        self.surrogates = self.surrogates or bool(SURROGATE.search(chunk)) or not encodable(text)
        self.text = self.text[self.position :] + (MONGO.sub(r'\1"\3"', text) if self._mongo else text)
        self._dropped += self.position
        self.position = 0

    def skip(self) -> bool:
        """Go to the next value, past blanks and commas; whether there is anything left."""
        while True:
            match = SPACE.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.text) or self.ended:
                return self.position < len(self.text)
            self.grow()

    def startswith(self, sign: str) -> bool:
        """Whether the text goes on with a sign."""
        return self.text.startswith(sign, self.position)

    def value(self) -> Any:
        """The value at the position, and go behind it. Raises ValueError, at the same position, if it is none."""
        doubled: Duplicate | None = None
        while True:
            try:
                # the hook stops at a key that is there twice, before the end is known
                value, end = (LENIENT if doubled else DECODER).raw_decode(self.text, self.position)
            except Duplicate as error:
                doubled = error
                continue
            except RecursionError:
                raise ValueError("nested too deeply") from None
            except json.JSONDecodeError as error:
                if match := MONGO_HERE.match(self.text, error.pos):
                    self._mongo = True
                    self.text = f'{self.text[: error.pos]}"{match[3]}"{self.text[match.end() :]}'
                    continue
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - 12
                if self.ended or not cut:
                    raise ValueError(f"{error.msg} at character {error.pos - self.position + 1} of the row") from None
            else:
                if end < len(self.text) or self.ended or isinstance(value, dict | list | str):
                    if doubled:
                        doubled.raw = self.text[self.position : end]
                    self.position = end
                    if doubled:
                        raise doubled
                    return value
            if len(self.text) - self.position > ROW_BOUND:
                raise ValueError("no end in sight")
            self.grow()

    def learn(self, value: Any) -> None:
        """Rows have keys in common: after a broken one, that tells the next row from an object within it."""
        if isinstance(value, dict) and len(self._keys) < 100:
            self._keys.update(value)

    def recover(self) -> tuple[str, int, list[Any] | None]:
        """Go to the next row: the head and the length of what was passed over, and that row in a list, if any."""
        raw, begun = self.text[self.position : self.position + RAW_BOUND], self._dropped + self.position
        self.position += 1
        while True:
            match = OBJECT.search(self.text, self.position)
            if match is None:
                if self.ended:
                    self.position = len(self.text)
                    return raw, self._dropped + self.position - begun, None
                self.position = max(self.position, len(self.text) - 200)  # the sign of a row may be cut by the end
                self.grow()
                continue
            self.position = match.start() + 1
            self.skip()
            passed = self._dropped + self.position - begun
            try:
                value = self.value()
            except Duplicate:
                continue
            except ValueError:
                self.position += 1
                continue
            if not self._keys or self._keys & value.keys():
                return raw[:passed].rstrip(), passed, [value]


def not_json(number: str, text: str, detail: str) -> Refused:
    """A stretch that is no JSON; a merge that nobody finished is called by its name."""
    reason = "merge-conflict marker" if CONFLICT.match(text) else "not JSON"
    return Refused(number, reason, text[:RAW_BOUND], detail)


def duplicate(number: str, error: Duplicate, text: str) -> Refused:
    """An object in which a key has two values."""
    return Refused(number, "duplicate key", printable(text[:RAW_BOUND]), f"{error} has two values")
