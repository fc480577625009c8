"""A teacher answers each text once, ever: English records become Vietnamese.

All texts of a record travel in one request, so that forms of address agree; Vietnamese records pass as they
are. What ``licences`` leaves out is dropped before anything is paid for it. Each answer is
judged, and a record whose translation fails a check is dropped under that check's name. Not covered: long texts
in pieces, and another try for a failed record.
"""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

from stages.lib import contract, records, translation
from stages.lib.bill import Bill
from stages.lib.contract import Dep, Out, Refusal, Word
from stages.lib.journal import Entry, Journal, home
from stages.lib.licences import allowed
from stages.lib.params import Licences, Spend, Teacher, Translate, Validate
from stages.lib.records import Message, Record
from stages.lib.requests import Failure, Prompt
from stages.lib.teacher import ask, check_failures

BATCH = 2048  # records whose requests are under way together


def main(
    name: Word,
    source: Dep,
    wording: Dep,
    shipped: Dep,
    translated: Out,
    dropped: Out,
    spent: Out,
    *,
    teacher: Teacher,
    spend: Spend,
    licences: Licences,
    translate: Translate,
) -> None:
    """Translate what is not Vietnamese, through the journal."""
    journal, prompt = Journal(shipped, own=home()), Prompt.load(wording)
    rows = records.read(source)
    asked, failed, refused = 0, list[str](), list[str]()
    with (
        Bill(spent, f"translate@{name}", spend) as bill,
        records.Table(translated) as keep,
        records.Table(dropped, records.DROPPED) as drop,
    ):
        while batch := list(islice(rows, BATCH)):
            foreign = [record for record in batch if asks(record, licences)]
            texts = [translation.request(record["messages"]) for record in foreign]
            replies = ask(teacher, spend, journal, prompt, texts, name, bill)
            answers = dict(zip((r["id"] for r in foreign), replies, strict=True))
            asked += len(foreign)
            for record in batch:
                if not allowed(record["licence"], licences):
                    drop.add({**record, "reason": "licence", "detail": record["licence"]})
                    continue
                verdict = take(record, answers[record["id"]], translate.checks) if record["id"] in answers else None
                if isinstance(verdict, Failure):
                    (failed if isinstance(answers[record["id"]], Failure) else refused).append(verdict.reason)
                    drop.add({**record, "reason": verdict.reason, "detail": verdict.detail})
                else:
                    keep.add(record if verdict is None else verdict)
    check_failures(len(failed), asked, teacher, f"translate@{name}", failed)
    check_refused(refused, asked, translate, name, dropped)


def asks(record: Record, licences: Licences) -> bool:
    """Whether a record needs the teacher: not when it is Vietnamese, nor when it may not be used."""
    return record["lang"] != "vi" and allowed(record["licence"], licences)


def check_refused(reasons: list[str], asked: int, translate: Translate, name: str, dropped: Path) -> None:
    """Refuse to go on when so many answers fail their checks that it is the teacher's fault, or the checks'."""
    if len(reasons) > translate.max_refused * asked:
        often = ", ".join(f"{reason} ({count:,})" for reason, count in Counter(reasons).most_common(3))
        raise Refusal(
            f"translate@{name}: {len(reasons):,} of {asked:,} translations failed their checks: {often}; "
            f"translate.max_refused allows {translate.max_refused:.0%}. They stand in {dropped}: if they are bad, take "
            "another teacher or prompt; if they are good, mend translate.checks, and nothing is bought again"
        )


def take(record: Record, answer: Entry | Failure, checks: Validate) -> Record | Failure:
    """The record in Vietnamese with its lineage, or why the answer can't be used."""
    if isinstance(answer, Failure):
        return answer
    texts = translation.parse(answer["answer"])
    # what a tool answered is data: it stays, whatever the teacher made of it
    source = [None if message["role"] == "tool" else message["content"] for message in record["messages"]]
    fault = translation.fault(source, texts, answer["finish_reason"], checks)
    if fault or texts is None:
        name, detail = fault or ("malformed", "")
        shown = json.dumps(answer["answer"], ensure_ascii=False)
        return Failure(name, f"{detail}: {shown}"[:500] if detail else shown[:500])
    messages: list[Message] = [
        old if old["role"] == "tool" else {"role": old["role"], "content": text.strip()}
        for old, text in zip(record["messages"], texts, strict=True)
    ]
    return {
        **record,
        "lang": "vi",
        "messages": messages,
        "original": record["messages"],
        "teacher": answer["model"],
        "request": answer["key"],
    }


if __name__ == "__main__":
    contract.run(main)
