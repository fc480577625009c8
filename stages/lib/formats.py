"""The upstream formats: each reader yields what it could read of a file and what it had to refuse.

A reader is a function of a path. Rows are numbered from 1 as they stand in the file. Not covered:
compressed and tabular files, and upstream variants beyond those named in each docstring.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from stages.lib.records import Message


@dataclass(frozen=True)
class Parsed:
    """One record to be: its kind, its texts, where it stood, and the group that it must not be split from."""

    kind: str
    messages: list[Message]
    upstream: str
    group: str = ""
    lang: str = ""


@dataclass(frozen=True)
class Refused:
    """An upstream row (or a message within one) that no record could be made of."""

    upstream: str
    reason: str
    raw: str
    detail: str = ""
    unit: str = "row"


class Unreadable(Exception):
    """The file as a whole is not of the format."""


Reader = Callable[[Path], Iterator[Parsed | Refused]]
NO_INPUT = re.compile(r"^\W*((?i:no\s*input|none|n/a|not applicable)|NA)\W*$")
LANGUAGES = ("en", "vi")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant"}


def rows(path: Path) -> Iterator[tuple[str, Any] | Refused]:
    """(position, object) of each row of a JSON array or of JSON lines."""
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    if text.lstrip().startswith("["):
        try:
            for number, row in enumerate(json.loads(text), 1):
                yield readable(str(number), row)
        except json.JSONDecodeError as error:
            raise Unreadable(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield readable(str(number), json.loads(line))
        except json.JSONDecodeError as error:
            yield Refused(str(number), "not JSON", printable(line), f"{error.msg} at column {error.colno}")


def readable(number: str, row: Any) -> tuple[str, Any] | Refused:
    """The row, or its refusal when a byte of it is not UTF-8 or half of an escaped pair is missing."""
    try:
        dump(row).encode("utf-8")
    except UnicodeEncodeError:
        return Refused(number, "not UTF-8", printable(dump(row)))
    return number, row


def printable(text: str) -> str:
    """The text with a question mark in place of every byte or half pair that is not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def texts(row: Any, *keys: str) -> list[str] | str:
    """The stripped strings under some keys, or why they can't be had."""
    if not isinstance(row, dict):
        return f"not an object but {type(row).__name__}"
    for key in keys:
        if not isinstance(row.get(key), str):
            return f"{key} is missing" if row.get(key) is None else f"{key} is not a text"
    return [row[key].strip() for key in keys]


def dump(row: Any) -> str:
    """A row as JSON, for the refused file."""
    return json.dumps(row, ensure_ascii=False)


def instruction_record(number: str, row: Any, keys: tuple[str, str, str]) -> Parsed | Refused:
    """An instruction, the text that it is about (may be empty) and the answer, as two turns."""
    found = texts(row, *keys)
    if isinstance(found, str):
        return Refused(number, found, dump(row))
    instruction, about, answer = found
    if not instruction or not answer:
        return Refused(number, f"empty {keys[0] if not instruction else keys[2]}", dump(row))
    about = "" if NO_INPUT.match(about) else about
    turns: list[Message] = [
        {"role": "user", "content": f"{instruction}\n\n{about}" if about else instruction},
        {"role": "assistant", "content": answer},
    ]
    return Parsed("instruction", turns, number)


def alpaca(path: Path) -> Iterator[Parsed | Refused]:
    """Stanford Alpaca: a JSON array or lines of instruction, input, output (GPTeacher: response)."""
    for item in rows(path):
        if isinstance(item, Refused):
            yield item
            continue
        number, row = item
        if isinstance(row, dict):
            row = {"input": "", **row}
        answer = "response" if isinstance(row, dict) and "output" not in row and "response" in row else "output"
        yield instruction_record(number, row, ("instruction", "input", answer))


def dolly(path: Path) -> Iterator[Parsed | Refused]:
    """Databricks Dolly-15k: JSON lines of instruction, context, response, category."""
    for item in rows(path):
        if isinstance(item, Refused):
            yield item
        else:
            yield instruction_record(item[0], item[1], ("instruction", "context", "response"))


def sharegpt(path: Path) -> Iterator[Parsed | Refused]:
    """ShareGPT: conversations of human and gpt turns, an optional system text; ``<id>_<n>`` are pieces of one."""
    for item in rows(path):
        if isinstance(item, Refused):
            yield item
            continue
        number, row = item
        try:
            messages = conversation(row)
        except ValueError as error:
            yield Refused(number, str(error), dump(row))
            continue
        stem = re.sub(r"_\d+$", "", str(row.get("id") or ""))
        yield Parsed("conversation", messages, number, group=stem)


