"""A published model's own chat template, with marks that tell what the assistant says.

transformers gives a loss mask only where a template wraps the assistant's words in ``{% generation %}``, and hardly
any published one does. Here a template is asked, by conversations of known words, what it writes around them; from
these pieces a marked template is built, and it is taken only if it writes the same text as the model's own. What it
was not asked about (tool definitions, calls, images) is still rendered by the original, which stays inside. Learned
are the assistant's words and the token that ends its turn, not the line break behind it.

A model that knows no system prompt reads it before the first question, and a tool's answer as if the user had said it.
Two things are meant to differ. A hybrid reasoning model (Qwen3) writes an empty thought before a last answer and none
before earlier ones: here every answer without a thought has it in its prompt, so that all turns are learned as they
are asked for. And a template that writes today's date (Llama 3.2) gets the date that it falls back on: a model is the
same tomorrow. Not covered: templates that are no chain of turns; those are refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from stages.lib.models import CHATML, END, TURN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORDS = {"system": "qsystemq", "user": "quserq", "assistant": "qanswerq", "tool": "qtoolq"}
FIXED = {"date_string": "26 Jul 2024", "enable_thinking": False}
MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
Turns = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Role:
    """What stands around the words of a turn, and what becomes of them."""

    head: str
    tail: str = ""
    filters: str = ""  # " | trim", " | tojson"


@dataclass(frozen=True)
class Shape:
    """What a template writes around the words of a conversation."""

    first: str  # before the user's first words where no system prompt is
    system: Role  # its tail leads into the first user's words
    user: Role
    answer: Role  # its head ends where the assistant is to speak; its tail begins after the end of the turn
    lead: str  # what the assistant says before its words: a space, or nothing
    end: str  # the token that ends its turn
    thought: str  # an empty thought at the end of the answer's head, or nothing
    tool: Role | None


def marks(template: str) -> bool:
    """Whether a template tells what the assistant says."""
    return bool(MARKED.search(template))


def talk(tokenizer: "PreTrainedTokenizerBase") -> None:
    """See to it that a tokenizer renders conversations with marks, and that its end of text is the end of a turn."""
    if not tokenizer.chat_template:
        tokenizer.add_special_tokens({"additional_special_tokens": [TURN, END]})
        begins = tokenizer.bos_token is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
        tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + CHATML
        tokenizer.eos_token = END
        return
    if isinstance(tokenizer.chat_template, dict):  # named variants
        tokenizer.chat_template = tokenizer.chat_template["default"]
    if not marks(tokenizer.chat_template):
        tokenizer.chat_template = marked(tokenizer)
    tokenizer.eos_token = end_of_turn(tokenizer)


def marked(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The tokenizer's template with marks. Raises :class:`Refusal` where it is no chain of turns."""
    found = shape(tokenizer)
    if found:
        candidate = written(found, str(tokenizer.chat_template))
        if all(
            render(tokenizer, turns, **more) == render(tokenizer, turns, candidate, **more)
            for turns, more in probes(found)
        ):
            return candidate
    from trl.chat_template_utils import get_training_chat_template

    try:  # what trl has marked by hand
        return str(get_training_chat_template(tokenizer))
    except ValueError:
        pass
    raise Refusal(
        "base.repo: its chat template does not mark what the assistant says, and is no plain chain of turns that marks"
        " could be put into; put {% generation %} and {% endgeneration %} around the assistant's words and the end of"
        " its turn in a local copy, and name that folder"
    )


def render(tokenizer: "PreTrainedTokenizerBase", turns: Turns, template: str | None = None, **more: Any) -> str | None:
    """The text of a conversation, or None where the template refuses it."""
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                [dict(turn) for turn in turns], chat_template=template, tokenize=False, **{**FIXED, **more}
            )
        )
    except (TemplateError, TypeError):  # a template's own refusal, or a role that it never thought of
        return None


