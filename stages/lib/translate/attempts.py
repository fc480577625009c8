"""Who is asked again, how, and of whom, until a translation passes its checks or is given up.

Rounds over many records together: all first requests; those that were too long for an answer again in smaller
parts; those that failed a check once more with the reason; what is still open on the fallback engine. A retry that
the engine ``journal`` doesn't know is none. What may be a matter of taste (forms of address) is asked for once more
and refuses nothing. Not covered: what a good translation is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from stages.lib.clean import register
from stages.lib.params import Checks, Spend, Teacher
from stages.lib.records import Record
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.teachers.requests import first as first
from stages.lib.teachers.teacher import ask
from stages.lib.translate import translation
from stages.lib.translate.meaning import SCORE, UNJUDGED, Meaning
from stages.lib.translate.stops import Habit
from stages.lib.translate.translation import Part

UNKNOWN = "not in the journal"


class Attempt(NamedTuple):
    """One answer, or the lack of one, and what was wrong with it."""

    model: str
    prompt: str
    request: str
    reason: str
    detail: str
    answer: str
    judged: bool  # there was an answer, and a check refused it


@dataclass
class Task:
    """A part of a record on its way."""

    part: Part
    log: list[Attempt]  # of its record
    texts: list[str] | None = None
    entry: Entry | None = None  # that holds these texts
    found: Failure | None = None  # by the last attempt
    said: str = ""  # its answer
    cut: bool = False  # it ran into max_tokens
    spare: tuple[list[str], Entry] | None = None  # good enough if nothing better comes


@dataclass
class Job:
    """A record on its way."""

    record: Record
    tasks: list[Task] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether all its parts are translated."""
        return all(task.texts is not None for task in self.tasks)

    @property
    def verdict(self) -> Attempt:
        """Under which name it is dropped: the first that tells something about a translation."""
        answered = [attempt for attempt in self.attempts if attempt.judged]
        return next(iter([*answered, *(attempt for attempt in self.attempts if attempt.answer), *self.attempts]))


@dataclass
class Ahead:
    """Requests of many windows of records, to be asked together: a batch file holds more than a window has."""

    most: int
    wanted: dict[str, tuple[Teacher, Prompt, str]] = field(default_factory=dict)  # by key


@dataclass
class Desk:
    """What all rounds need: whom to ask, in which words, and how to judge."""

    name: str
    teacher: Teacher
    spend: Spend
    journal: Journal
    prompt: Prompt
    again: Prompt
    checks: Checks
    meaning: Meaning
    habit: Habit = field(default_factory=Habit)
    bill: Bill | None = None
    lost: dict[str, Failure] = field(default_factory=dict)  # requests without an answer: once a run is enough
    ahead: "Ahead | None" = None


def settle(records: Iterable[Record], desk: Desk) -> list[Job]:
    """Translate records, with all the attempts that each needs."""
    teacher = first(desk.teacher)
    jobs = [Job(record) for record in records]
    for job in jobs:
        parts = translation.plan(job.record["messages"], translation.longest(teacher))
        job.tasks = [Task(part, job.attempts) for part in parts]
    attempt(jobs, waiting(jobs), desk, teacher, note=True)
    while halved := halve(jobs, teacher):
        attempt(jobs, halved, desk, teacher)
    if teacher.engine != "nllb":  # which reads no reasons
        attempt(jobs, [task for task in waiting(jobs) if faulty(task)], desk, teacher, again=True)
    spare(jobs)
    if other := fallback(desk.teacher):
        # a judge that says nothing is no reason to buy another translation, nor is what is only about to be asked
        excused = {UNJUDGED} | ({UNKNOWN} if desk.ahead else set())
        attempt(jobs, [t for t in waiting(jobs) if not (t.found and t.found.reason in excused)], desk, other)
        spare(jobs)
    return jobs


def fallback(teacher: Teacher) -> Teacher | None:
    """Who is asked in the end; where answers come from the journal alone, theirs do, too."""
    other = teacher.fallback
    if other is None:
        return None
    engine = "journal" if teacher.engine == "journal" else other.engine
    nllb = teacher.nllb if other.engine == "nllb" else None
    return teacher.model_copy(update={**other.model_dump(), "engine": engine, "nllb": nllb, "fallback": None})


def author(teacher: Teacher) -> Teacher | None:
    """Who can do more than translate: the teacher, or the fallback where the teacher is an NLLB model."""
    other = fallback(teacher)
    if teacher.engine == "nllb" or (teacher.engine == "journal" and first(teacher).nllb):  # the journal's: what it was
        return other if other and other.engine != "nllb" and not other.nllb else None
    return teacher.model_copy(update={"nllb": None})


def waiting(jobs: list[Job]) -> list[Task]:
    """The parts that have no translation yet."""
    return [task for job in jobs for task in job.tasks if task.texts is None]


def spare(jobs: list[Job]) -> None:
    """Take what is good enough where nothing better came."""
    for task in waiting(jobs):
        if task.spare:
            task.texts, task.entry = task.spare


def faulty(task: Task) -> bool:
    """Whether there was an answer, and another one may be better."""
    return task.found is not None and task.found.answered and task.found.reason != "refused by the teacher"


def halve(jobs: list[Job], teacher: Teacher) -> list[Task]:
    """Put smaller parts in the place of those whose translation didn't fit into an answer; the new ones."""
    new: list[Task] = []
    for job in jobs:
        tasks: list[Task] = []
        for task in job.tasks:
            parts = translation.narrower(task.part, teacher) if task.cut else [task.part]
            smaller = [Task(part, job.attempts) for part in parts] if len(parts) > 1 else []
            tasks += smaller or [task]
            new += smaller
        job.tasks = tasks
    return new


