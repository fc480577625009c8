"""What a translation may have lost, by name: ``verdict`` is the first thing that is wrong with one, or None.

Surface checks alone: they count scripts, words, sentences, numbers, list items and what must stay as it is
(``verbatim.py``). What a team may see otherwise is a param; the other thresholds were chosen on the first
half of IWSLT'15 tst2012, and hold on the second (``benchmarks/validators.md``). A fluent sentence that says something
else passes most of them: ``meaning.py``. Not covered: style and grammar.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from stages.lib.clean.answers import FAILURE_MARKERS
from stages.lib.params import Checks
from stages.lib.records import Verdict
from stages.lib.text.numbers import lost, new
from stages.lib.text.vietnamese import syllables
from stages.lib.translate import verbatim
from stages.lib.translate.sentences import unpaired
from stages.lib.translate.stops import END, ended
from stages.lib.translate.untranslated import english


class Band(NamedTuple):
    """Characters of a translation for each character of its source; ``up_to`` is the longest source it is for."""

    up_to: float
    lowest: float
    highest: float


# about where 99% of IWSLT'15 lies: 0.50-2.24, 0.57-1.80, 0.64-1.51, with room for other kinds of text
BANDS = (Band(40, 0.4, 2.6), Band(100, 0.5, 2.0), Band(float("inf"), 0.55, 1.7))
MEASURED = 20  # characters of a source from which lengths are compared: in shorter ones a word more is a lot
FOREIGN = 0.02  # share of letters in a script that neither Vietnamese nor the source is written in
LOOP, LOOP_UNIT = 12, 40  # syllables in a row that repeat one unit, and the most that a unit has
ANSWERING = re.compile(
    r"^\W*(chắc chắn rồi|tất nhiên rồi|dĩ nhiên rồi|rất vui được giúp|tôi rất vui|vâng, tôi có thể|với tư cách là"
    r"|xin lỗi, (?:nhưng )?tôi không thể|(?:dưới|sau) đây là|đây là (?:bản dịch|phần|câu trả lời|đoạn|nội dung)"
    r"|bản dịch|sure[,!]|certainly|of course|here is|here's|i'm sorry|as an ai)",
    re.IGNORECASE,
)
OPENING = re.compile(
    r"^\W*(sure|certainly|of course|absolutely|glad|happy|yes|i'm happy|i am happy|i'd be|as an?|sorry|i'm sorry"
    r"|i am sorry|i apologi|here|below|this is|these are|the following|translat|unfortunately)",
    re.IGNORECASE,
)
REQUEST = re.compile(
    r"(?:^|[.!?:,\n])\s*(?:please|kindly|(?:can|could|would|will) you|let's|do|don't|add|analy[sz]e|answer|arrange"
    r"|calculate|categori[sz]e|change|check|choose|classify|come|compare|complete|compose|compute|construct|convert|correct"
    r"|count|create|define|delete|describe|design|detect|determine|develop|discuss|divide|draft|draw|edit|estimate|evaluate"
    r"|explain|extract|fill|find|fix|generate|give|group|guess|help|identify|imagine|improve|insert|list|look|make|match"
    r"|name|order|organi[sz]e|outline|paraphrase|pick|plan|point|predict|prepare|propose|prove|provide|put|rank|rate|read"
    r"|recommend|rephrase|replace|research|rewrite|say|select|separate|share|show|simplify|solve|sort|specify|state"
    r"|suggest|summari[sz]e|take|talk|teach|tell|think|translate|turn|use|verify|write)\b",
    re.IGNORECASE,
)
REQUEST_VI = re.compile(
    r"(?:^|[.!?:\n])\W*(?:hãy|xin (?:hãy|bạn|cho)|vui lòng|làm ơn|giúp|cho tôi|bạn hãy|ta hãy)\b", re.IGNORECASE
)
POLITE = re.compile(r"\b(?:can|could|would|will|may|might|shall|why don't|how about)\b", re.IGNORECASE)
ASKING = re.compile(
    r"\b(?:không|chưa|à|ư|hả|nhỉ|chứ|sao|gì|nào|đâu|ai|mấy|bao nhiêu|bao giờ|thế nào|ra sao|bao lâu|phải không)"
    r"[\s.!…\"”]*$",
    re.IGNORECASE,
)
QUESTION = re.compile(r"[?？]")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
SPELLED = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|first|second|third|half|once|twice|both"
    r"|couple|pair|quarter|double|decades?|centur(?:y|ies)|(?:jan|febr)uary|march|april|may|june|july|august"
    r"|(?:septem|octo|novem|decem)ber|(?-i:Jan|Feb|Mar|Apr|May|Jun|June|Jul|July|Aug|August|Sept?|Oct|Nov|Dec|Mon|Tue|Wed|Thu"
    r"|Fri|Sat|Sun)|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b|\d(?:st|nd|rd|th|s|k|m)\b|'\s?\d\d|[ap]\.?m\b",
    re.IGNORECASE,
)
ITEM = re.compile(r"^[ \t]*(?:[-*+•–]|\d{1,3}[.)]|[a-zA-Z][.)])[ \t]+\S", re.MULTILINE)
COMMENT = re.compile(r"(?:#|//|--).*$|/\*.*?\*/|\"\"\".*?\"\"\"|\"[^\"\n]*\"|'[^'\n]*'", re.MULTILINE | re.DOTALL)
WIDTH = re.compile(r"[ \t]*:?-{3,}:?[ \t]*")  # of a column in the line below a table's head
CODE_TOKEN = re.compile(r"[A-Za-z_]\w*|[{}()\[\];=<>+*/]")
HEADING = re.compile(r"(?:#{1,6} ?)?(?:Instruction|Input|Output|Response|Question|Answer):")  # may be translated
VERBATIM = frozenset({"role", "url", "e-mail", "latex", "placeholder", "tag", "json", "table", "token"})


def verdict(
    source: str, translation: str, *, finish_reason: str, checks: Checks, reach: float = math.inf
) -> Verdict | None:
    """(name, detail) of the first check that a translation fails, or None.

    ``reach`` says what a missing stop tells about this translator (``stops.py``).
    """
    if not translation.strip():
        return "empty translation", ""
    if marker := next((marker for marker in FAILURE_MARKERS if marker in translation), None):
        return "failure marker", marker
    if finish_reason == "length":
        return "truncated", "finish_reason length"
    for check in CHECKS:
        if fault := check(source, translation, checks):
            return fault
        if check is length and (fault := whole(source, translation, reach)):
            return fault
    return None


def script(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Letters of a script that neither Vietnamese nor the source is written in."""
    letters = [sign for sign in translation if sign.isalpha()]
    known = set(source)
    others = [sign for sign in letters if sign > "\u024f" and sign not in known and not latin(sign)]
    if others and len(others) > FOREIGN * len(letters):
        return "wrong script", "".join(others[:20])
    return None


