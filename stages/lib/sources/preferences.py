"""What people preferred, in the shapes that it is published in.

Pairs: Anthropic's HH-RLHF transcripts, LLaMA-Factory's conversations with ``chosen`` and ``rejected``, an
instruction or a prompt with two answers, UltraFeedback's lists of messages. Single verdicts: an answer with a
``label`` (KTO), which closes with ``chosen`` or ``rejected`` alone and is of the kind ``verdict``. Not covered:
scores on a scale.
"""

import re
from typing import Any

from stages.lib.records import Message
from stages.lib.sources.fields import ANSWER, INSTRUCTION, Fault, Found, Parsed, asked, before, needed, text
from stages.lib.sources.turns import ROLES, conversation, listed, speech, system

SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")
LABELS = ("label", "kto_tag")
VERDICTS = {"true": "chosen", "1": "chosen", "1.0": "chosen", "false": "rejected", "0": "rejected", "0.0": "rejected"}


def preference(number: str, row: dict[str, Any]) -> Found:
    """A ranked pair, or an answer with a verdict."""
    if row.get("chosen") is not None or row.get("rejected") is not None:
        turns, chosen, rejected = pair(row)
        if not chosen or not rejected:
            raise Fault(f"empty {'rejected' if chosen else 'chosen'}")
        if chosen == rejected:
            raise Fault("chosen and rejected are the same")
        closing: list[Message] = [{"role": "chosen", "content": chosen}, {"role": "rejected", "content": rejected}]
        yield Parsed("preference", [*turns, *closing], number)
        return
    label = next((row[name] for name in LABELS if row.get(name) is not None), None)
    if label is None:
        raise Fault("neither chosen and rejected nor a label")
    verdict = VERDICTS.get(str(label).strip().lower())
    if verdict is None:
        raise Fault("label is neither true nor false")
    turns, answer = answered(row)
    yield Parsed("verdict", [*turns, {"role": verdict, "content": answer}], number)


def pair(row: dict[str, Any]) -> tuple[list[Message], str, str]:
    """The turns before, the better and the worse answer. Raises Fault."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if chosen is None or rejected is None:
        raise Fault(f"{'chosen' if chosen is None else 'rejected'} is missing")
    if isinstance(chosen, str) and isinstance(rejected, str):
        if SPEAKER.match(chosen):
            return split(transcript(chosen), transcript(rejected))
        return question(row), chosen.strip(), rejected.strip()
    if isinstance(chosen, dict) and isinstance(rejected, dict):
        return question(row), closing(chosen), closing(rejected)
    if isinstance(chosen, list) and isinstance(rejected, list):
        return split(whole(chosen), whole(rejected))
    raise Fault("chosen and rejected are of different kinds")


def question(row: dict[str, Any]) -> list[Message]:
    """The turns that two answers answer: a conversation, or an instruction."""
    if any(isinstance(row.get(name), list) for name in ("conversations", "messages", "conversation")):
        turns = whole(listed(row), system(row))
    elif isinstance(row.get("prompt"), list):
        turns = whole(row["prompt"], system(row))
    else:
        turns = [*before(row), {"role": "user", "content": asked(row)}]
    if not turns or turns[-1]["role"] not in ("user", "tool"):
        raise Fault("nothing is asked before the answers")
    return turns


def answered(row: dict[str, Any]) -> tuple[list[Message], str]:
    """The turns before the last answer, and the answer. Raises Fault."""
    if any(row.get(name) is not None for name in ("conversations", "messages", "conversation")):
        turns = whole(listed(row), system(row))
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise Fault("no answer at the end")
        return turns[:-1], turns[-1]["content"]
    if text(row, INSTRUCTION):
        return question(row), needed(row, ANSWER)
    raise Fault(f"{INSTRUCTION[0]} is missing")


def whole(turns: list[Any], first: str = "") -> list[Message]:
    """A conversation without any fault in it: half a prompt would make another preference of it."""
    messages, fault, _ = conversation(turns, first)
    if fault:
        raise Fault(fault)
    return messages


def closing(turn: dict[str, Any]) -> str:
    """An answer as a turn."""
    role, content = speech(turn)
    if role != ROLES["gpt"] or content is None:
        raise Fault("an answer that is not the assistant's")
    return content


def split(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], str, str]:
    """Two conversations that differ in their last answer alone. Raises Fault."""
    if not chosen or not rejected or chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise Fault("no answer at the end")
    if chosen[:-1] != rejected[:-1]:
        raise Fault("the answers are to different questions")
    return chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]


def transcript(said: str) -> list[Message]:
    """HH-RLHF: turns in one text, each after an empty line and the speaker's name. Raises Fault."""
    _, *parts = SPEAKER.split(said)
    sides = {"Human": "human", "Assistant": "gpt"}
    turns = [{"from": sides[speaker], "value": value} for speaker, value in zip(parts[::2], parts[1::2], strict=True)]
    return whole(turns)
