"""What in a text must not be translated, so that its loss can be told.

Code (fenced, inline, and lines that stand about without a fence), formulas, addresses, placeholders, tags, the
bones of JSON and of Markdown tables, and role markers; ``mask`` leaves the prose, with a numbered token ``⟦1⟧``,
``⟦2⟧``, … for each. Not covered: comments and messages inside code, which count as code.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

TOKEN = re.compile(r"⟦\s*(\d+)\s*⟧")
ROLES = "Human|Assistant|User|System|AI|Bot|Instruction|Input|Output|Response|Question|Answer"
SPANS = {
    "code": r"(?P<fence>```|~~~).*?(?:(?P=fence)|\Z)|`[^`\n]+`"
    r"|(?<![\w.])[A-Za-z_][\w.]*\((?:[^()\n]*[,=\d\"'][^()\n]*)?\)",
    "token": r"⟦[^⟦⟧\n]*⟧",
    "latex": r"\$\$.{1,3000}?\$\$|\\\[.{1,3000}?\\\]|\\\(.{1,3000}?\\\)"
    r"|\\begin\{(?P<env>[a-z*]+)\}.{0,3000}?\\end\{(?P=env)\}|\$(?=[^\s$])[^$\n]*[\\^_={][^$\n]*(?<!\s)\$(?!\d)",
    "url": r"(?:https?://|www\.)[^\s<>\"'`|]*[^\s<>\"'`|.,;:!?)\]}*_]",
    "e-mail": r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "role": rf"^[ \t]*(?:#{{1,6}} ?)?(?:{ROLES}):|\[/?(?:INST|SYS)\]|<\|[^|<>\n]*\|>",
    "tag": r"</?[A-Za-z][\w-]*(?:\s[^<>\n]*)?/?>",
    "placeholder": r"\{\{[^{}\n]*\}\}|\$\{\w+\}|\{\w*\}|%\(\w+\)[sdf]|%(?:\d*\.?\d+)?[sdf]\b|\[[A-Z][A-Z_ ]+\]",
    "table": r"^[ \t]*(?:\|[ \t]*)?(?::?-{3,}:?[ \t]*\|[ \t]*)+(?::?-{3,}:?[ \t]*|(?<=\|))$",
}
FOUND = re.compile("|".join(f"(?P<{name.replace('-', '_')}>{rule})" for name, rule in SPANS.items()), re.S | re.M)
ROW = re.compile(r"^[ \t]*\|.*\|[ \t]*$", re.M)
KEY = re.compile(r"\s*:")  # behind a string that is one
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# a line that is code by itself: a statement, a call, a declaration, a bracket, a query
CODE_LINE = re.compile(
    r"""^[ \t]*(?:
    (?:def|class)\ \w+.*:\s* | (?:from\ [\w.]+\ )?import\ [\w.*{}, ]+;? | (?:for|while|if|elif|with)\ .*:\s*
    | (?:else|try|finally):\s* | except\b.*:\s* | return\b[^.]*;? | @\w+(?:\(.*\))?
    | (?:public|private|protected|static|const|let|var|function|int|float|double|char|void|bool|string|auto)\ .*[;{(=].*
    | [#]include\ .* | (?:SELECT|INSERT|UPDATE|DELETE|CREATE|FROM|WHERE|JOIN|GROUP\ BY|ORDER\ BY)\ .*[;*=,(].*
    | [\w.\[\]'"]+\ ?(?:[-+*/]|:)?=\ ?[^=\s].* | [\w.]+\([^()]*(?:\([^()]*\)[^()]*)*\);?
    | [^\s].*[=()\[\]{}<>].*;\s* | [^\s].*\{\s* | [)}\]]+[;,)]*\s* | //.* | <\?.*
    )$""",
    re.VERBOSE,
)
PROSE = re.compile(r"[a-zà-ỹ]{2,} [a-zà-ỹ]{2,} [a-zà-ỹ]{2,} [a-zà-ỹ]{2,}[^;{}]*$")


@dataclass(frozen=True)
class Span:
    """A stretch of a text that must stay as it is, and what it is."""

    start: int
    end: int
    kind: str


@lru_cache(maxsize=64)  # several validators ask for the same text
def spans(text: str) -> tuple[Span, ...]:
    """What must not be translated, in order and without overlaps."""
    found = [
        Span(match.start(), match.end(), (match.lastgroup or "").replace("_", "-")) for match in FOUND.finditer(text)
    ]
    found += [*code_lines(text), *json_bones(text), *table_bones(text)]
    kept: list[Span] = []
    # the widest of those that begin together; one that overlaps an earlier one yields
    for span in sorted(found, key=lambda span: (span.start, -span.end)):
        if span.end > span.start and (not kept or span.start >= kept[-1].end):
            kept.append(span)
    return tuple(kept)


def code_lines(text: str) -> Iterator[Span]:
    """Runs of lines that are code without a fence."""
    place, start, end = 0, -1, -1
    for line in text.splitlines(keepends=True):
        bare = line.rstrip()
        if bare and CODE_LINE.match(bare) and not PROSE.search(bare):
            start, end = (place if start < 0 else start), place + len(bare)
        elif bare and start >= 0:
            yield Span(start, end, "code")
            start = -1
        place += len(line)
    if start >= 0:
        yield Span(start, end, "code")


def objects(text: str) -> Iterator[tuple[int, int]]:
    """Where objects of JSON begin and end."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        end = place + 1
        if re.match(r'\{\s*"', text[place : place + 50]):
            try:
                _, end = decoder.raw_decode(text, place)
            except (ValueError, RecursionError):  # no JSON, or a number or a depth that Python doesn't read
                pass
            else:
                yield place, end
        place = text.find("{", end)


def json_bones(text: str) -> Iterator[Span]:
    """Objects of JSON but for the sentences in them: values of several words."""
    for begin, end in objects(text):
        for match in STRING.finditer(text, begin, end):
            if " " in match[0].strip('" ') and not KEY.match(text, match.end(), end):
                yield Span(begin, match.start() + 1, "json")
                begin = match.end() - 1
        yield Span(begin, end, "json")


def skeleton(text: str) -> str:
    """An object of JSON with empty texts for its values, which may be translated."""

    def bare(match: re.Match[str]) -> str:
        return match[0].replace(" ", "\\u0020") if KEY.match(text, match.end()) else '""'

    return re.sub(r"\s", "", STRING.sub(bare, text))


def table_bones(text: str) -> Iterator[Span]:
    """The bars of the rows of Markdown tables."""
    for row in ROW.finditer(text):
        for bar in re.finditer(r"\|", row[0]):
            yield Span(row.start() + bar.start(), row.start() + bar.end(), "table")


def mask(text: str) -> tuple[str, list[str]]:
    """The text with numbered tokens, and what each of them stands for."""
    parts, taken, end = [], list[str](), 0
    for span in spans(text):
        taken.append(text[span.start : span.end])
        parts += [text[end : span.start], f"⟦{len(taken)}⟧"]
        end = span.end
    return "".join([*parts, text[end:]]), taken
