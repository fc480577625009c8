"""What a translator of single sentences is shown of a text, and how the text is put together again.

Layout never travels: line breaks, list markers, headings, the bones of tables and JSON, fences of code and role
markers stay where they are, and only the sentences between them are shown. What must stay within a sentence
(``verbatim.py``, emoji, blanks) travels as a mark that looks like a product's code, the kind of word
that translation models copy; a sentence whose marks don't all come back is translated stretch by stretch between
them instead, so that nothing is ever lost. With a translator that changes nothing, every text comes back to the
letter, but for white space within a sentence. Not covered: emphasis within a sentence, which the model sees as it is,
and prose that is wrapped into lines, which it sees line by line.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stages.lib.translate import verbatim

LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
BREAK = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
LEADER = re.compile(
    r"[ \t]*(?:>[ \t]*)*(?:(?:[-*+•–]|\d{1,3}[.)]|[a-zA-Z][.)](?![ \t]+[A-Z]\.)|#{1,6})[ \t]+)?(?:\[[ xX]\][ \t]+)?"
)  # what a line begins with: quoted, an item, a heading, a box
LABEL = re.compile(r"\*\*([^*]{1,100}:)\*\*[ \t]+|\*\*([^*]{1,100})\*\*[ \t]*[:–—-][ \t]+")  # **First:** what follows
GAP = re.compile(r"(?<=\S)(?: *\t[ \t]*| {3,})(?=\S)")  # between columns
EXTRA = re.compile(r"_{2,}|\.{4,}|[-=~]{3,}|[\u2190-\u2bff\u3030\ufe0f\u200d\U0001f000-\U0001faff]+")  # blanks, emoji
WALLS = frozenset({"json", "table", "role", "gap"})  # no sentence runs through one
LOOSE = frozenset({"extra", "tag", "token"})  # at an edge of a sentence it is none of the sentence's words
EMPHASIS = "*_~"
LETTER = re.compile(r"[^\W\d_]")
ESCAPE = re.compile(r'(\\(?:u[0-9a-fA-F]{4}|[^"u]))')  # of JSON, but for the quotation mark
MARKS = ("XZ", "QX", "ZQ", "WQ")
FILLER = "X"  # stands for what must stay, where sentences are told apart

STOP = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s)")
NEXT = re.compile(r"\s+[\"'“‘(\[*_]*(\w+|\S)")
TITLES = frozenset(
    "mr mrs ms dr prof st gen col capt lt sgt sen rep gov rev hon pres mt e.g i.e vs viz cf approx messrs".split()
)
COUNTED = frozenset("no nos vol fig figs eq eqs sec ch p pp art".split())  # abbreviations before a number
NAMED = frozenset("inc ltd co corp jr sr bros ph.d b.a m.a b.sc m.sc".split())  # after a name, within a sentence or not
HOURS = frozenset({"a.m", "p.m"})
DAYS = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august"
    " september october november december est edt pst pdt cst gmt utc et pt".split()
)
STARTERS = frozenset(
    "the a an this that these those it he she we they you i in on at for when while if but and so as there what how"
    " why who to his her our their my its your however after before since although because then once by with from"
    " some many most one please do does is are was were can could would will let".split()
)
WEAKER = ("; ", ": ", ", ", " ")  # where a sentence is cut that is too long for the model


@dataclass(frozen=True)
class Sentence:
    """What is translated as one: stretches of prose, and what stays between each two of them."""

    stretches: tuple[str, ...]
    kept: tuple[str, ...] = ()
    depth: int = 0  # of the strings of JSON that it stands in


Part = str | Sentence


def parts(text: str, longest: int) -> list[Part]:
    """A text as what stays and sentences of at most about so many characters, in order."""
    spans, found, end = all_spans(text), list[Part](), 0
    walls = [span for span in spans if span.kind in WALLS or BREAK.search(text, span.start, span.end)]
    inline = sorted(set(spans) - set(walls), key=lambda span: span.start)
    before = 0  # inline spans that lie further up
    for number, wall in enumerate([*walls, verbatim.Span(len(text), len(text), "end")]):
        here = before
        while here < len(inline) and inline[here].start < wall.start:
            here += 1
        if number and string_between(text, walls[number - 1], wall):
            found += quoted(text[end : wall.start], longest)
        else:
            found += prose(text, end, wall.start, inline[before:here], longest)
        found.append(text[wall.start : wall.end])
        end, before = wall.end, here
    return [part for part in found if part]


def all_spans(text: str) -> list[verbatim.Span]:
    """What must stay, in order and without overlaps."""
    more = [verbatim.Span(*match.span(), "extra") for match in EXTRA.finditer(text)]
    more += [verbatim.Span(*match.span(), "gap") for match in GAP.finditer(text)]
    spans, found, place = verbatim.spans(text), list[verbatim.Span](), 0
    for span in sorted(more, key=lambda span: span.start):
        while place < len(spans) and spans[place].end <= span.start:
            place += 1
        if place == len(spans) or spans[place].start >= span.end:
            found.append(span)
    return sorted([*spans, *found], key=lambda span: span.start)


def string_between(text: str, before: verbatim.Span, after: verbatim.Span) -> bool:
    """Whether what stands between two spans is the inside of a string of JSON."""
    return before.kind == after.kind == "json" and text[before.end - 1] == text[after.start] == '"'


def quoted(text: str, longest: int) -> Iterator[Part]:
    """The inside of a string of JSON: its escapes stay, its quotation marks are the sentence's."""
    for number, piece in enumerate(ESCAPE.split(text)):
        if number % 2:
            yield piece
            continue
        for part in parts(piece.replace('\\"', '"'), longest):
            yield escaped(part) if isinstance(part, str) else replace(part, depth=part.depth + 1)


