r"""What an answer is worth: a reward model's number, and answers that can be checked by rule.

A prompt can be checked when the answer that ships with it ends in a value: one that is marked as such (``#### 42``,
``\boxed{42}``, ``Đáp án: B``), or, in a short answer, the words or numbers at its end that its question doesn't
hold. A policy's answer is right when its own value, found the same way, is the same one: case, composition, tone
placement and the signs between thousands don't count. What has a judge's reward, a right value's and an ended turn's
gets the sum of them. Not covered: values in other words (``12`` for ``mười hai``), formulas, and code.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stages.lib import models, records, weights
from stages.lib.records import Message
from stages.lib.text import vietnamese
from stages.lib.train import rollouts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RIGHT = 1.0
UNENDED = 3.0  # with much less, running on still pays with the default recipe's reward model
SHORT, VALUE = 16, 6  # words of an answer, and of a value, at most
MARKED = re.compile(r"(?:####|đáp (?:số|án)\s*(?:là)?\s*:|\\boxed\{)\s*([^\n}]+)", re.IGNORECASE)
GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?![.\d])")  # 69 000
SIGNED = re.compile(r"\d+(?:[.,]\d+)+")
VIETNAMESE, ENGLISH = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?"), re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
DECIMAL, LISTED = re.compile(r"\d+[.,]\d+"), re.compile(r"\d+(?:,\d+)+")
NUMBER = r"(?:(?<!\w)-)?\d+(?:\.\d+)?"
RUN = re.compile(rf"{NUMBER}(?:\s*(?:,\s+|;\s*){NUMBER})*")
# a number or some, and their unit: after a space, for 2x is no number of x
MEASURED = re.compile(rf"\$?({RUN.pattern})[%$đ₫€]?(?:\s+[^\W\d_]+[²³]?){{0,3}}\$?")
SCALE = re.compile(r"\d\s*(?:chục|trăm|nghìn|ngàn|vạn|triệu|tỷ|tỉ|hundred|thousand|million|billion)\b")
LETTER = re.compile(r"\(?([a-h])\)?\s*(?:[.:,;)]|$)")
FORMULA = re.compile(r"[\\/^:+=*×÷·<>√]|(?<!\w)-(?!\d)")
BROKEN = re.compile(r"\d\s*[/^:+*×÷·]\s*\d|[\\^√]")  # a number that is part of a larger value
STOP = re.compile(r"[.!?](?:\s|$)")
WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
SENTENCES = re.compile(r"[\n;.!?]")  # an answer that says more than its value is no bare one
# what stands between a question's words and the value
COPULAS = set("là với ở được bằng thành vào nhóm từ số dạ".split())


def normal(text: str) -> str:
    """A text without what makes its value no other one."""
    text = vietnamese.place_tones(text, "old").lower().replace("−", "-")
    return SIGNED.sub(plain, GROUPED.sub(lambda found: re.sub(r"\s", "", found[0]), text))


def plain(found: re.Match[str]) -> str:
    """A number with a point before its decimals and no other sign; what is none stays, with room between its parts."""
    text = found[0]
    if VIETNAMESE.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    elif ENGLISH.fullmatch(text):
        text = text.replace(",", "")
    elif DECIMAL.fullmatch(text):
        text = text.replace(",", ".")
    else:
        return text.replace(",", ", ") if LISTED.fullmatch(text) else text
    return text.rstrip("0").rstrip(".") if "." in text else text


def value(question: str, answer: str) -> str | None:
    """The value that an answer ends in; None where it has none that could be checked."""
    text, asked = normal(answer).strip(), set(WORD.findall(normal(question))) | COPULAS
    if marked := MARKED.findall(text):
        return of_mark(marked[-1].strip())
    words, around = WORD.findall(text), RUN.sub("", text.removeprefix("dạ,").rstrip(" .!?"))
    if len(words) > SHORT or SENTENCES.search(around) or BROKEN.search(text.rpartition("=")[2]):
        return None
    ends = [place + 1 for place, word in enumerate(words) if word in asked and not word.isdigit()]
    tail = words[max(ends, default=0) :]
    if tail and not any(letter.isdigit() for word in tail for letter in word):
        return " ".join(tail) if len(tail) <= VALUE and "," not in around else None
    return numbers(text)


def of_mark(mark: str) -> str | None:
    """What is marked as the answer: a choice's letter, numbers, or words; None for a formula."""
    if letter := LETTER.match(mark):
        return letter[1]
    said = STOP.split(mark)[0].strip()
    if FORMULA.search(said):
        return None
    if found := MEASURED.fullmatch(said):
        return numbers(said if SCALE.search(said) else found[1])
    return " ".join(re.findall(r"\d+\.[\d.]+|" + WORD.pattern, said)) or None


def numbers(text: str) -> str | None:
    """The last number of a text, or the last of its lists of them; 5 million is more than 5."""
    found = list(RUN.finditer(text))
    if not found:
        return None
    scale = SCALE.match(text, found[-1].end() - 1)
    return ", ".join(re.findall(NUMBER, found[-1][0])) + (scale[0][1:] if scale else "")


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


def verifiable(turns: Sequence[Message], said: str, reference: str) -> float:
    """The reward of an answer that can be checked."""
    return RIGHT * right(turns, said, reference)


def of_trl(known: Checkable) -> Callable[..., list[float | None]]:
    """The same as a function that trl calls; None for what can't be checked, which trl leaves out of the sum."""

    def checked(prompts: list[list[Message]], completions: list[list[Message]], **_: Any) -> list[float | None]:
        return [
            verifiable(turns, answer[0]["content"], known[key(turns)]) if key(turns) in known else None
            for turns, answer in zip(prompts, completions, strict=True)
        ]

    return checked


def ending(ends: Sequence[int]) -> Callable[..., list[float]]:
    """What answers lose whose turn has not ended, as a function that trl calls."""

    def unended(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [-UNENDED * (ids[-1] not in ends) for ids in completion_ids]

    return unended


def distinct_2(completions: list[list[Message]], **_: Any) -> list[float]:
    """How varied a batch of answers is, for trl to log."""
    return [rollouts.distinct([answer[0]["content"] for answer in completions])] * len(completions)


def score(
    scorer: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]], batch: int
) -> list[float]:
    """The judge's number for each conversation."""
    import torch

    most = rollouts.room(scorer)
    encoded = [models.encode(tokenizer, row)[0] for row in rows]
    if longer := sum(len(ids) > most for ids in encoded):
        print(f"{longer} answers are judged by their first {most} tokens: the judge reads no more", file=sys.stderr)
        encoded = [ids[:most] for ids in encoded]
    found = [0.0] * len(rows)
    for indices in weights.by_length(encoded, batch):
        ids, mask = weights.padded([encoded[i] for i in indices], tokenizer.pad_token_id, "right", str(scorer.device))
        with torch.inference_mode():
            given = scorer(input_ids=ids, attention_mask=mask).logits[:, 0].tolist()
        for index, number in zip(indices, given, strict=True):
            found[index] = number
    return found
