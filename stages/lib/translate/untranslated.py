"""What a translation has kept of English, and the syllables that lost their diacritics.

Names, units, quotations, titles and words that Vietnamese has borrowed may stay. Not covered: any other language.
"""

import re

from stages.lib.params import Checks
from stages.lib.records import Verdict
from stages.lib.text.vietnamese import ENGLISH, VIETNAMESE_LETTER, syllables
from stages.lib.translate import verbatim

ONE_ENGLISH = 0.3  # share of the words left in English, where that is one word
COPIED = 3  # words of the source in a row from which they count where none is a function word
OWN = 2  # syllables that are not the source's, from which diacritics are asked for
SHORT = 4  # syllables up to which capitals are no names
# syllables of both languages
SHARED = frozenset("to in do be an me on so can tin ban hang has he than then tai son hay but".split())
# words that Vietnamese has, too
LOANS = frozenset("vitamin virus video internet radio robot protein email website blog online camera album".split())
FUNCTION_WORDS = (ENGLISH - SHARED) | set("my her his he she i'm it's don't".split())
QUOTED = re.compile(r"\"[^\"\n]+\"|“[^”\n]+”|‘[^’\n]+’|'[^'\n]+'(?!\w)|«[^»\n]+»")
TITLE = re.compile(r"\b[A-Z][\w'’]+(?: (?:of|the|and|in|a|an|to|for|on|at|with|from|[A-Z][\w'’]+))* [A-Z][\w'’]+")


def english(source: str, translation: str, checks: Checks) -> Verdict | None:
    """Words of the source that were copied, function words among them, and syllables that lost their diacritics."""
    prose, original = unquoted(source, translation), words(source)
    here = [word for word in words(prose) if word.isalpha() or "'" in word]
    known = {word.lower() for word in original}
    if not here:
        return None
    copied = [word.lower() in known for word in here]
    function = any(word.lower() in FUNCTION_WORDS for word in here)
    left = [word for word, known_word in zip(here, copied, strict=True) if foreign(word, known_word)]
    share = checks.english if len(left) > 1 else ONE_ENGLISH
    same = all(copied) and len(here) > 1
    if left and (same or (len(left) > share * len(here) and (function or longest(copied) >= COPIED))):
        return "left in English", " ".join(left[:12])
    own = [word for word in here if word.lower() not in known and (word[0].islower() or len(here) <= SHORT)]
    bare = sum(not VIETNAMESE_LETTER.search(word) for word in own)
    if len(own) >= OWN and bare > (1 - checks.diacritics) * len(own):
        return "diacritics lost", " ".join(own[:12])
    return None


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
