"""What a translation may have lost, by name: ``verdict`` is the first thing that is wrong with one, or None.

Surface checks alone: they count scripts, diacritics, words, sentences, numbers, list items and what must stay as
it is (``stages/lib/protect.py``). Each threshold is a param. A fluent sentence that says something else passes
most of them; for that there is ``similarity``, anything that scores how near a text and its translation are
(``stages/lib/lexicon.py`` learns one from accepted pairs). Not covered: style, grammar, forms of address.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

from stages.lib import protect
from stages.lib.params import Validate
from stages.lib.records import Verdict
from stages.lib.sentences import unpaired
from stages.lib.vietnamese import ENGLISH, VIETNAMESE_LETTER, syllables

Similarity = Callable[[list[str], list[str]], list[float]]  # (sources, translations) → one score each, high if near

FAILURE_MARKERS = ("|||TRANSLATION_FAILED|||", "TRANSLATION_FAILED")
# syllables of both languages
SHARED = frozenset("to in do be an me on so can tin ban hang has he than then tai son hay but".split())
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
QUESTION = re.compile(r"[?？]")
END = re.compile(r"[.!?…:;。！？][\"'”’)\]*_» ]*$")
CLOSED = re.compile(r"[\"'”’)\]»]$")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
SPELLED = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|first|second|third|half|once|twice|both"
    r"|couple|pair|quarter|double|decades?|centur(?:y|ies)|(?:jan|febr)uary|march|april|may|june|july|august"
    r"|(?:septem|octo|novem|decem)ber|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b|\d(?:st|nd|rd|th|s|k|m)\b|'\s?\d\d|[ap]\.?m\b",
    re.IGNORECASE,
)
ITEM = re.compile(r"^[ \t]*(?:[-*+•–]|\d{1,3}[.)]|[a-zA-Z][.)])[ \t]+\S", re.MULTILINE)
QUOTED = re.compile(r"\"[^\"\n]+\"|“[^”\n]+”|‘[^’\n]+’|'[^'\n]+'(?!\w)|«[^»\n]+»")
COMMENT = re.compile(r"(?:#|//|--).*$|/\*.*?\*/|\"\"\".*?\"\"\"|\"[^\"\n]*\"|'[^'\n]*'", re.MULTILINE | re.DOTALL)
CODE_TOKEN = re.compile(r"[A-Za-z_]\w*|[{}()\[\];=<>+*/]")
VERBATIM = frozenset({"url", "e-mail", "latex", "placeholder", "tag", "json", "table", "token"})
DIGIT_NAMES = {
    "0": "không", "1": "một", "2": "hai", "3": "ba", "4": "bốn", "5": "năm", "6": "sáu", "7": "bảy", "8": "tám",
    "9": "chín", "10": "mười", "12": "mười hai", "100": "một trăm", "1000": "một nghìn",
}  # fmt: skip
SCALES = {"nghìn": 3, "ngàn": 3, "triệu": 6, "tỷ": 9, "tỉ": 9}


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
        if found := check(source, translation, thresholds):
            return found
    if similarity is not None and syllables(source):
        [score] = similarity([source], [translation])
        if score < thresholds.similarity:
            return "says something else", f"similarity {score:.2f}"
    return None


def script(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Letters of a script that neither Vietnamese nor the source is written in."""
    letters = [sign for sign in translation if sign.isalpha()]
    known = set(source)
    foreign = [sign for sign in letters if sign > "\u024f" and sign not in known and not latin(sign)]
    if foreign and len(foreign) > thresholds.foreign * len(letters):
        return "wrong script", "".join(foreign[:20])
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
    if QUESTION.search(source[-3:]) and not QUESTION.search(translation):
        return "answered instead of translated", "the question is gone"
    if (match := ANSWERING.search(translation)) and not OPENING.search(source):
        return "answered instead of translated", match[0].strip()
    return None


