"""OpenAssistant's message trees, nested or flat: the best path is a conversation, ranked siblings are pairs.

Flat messages are gathered into their trees first, so a file of them is held in memory (oasst2: 135,000
messages, half a gigabyte); nested trees are read one at a time. Deleted, unreviewed and rejected messages are
left out with all that answers them. Not covered: the people's labels, and Vietnamese made from other languages:
only English is translated.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from stages.lib.records import Message
from stages.lib.sources.fields import Parsed, refused
from stages.lib.sources.rows import Refused, Row

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
        elif isinstance(row.get("replies"), list) and row.get("parent_id") is None:
            yield from tree(number, row, str(row["message_id"]), row)
        elif str(row["message_id"]) in flat:
            yield refused(number, "message twice", row)
        else:
            flat[str(row["message_id"])] = (number, row)
    yield from gathered(flat)


def gathered(flat: dict[str, tuple[str, Node]]) -> Iterator[Parsed | Refused]:
    """Flat messages as the trees that they are; an upstream row is a tree then, at its first message."""
    children: dict[str, list[str]] = {}
    for name, (_, message) in flat.items():
        children.setdefault(str(message.get("parent_id")), []).append(name)
    reached = set[str]()
    for name, (number, message) in flat.items():
        if message.get("parent_id") is None:
            waiting = [name]
            while waiting:
                reached.add(this := waiting.pop())
                flat[this][1]["replies"] = [flat[child][1] for child in children.get(this, [])]
                waiting += children.get(this, [])
            yield from tree(number, message, str(message.get("message_tree_id") or name), message)
    for name in flat.keys() - reached if len(reached) < len(flat) else ():
        yield refused(flat[name][0], "its parent is missing", flat[name][1])


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
    found = list(walk(root, number, name))
    if not any(isinstance(part, Parsed) for part in found):
        yield refused(number, "no usable answer", {**row, "replies": [], "prompt": {**root, "replies": []}})
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
            bad.append(refused(number, "not a message", message, part="?"))
            continue
        fault = unusable(message) or ("another language" if message.get("lang", lang) != lang else "")
        if fault:
            bad.append(refused(number, fault, {**message, "replies": []}, part=str(message.get("message_id") or "?")))
        else:
            good.append(message)
    return good, bad


def walk(root: Node, number: str, name: str) -> Iterator[Parsed | Refused]:
    """From the prompt down: at each turn pairs among the ranked replies, then the best reply and what follows it."""
    node, lang = root, str(root.get("lang", ""))
    answered: list[Message] = []
    while True:
        turns: list[Message] = [*answered, {"role": "user", "content": node["text"].strip()}]
        replies, bad = usable(node.get("replies"), number, lang)
        yield from bad
        ranked = sorted(
            (reply for reply in replies if isinstance(reply.get("rank"), int)), key=lambda found: found["rank"]
        )
        yield from pairs(ranked, turns, number, name, lang)
        best = ranked[0] if ranked else (replies[0] if replies else None)
        if best is None:  # an unanswered follow-up: the conversation ends with the answer before it
            break
        answered = [*turns, {"role": "assistant", "content": best["text"].strip()}]
        follow, bad = usable(best.get("replies"), number, lang)
        yield from bad
        if not follow:
            break
        node = follow[0]
    if answered:
        yield Parsed("instruction" if len(answered) == 2 else "conversation", answered, number, name, lang)


def pairs(ranked: list[Node], turns: list[Message], number: str, name: str, lang: str) -> Iterator[Parsed]:
    """A preference of each two answers of which people ranked one above the other."""
    for better, worse in combinations(ranked, 2):
        if better["rank"] < worse["rank"] and better["text"].strip() != worse["text"].strip():
            pair: list[Message] = [
                {"role": "chosen", "content": better["text"].strip()},
                {"role": "rejected", "content": worse["text"].strip()},
            ]
            yield Parsed("preference", turns + pair, number, name, lang)
