"""A task that a teacher invented: how it is read out of a reply, and what is wrong with it on its face.

A reply is read also when the server couldn't hold the model to a schema: in a fence, with a sentence before or after
it, as a bare list or a single task. What is wrong has a name. The rules are about Vietnamese: an instruction may
begin with any letter (Đ, Ẩn, “), and is counted in syllables. Not covered: whether it is new (``pool.py``),
and whether its answer is true.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from stages.lib.clean import answers
from stages.lib.records import Verdict
from stages.lib.text import language, vietnamese

Task = dict[str, str]
FIELDS = ("instruction", "input", "output")
START, TASK = re.compile(r"\{\s*\"|\[\s*\{"), re.compile(r"\{\s*\"instruction\"")  # of a reply, of a task in it
THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # of a model that shows how it came to its reply
SHORTEST, LONGEST, WHOLE = 3, 200, 1500  # syllables of an instruction, at least and at most, and of a whole task
JUDGED = 5  # syllables of an answer, from which lost marks are looked for: a shorter one may be a name or a formula
PROSE = 16  # syllables of a last line, from which it has to end as a sentence does
ENGLISH = 0.5  # share of an instruction's words that may be English: it may quote what is to be translated
NOT_VIETNAMESE = ("en", "other", "vi-no-diacritics")
# what a text model can't do: an order to draw or to play something, or to look at what isn't there; no question is one
SEEN = r"(?:ảnh|bức hình|tấm hình|hình vẽ|video|đoạn phim|bản nhạc|bài hát|ghi âm|biểu đồ|sơ đồ|bản đồ)\b"
THING = r"(?:một|hai|ba|vài|lại|giúp|cho|bức|con|cái|bài|đoạn|bản|hình|tranh|chân dung|logo|clip)\b"
OTHER_MEDIUM = re.compile(
    r"^(?!.*\?\W*$)(?:(?:em|bạn|anh|chị) )?(?:hãy )?(?:"
    r"phát (?:một )?(?:bản|bài|đoạn) (?:nhạc|hát)\b"
    rf"|(?:vẽ|hát|quay|chụp|ghi âm) (?:{THING}|{SEEN})"
    rf"|(?:xem|nghe|nhìn|quan sát|chèn|tải|dựa vào)\b[^.,;:?]{{0,16}}\b{SEEN})",
    re.IGNORECASE | re.DOTALL,
)
# it speaks of a text that comes after it
POINTS = re.compile(r"\b(?:sau|sau đây|dưới đây|bên dưới)\s*[.:]*$", re.IGNORECASE)
PLACEHOLDER = re.compile(
    # a name in brackets; a number or nothing in them, or one ASCII word as a tag has it, may be the answer
    r"(?:n/a|todo|(?:không có|chưa có) câu trả lời|\[(?!\d)\w[\w\s]{1,39}\]|<(?![\x21-\x7e]*>)\w[\w\s]{1,39}>"
    r"|\.{2,}|…+)[.!]?",
    re.IGNORECASE,
)
UNABLE = re.compile(
    r"\W*(?:(?:rất|thật|thành thật)? ?(?:xin lỗi|tiếc)[^.!?]{0,40}?\b)?(?:tôi|mình|em) (?:rất tiếc )?"
    r"(?:không thể|chưa thể) (?:giúp|trả lời|thực hiện|cung cấp|hỗ trợ|hoàn thành|đáp ứng)\b"
    r"|\W*(?:i'm sorry|i can(?:no|')t)\b",
    re.IGNORECASE,
)
STRIPPED = re.compile(r"không dấu|bỏ (?:hết |các )?dấu|teencode", re.IGNORECASE)


def parse(reply: str) -> list[Task | None]:
    """The tasks in a reply; None stands for what is not of the form that was asked for.

    Of a reply that is broken somewhere, the tasks that are whole are taken: they are paid for.
    """
    reply, nothing = THOUGHT.sub("", reply, count=1), list[Task | None]()
    for found in values(reply):
        given = found.get("tasks", [found]) if isinstance(found, dict) else found
        made = [typed(task) for task in given] if isinstance(given, list) else []
        if any(made):
            return made
        nothing = nothing or made
    if nothing:
        return nothing
    whole = [task for start in TASK.finditer(reply) if (task := typed(first_json(reply[start.start() :], TASK)))]
    return [*whole, None]


def values(text: str) -> Iterator[Any]:
    """The JSON values that stand in a text one after the other, up to one that is broken."""
    place = 0
    while match := START.search(text, place):
        try:
            value, place = json.JSONDecoder().raw_decode(text, match.start())
        except (ValueError, RecursionError):  # a number or a depth that Python doesn't read, too
            return
        yield value


def first_json(text: str, start: re.Pattern[str]) -> Any:
    """The JSON value that begins where a pattern is first found, or None."""
    match = start.search(text)
    try:
        return json.JSONDecoder().raw_decode(text, match.start())[0] if match else None
    except (ValueError, RecursionError):  # a number or a depth that Python doesn't read, too
        return None


def typed(task: Any) -> Task | None:
    """A task with all its fields as texts."""
    fields = {"input": "", **task} if isinstance(task, dict) else {}
    values = ["" if fields.get(name, 0) is None else fields.get(name) for name in FIELDS]
    if not all(isinstance(value, str | int | float) for value in values):
        return None
    return {name: vietnamese.whole(str(value)).strip() for name, value in zip(FIELDS, values, strict=True)}


def fault(task: Task) -> Verdict | None:
    """(reason, detail) of the first thing that is wrong with a task on its face, or None."""
    instruction, about, output = (task[name] for name in FIELDS)
    if not instruction or not output:
        return "empty", "output" if instruction else "instruction"
    asked, answered = len(vietnamese.syllables(instruction)), len(vietnamese.syllables(output))
    if asked < SHORTEST:
        return "too short", f"an instruction of {asked} syllables"
    if asked > LONGEST:
        return "too long", f"an instruction of {asked} syllables"
    if (total := asked + answered + len(vietnamese.syllables(about))) > WHOLE:
        return "too long", f"{total} syllables"
    if match := OTHER_MEDIUM.search(instruction):
        return "needs another medium", match[0]
    if not about and "\n" not in instruction and (match := POINTS.search(instruction)):
        return "input missing", match[0]
    if (found := language.classify(instruction, ENGLISH)) in NOT_VIETNAMESE:
        return "not Vietnamese", f"the instruction is {found}"
    return answer_fault(instruction, output)


def answer_fault(instruction: str, output: str) -> Verdict | None:
    """What is wrong with an answer, as :func:`fault` says it."""
    if PLACEHOLDER.fullmatch(output):
        return "no answer", output[:80]
    if said := answers.refusal(output):
        return "refusal", said
    if match := UNABLE.match(output):
        return "refusal", match[0]
    if vietnamese.key(output) == vietnamese.key(instruction):
        return "repeats the instruction", output[:80]
    judged = len(vietnamese.syllables(output)) >= JUDGED and not STRIPPED.search(instruction)
    if judged and language.classify(output, ENGLISH) == "vi-no-diacritics":
        return "not Vietnamese", "the answer is vi-no-diacritics"
    if end := answers.truncated(output, PROSE):
        return "truncated", end
    return None
