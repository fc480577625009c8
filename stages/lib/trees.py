"""OpenAssistant's message trees, nested or flat: the best path is a conversation, ranked siblings are pairs.

Flat messages are gathered into their trees first, so a file of them is held in memory (oasst2: 135,000
messages, half a gigabyte); nested trees are read one at a time. Deleted, unreviewed and rejected messages are
left out with all that answers them. Not covered: the people's labels, and Vietnamese made from other languages:
only English is translated.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from stages.lib.fields import Parsed, refused
from stages.lib.records import Message
from stages.lib.rows import Refused, Row

LANGUAGES = ("en", "vi")
REVIEWS = 3  # Open-Assistant asks so many people before a message counts as reviewed
STOPPED = ("aborted_low_grade", "halted_by_moderator")
Node = dict[str, Any]


def oasst(found: Iterable[Row | Refused]) -> Iterator[Parsed | Refused]:
    """Trees (``prompt``), messages that hold their ``replies``, and flat messages (``parent_id``)."""
    flat: dict[str, tuple[str, Node]] = {}
    for item in found:
        if isinstance(item, Refused):
            yield item
            continue
        number, row = item
        if not isinstance(row, dict):
            yield refused(number, f"not an object but {type(row).__name__}", row)
        elif "prompt" in row or "message_id" not in row:
            yield from tree(number, row.get("prompt"), str(row.get("message_tree_id") or number), row)
        elif "replies" in row and row.get("parent_id") is None:
            yield from tree(number, row, str(row["message_id"]), row)
        elif str(row["message_id"]) in flat:
            yield refused(number, "message twice", row)
        else:
            flat[str(row["message_id"])] = (number, row)
    yield from gathered(flat)


def gathered(flat: dict[str, tuple[str, Node]]) -> Iterator[Parsed | Refused]:
    """Flat messages as the trees that they are; an upstream row is a tree then, at its first message."""
    roots = []
    for number, message in flat.values():
        parent = message.get("parent_id")
        if parent is None:
            roots.append((number, message))
        elif str(parent) in flat:
            flat[str(parent)][1].setdefault("replies", []).append(message)
        else:
            yield refused(f"{number}#{message['message_id']}", "its parent is missing", message, unit="message")
    for number, message in roots:
        yield from tree(number, message, str(message.get("message_tree_id") or message["message_id"]), message)


def tree(number: str, root: Any, name: str, row: Node) -> Iterator[Parsed | Refused]:
    """What one tree holds, or why it holds nothing."""
    if not isinstance(root, dict):
        yield refused(number, "prompt is missing", row)
        return
    state = row.get("tree_state")
    fault = f"tree {state}" if state in STOPPED else unusable(root)
    if not fault and root.get("lang", "en") not in LANGUAGES:
        fault = "another language"  # the teacher is asked to translate from English alone
    if fault:
        yield refused(number, fault, row)
        return
    found = list(walk(root, [], number, name))
    if not any(isinstance(part, Parsed) for part in found):
        yield refused(number, "no usable answer", row)
    yield from found


def unusable(message: Node) -> str:
    """Why a message must not be trained on, or an empty string."""
    if message.get("deleted"):
        return "deleted message"
    if message.get("review_result") is False:
        return "failed review"
    # exports leave null keys out, and sets made by hand know no reviews: only a count that is too low tells
    count = message.get("review_count")
    if message.get("review_result") is None and isinstance(count, int) and count < REVIEWS:
        return "unreviewed message"
    text = message.get("text")
    return "" if isinstance(text, str) and text.strip() else "empty message"


def usable(messages: Any, number: str, lang: str) -> tuple[list[Node], list[Refused]]:
    """The messages that may be used, and the others."""
    good: list[Node] = []
    bad: list[Refused] = []
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            bad.append(refused(f"{number}#?", "not a message", message, unit="message"))
            continue
        fault = unusable(message) or ("another language" if message.get("lang", lang) != lang else "")
        if fault:
            bad.append(refused(f"{number}#{message.get('message_id')}", fault, {**message, "replies": []}, "message"))
        else:
            good.append(message)
    return good, bad


def walk(node: Node, before: list[Message], number: str, name: str) -> Iterator[Parsed | Refused]:
    """From a prompter's message down: pairs among its ranked replies, then the best reply and what follows it."""
    turns: list[Message] = [*before, {"role": "user", "content": node["text"].strip()}]
    lang = str(node.get("lang", ""))
    replies, bad = usable(node.get("replies"), number, lang)
    yield from bad
    ranked = sorted((reply for reply in replies if isinstance(reply.get("rank"), int)), key=lambda reply: reply["rank"])
    for better, worse in combinations(ranked, 2):
        if better["rank"] < worse["rank"] and better["text"].strip() != worse["text"].strip():
            pair: list[Message] = [
                {"role": "chosen", "content": better["text"].strip()},
                {"role": "rejected", "content": worse["text"].strip()},
            ]
            yield Parsed("preference", turns + pair, number, name, lang)
    best = ranked[0] if ranked else (replies[0] if replies else None)
    if best is None:
        if before:  # an unanswered follow-up: the conversation ends with the answer before it
            yield conversation(before, number, name, lang)
        return
    answered: list[Message] = [*turns, {"role": "assistant", "content": best["text"].strip()}]
    follow, bad = usable(best.get("replies"), number, lang)
    yield from bad
    if follow:
        yield from walk(follow[0], answered, number, name)
    else:
        yield conversation(answered, number, name, lang)


def conversation(turns: list[Message], number: str, name: str, lang: str) -> Parsed:
    """The path as far as it was answered."""
    return Parsed("instruction" if len(turns) == 2 else "conversation", turns, number, name, lang)
