"""Conversations as others write them: ShareGPT's ``from``/``value`` and the chat APIs' ``role``/``content``.

A conversation is read as far as it is one: what follows an empty turn, an unknown speaker or two turns of the
same side is left out and told, and the whole exchanges before it stay. Not covered: what a tool call means;
calls stay the assistant's words and results are turns of ``tool``.
"""

import re
from typing import Any

from stages.lib.records import Message
from stages.lib.sources import markup, rows
from stages.lib.sources.fields import Fault, Found, Parsed, refused, text

ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "model": "assistant", "bing": "assistant",
    "bard": "assistant", "function_call": "assistant", "tool_call": "assistant",
    "observation": "tool", "tool": "tool", "function": "tool", "function_response": "tool", "tool_response": "tool",
    "system": "system",
}  # fmt: skip
FOLLOWS = {
    "": ("user",), "system": ("user",), "user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant",),
}  # fmt: skip
PIECE = re.compile(r"_\d+$")


def sharegpt(number: str, row: dict[str, Any]) -> Found:
    """A conversation under ``conversations``, ``conversation`` or ``messages``; ``<id>_<n>`` are pieces of one."""
    turns = listed(row)
    messages, fault, place = conversation(turns, system(row))
    while messages and messages[-1]["role"] != "assistant":
        fault = fault or "no answer at the end"
        place = len(turns) if fault == "no answer at the end" else place
        messages.pop()
    if not any(message["role"] == "user" for message in messages):
        raise Fault(fault or "no turns")
    yield Parsed("conversation", messages, number, group=PIECE.sub("", str(row.get("id") or "")))
    if fault:
        yield refused(number, fault, turns[place - 1 :] or turns[-1:], part=str(place))


def listed(row: dict[str, Any]) -> list[Any]:
    """The turns of a row. Raises Fault when it has none."""
    for name in ("conversations", "messages", "conversation"):
        if isinstance(row.get(name), list):
            return list(row[name])
        if row.get(name) is not None:
            raise Fault(f"{name} is not a list")
    raise Fault("conversations is missing")


def system(row: dict[str, Any]) -> str:
    """The system text of a row, with the tools that it offers."""
    tools = row.get("tools")
    described = tools if isinstance(tools, str) else rows.dump(tools) if tools else ""
    offered = f"Tools: {described}" if described.strip() not in ("", "[]", "{}") else ""
    return "\n\n".join(filter(None, [text(row, ["system"]), offered]))


def conversation(turns: list[Any], first: str = "") -> tuple[list[Message], str, int]:
    """The turns up to the first that doesn't follow; why it doesn't, and its place from 1 (0: all are read)."""
    messages: list[Message] = [{"role": "system", "content": first}] if first else []
    for place, turn in enumerate(turns, 1):
        role, content = speech(turn)
        if role is None:
            return messages, "a turn by an unknown speaker", place
        if content is None:
            return messages, "a turn is not a text", place
        if role == "system" and place == 1 and not content:
            continue
        if not content:
            return messages, "empty turn", place
        if role == "system" and place == 1:
            whole = "\n\n".join(filter(None, [content, first]))
            messages = [{"role": "system", "content": whole}]
            continue
        if role not in FOLLOWS[messages[-1]["role"] if messages else ""]:
            return messages, "turns out of order", place
        messages.append({"role": role, "content": content})
    return messages, "", 0


def speech(turn: Any) -> tuple[str | None, str | None]:
    """(role, text) of a turn; None for what is not there. Pages that were saved as HTML become Markdown."""
    if not isinstance(turn, dict):
        return None, None
    role = ROLES.get(str(turn.get("from", turn.get("role"))).lower())
    content = turn.get("value", turn.get("content"))
    calls = turn.get("tool_calls")
    if not content and calls:  # the chat APIs keep a call beside an empty content
        content = rows.dump(calls)
    if content is None:
        content = ""
    if not isinstance(content, str):
        return role, None
    content = content.strip()
    return role, markup.to_markdown(content) if role == "assistant" and markup.looks_like_html(content) else content