def said(*roles: str) -> list[dict[str, str]]:
    """Turns of these roles with words that no template holds."""
    return [{"role": role, "content": WORDS[role]} for role in roles]


def between(text: str | None, roles: Sequence[str]) -> list[str] | None:
    """What stands before, between and after the words of these roles, if each stands there once, in order."""
    parts = [text or ""]
    for role in roles:
        head, found, rest = parts[-1].partition(WORDS[role])
        if not found:
            return None
        parts[-1:] = [head, rest]
    return parts


def shape(tokenizer: "PreTrainedTokenizerBase") -> Shape | None:
    """What the tokenizer's template writes around a conversation, or None where that is no chain of turns."""
    chain = ["user", "assistant", "user", "assistant"]
    parts = between(render(tokenizer, said(*chain)), chain)
    asked = between(render(tokenizer, said("user"), add_generation_prompt=True), ["user"])
    thinking = between(render(tokenizer, said("user"), add_generation_prompt=True, enable_thinking=True), ["user"])
    closed = between(render(tokenizer, said("user")), ["user"])
    if not parts or not asked or not thinking or not closed:
        return None
    first, _, again, into, last = parts
    end = next_special(tokenizer, last)
    if not end or not into.startswith(asked[1]) or not again.startswith(end):
        return None
    thought = asked[1].removeprefix(thinking[1]) if asked[1].startswith(thinking[1]) else ""
    tail = last.removeprefix(end)
    tail = tail if again.startswith(end + tail) else ""
    closing = closed[1] if asked[1].startswith(closed[1]) else ""
    system = between(render(tokenizer, said("system", "user")), ["system", "user"])
    return Shape(
        first=first,
        # a model that knows no system prompt reads it before the first question
        system=Role(system[0], system[1], trims(tokenizer, "system")) if system else Role(first, "\n\n"),
        user=Role(again.removeprefix(end + tail), closing, trims(tokenizer, "user")),
        answer=Role(asked[1].removeprefix(closing).removesuffix(thought), tail, trims(tokenizer, "assistant")),
        lead=into.removeprefix(asked[1]),
        end=end,
        thought=thought,
        tool=tool(tokenizer, end + tail, asked[1].removeprefix(closing).removesuffix(thought)),
    )


def tool(tokenizer: "PreTrainedTokenizerBase", before: str, after: str) -> Role | None:
    """What stands around a tool's answer, if the template knows such turns."""
    roles = ["user", "assistant", "tool", "assistant"]
    parts = between(render(tokenizer, said(*roles)), roles)
    if not parts or not parts[2].startswith(before) or after not in parts[3]:
        return None
    head, tail = parts[2].removeprefix(before), parts[3][: parts[3].rindex(after)]
    quoted = head.endswith('"') and tail.startswith('"')
    return Role(head[:-1], tail[1:], " | tojson") if quoted else Role(head, tail)


def trims(tokenizer: "PreTrainedTokenizerBase", role: str) -> str:
    """The filter that the template puts on a role's words: it may cut the white space around them."""
    before = {"assistant": ["user"]}.get(role, [])
    after = ["user"] if role == "system" else []
    turns = [*said(*before), {"role": role, "content": f"  {WORDS[role]}  "}, *said(*after)]
    return "" if f"  {WORDS[role]}  " in (render(tokenizer, turns) or "") else " | trim"