def attempt(
    jobs: list[Job], tasks: list[Task], desk: Desk, teacher: Teacher, *, again: bool = False, note: bool = False
) -> None:
    """Ask for some parts, with what was wrong before or without, and judge the answers."""
    for task in tasks:
        if not task.part.sent:
            task.texts = []
    tasks = [task for task in tasks if task.part.sent]
    prompt = desk.again if again else desk.prompt
    asked = [wording(task, again) for task in tasks]
    answers = answered(desk, teacher, prompt, asked)
    given: list[tuple[Task, list[str], Entry]] = []
    for task, text, answer in zip(tasks, asked, answers, strict=True):
        task.cut = isinstance(answer, Failure) and answer.reason == "truncated"
        mark = key(teacher, prompt, text)
        known = desk.journal.answers.get(mark)
        task.said = known["answer"] if known else ""
        if isinstance(answer, Failure):
            task.found = answer
        elif (texts := translation.parse(answer["answer"])) is None or len(texts) != len(task.part.sent):
            wrong = "malformed" if texts is None else "wrong number of texts"
            task.found = Failure(wrong, f"{len(texts or [])} of {len(task.part.sent)}", answered=True)
        else:
            given.append((task, texts, answer))
    if note:
        for task, texts, _ in given:
            for old, new in zip(task.part.source, texts, strict=True):
                desk.habit.note(old or "", new)
    judge(jobs, given, desk)
    for task, text, answer in zip(tasks, asked, answers, strict=True):
        # a retry that nobody answered tells nothing, and on another machine it is only not in the journal
        if task.found and not (task.log and isinstance(answer, Failure) and not answer.answered):
            usable = not isinstance(answer, Failure) and task.found.answered
            name, detail = task.found.reason, task.found.detail
            task.log.append(
                Attempt(teacher.model, prompt.name, key(teacher, prompt, text), name, detail, task.said, usable)
            )


def judge(jobs: list[Job], given: list[tuple[Task, list[str], Entry]], desk: Desk) -> None:
    """Accept translations, or note what is wrong with them."""
    sound: list[tuple[Task, list[str], Entry]] = []
    for task, texts, entry in given:
        fault = translation.fault(task.part.source, texts, entry["finish_reason"], desk.checks, desk.habit.reach)
        task.found = Failure(*fault, answered=True) if fault else None
        if not fault:
            sound.append((task, texts, entry))
    pairs = [[(old, new) for old, new in zip(task.part.source, texts, strict=True) if old] for task, texts, _ in sound]
    for (task, _, _), found in zip(sound, desk.meaning(pairs), strict=True):
        task.found = found
    kept = {id(task): (texts, entry) for task, texts, entry in sound if not task.found}
    for job in jobs:
        turns: list[tuple[str, str]] = []
        for task in job.tasks:
            if new := kept.get(id(task)):
                here = [(piece.role, text) for piece, text in zip(task.part.sent, new[0], strict=True)]
                if fault := register.mixed([*turns, *here]):
                    task.spare, task.found = new, Failure(*fault, answered=True)
                else:
                    task.texts, task.entry = new
            turns += [(piece.role, text) for piece, text in zip(task.part.sent, task.texts or [], strict=False)]


def wording(task: Task, again: bool) -> str:
    """The request for a part."""
    if not again or task.found is None:
        return translation.request(task.part)
    # a score would make the request another one whenever other records change
    detail = "" if task.found.detail.startswith(SCORE) else task.found.detail
    return translation.again(task.part, task.said, f"{task.found.reason}: {detail}".removesuffix(": "))


def answered(desk: Desk, teacher: Teacher, prompt: Prompt, texts: list[str]) -> list[Entry | Failure]:
    """The answer or the failure for each text; what had no answer before in this run isn't asked again."""
    keys = [key(teacher, prompt, text) for text in texts]
    fresh = {mark: text for mark, text in zip(keys, texts, strict=True) if mark not in desk.lost}
    if desk.ahead is not None:
        unknown = {mark: text for mark, text in fresh.items() if mark not in desk.journal.answers}
        desk.ahead.wanted |= {mark: (teacher, prompt, text) for mark, text in unknown.items()}
        teacher = teacher.model_copy(update={"engine": "journal"})
        if len(desk.ahead.wanted) >= desk.ahead.most:
            order(desk)
    found = ask(teacher, desk.spend, desk.journal, prompt, list(fresh.values()), desk.name, desk.bill)
    answers = dict(zip(fresh, found, strict=True))
    if desk.ahead is None:
        desk.lost |= {mark: a for mark, a in answers.items() if isinstance(a, Failure) and not a.answered}
    return [answers[mark] if mark in answers else desk.lost[mark] for mark in keys]


def order(desk: Desk) -> int:
    """Ask for what was found ahead, all of it together; the number of requests."""
    if desk.ahead is None:
        return 0
    wanted, desk.ahead.wanted = desk.ahead.wanted, {}
    groups: dict[tuple[str, str], list[tuple[str, Teacher, Prompt, str]]] = {}
    for mark, (teacher, prompt, text) in wanted.items():
        groups.setdefault((teacher.model, prompt.name), []).append((mark, teacher, prompt, text))
    for group in groups.values():
        _, teacher, prompt, _ = group[0]
        found = ask(teacher, desk.spend, desk.journal, prompt, [text for *_, text in group], desk.name, desk.bill)
        for (mark, *_), answer in zip(group, found, strict=True):
            if isinstance(answer, Failure) and not answer.answered:
                desk.lost[mark] = answer
    return len(wanted)
