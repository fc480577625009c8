"""A teacher answers each text once, ever: English records become Vietnamese.

All texts of a record travel in one request, so that forms of address agree, or in several when they are long;
Vietnamese records pass as they are. What ``licences`` leaves out is dropped before anything is paid for it. Each
answer is judged; what fails a check is asked for once more with the reason, then of the fallback, then dropped under
the name of what was wrong first, with all its attempts in quarantine. Not covered: what the checks don't see.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

from stages.lib import contract, records
from stages.lib.contract import Dep, Out, Refusal, Word
from stages.lib.licences import allowed
from stages.lib.params import Licences, Spend, Teacher, Translate
from stages.lib.records import Record
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Journal, home
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import check_failures
from stages.lib.translate import attempts, meaning, translation
from stages.lib.translate.alignment import Lexicons, Sample
from stages.lib.translate.attempts import Ahead, Desk, Job
from stages.lib.translate.meaning import Meaning
from stages.lib.translate.stops import Habit

BATCH = 2048  # records whose requests are under way together
AHEAD = 200_000  # requests that are sent together in batch files


def main(
    name: Word,
    source: Dep,
    wording: Dep,
    retry: Dep,
    judging: Dep,
    shipped: Dep,
    translated: Out,
    dropped: Out,
    quarantine: Out,
    spent: Out,
    *,
    teacher: Teacher,
    spend: Spend,
    licences: Licences,
    translate: Translate,
) -> None:
    """Translate what is not Vietnamese, through the journal."""
    journal = Journal(shipped, own=home())
    asked, failed, refused = 0, list[str](), list[str]()
    with ExitStack() as stack:
        bill = stack.enter_context(Bill(spent, f"translate@{name}", spend))
        same = same_meaning(translate, teacher, spend, journal, Prompt.load(judging), name, bill)
        desk = Desk(
            name, teacher, spend, journal, Prompt.load(wording), Prompt.load(retry), translate.checks, same, bill=bill
        )
        if "batch" in (teacher.engine, teacher.fallback and teacher.fallback.engine):
            with bill.rehearsal():
                desk = replace(desk, lost=bought(source, licences, desk))
        if translate.meaning == "lexicon":
            with bill.rehearsal():  # what is used here is used again below
                desk = replace(desk, meaning=learned(source, licences, desk), habit=Habit())
        keep, drop = (
            stack.enter_context(records.Table(path, schema))
            for path, schema in ((translated, records.SCHEMA), (dropped, records.DROPPED))
        )
        kept_back = stack.enter_context(stack.enter_context(records.whole(quarantine)).open("w", encoding="utf-8"))
        for batch, jobs in batches(source, licences, desk):
            for record in batch:
                job = jobs.get(record["id"])
                if not allowed(record["licence"], licences):
                    drop.add({**record, "reason": "licence", "detail": record["licence"]})
                    continue
                asked += job is not None
                if job is None or job.done:
                    keep.add(vietnamese(record, job) if job else record)
                else:
                    (refused if job.verdict.judged else failed).append(job.verdict.reason)
                    drop.add({**record, "reason": job.verdict.reason, "detail": detail(job)})
                    write(kept_back, record, job)
    check_failures(len(failed), asked, teacher, f"translate@{name}", failed)
    check_refused(refused, asked, translate, name, quarantine)


def asks(record: Record, licences: Licences) -> bool:
    """Whether a record needs the teacher: not when it is Vietnamese, nor when it may not be used."""
    return record["lang"] != "vi" and allowed(record["licence"], licences)


def batches(source: Path, licences: Licences, desk: Desk) -> Iterator[tuple[list[Record], dict[str, Job]]]:
    """The records of a table, many at a time, and what became of those that were translated, by id."""
    rows = records.read(source)
    while batch := list(islice(rows, BATCH)):
        foreign = {r["id"]: r for r in batch if asks(r, licences)}
        jobs = attempts.settle(foreign.values(), desk)
        yield batch, {job.record["id"]: job for job in jobs}


def bought(source: Path, licences: Licences, desk: Desk) -> dict[str, Failure]:
    """Buy what a whole source needs by looking through it until nothing more is asked; what had no answer, by key.

    Batch files take a day each, and a window's retries would wait for it one after the other. What a judge is asked
    is not foreseen.
    """
    lost: dict[str, Failure] = {}
    while True:
        ahead = replace(desk, habit=Habit(), meaning=meaning.anything, ahead=Ahead(AHEAD), lost=lost)
        for _ in batches(source, licences, ahead):
            pass
        if not attempts.order(ahead):
            return lost


def same_meaning(
    translate: Translate, teacher: Teacher, spend: Spend, journal: Journal, prompt: Prompt, name: str, bill: Bill
) -> Meaning:
    """The check that ``translate.meaning`` names, as far as it needs no translations to learn from."""
    if translate.meaning == "judge":
        if teacher.engine == "nllb":
            raise Refusal("translate.meaning: judge asks the teacher for its opinion, and engine nllb has none")
        return meaning.judge(attempts.first(teacher), spend, journal, prompt, f"{name}, judged", bill)
    if translate.meaning == "embedding":
        from stages.lib.text.embedding import Similarity

        if translate.encoder is None:
            raise Refusal("translate.meaning: embedding needs translate.encoder: {model: …, lowest: 0.5, compute: …}")
        return meaning.near(Similarity(translate.encoder), translate.encoder.lowest)
    return meaning.anything


def learned(source: Path, licences: Licences, desk: Desk) -> Meaning:
    """A check by the words of the source's own accepted translations; all of them are bought by then."""
    sample = Sample()
    for _, jobs in batches(source, licences, desk):
        for job in jobs.values():
            for task in job.tasks if job.done else []:
                sample.add([(o, n) for o, n in zip(task.part.source, task.texts or [], strict=True) if o])
    lexicons = Lexicons(sample.groups())
    return meaning.near(lexicons, lexicons.lowest)