def next_special(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """The special token at the start of a text, white space before it included; nothing if there is none."""
    known = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    rest = text.lstrip()
    at = max((token for token in known if token and rest.startswith(token)), key=len, default="")
    return text[: len(text) - len(rest)] + at if at else ""


def written(shape: Shape, original: str) -> str:
    """A marked template of this shape, around the model's own, which renders what the shape does not know."""
    rare = ["tools", "messages | selectattr('tool_calls', 'defined') | list"]
    rare += ["messages | rejectattr('content', 'string') | list"]
    content, answer = "message['content']", shape.answer
    head = quoted(answer.head)
    if shape.thought:
        thoughtless = f"{head} + ('' if '</think>' in {content} else {quoted(shape.thought)})"
        prompt = f"{head} + ('' if enable_thinking is defined and enable_thinking else {quoted(shape.thought)})"
    else:
        thoughtless = prompt = head
    lines = [
        f"if {' or '.join(rare)} %}}{original}",
        "else",
        "for message in messages",
        "if message['role'] == 'assistant'",
        f"{{{{- {thoughtless} }}}}",
        f"generation %}}{{{{- {quoted(shape.lead)} + ({content}{answer.filters}) + {quoted(shape.end)} }}}}",
        f"endgeneration %}}{{{{- {quoted(answer.tail)} }}}}",
        "elif message['role'] == 'system' and loop.first",
        around(shape.system, content),
    ]
    if shape.tool:
        lines += ["elif message['role'] == 'tool'", around(shape.tool, content)]
    lines += [
        "else",
        f"{{{{- {quoted(shape.first)} if loop.first else {quoted('')} if loop.previtem['role'] == 'system' and"
        f" loop.index0 == 1 else {quoted(shape.user.head)} }}}}",
        around(Role("", shape.user.tail, shape.user.filters), content),
        "endif",
        "endfor",
        f"if add_generation_prompt %}}{{{{- {prompt} }}}}",
        "endif",
        "endif",
    ]
    return "".join(line if line.startswith("{{") else tag(line) for line in lines)


def tag(line: str) -> str:
    """A statement; what follows its own closing bracket stays as it is."""
    return "{% " + line + ("" if "%}" in line else " %}")


def around(role: Role, content: str) -> str:
    """The words of a turn between what stands around them."""
    return f"{{{{- {quoted(role.head)} + ({content}{role.filters}) + {quoted(role.tail)} }}}}"


def quoted(text: str) -> str:
    """A text as Jinja reads it."""
    return json.dumps(text, ensure_ascii=False)


def probes(shape: Shape) -> list[tuple[list[dict[str, str]], dict[str, Any]]]:
    """Conversations that the marked template must render as the original does; texts unlike those of the search."""
    user = {"role": "user", "content": "Thủ đô của Pháp?"}
    answer = {"role": "assistant", "content": "Là Paris.\nCòn gì nữa?"}
    system = {"role": "system", "content": 'Trả lời "ngắn".'}
    more = {"role": "user", "content": " Cảm ơn! "}
    known = render_system(shape)
    found: list[tuple[list[dict[str, str]], dict[str, Any]]] = [([user], {}), ([user, answer], {})]
    found.append(([user], {"add_generation_prompt": True}))
    found += [([system, user], {"add_generation_prompt": True}), ([system, user, answer], {})] if known else []
    if not shape.thought:  # earlier answers are meant to differ
        found += [([user, answer, more, answer], {}), ([user, answer, more], {"add_generation_prompt": True})]
        found += [([system, user, answer, more, answer], {})] if known else []
        if shape.tool:
            called = {"role": "tool", "content": '{"nhiệt độ": 31}'}
            found.append(([user, answer, called, answer], {}))
    return found


def render_system(shape: Shape) -> bool:
    """Whether the original knows a system prompt."""
    return shape.system != Role(shape.first, "\n\n")


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The token that the template's assistant ends its turn with. Raises :class:`Refusal` where it is not learned."""
    found = tokenizer.apply_chat_template(
        said("user", "assistant"), tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **FIXED
    )
    learned = [token for token, mask in zip(found["input_ids"], found["assistant_masks"], strict=True) if mask]
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    while learned and not tokenizer.decode(learned[-1:]).strip():
        learned.pop()  # some marks hold the line break behind the end of the turn, too
    if not learned or learned[-1] not in special:
        raise Refusal(
            "base.repo: its chat template marks no token that ends the assistant's turn, so the model could not learn"
            " to stop; put one before {% endgeneration %} in a local copy, and name that folder"
        )
    return str(tokenizer.convert_ids_to_tokens(learned[-1]))
