"""New instructions, each unlike all others (self-instruct, Wang et al. 2023).

In rounds: the teacher is shown some seed tasks and some of those invented so far, and invents more; what it
invents is kept when it can be done by text and its instruction's ROUGE-L with every task of the pool is at
most ``novelty``. A round's requests depend on the rounds before it and on ``generate.seed`` alone, so that
the journal answers them again at no cost. Not covered: evolving tasks into harder ones.
"""

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.lib import contract, datafile, records, rows, vietnamese
from stages.lib.bill import Bill
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.journal import Entry, Journal, home
from stages.lib.licences import allowed
from stages.lib.novelty import Novelty
from stages.lib.params import Generate, Licences, Spend, Teacher
from stages.lib.records import Message, Record
from stages.lib.requests import Failure, Prompt
from stages.lib.teacher import ask, check_failures

Task = dict[str, str]
NAME = "generated"
UNREADABLE: Task = {"instruction": "", "input": "", "output": ""}
# what a text model can't do, as whole words
OTHER_MEDIUM = re.compile(r"\b(vẽ|bức ảnh|hình ảnh|video|đoạn phim|bản nhạc|phát nhạc|ghi âm|biểu đồ)\b", re.IGNORECASE)


def main(
    seeds: Dep,
    wording: Dep,
    shipped: Dep,
    generated: Out,
    dropped: Out,
    spent: Out,
    *,
    teacher: Teacher,
    spend: Spend,
    generate: Generate,
    licences: Licences,
) -> None:
    """Grow the pool of tasks; write the new ones, and what was not kept with its reason."""
    journal, prompt = Journal(shipped, own=home()), Prompt.load(wording)
    pool = Pool(seed_tasks(seeds), generate.novelty)
    rng = random.Random(generate.seed)
    failed: list[str] = []
    rounds = generate.rounds if allowed(generate.licence, licences) else 0  # what may not be used is not bought
    with (
        Bill(spent, "generate", spend) as bill,
        records.Table(generated) as keep,
        records.Table(dropped, records.DROPPED) as drop,
    ):
        for round_number in range(1, rounds + 1):
            texts = [request(pool, generate, rng) for _ in range(generate.requests)]
            name = f"generate, round {round_number} of {generate.rounds}"
            answers = ask(teacher, spend, journal, prompt, texts, name, bill)
            for number, answer in enumerate(answers, 1):
                if isinstance(answer, Failure):
                    failed.append(answer.reason)
                    if not answer.answered:  # without it later rounds would ask other things
                        raise Refusal(
                            f"generate, round {round_number}: {answer.reason} ({answer.detail}). What was answered is "
                            "in the journal: mend the cause and run it again"
                        )
                    continue
                for place, task in enumerate(tasks(answer), 1):
                    record = to_record(task or UNREADABLE, answer, f"{round_number}.{number}.{place}", generate.licence)
                    verdict = ("malformed", answer["answer"][:300]) if task is None else pool.judge(task)
                    if task is None or verdict:
                        reason, detail = verdict or ("malformed", "")
                        drop.add({**record, "reason": reason, "detail": detail})
                    else:
                        pool.add(task)
                        keep.add(record)
    check_failures(len(failed), generate.rounds * generate.requests, teacher, "generate", failed)


class Pool:
    """The tasks so far, and how unlike them a new one is."""

    def __init__(self, seeds: list[Task], novelty: float) -> None:
        self.seeds = seeds
        self.invented: list[Task] = []
        self.novelty = novelty
        self._known = Novelty(task["instruction"] for task in seeds)

    def add(self, task: Task) -> None:
        """Take a task in."""
        self.invented.append(task)
        self._known.add(task["instruction"])

    def judge(self, task: Task) -> records.Verdict | None:
        """Why a task is not kept, with the detail, or None."""
        if not task["instruction"] or not task["output"]:
            return "empty", "instruction" if not task["instruction"] else "output"
        if match := OTHER_MEDIUM.search(task["instruction"]):
            return "needs another medium", match[0]
        if found := self._known.nearest(task["instruction"], above=self.novelty):
            similarity, place = found
            nearest = (self.seeds + self.invented)[place]["instruction"]
            return "not novel", f"ROUGE-L {similarity:.2f} with: {nearest}"
        return None


def seed_tasks(path: Path) -> list[Task]:
    """The tasks of a self-instruct seed file: JSON lines of instruction and instances of input and output."""
    found = []
    for item in datafile.read(path):
        if isinstance(item, rows.Refused):
            raise Refusal(f"{path}, line {item.upstream}: {item.reason}")
        number, row = item
        try:
            first = row["instances"][0]
            found.append({"instruction": row["instruction"], "input": first["input"], "output": first["output"]})
        except (KeyError, IndexError, TypeError):
            raise Refusal(
                f"{path}, line {number}: a seed task needs instruction and instances[0] of input and output"
            ) from None
    return found


def request(pool: Pool, generate: Generate, rng: random.Random) -> str:
    """The examples that one request shows, and how many tasks it wants."""
    shown = rng.sample(pool.seeds, min(generate.seed_examples, len(pool.seeds)))
    shown += rng.sample(pool.invented, min(generate.pool_examples, len(pool.invented)))
    return json.dumps({"examples": shown, "wanted": generate.tasks}, ensure_ascii=False)


def tasks(answer: Entry) -> Iterable[Task | None]:
    """The tasks in a reply; None stands for what is not of the form that was asked for."""
    text = answer["answer"].strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        found: Any = json.loads(text)["tasks"]
    except (ValueError, RecursionError, KeyError, TypeError):  # a number or a depth that Python doesn't read, too
        found = None
    for task in found if isinstance(found, list) else [None]:
        fields = {"input": "", **task} if isinstance(task, dict) else {}
        values = [fields.get(name) for name in ("instruction", "input", "output")]
        if all(isinstance(value, str | int | float) for value in values):
            instruction, about, output = (vietnamese.whole(str(value)).strip() for value in values)
            yield {"instruction": instruction, "input": about, "output": output}
        else:
            yield None


def to_record(task: Task, answer: Entry, upstream: str, licence: str) -> Record:
    """A task as two turns, with who invented it."""
    about = f"\n\n{task['input']}" if task["input"] else ""
    turns: list[Message] = [
        {"role": "user", "content": task["instruction"] + about},
        {"role": "assistant", "content": task["output"]},
    ]
    record = records.make("instruction", turns, source=NAME, licence=licence, lang="vi", upstream=upstream)
    return {**record, "teacher": answer["model"], "request": answer["key"]}


if __name__ == "__main__":
    contract.run(main)
