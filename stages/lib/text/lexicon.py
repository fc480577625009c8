"""Phrases to look for in a text as whole words, also where they are spelt to slip through.

A lexicon is a file of lines: a phrase; ``(a|b)`` inside one stands for either; ``=`` before one is found only as it
is written, and not where it is a quantity (``vl = v * l``, ``5 cl``); ``!`` before one makes it innocent, so that
what it holds is not looked at (``! hạt óc chó``); ``#`` begins a comment. Letters drawn out (``nguuuu``) and letters
with dots, dashes or stars between them (``v.c.l``, ``đ-ị-t``) are read as the word. Not covered: words without their
marks, and digits for letters, unless a line says so.
"""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from stages.lib.text.vietnamese import place_tones

GROUP = re.compile(r"\(([^()]*)\)")
PARTED = re.compile(r"[.*_-](?<=\b[^\W\d_].)[^\W\d_](?!\w\w)")  # without which there is none of the next
SPELT = re.compile(r"(?<![\w.*-])[^\W\d_](?:[.*_-][^\W\d_])+(?![\w*])")
THRICE = re.compile(r"(.)\1\1")  # is sought faster
DRAWN = re.compile(r"([^\W\d_])\1{2,}")
# what minds its case is short: it may be a unit after a number, or a quantity that is given, or has an index
BEFORE, AFTER = r"(?<!\b[A-Z] )(?<!\d )", r"(?!\s*[=:²³^/]|\s+\d)"


@dataclass(frozen=True)
class Lexicon:
    """Phrases as patterns: of any case (to be sought in small letters), as written, and innocent ones."""

    small: re.Pattern[str]
    written: re.Pattern[str]
    innocent: re.Pattern[str]

    def find(self, text: str) -> str:
        """The first phrase in a text, or an empty string."""
        return self.look(text) or self.look(unmasked(text))

    def look(self, text: str) -> str:
        """As :meth:`find`, in the text as it stands."""
        small = text.lower()
        if match := self.small.search(small):
            match = self.small.search(self.innocent.sub(" ", small))
        if match is None and (match := self.written.search(text)):
            match = self.written.search(self.innocent.sub(" ", text))
        return match[0] if match else ""


def unmasked(text: str) -> str:
    """A text with letters that were drawn out or parted put together, or nothing where there are none."""
    joined = SPELT.sub(lambda match: re.sub(r"[.*_-]", "", match[0]), text) if PARTED.search(text) else text
    new = DRAWN.sub(r"\1", joined) if THRICE.search(joined) else joined
    return new if new != text else ""


def phrases(path: Path) -> Lexicon:
    """A lexicon file."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = [phrase for line in lines if line for phrase in spelt(line)]
    innocent = [phrase[1:].strip() for phrase in found if phrase[0] == "!"]
    written = [re.escape(phrase[1:]) for phrase in found if phrase[0] == "="]
    small = [phrase for phrase in found if phrase[0] not in "!="]
    return Lexicon(whole_words(grouped(small)), whole_words(written, BEFORE, AFTER), whole_words(grouped(innocent)))


def whole_words(parts: list[str], before: str = "", after: str = "") -> re.Pattern[str]:
    """A pattern of whole words; of none, one that is nowhere."""
    return re.compile(rf"(?<!\w){before}(?:{'|'.join(parts) or '(?!)'})(?!\w){after}")


def grouped(found: list[str]) -> list[str]:
    """Patterns of phrases in small letters, the longest first, those with one first word together: sought in one go."""
    tails: dict[str, list[str]] = {}
    for phrase in sorted(found, key=len, reverse=True):
        first, blank, rest = phrase.lower().partition(" ")
        tails.setdefault(first, []).append(re.escape(blank + rest))
    return [rf"{re.escape(first)}(?:{'|'.join(rests)})" for first, rests in tails.items()]


def spelt(line: str) -> list[str]:
    """The phrases that a line stands for, each in both conventions of tone placement."""
    pieces = GROUP.split(line)
    choices = [piece.split("|") if place % 2 else [piece] for place, piece in enumerate(pieces)]
    found = [" ".join("".join(parts).split()) for parts in product(*choices)]
    return list(dict.fromkeys(place_tones(phrase, style) for phrase in found for style in ("old", "new")))