def escaped(text: str) -> str:
    """A text as it stands in a string of JSON."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def prose(text: str, start: int, end: int, spans: list[verbatim.Span], longest: int) -> Iterator[Part]:
    """The lines of a stretch without walls, sentence by sentence."""
    filled = list(text[start:end])
    for span in spans:
        filled[span.start - start : span.end - start] = FILLER * (span.end - span.start)
    body, place = "".join(filled), 0
    for line in LINE.finditer(body):
        yield text[start + place : start + line.start()]
        leader = LEADER.match(body, line.start(), line.end())
        begin = leader.end() if leader else line.start()
        yield text[start + line.start() : start + begin]
        if label := LABEL.match(body, begin, line.end()):
            first, last = label.span(1) if label[1] else label.span(2)
            yield text[start + begin : start + first]
            yield from sentence(text, start + first, start + last, within(spans, start + first, start + last), longest)
            yield text[start + last : start + label.end()]
            begin = label.end()
        for first, last in cut(body, begin, line.end(), longest):
            yield text[start + begin : start + first]
            yield from sentence(text, start + first, start + last, within(spans, start + first, start + last), longest)
            begin = last
        place = line.end()
    yield text[start + place : end]


def within(spans: list[verbatim.Span], start: int, end: int) -> list[verbatim.Span]:
    """The spans that begin in a stretch; they are in order."""
    where = [bisect_left(spans, place, key=lambda span: span.start) for place in (start, end)]
    return spans[where[0] : where[1]]


def cut(body: str, begin: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Where the sentences of a line begin and end; those that are too long in pieces, at weaker signs."""
    for first, last in sentences(body, begin, end):
        while last - first > longest:
            half, whole = first + longest // 2, first + longest
            places = (body.rfind(sign, half, whole) + len(sign) for sign in WEAKER)
            at = next((place for place in places if place > half), 0)
            at = at or body.rfind(" ", first, whole) + 1 or body.find(" ", whole, last) + 1
            if not first < at < last:
                break
            yield first, at
            first = at
        yield first, last


