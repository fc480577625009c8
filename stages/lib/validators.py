"""What a translation may have lost, by name: ``verdict`` is the first thing that is wrong with one, or None.

Surface checks alone: they count scripts, diacritics, words, sentences, numbers, list items and what must stay as
it is (``stages/lib/verbatim.py``). Each threshold is a param. A fluent sentence that says something else passes
most of them; for that there is ``similarity``, anything that scores how near a text and its translation are
(``benchmarks/lexicon.py`` learns one from accepted pairs). Not covered: style, grammar, forms of address.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from stages.lib import verbatim
from stages.lib.numbers import lost, new
from stages.lib.params import Validate
from stages.lib.records import Verdict
from stages.lib.sentences import unpaired
from stages.lib.vietnamese import ENGLISH, VIETNAMESE_LETTER, syllables


class Similarity(NamedTuple):
    """A measure of how near translations are to their sources, and the lowest score that is near enough."""

    scores: Callable[[list[str], list[str]], list[float]]
    lowest: float


FAILURE_MARKERS = ("|||TRANSLATION_FAILED|||", "TRANSLATION_FAILED")
# syllables of both languages
SHARED = frozenset("to in do be an me on so can tin ban hang has he than then tai son hay but".split())
# words that Vietnamese has, too
LOANS = frozenset("vitamin virus video internet radio robot protein email website blog online camera album".split())
FUNCTION_WORDS = (ENGLISH - SHARED) | set("my her his he she i'm it's don't".split())
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
END = re.compile(r"[.!?…:;。！？][\W_]*$")  # closing quotes and emoji may follow
ABBREVIATED = re.compile(r"\b[ap]\.m\.\W*$", re.IGNORECASE)
CLOSED = re.compile(r"[\"'”’)\]»]$")
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
QUOTED = re.compile(r"\"[^\"\n]+\"|“[^”\n]+”|‘[^’\n]+’|'[^'\n]+'(?!\w)|«[^»\n]+»")
TITLE = re.compile(r"\b[A-Z][\w'’]+(?: (?:of|the|and|in|a|an|to|for|on|at|with|from|[A-Z][\w'’]+))* [A-Z][\w'’]+")
COMMENT = re.compile(r"(?:#|//|--).*$|/\*.*?\*/|\"\"\".*?\"\"\"|\"[^\"\n]*\"|'[^'\n]*'", re.MULTILINE | re.DOTALL)
WIDTH = re.compile(r"[ \t]*:?-{3,}:?[ \t]*")  # of a column in the line below a table's head
CODE_TOKEN = re.compile(r"[A-Za-z_]\w*|[{}()\[\];=<>+*/]")
VERBATIM = frozenset({"url", "e-mail", "latex", "placeholder", "tag", "json", "table", "token"})


def verdict(
    source: str,
    translation: str,
    *,
    finish_reason: str,
    thresholds: Validate,
    similarity: Similarity | None = None,
) -> Verdict | None:
    """(name, detail) of the first check that a translation fails, or None."""
    if not translation.strip():
        return "empty translation", ""
    if marker := next((marker for marker in FAILURE_MARKERS if marker in translation), None):
        return "failure marker", marker
    if finish_reason == "length":
        return "truncated", "finish_reason length"
    for check in CHECKS:
        if fault := check(source, translation, thresholds):
            return fault
    if similarity is not None and syllables(source):
        [score] = similarity.scores([source], [translation])
        if score < similarity.lowest:
            return "says something else", f"similarity {score:.2f}"
    return None


def script(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Letters of a script that neither Vietnamese nor the source is written in."""
    letters = [sign for sign in translation if sign.isalpha()]
    known = set(source)
    others = [sign for sign in letters if sign > "\u024f" and sign not in known and not latin(sign)]
    if others and len(others) > thresholds.foreign * len(letters):
        return "wrong script", "".join(others[:20])
    return None


