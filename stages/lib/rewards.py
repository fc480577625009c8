r"""What an answer is worth: a reward model's number, and answers that can be checked by rule.

A prompt can be checked when the answer that ships with it ends in a value: one that is marked as such (``#### 42``,
``\boxed{42}``, ``Đáp án: B``), or, in a short answer, the words or numbers at its end that its question doesn't
hold. A policy's answer is right when its own value, found the same way, is the same one: case, composition, tone
placement and the signs between thousands don't count. What has a judge's reward, a right value's and an ended turn's
gets the sum of them. Not covered: values in other words (``12`` for ``mười hai``), formulas, and code.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stages.lib import models, records, rollouts, vietnamese, weights
from stages.lib.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RIGHT, ENDED = 1.0, 0.2  # an ended turn is worth little beside a right one: it is no answer by itself
SHORT, VALUE = 16, 6  # words of an answer, and of a value, at most
MARKED = re.compile(r"(?:####|đáp (?:số|án)\s*(?:là)?\s*:|\\boxed\{)\s*([^\n}]+)", re.IGNORECASE)
NUMBER = r"-?\d+(?:,\d+)?"
RUN = re.compile(rf"{NUMBER}(?:\s*[,;]\s+{NUMBER})*")
THOUSANDS = re.compile(r"(?<=\d)[. ](?=\d{3}(?!\d))")
WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
SENTENCES = re.compile(r"[\n;.!?]")  # an answer that says more than its value is no bare one
# what stands between a question's words and the value
COPULAS = set("là với ở được bằng thành vào nhóm từ số dạ".split())


def normal(text: str) -> str:
    """A text without what makes its value no other one."""
    return THOUSANDS.sub("", vietnamese.place_tones(text, "old").lower())


def value(question: str, answer: str) -> str | None:
    """The value that an answer ends in; None where it has none that could be checked."""
    text, asked = normal(answer).strip(), set(WORD.findall(normal(question))) | COPULAS
    if marked := MARKED.findall(text):
        return numbers(marked[-1]) or " ".join(WORD.findall(marked[-1])) or None
    words, around = WORD.findall(text), RUN.sub("", text.removeprefix("dạ,").rstrip(" .!?"))
    if len(words) > SHORT or SENTENCES.search(around):
        return None
    ends = [place + 1 for place, word in enumerate(words) if word in asked and not word.isdigit()]
    tail = words[max(ends, default=0) :]
    if tail and not any(letter.isdigit() for word in tail for letter in word):
        return " ".join(tail) if len(tail) <= VALUE and "," not in around else None
    return numbers(text)


def numbers(text: str) -> str | None:
    """The last number of a text, or the last of its lists of them."""
    found = RUN.findall(text)
    return ", ".join(re.findall(NUMBER, found[-1])) if found else None


Checkable = dict[tuple[tuple[str, str], ...], str]


def key(turns: Iterable[Message]) -> tuple[tuple[str, str], ...]:
    """A prompt's turns as something to look up."""
    return tuple((turn["role"], turn["content"]) for turn in turns)


def references(answered: Iterable[records.Record]) -> Checkable:
    """The value that the answer to each prompt ends in, of the prompts that can be checked."""
    found: Checkable = {}
    for row in answered:
        turns = records.prompt(row)
        right = value(turns[-1]["content"], records.content(row, "assistant")) if turns else None
        if right is not None:
            found.setdefault(key(turns), right)
    return found


def right(turns: Sequence[Message], said: str, reference: str) -> bool:
    """Whether an answer to a prompt ends in a value."""
    return value(turns[-1]["content"], said) == reference


def verifiable(turns: Sequence[Message], said: str, ended: bool, reference: str) -> float:
    """The reward of an answer that can be checked."""
    return RIGHT * right(turns, said, reference) + ENDED * ended


def of_trl(known: Checkable, ends: Sequence[int]) -> Callable[..., list[float | None]]:
    """The same as a function that trl calls; None for what can't be checked, which trl leaves out of the sum."""

    def checked(
        prompts: list[list[Message]], completions: list[list[Message]], completion_ids: list[list[int]], **_: Any
    ) -> list[float | None]:
        return [
            verifiable(turns, answer[0]["content"], any(token in ends for token in ids[-1:]), known[key(turns)])
            if key(turns) in known
            else None
            for turns, answer, ids in zip(prompts, completions, completion_ids, strict=True)
        ]

    return checked


def distinct_2(completions: list[list[Message]], **_: Any) -> list[float]:
    """How varied a batch of answers is, for trl to log."""
    return [rollouts.distinct([answer[0]["content"] for answer in completions])] * len(completions)


def score(
    scorer: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]], batch: int
) -> list[float]:
    """The judge's number for each conversation."""
    import torch

    most = rollouts.room(scorer)
    encoded = [models.encode(tokenizer, row)[0][:most] for row in rows]
    found = [0.0] * len(rows)
    for indices in weights.by_length(encoded, batch):
        ids, mask = weights.padded([encoded[i] for i in indices], tokenizer.pad_token_id, "right", str(scorer.device))
        with torch.inference_mode():
            given = scorer(input_ids=ids, attention_mask=mask).logits[:, 0].tolist()
        for index, number in zip(indices, given, strict=True):
            found[index] = number
    return found