def sentences(body: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the sentences of a line begin and end."""
    for stop in STOP.finditer(body, begin, end):
        after = NEXT.match(body, stop.end(), end)
        if after and ends(body, begin, stop, after[1]):
            yield begin, stop.end()
            begin = after.start() + len(after[0]) - len(after[0].lstrip())
    if begin < end:
        yield begin, end


def ends(body: str, begin: int, stop: re.Match[str], following: str) -> bool:
    """Whether a stop ends a sentence, by the word before it and the one behind it."""
    if following[0].islower():
        return False
    if not stop[0].startswith(".") or stop[0].startswith(".."):
        return True
    words = body[max(begin, stop.start() - 30) : stop.start()].split()
    word = words[-1].lstrip("\"'“‘([*_").lower() if words else ""
    if not body[begin : stop.start() - len(word)].strip(" \t\"'“‘([*_") and re.fullmatch(r"\d{1,3}|[a-z]", word):
        return False  # the number of an item
    if word in TITLES or (word in COUNTED and following[0].isdigit()):
        return False
    if word in HOURS:
        return following.lower() not in DAYS
    if word in NAMED or re.fullmatch(r"(?:[a-z]\.)*[a-z]", word):  # initials: J. Smith, the U.S. Army
        return following.lower() in STARTERS
    return True


def sentence(text: str, start: int, end: int, spans: list[verbatim.Span], longest: int) -> Iterator[Part]:
    """One sentence without what only surrounds it; all of it stays where nothing in it can be translated."""
    first, last, inside = start, end, list(spans)
    while True:
        before = first, last
        stop = inside[-1].end if inside else first
        begin = inside[0].start if inside else last
        while first < begin and (text[first] in EMPHASIS or text[first].isspace()):
            first += 1
        while last > max(stop, first) and (text[last - 1] in EMPHASIS or text[last - 1].isspace()):
            last -= 1
        if inside and inside[0].start == first and inside[0].kind in LOOSE:
            first = inside.pop(0).end
        if inside and inside[-1].end == last and inside[-1].kind in LOOSE:
            last = inside.pop().start
        if before == (first, last):
            break
    joined = list[tuple[int, int]]()
    for span in inside:  # two with no word between them are one
        alone = not joined or LETTER.search(text, joined[-1][1], span.start)
        joined.append((span.start, span.end) if alone else (joined.pop()[0], span.end))
    edges = [first, *(place for edge in joined for place in edge), last]
    stretches = [text[edges[place] : edges[place + 1]] for place in range(0, len(edges), 2)]
    kept = [text[edges[place] : edges[place + 1]] for place in range(1, len(edges) - 1, 2)]
    # what has no letter says the same in every language; what has no space for so long is no word of one
    if LETTER.search("".join(stretches)) and max(map(len, " ".join(stretches).split())) <= longest:
        yield text[start:first]
        yield Sentence(tuple(stretches), tuple(kept))
        yield text[last:end]
    else:
        yield text[start:end]


def marked(found: Sentence) -> tuple[str, str]:
    """A sentence as the model is shown it, and the letters of its marks (none when it has none)."""
    mark = free(found) if found.kept else ""
    between = [*(f"{mark}{number}" for number in range(1, len(found.kept) + 1)), ""]
    return " ".join("".join(map("".join, zip(found.stretches, between, strict=True))).split()), mark


def free(found: Sentence) -> str:
    """Letters that no mark in a sentence could be taken for, or none."""
    said = "".join(found.stretches).upper()
    return next((mark for mark in MARKS if mark not in said), "")


def restored(found: Sentence, translation: str) -> str | None:
    """A translation with what its marks stand for, or None when not each of them is there once."""
    shown, mark = marked(found)
    if not found.kept:
        return escape(found, like(shown, translation))
    if not mark:
        return None
    seen = re.compile(rf"{mark}\s?(\d+)", re.IGNORECASE)
    if sorted(seen.findall(translation)) != sorted(map(str, range(1, len(found.kept) + 1))):
        return None
    return escape(found, seen.sub(lambda match: found.kept[int(match[1]) - 1], like(shown, translation)))


def stretched(found: Sentence) -> list[str]:
    """The stretches of a sentence that are to be translated one by one."""
    return [" ".join(stretch.split()) for stretch in found.stretches if LETTER.search(stretch)]


def rejoined(found: Sentence, translations: list[str]) -> str:
    """A sentence out of the translations of its stretches."""
    said, whole = iter(translations), ""
    for stretch, kept in zip(found.stretches, [*found.kept, ""], strict=True):
        if LETTER.search(stretch):
            bare = stretch.strip()
            head, _, tail = stretch.partition(bare)
            stretch = head + like(bare, next(said)) + tail
        whole += stretch + kept
    return escape(found, whole)


def like(source: str, translation: str) -> str:
    """A translation that begins in lower case and ends without a stop where its source does: models add both."""
    if source[-1:].isalnum() and translation.endswith(".") and not translation.endswith(".."):
        translation = translation[:-1]
    if source[:1].islower() and translation[:1].isupper() and translation[1:2].islower():
        translation = translation[0].lower() + translation[1:]
    return translation


def escape(found: Sentence, text: str) -> str:
    """A text as it stands in the strings of JSON around it."""
    for _ in range(found.depth):
        text = escaped(text)
    return text
