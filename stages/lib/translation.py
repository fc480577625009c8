"""What a translation request says, how its answer is read, and what is wrong with it as a whole.

Not covered: what may be wrong with one text (``stages/lib/validators.py``).
"""

import json
from collections.abc import Sequence

from stages.lib.params import Validate
from stages.lib.records import Message, Verdict
from stages.lib.validators import verdict
from stages.lib.vietnamese import whole


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
    except (ValueError, RecursionError, KeyError, TypeError):  # a number or a depth that Python doesn't read, too
        return None
    if not isinstance(texts, list) or not all(isinstance(part, str) for part in texts):
        return None
    return [whole(part) for part in texts]


def fault(
    source: Sequence[str | None],
    texts: list[str] | None,
    finish_reason: str,
    thresholds: Validate,
) -> Verdict | None:
    """(name, detail) of the first check that a translation fails, or None.

    None in the source is a text whose translation nobody uses; an empty text must come back empty.
    """
    if texts is None:
        return "malformed", ""
    if len(texts) != len(source):
        return "wrong number of texts", f"{len(texts)} of {len(source)}"
    for old, new in zip(source, texts, strict=True):
        if old is None:
            continue
        if old.strip():
            found = verdict(old, new, finish_reason=finish_reason, thresholds=thresholds)
        else:
            found = ("invented", f"{new.strip()[:80]!r} for an empty text") if new.strip() else None
        if found:
            return found
    return None
