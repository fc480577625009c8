"""NLLB-200 as a teacher: a translation model on this machine, which costs nothing and knows no instructions.

It answers translation requests alone, in the form in which every teacher does. It leaves out sentences where it is
shown several (huggingface/transformers #24169), so it is shown one at a time (``stages/lib/translate/masking.py``); a
batch of some hundred sentences, of requests of like length, is journalled as soon as it is done. What a tool said stays
as it is. Not covered: forms of address, which a model of single sentences can't keep, and the models themselves
(``nllb_models.py``).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stages.lib.contract import Refusal
from stages.lib.params import Nllb, Teacher
from stages.lib.teachers import nllb_models
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.nllb_models import Model, Row, Said
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.spend import Purse
from stages.lib.text.vietnamese import whole
from stages.lib.translate import masking, translation
from stages.lib.translate.masking import Part, Sentence

LONGEST = 600  # characters of a sentence; a longer one is cut
TOGETHER = 512  # sentences in a batch
STEP = 16  # ids; sentences of like length may get answers of the same length


@dataclass(frozen=True)
class Job:
    """A request and what is shown of each of its texts."""

    key: str
    request: str
    texts: list[list[Part]]

    def sentences(self) -> Iterator[Sentence]:
        """All that is to be translated."""
        return (part for text in self.texts for part in text if isinstance(part, Sentence))


@dataclass(frozen=True)
class Translation:
    """What the model makes of one sentence."""

    text: str
    read: int  # ids
    written: int
    ended: bool


def translate(
    teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Translate every text; answers go to the journal batch by batch. What is no translation request fails."""
    from tqdm import tqdm

    if teacher.nllb is None:
        raise Refusal("teacher.nllb: found null; engine nllb needs {quantization: int8, beam: 1}, say")
    roles = {key: read(text) for key, text in wanted.items()}
    failures = {
        key: Failure("no translation", f"engine nllb can only translate; let another engine answer {name}")
        for key, texts in roles.items()
        if texts is None
    }
    if len(failures) == len(wanted):
        return failures
    model = nllb_models.load(teacher.model, teacher.nllb.quantization)
    longest = min(LONGEST, model.positions - STEP)
    jobs = [
        Job(key, wanted[key], [[text] if role == "tool" else masking.parts(text, longest) for role, text in texts])
        for key, texts in roles.items()
        if texts is not None
    ]
    with tqdm(total=sum(1 for job in jobs for _ in job.sentences()), desc=name, unit="sentence") as bar:
        for batch in batches(jobs):
            sentences = [sentence for job in batch for sentence in job.sentences()]
            said = say(model, (masking.marked(sentence)[0] for sentence in sentences), teacher, teacher.nllb)
            lost = [one for one in sentences if masking.restored(one, said[masking.marked(one)[0]].text) is None]
            said |= say(model, (text for one in lost for text in masking.stretched(one)), teacher, teacher.nllb)
            for job in batch:
                entry = answer(job, said, teacher, prompt)
                journal.add(entry)
                purse.pay(purse.hold_now(0, 0), entry["usage"])  # the bill counts it
            bar.update(len(sentences))
    return failures


def read(request: str) -> list[tuple[str, str]] | None:
    """The roles and texts of a translation request, or None for any other."""
    try:
        return [(str(item["role"]), str(item["text"])) for item in json.loads(request)]
    except (ValueError, TypeError, KeyError):
        return None


def batches(jobs: list[Job]) -> Iterator[list[Job]]:
    """Requests of like length together, some hundred sentences at a time."""
    batch, count = list[Job](), 0
    for job in sorted(jobs, key=lambda job: len(job.request)):
        batch.append(job)
        count += sum(1 for _ in job.sentences())
        if count >= TOGETHER:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def say(model: Model, texts: Iterable[str], teacher: Teacher, nllb: Nllb) -> dict[str, Translation]:
    """What the model makes of each text. How long an answer may be follows from its own sentence alone."""
    known = list(dict.fromkeys(texts))
    rows: list[Row] = model.tokenizer(known)["input_ids"] if known else []
    alike = defaultdict[int, list[int]](list)
    found = {text: Translation("", len(row), 0, ended=False) for text, row in zip(known, rows, strict=True)}
    for place, row in enumerate(rows):
        if len(row) <= model.positions:
            room = 2 * STEP * -(-len(row) // STEP) + STEP
            alike[min(room, teacher.max_tokens, model.positions - 2)].append(place)
    for room, places in sorted(alike.items()):
        for place, (ids, ended) in zip(
            places, fitting(model, [rows[place] for place in places], nllb.beam, room), strict=True
        ):
            text = whole(model.tokenizer.decode(ids, skip_special_tokens=True)).strip()
            found[known[place]] = Translation(text, len(rows[place]), len(ids) + ended, ended)
    return found


def fitting(model: Model, rows: list[Row], beam: int, room: int) -> list[Said]:
    """Answers, fewer at a time where the memory is too small for all."""
    try:
        return model.run(rows, beam, room)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "out of memory" not in str(error).lower():
            raise
    if len(rows) == 1:
        raise Refusal(
            f"teacher.model: out of memory with one sentence of {len(rows[0])} tokens; take a smaller model, "
            "teacher.nllb.quantization: int8 or a smaller teacher.nllb.beam. What was translated is in the journal"
        )
    half = len(rows) // 2
    return fitting(model, rows[:half], beam, room) + fitting(model, rows[half:], beam, room)


def answer(job: Job, said: dict[str, Translation], teacher: Teacher, prompt: Prompt) -> Entry:
    """The journal's entry: the texts put together; ``length`` when a sentence of them was cut."""
    asked, used, texts = list[Translation](), list[Translation](), list[str]()
    for parts in job.texts:
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            pieces = [said[masking.marked(part)[0]]]
            asked += pieces
            found = masking.restored(part, pieces[0].text)
            if found is None:
                pieces = [said[piece] for piece in masking.stretched(part)]
                asked += pieces
                found = masking.rejoined(part, [piece.text for piece in pieces])
            used += pieces
            text += found
        texts.append(text)
    return Entry(
        key=job.key,
        model=teacher.model,
        prompt=prompt.name,
        input=job.request,
        answer=translation.answer(texts),
        finish_reason="stop" if all(one.ended for one in used) else "length",
        usage={
            "prompt_tokens": sum(one.read for one in asked),
            "completion_tokens": sum(one.written for one in asked),
        },
    )
