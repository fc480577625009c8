"""What is long travels in pieces, cut where a reader would pause, and comes back as one text.

Paragraphs stay together as far as they fit, else lines, else sentences, else words. Code, formulas, addresses and
objects of JSON are never cut; items of lists and tables only where a single one is too long. For any text, ``join``
gives back what ``split`` parted. Not covered: what a piece needs to know of the others
(``translation.py``).
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from stages.lib.text.vietnamese import syllables
from stages.lib.translate import verbatim
from stages.lib.translate.sentences import ABBREVIATION

SPACE = re.compile(r"\s+")
BLANK = re.compile(r"\n[ \t]*\n")
ENDED = re.compile(r"[.!?…][\"'”’)\]]{0,4}\Z")
BEGUN = re.compile(r"[\"'“‘(\[]*[^\W\da-z_]")
ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s")
PARAGRAPH, LINE, WITHIN_ITEM, SENTENCE, ROW, WORD = range(6)  # kinds of places to cut at, the best ones first


class Piece(NamedTuple):
    """A part of a text, and the white space that stands behind it."""

    text: str
    after: str


class Gap(NamedTuple):
    """White space at which a text may be cut, and how good a place it is."""

    start: int
    end: int
    rank: int


def split(text: str, longest: int) -> list[Piece]:
    """The text in pieces of at most so many characters, but for what must not be cut."""
    if len(text) <= longest:
        return [Piece(text, "")]
    return packed(text, Gap(len(text), len(text), PARAGRAPH), 0, list(gaps(text)), longest, PARAGRAPH)


def packed(text: str, stop: Gap, start: int, inside: list[Gap], longest: int, rank: int) -> list[Piece]:
    """A stretch up to ``stop``: neighbours together as far as they fit, the too long cut at the next kind of place."""
    if stop.start - start <= longest or rank > WORD:
        return [Piece(text[start : stop.start], text[stop.start : stop.end])]
    pieces, waiting = list[Piece](), list[Gap]()
    begin = at = start
    for gap in [*inside, stop]:
        if gap.rank > rank and gap is not stop:
            waiting.append(gap)
            continue
        if pieces and gap.start - at <= longest:
            pieces[-1] = Piece(text[at : gap.start], text[gap.start : gap.end])
        else:
            new = packed(text, gap, begin, waiting, longest, rank + 1)
            pieces += new
            at = gap.start - len(new[-1].text)  # where the last piece begins
        begin, waiting = gap.end, []
    return pieces


def gaps(text: str) -> Iterator[Gap]:
    """Where a text may be cut: all white space that stands in nothing that must stay whole."""
    closed = [(span.start, span.end) for span in verbatim.spans(text)] + list(verbatim.objects(text))
    closed.sort()
    starts, reach = [start for start, _ in closed], list[int]()
    for _, end in closed:
        reach.append(max(end, reach[-1] if reach else 0))
    short = {match.end() for match in ABBREVIATION.finditer(text)}
    tables = [match.span() for match in verbatim.ROW.finditer(text)]
    rows, ends = {start for start, _ in tables}, {end for _, end in tables}
    row_starts = [start for start, _ in tables]
    for space in SPACE.finditer(text):
        start, end = space.span()
        if start == 0 or end == len(text):
            continue
        place = bisect_right(starts, start) - 1
        if place >= 0 and reach[place] > start:
            continue
        line = text.rfind("\n", start, end) + 1  # where the next line begins, or 0
        row = bisect_right(row_starts, start) - 1
        if BLANK.search(text, start, end):
            yield Gap(start, end, PARAGRAPH)
        elif line:
            broken = ROW if line in rows and text.find("\n", start, end) in ends else LINE
            if broken == LINE and line < end and not ITEM.match(text, end):
                broken = WITHIN_ITEM  # an indented line goes on with what the line above says
            yield Gap(start, end, broken)
        elif row >= 0 and tables[row][1] > start:
            yield Gap(start, end, WORD)
        elif start not in short and ENDED.search(text, max(start - 6, 0), start) and BEGUN.match(text, end):
            yield Gap(start, end, SENTENCE)
        else:
            yield Gap(start, end, WORD)


def wordless(text: str) -> bool:
    """Whether nothing in a text can be translated."""
    return not syllables(verbatim.TOKEN.sub(" ", verbatim.mask(text)[0]))