def looped(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """A run of syllables that repeats one unit, much longer than any in the source."""
    unit, count = repeated(syllables(translation.lower()), thresholds.loop_unit)
    if len(unit) * count < thresholds.loop or count <= 2:
        return None
    there, before = repeated(syllables(source.lower()), thresholds.loop_unit)
    return None if len(there) * before >= thresholds.loop / 2 else ("looped", f"{' '.join(unit)[:60]} ×{count}")


def english(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Words of the source that were copied, function words among them, and syllables that lost their diacritics."""
    prose, original = unquoted(source, translation), words(source)
    here = [word for word in words(prose) if word.isalpha() or "'" in word]
    known = {word.lower() for word in original}
    if not here:
        return None
    copied = [word.lower() in known for word in here]
    function = any(word.lower() in FUNCTION_WORDS for word in here)
    left = [word for word, known_word in zip(here, copied, strict=True) if foreign(word, known_word)]
    share = thresholds.english if len(left) > 1 else thresholds.one_english
    same = all(copied) and len(here) > 1
    if left and (same or (len(left) > share * len(here) and (function or longest(copied) >= thresholds.copied))):
        return "left in English", " ".join(left[:12])
    own = [word for word in here if word.lower() not in known and (word[0].islower() or len(here) <= thresholds.short)]
    bare = sum(not VIETNAMESE_LETTER.search(word) for word in own)
    if len(own) >= thresholds.own and bare > (1 - thresholds.diacritics) * len(own):
        return "diacritics lost", " ".join(own[:12])
    return None


def answered(source: str, translation: str, thresholds: Validate) -> Verdict | None:
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


def code(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Names and signs of code, strings and comments aside."""
    for span in verbatim.spans(source):
        if span.kind == "code":
            part = source[span.start : span.end]
            bones = Counter(CODE_TOKEN.findall(COMMENT.sub(" ", part)))
            kept = bones & Counter(CODE_TOKEN.findall(translation))
            if bones and kept.total() < thresholds.code * bones.total():
                return "code lost", part[:80]
    return None


def placeholders(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Addresses, formulas, placeholders, tags, the bones of JSON and tables."""
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
        elif span.kind in VERBATIM:
            kept[span.kind, WIDTH.sub("---", part) if span.kind == "table" else part] += 1
    kept.update(("json", verbatim.skeleton(text[start:end])) for start, end in verbatim.objects(text) if start in bones)
    return kept


def items(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Lines that begin an item of a list."""
    had, has = len(ITEM.findall(source)), len(ITEM.findall(translation))
    return ("list items lost", f"{has} of {had}") if has < had * (1 - thresholds.items) else None


def numbers(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Numbers of the source, written 1,000 or 1.000 or 1 nghìn or in a word."""
    gone, had = lost(source, translation), len(NUMBER.findall(source))
    if len(gone) > thresholds.numbers * had:
        return "numbers lost", ", ".join(gone[:5])
    if (
        had
        and not SPELLED.search(source)
        and (added := [number for number in new(source, translation) if number != "1"])
    ):
        return "numbers lost", f"{', '.join(added[:5])} is not in the source"
    return None


def length(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Whole sentences, the end of the last one, and characters for each character of the source."""
    ratio = len(translation) / max(len(source), 1)
    bands = thresholds.short_ratio, thresholds.medium_ratio, thresholds.long_ratio
    band = next((band for band in bands if len(source) <= band.up_to), bands[-1])
    if len(source) >= thresholds.measured and ratio < band.lowest:
        return "truncated", f"{ratio:.2f} of the source's length"
    if len(source) >= thresholds.measured and ratio > band.highest:
        return "length ratio", f"{ratio:.2f} of the source's length"
    if translation.count("```") % 2 > source.count("```") % 2:
        return "truncated", "within a code block"
    if not thresholds.ends:
        return None
    if (
        len(source) >= thresholds.measured
        and END.search(source.rstrip())
        and not ended(source.rstrip(), translation.rstrip())
    ):
        return "truncated", f"ends with {translation.rstrip()[-20:]!r}"
    if alone := unpaired(source, translation, thresholds.sentence_cost, thresholds.sentence_spread):
        return "truncated", f"{alone} sentences have no translation"
    return None


Check = Callable[[str, str, Validate], Verdict | None]
CHECKS: tuple[Check, ...] = (script, looped, english, answered, code, placeholders, items, length, numbers)


def ended(source: str, translation: str) -> bool:
    """Whether a translation ends with a stop, or with a closing quotation mark like its source, or that with p.m."""
    closed = CLOSED.search(source) and CLOSED.search(translation)
    return bool(END.search(translation) or closed or ABBREVIATED.search(source))


def words(text: str) -> list[str]:
    """The syllables of a text without what must not be translated."""
    return syllables(verbatim.TOKEN.sub(" ", verbatim.mask(text)[0]))


def foreign(word: str, copied: bool) -> bool:
    """Whether a word of a translation is English: a function word, or one of the source that is no name or unit."""
    if word.lower() in FUNCTION_WORDS:
        return True
    if word in SHARED or word in LOANS:
        return False
    return copied and word[0].islower() and len(word) > 2 and not VIETNAMESE_LETTER.search(word)


def longest(flags: list[bool]) -> int:
    """The most in a row that are true."""
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def unquoted(source: str, translation: str) -> str:
    """A translation without what it quotes from the source and titles in it, unless nothing Vietnamese is left."""
    original = source.lower()
    rest = QUOTED.sub(lambda match: " " if match[0][1:-1].lower() in original else match[0], translation)
    rest = TITLE.sub(lambda match: " " if match[0] in source else match[0], rest)
    return rest if VIETNAMESE_LETTER.search(rest) else translation


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