def conversation(row: Any) -> list[Message]:
    """The turns of a ShareGPT row. Raises ValueError with the reason when they are no conversation."""
    if not isinstance(row, dict) or not isinstance(row.get("conversations"), list):
        raise ValueError("conversations is missing")
    system = row.get("system")
    messages: list[Message] = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    for turn in row["conversations"]:
        role = ROLES.get(str(turn.get("from"))) if isinstance(turn, dict) else None
        text = turn.get("value") if isinstance(turn, dict) else None
        if role is None:
            raise ValueError("a turn by an unknown speaker")
        if not isinstance(text, str) or not text.strip():
            raise ValueError("empty turn")
        expected = "assistant" if messages and messages[-1]["role"] == "user" else "user"
        if role != expected:
            raise ValueError("turns out of order")
        messages.append({"role": role, "content": text.strip()})
    if not messages or messages[-1]["role"] != "assistant":
        raise ValueError("no answer at the end")
    return messages


def oasst(path: Path) -> Iterator[Parsed | Refused]:
    """OpenAssistant message trees: the best-ranked path is a conversation, ranked siblings are preference pairs."""
    for item in rows(path):
        if isinstance(item, Refused):
            yield item
            continue
        number, tree = item
        root = tree.get("prompt") if isinstance(tree, dict) else None
        fault = unusable(root) if isinstance(root, dict) else "prompt is missing"
        if isinstance(root, dict) and root.get("lang", "en") not in LANGUAGES:
            fault = "another language"  # the teacher is asked to translate from English alone
        if fault or not isinstance(root, dict):
            yield Refused(number, fault or "prompt is missing", dump(tree))
            continue
        found = list(walk(root, [], number, str(tree.get("message_tree_id", number))))
        yield from found
        if not any(isinstance(part, Parsed) for part in found):
            yield Refused(number, "no usable answer", dump(tree))


def unusable(message: dict[str, Any]) -> str:
    """Why a message must not be trained on, or an empty string."""
    if message.get("deleted"):
        return "deleted message"
    if message.get("review_result") is False:
        return "failed review"
    text = message.get("text")
    return "" if isinstance(text, str) and text.strip() else "empty message"


def walk(node: dict[str, Any], before: list[Message], number: str, tree: str) -> Iterator[Parsed | Refused]:
    """From a prompter's message down: pairs among its ranked replies, then the best reply and what follows it."""
    turns: list[Message] = [*before, {"role": "user", "content": node["text"].strip()}]
    lang = str(node.get("lang", ""))
    replies = []
    for reply in node.get("replies") or []:
        fault = unusable(reply) or ("another language" if reply.get("lang", lang) != lang else "")
        if fault:
            yield Refused(f"{number}/{reply.get('message_id')}", fault, dump({**reply, "replies": []}), unit="message")
        else:
            replies.append(reply)
    ranked = sorted((reply for reply in replies if isinstance(reply.get("rank"), int)), key=lambda reply: reply["rank"])
    for better, worse in combinations(ranked, 2):
        if better["rank"] < worse["rank"]:
            pair: list[Message] = [
                {"role": "chosen", "content": better["text"].strip()},
                {"role": "rejected", "content": worse["text"].strip()},
            ]
            yield Parsed("preference", turns + pair, number, tree, lang)
    best = ranked[0] if ranked else (replies[0] if replies else None)
    if best is None:
        if before:  # an unanswered follow-up: the conversation ends with the answer before it
            yield Parsed("instruction" if len(before) == 2 else "conversation", before, number, tree, lang)
        return
    answered: list[Message] = [*turns, {"role": "assistant", "content": best["text"].strip()}]
    follow = None
    for reply in best.get("replies") or []:
        if fault := unusable(reply) or ("another language" if reply.get("lang", lang) != lang else ""):
            yield Refused(f"{number}/{reply.get('message_id')}", fault, dump({**reply, "replies": []}), unit="message")
        else:
            follow = follow or reply
    if follow is None:
        yield Parsed("instruction" if len(answered) == 2 else "conversation", answered, number, tree, lang)
    else:
        yield from walk(follow, answered, number, tree)


def lines(path: Path) -> Iterator[Parsed | Refused]:
    """Plain text, one paragraph a line, as in binhvq/news-corpus. Blank lines are no rows."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8").strip().lstrip("\ufeff")
            except UnicodeDecodeError:
                yield Refused(str(number), "not UTF-8", raw.decode("utf-8", "replace"))
                continue
            if text:
                yield Parsed("text", [{"role": "text", "content": text}], str(number))


def prohow(path: Path) -> Iterator[Parsed | Refused]:
    """wikiHow as PROHOW Turtle; see :mod:`stages.lib.prohow`."""
    from stages.lib.prohow import how_tos

    try:
        for name, title, answer in how_tos(path.read_text(encoding="utf-8-sig", errors="replace")):
            if answer and title:
                ask = f"Làm thế nào để {title[:1].lower()}{title[1:]}?"
                turns: list[Message] = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
                yield Parsed("instruction", turns, name)
            else:
                yield Refused(name, "no steps" if title else "no title", title or answer)
    except ValueError as error:
        raise Unreadable(str(error)) from None


READERS: dict[str, Reader] = {
    "alpaca": alpaca, "dolly": dolly, "oasst": oasst, "sharegpt": sharegpt, "prohow": prohow, "lines": lines,
}  # fmt: skip