def vietnamese(record: Record, job: Job) -> Record:
    """The record in Vietnamese with its lineage: who translated it, and the requests."""
    entries = [task.entry for task in job.tasks if task.entry]
    parts = [(task.part, task.texts or []) for task in job.tasks]
    return {
        **record,
        "lang": "vi",
        "messages": translation.joined(record["messages"], parts),
        "original": record["messages"],
        "teacher": " + ".join(dict.fromkeys(entry["model"] for entry in entries)),
        "request": " ".join(entry["key"] for entry in entries),
    }


def detail(job: Job) -> str:
    """What was wrong, and with which answer."""
    shown = json.dumps(job.verdict.answer, ensure_ascii=False) if job.verdict.answer else ""
    return ": ".join(filter(None, [job.verdict.detail, shown]))[:500]


def write(file: IO[str], record: Record, job: Job) -> None:
    """A line of the quarantine: a record that nobody could translate, and all that was tried."""
    row = {
        "id": record["id"],
        "source": record["source"],
        "upstream": record["upstream"],
        "reason": job.verdict.reason,
        "messages": record["messages"],
        "attempts": [attempt._asdict() for attempt in job.attempts],
    }
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def check_refused(reasons: list[str], asked: int, translate: Translate, name: str, quarantine: Path) -> None:
    """Refuse to go on when so many answers fail their checks that it is the teacher's fault, or the checks'."""
    if len(reasons) > translate.max_refused * asked:
        often = ", ".join(f"{reason} ({count:,})" for reason, count in Counter(reasons).most_common(3))
        raise Refusal(
            f"translate@{name}: {len(reasons):,} of {asked:,} translations failed their checks: {often}; "
            f"translate.max_refused allows {translate.max_refused:.0%}. They stand in {quarantine} with all that was "
            "tried: if they are bad, take another teacher or prompt; if they are good, mend translate.checks, and "
            "nothing is bought again"
        )


if __name__ == "__main__":
    contract.run(main)