def code(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Names and signs of code, strings and comments aside."""
    for span in protect.spans(source):
        if span.kind == "code":
            part = source[span.start : span.end]
            bones = Counter(CODE_TOKEN.findall(COMMENT.sub(" ", part)))
            kept = bones & Counter(CODE_TOKEN.findall(translation))
            if bones and kept.total() < thresholds.code * bones.total():
                return "code lost", part[:80]
    return None


def placeholders(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Addresses, formulas, placeholders, tags, the bones of JSON and tables."""
    wanted, there = verbatim(source), verbatim(translation)
    for (kind, part), count in wanted.items():
        if max(there[kind, part], translation.count(part) if kind != "table" else 0) < count:
            return "placeholders lost", f"{kind} {part[:80]}"
    return None


def verbatim(text: str) -> Counter[tuple[str, str]]:
    """(kind, text) of what must be found again to the letter."""
    spans = (span for span in protect.spans(text) if span.kind in VERBATIM)
    return Counter((span.kind, text[span.start : span.end].strip()) for span in spans)


def items(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Lines that begin an item of a list."""
    had, has = len(ITEM.findall(source)), len(ITEM.findall(translation))
    return ("list items lost", f"{has} of {had}") if has < had * (1 - thresholds.items) else None


def numbers(source: str, translation: str, thresholds: Validate) -> Verdict | None:
    """Numbers of the source, written 1,000 or 1.000 or 1 nghìn or in a word."""
    lost = missing(source, translation)
    had = len(NUMBER.findall(source))
    if len(lost) > thresholds.numbers * had:
        return "numbers lost", ", ".join(lost[:5])
    if had and not SPELLED.search(source) and (new := [n for n in missing(translation, source) if n != "1"]):
        return "numbers lost", f"{', '.join(new[:5])} is not in the source"
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
    if END.search(source.rstrip()) and not ended(source.rstrip(), translation.rstrip()):
        return "truncated", f"ends with {translation.rstrip()[-20:]!r}"
    if lost := unpaired(source, translation, thresholds.sentence_cost, thresholds.sentence_spread):
        return "truncated", f"{lost} sentences have no translation"
    return None


Check = Callable[[str, str, Validate], Verdict | None]
CHECKS: tuple[Check, ...] = (script, looped, english, answered, code, placeholders, items, length, numbers)


def ended(source: str, translation: str) -> bool:
    """Whether a translation ends with a stop, or with a closing quotation mark like its source."""
    return END.search(translation) is not None or bool(CLOSED.search(source) and CLOSED.search(translation))


def words(text: str) -> list[str]:
    """The syllables of a text without what must not be translated."""
    return syllables(protect.TOKEN.sub(" ", protect.mask(text)[0]))


def foreign(word: str, copied: bool) -> bool:
    """Whether a word of a translation is English: a function word, or one of the source that is no name or unit."""
    if word.lower() in FUNCTION_WORDS:
        return True
    return copied and word[0].islower() and len(word) > 2 and word not in SHARED and not VIETNAMESE_LETTER.search(word)


def longest(flags: list[bool]) -> int:
    """The most in a row that are true."""
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def unquoted(source: str, translation: str) -> str:
    """A translation without what it quotes from the source, unless nothing Vietnamese is left."""
    plain = source.lower()
    rest = QUOTED.sub(lambda match: " " if match[0][1:-1].lower() in plain else match[0], translation)
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


def missing(source: str, translation: str) -> list[str]:
    """The numbers of the source that the translation has in no form."""
    text = translation.lower()
    there = Counter(plain for number in NUMBER.findall(text) for plain in forms(number))
    scaled = [(match[1], match[2]) for match in re.finditer(r"(\d+(?:[.,]\d+)?)\s*(nghìn|ngàn|triệu|tỷ|tỉ)", text)]
    there.update(expanded(number, SCALES[scale]) for number, scale in scaled)
    return [number for number in NUMBER.findall(source) if not found(number, there, text)]


def found(number: str, there: Iterable[str], text: str) -> bool:
    """Whether a number stands in a translation: itself, as the end of a year ('35 → 1835), or in words."""
    plain = re.sub(r"\D", "", number)
    known = set(there)
    if any(form in known for form in forms(number)):
        return True
    if len(plain) == 2 and any(len(other) == 4 and other.endswith(plain) for other in known):
        return True
    if plain.isdigit() and str(int(plain) + 12) in known and int(plain) <= 12:  # 5 pm is 17 giờ
        return True
    return plain in DIGIT_NAMES and re.search(rf"(?<!\w){DIGIT_NAMES[plain]}(?!\w)", text) is not None


def forms(number: str) -> set[str]:
    """A number without its separators, and the parts of a time of day."""
    return {re.sub(r"\D", "", number), *(number.split(":") if ":" in number else [])}


def expanded(number: str, zeros: int) -> str:
    """2,5 and 6 zeros are 2500000."""
    whole, _, part = re.sub(",", ".", number).partition(".")
    return whole + part + "0" * max(zeros - len(part), 0)
