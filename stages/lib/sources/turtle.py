"""Turtle in one pass, whatever the file's size: its triples, and what of it is none.

A statement that can't be read is a fault, and reading goes on at the next line that begins like a statement.
pyoxigraph parses (see ``benchmarks/turtle.py``); it can go on after an error by itself, but takes literals for what
is between them once a quote is missing, so the statements around an error are parsed one by one.

Not covered: statements that begin within a line, beside an error, and literals over LONGEST.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

CHUNK = 1 << 18  # bytes
LONGEST = 1 << 20  # bytes that are searched for the end of a statement
# A line that begins like a statement: subject, predicate, and more.
STATEMENT = re.compile(
    rb"^(?:(?:[\w-]*:[^\s\"<>]*|<[^<>\s]*>)[ \t]+(?:a|[\w-]*:[\w-]+|<[^<>\s]*>)[ \t]|@(?:prefix|base)\b)", re.M
)
QUOTES = b'"""'
STOP = re.compile(rb"\.[ \t]*\r?\n")
Triple = tuple[Any, Any, Any]
Split = Callable[[bytes], Iterator[bytes]]


@dataclass(frozen=True)
class Fault:
    """What could not be read: where (``line 7``, or a node's name), why, the text as it stood, and more of why."""

    where: str
    reason: str
    raw: str
    detail: str = ""


def read(file: BinaryIO, known: Mapping[str, str]) -> Iterator[Triple | Fault]:
    """Each triple as pyoxigraph terms, and each statement that is none; ``known`` prefixes need not be declared."""
    prefixes = dict(known)
    line = 1
    for chunk in chunks(file):
        yield from sifted(chunk, line, prefixes, [groups, statements, sentences])
        line += chunk.count(b"\n")


def sifted(text: bytes, line: int, prefixes: dict[str, str], splits: list[Split]) -> Iterator[Triple | Fault]:
    """The triples of a text; when an error is in it, those of its parts, down to the statement with the error."""
    try:
        triples = parsed(text, prefixes)
    except SyntaxError as error:
        if not splits:
            reason = re.sub(r"^Parser error [^:]*: | \(line \d+\)$", "", str(error))[:200]
            line += text[: len(text) - len(text.lstrip())].count(b"\n")
            yield Fault(f"line {line}", "no Turtle", text.decode("utf-8", "replace").strip(), reason)
            return
    else:
        yield from triples
        return
    for part in splits[0](text):
        yield from sifted(part, line, prefixes, splits[1:])
        line += part.count(b"\n")


def parsed(text: bytes, prefixes: dict[str, str]) -> list[Triple]:
    """The triples of some whole statements; prefixes that they declare are kept for the next. Raises SyntaxError."""
    import pyoxigraph

    # on the first line, so that line numbers stay; a prefix that the text declares itself takes the place of ours
    header = "".join(f"@prefix {name}: <{iri}> . " for name, iri in prefixes.items() if name != "@base")
    parser = pyoxigraph.parse(
        header.encode() + text, pyoxigraph.RdfFormat.TURTLE, base_iri=prefixes.get("@base"), lenient=True
    )
    triples = [(triple.subject, triple.predicate, triple.object) for triple in parser]
    prefixes |= parser.prefixes
    if parser.base_iri:
        prefixes["@base"] = parser.base_iri
    return triples


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces of about CHUNK bytes, each of whole statements where their ends can be told."""
    text = file.read(CHUNK).removeprefix(b"\xef\xbb\xbf")
    while text:
        more = file.read(CHUNK)
        end = last_start(text) if more else len(text)
        if not end and len(text) > LONGEST:
            end = max((match.start() for match in STATEMENT.finditer(text)), default=0) or len(text)
        if end:
            yield text[:end]
        text = text[end:] + more


def last_start(text: bytes) -> int:
    """Where the last statement begins, told by its line, the full stop before it and closed quotes; 0 for nowhere."""
    quotes, seen = text.count(QUOTES), len(text)
    line = len(text)
    while (line := text.rfind(b"\n", 0, line)) > 0:
        if STATEMENT.match(text, line + 1) and stopped(text, line):
            quotes -= text.count(QUOTES, line, seen)
            seen = line
            if quotes % 2 == 0:
                return line + 1
    return 0


def stopped(text: bytes, line: int) -> bool:
    """Whether what stands before the end of a line ends in a full stop."""
    return text[max(0, line - 80) : line].rstrip().endswith(b".")


def groups(text: bytes) -> Iterator[bytes]:
    """The statements of a text, by the lines that begin one after a full stop and outside of a long literal."""
    return cut(text, (match.start() for match in STATEMENT.finditer(text) if stopped(text, match.start())))


def sentences(text: bytes) -> Iterator[bytes]:
    """What is left, cut after each line that ends in a full stop outside of a long literal."""
    return cut(text, (match.end() for match in STOP.finditer(text)))


def cut(text: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """A text cut at those places before which all long literals are closed."""
    start = seen = quotes = 0
    for place in places:
        quotes += text.count(QUOTES, seen, place)
        seen = place
        if quotes % 2 == 0 and text[start:place].strip():
            yield text[start:place]
            start = place
    yield text[start:]


def statements(text: bytes) -> Iterator[bytes]:
    """The same by every line that looks like one: a quote may be missing, or a full stop."""
    starts = [match.start() for match in STATEMENT.finditer(text) if match.start()]
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        yield text[start:end]
