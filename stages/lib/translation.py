"""What a translation request says, and the checks that its answer must pass.

Each check has a name, under which a failed record is dropped. Not covered: fluent but wrong sentences,
which no surface check can see.
"""

import json

from stages.lib.records import Message
from stages.lib.vietnamese import has_diacritics, looks_english, loops, syllables, whole

FAILURE_MARKERS = ("|||TRANSLATION_FAILED|||", "TRANSLATION_FAILED")
# 99% of human en-vi pairs of IWSLT'15, by length of the source in characters: (up to, lowest, highest ratio)
LENGTH_RATIOS = ((40, 0.4, 2.6), (100, 0.5, 2.0), (float("inf"), 0.55, 1.7))
SHORT = 4  # syllables up to which a text may lack diacritics ("OK", "1 km")


def request(messages: list[Message]) -> str:
    """The texts of a record with their roles, as the teacher is shown them."""
    return json.dumps([{"role": m["role"], "text": m["content"]} for m in messages], ensure_ascii=False)


def answer(texts: list[str]) -> str:
    """Translations as a teacher replies with them."""
    return json.dumps({"texts": texts}, ensure_ascii=False)


def parse(reply: str) -> list[str] | None:
    """The translations in a reply, or None when it is not of the form that was asked for."""
    text = reply.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        texts = json.loads(text)["texts"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
    if not isinstance(texts, list) or not all(isinstance(part, str) for part in texts):
        return None
    return [whole(part) for part in texts]


def fault(source: list[str], texts: list[str] | None) -> str:
    """The name of the first check that a translation fails, or an empty string."""
    if texts is None:
        return "malformed"
    if len(texts) != len(source):
        return "wrong number of texts"
    return next(filter(None, (text_fault(old, new) for old, new in zip(source, texts, strict=True))), "")


def text_fault(source: str, text: str) -> str:
    """The name of the first check that one text fails, or an empty string."""
    if not text.strip():
        return "empty translation"
    if any(marker in text for marker in FAILURE_MARKERS):
        return "failure marker"
    if loops(text) and not loops(source):
        return "looped"
    if len(syllables(text)) > SHORT and not has_diacritics(text) and looks_english(source):
        return "left in English" if looks_english(text) else "diacritics lost"
    ratio = len(text) / max(len(source), 1)
    lowest, highest = next((low, high) for bound, low, high in LENGTH_RATIOS if len(source) <= bound)
    if len(source) >= 20 and not lowest <= ratio <= highest:
        return "truncated" if ratio < lowest else "too long"
    return ""
