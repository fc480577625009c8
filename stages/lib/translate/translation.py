"""What a translation request says, how its answer is read, and what is wrong with it as a whole.

The texts of a record travel together. What is too long for one answer travels in several requests, each with the
opening of the record and the end of what came before, so that the forms of address agree. Not covered: what may be
wrong with one text (``validators.py``), and who is asked how often (``attempts.py``).
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stages.lib.params import Checks, Teacher
from stages.lib.records import Message, Verdict
from stages.lib.text.vietnamese import whole
from stages.lib.translate import pieces
from stages.lib.translate.validators import verdict

# Tokenizers of 2024 make a token of two or three Vietnamese characters, older ones of hardly more than one; an
# answer that runs into max_tokens all the same is asked for again in smaller parts
CHARACTERS = 1.5  # of a text for each token of its translation
SURE = 0.5  # the same, for texts that no tokenizer makes too long: these aren't made smaller
SHOWN = 300  # characters of the opening, and of what came before


class Placed(NamedTuple):
    """A text, or a piece of one, and where it belongs; what holds no words needn't be sent."""

    message: int
    role: str
    text: str
    after: str = ""
    sent: bool = True


@dataclass(frozen=True)
class Part:
    """What travels in one request."""

    placed: tuple[Placed, ...]
    opening: str = ""  # of the record
    before: str = ""  # the end of what stands before

    @property
    def sent(self) -> list[Placed]:
        """The texts that the teacher is shown."""
        return [piece for piece in self.placed if piece.sent]

    @property
    def size(self) -> int:
        """Characters of these."""
        return sum(len(piece.text) for piece in self.sent)

    @property
    def source(self) -> list[str | None]:
        """These texts, but for those whose translation nobody uses: what a tool answered is data."""
        return [None if piece.role == "tool" else piece.text for piece in self.sent]


def longest(teacher: Teacher) -> int:
    """Characters that may travel together, so that their translation fits into an answer."""
    return int(teacher.max_tokens * CHARACTERS)


def plan(messages: list[Message], longest: int) -> list[Part]:
    """The requests that a record needs: one, if its texts are not too long together."""
    texts = [Placed(place, message["role"], message["content"]) for place, message in enumerate(messages)]
    if not any(text.role != "tool" and text.text.strip() for text in texts):
        return [Part(tuple(text._replace(sent=False) for text in texts))]  # there is nothing to translate
    if sum(len(text.text) for text in texts) <= longest:
        return [Part(tuple(texts))]
    opening = next((text.text for text in texts if text.text.strip()), "")
    texts = [text._replace(sent=text.role != "tool" and bool(text.text.strip())) for text in texts]
    return packed(texts, longest, opening, "")


def narrower(part: Part, teacher: Teacher) -> list[Part]:
    """A part whose translation didn't fit into an answer as smaller ones; itself, if it must have fitted."""
    if part.size <= teacher.max_tokens * SURE:
        return [part]
    opening = part.opening or next((piece.text for piece in part.sent), "")
    return packed(part.placed, max(part.size // 2, 1), opening, part.before)


def packed(texts: Iterable[Placed], longest: int, opening: str, before: str) -> list[Part]:
    """Texts in parts of at most so many characters; what is too long and can't be cut stays as it is if it may."""
    parts, held, size = list[Part](), list[Placed](), 0
    for text in texts:
        cut = pieces.split(text.text, longest) if text.sent else [pieces.Piece(text.text, "")]
        for number, piece in enumerate(cut, 1):
            after = piece.after + text.after if number == len(cut) else piece.after
            sent = text.sent and not (len(piece.text) > longest and pieces.wordless(piece.text))
            if sent and size and size + len(piece.text) > longest:
                parts.append(Part(tuple(held), shown(opening, SHOWN), before))
                before = tail(" ".join([before, *(other.text for other in held if other.sent)]), SHOWN)
                held, size = [], 0
            held.append(Placed(text.message, text.role, piece.text, after, sent))
            size += len(piece.text) if sent else 0
    return [*parts, Part(tuple(held), shown(opening, SHOWN), before)]


def shown(text: str, longest: int) -> str:
    """The beginning of a text, up to a whole word."""
    return text if len(text) <= longest else text[:longest].rpartition(" ")[0] + " …"


def tail(text: str, longest: int) -> str:
    """The end of a text, from a whole word."""
    return text.strip() if len(text) <= longest else "… " + text[-longest:].partition(" ")[2].strip()


def request(part: Part) -> str:
    """The texts of a part with their roles, as the teacher is shown them; the first one with what came before."""
    texts = [{"role": piece.role, "text": piece.text} for piece in part.sent]
    if part.before:
        opening = "" if part.before.startswith(part.opening) else f"{part.opening}\n\n"
        texts[0]["context"] = f"{opening}{part.before}"
    return json.dumps(texts, ensure_ascii=False)


def again(part: Part, answer: str, reason: str) -> str:
    """The same with a translation that was refused, and why."""
    refused: Any = parse(answer) or answer
    return json.dumps({"texts": json.loads(request(part)), "refused": refused, "reason": reason}, ensure_ascii=False)


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
    source: Sequence[str | None], texts: list[str] | None, finish_reason: str, checks: Checks, reach: float = math.inf
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
            found = verdict(old, new, finish_reason=finish_reason, checks=checks, reach=reach)
        else:
            found = ("invented", f"{new.strip()[:80]!r} for an empty text") if new.strip() else None
        if found:
            return found
    return None


def joined(messages: list[Message], parts: Iterable[tuple[Part, list[str]]]) -> list[Message]:
    """The messages of a record, from its parts and their translations."""
    texts = [""] * len(messages)
    for part, translations in parts:
        held = iter(translations)
        for piece in part.placed:
            texts[piece.message] += (framed(piece.text, next(held)) if piece.sent else piece.text) + piece.after
    return [
        old if old["role"] == "tool" else {"role": old["role"], "content": text}
        for old, text in zip(messages, texts, strict=True)
    ]


def framed(old: str, new: str) -> str:
    """A translation with the white space around its source: code may begin with it."""
    inner = old.strip()
    if not inner:
        return new.strip()
    start = old.index(inner)
    return old[:start] + new.strip() + old[start + len(inner) :]