def looped(source: str, translation: str, checks: Checks) -> Verdict | None:
    """A run of syllables that repeats one unit, much longer than any in the source."""
    unit, count = repeated(syllables(translation.lower()), LOOP_UNIT)
    if len(unit) * count < LOOP or count <= 2:
        return None
    there, before = repeated(syllables(source.lower()), LOOP_UNIT)
    return None if len(there) * before >= LOOP / 2 else ("looped", f"{' '.join(unit)[:60]} ×{count}")


def answered(source: str, translation: str, checks: Checks) -> Verdict | None:
    """A question that became none, or the phrases with which assistants begin."""
    asked = QUESTION.search(source.rstrip()[-3:])
    asks = QUESTION.search(translation) or ASKING.search(translation.rstrip())
    requests = REQUEST_VI.search(translation)
    if asked and not asks and not (requests and POLITE.search(source)):
        return "answered instead of translated", "the question is gone"
    if asks or requests or OPENING.search(source) or not (asked or REQUEST.search(source)):
        return None
    match = ANSWERING.search(translation)
    return ("answered instead of translated", match[0].strip()) if match else None


def code(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Names and signs of code, strings and comments aside."""
    for span in verbatim.spans(source):
        if span.kind == "code":
            part = source[span.start : span.end]
            bones = Counter(CODE_TOKEN.findall(COMMENT.sub(" ", part)))
            kept = bones & Counter(CODE_TOKEN.findall(translation))
            if bones and kept.total() < checks.code * bones.total():
                return "code lost", part[:80]
    return None


def placeholders(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Addresses, formulas, placeholders, tags, the marks of roles, the bones of JSON and tables."""
    wanted, there = to_the_letter(source), to_the_letter(translation)
    for (kind, part), count in wanted.items():
        if max(there[kind, part], translation.count(part) if kind not in {"table", "json"} else 0) < count:
            return "placeholders lost", f"{kind} {part[:80]}"
    return None


def to_the_letter(text: str) -> Counter[tuple[str, str]]:
    """(kind, text) of what must be found again: to the letter, but for the width of tables and JSON's values."""
    kept = Counter[tuple[str, str]]()
    bones = set[int]()
    for span in verbatim.spans(text):
        part = text[span.start : span.end].strip()
        if span.kind == "json":
            bones.add(span.start)
        elif span.kind in VERBATIM and not (span.kind == "role" and HEADING.match(part)):
            kept[span.kind, WIDTH.sub("---", part) if span.kind == "table" else part] += 1
    kept.update(("json", verbatim.skeleton(text[start:end])) for start, end in verbatim.objects(text) if start in bones)
    return kept


def items(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Lines that begin an item of a list."""
    had, has = len(ITEM.findall(source)), len(ITEM.findall(translation))
    return ("list items lost", f"{has} of {had}") if has < had * (1 - checks.items) else None


def numbers(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Numbers of the source, written 1,000 or 1.000 or 1 nghìn or in a word."""
    gone, had = lost(source, translation), len(NUMBER.findall(source))
    if len(gone) > checks.numbers * had:
        return "numbers lost", ", ".join(gone[:5])
    if (
        had
        and not SPELLED.search(source)
        and (added := [number for number in new(source, translation) if number != "1"])
    ):
        return "numbers lost", f"{', '.join(added[:5])} is not in the source"
    return None


def length(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Characters for each character of the source, and code blocks that are closed."""
    ratio = len(translation) / max(len(source), 1)
    band = next(band for band in BANDS if len(source) <= band.up_to)
    if len(source) >= MEASURED and ratio < band.lowest:
        return "truncated", f"{ratio:.2f} of the source's length"
    if len(source) >= MEASURED and ratio > band.highest:
        return "length ratio", f"{ratio:.2f} of the source's length"
    if translation.count("```") % 2 > source.count("```") % 2:
        return "truncated", "within a code block"
    return None


def whole(source: str, translation: str, reach: float) -> Verdict | None:
    """The end of the last sentence, and the number of sentences."""
    source, translation = source.rstrip(), translation.rstrip()
    short = len(translation) < reach * len(source)
    if short and len(source) >= MEASURED and END.search(source) and not ended(source, translation):
        return "truncated", f"ends with {translation[-20:]!r}"
    # where stops are left out, sentences can't be counted
    if reach >= 1 and (alone := unpaired(source, translation)):
        return "truncated", f"{alone} sentences have no translation"
    return None


Check = Callable[[str, str, Checks], Verdict | None]
CHECKS: tuple[Check, ...] = (script, looped, english, answered, code, placeholders, items, length, numbers)


def latin(letter: str) -> bool:
    """Whether a letter is of the Latin script (or a formula's Greek one)."""
    return unicodedata.name(letter, "").startswith(("LATIN", "GREEK", "MICRO"))


def repeated(parts: list[str], longest: int) -> tuple[list[str], int]:
    """The unit of up to so many syllables whose repetition covers most of them in a row, and how often it comes."""
    unit, best = list[str](), 0
    for size in range(1, min(longest, len(parts) // 2) + 1):
        run = 0
        for place in range(size, len(parts)):
            run = run + 1 if parts[place] == parts[place - size] else 0
            if run >= size and run // size + 1 > 2 and run + size > len(unit) * best:
                unit, best = parts[place - size + 1 : place + 1], run // size + 1
    return unit, best
