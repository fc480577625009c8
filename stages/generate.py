"""New instructions, each unlike all others (self-instruct, Wang et al. 2023), and harder ones made of them.

In rounds: the teacher is shown some seed tasks and some of those invented so far, perhaps with a brief (a topic, a
persona, a difficulty), and invents more; what it invents is kept when it is sound on its face and its instruction's
ROUGE-L with every task of the pool is at most ``novelty``. Then some of what was kept is evolved. A round's requests
depend on the rounds before it and on ``generate.seed`` alone, so that the journal answers them again at no cost and
a run that was killed goes on as if nothing had been. All of a round is asked at once: its later requests can't see
what its earlier ones brought, so larger rounds are faster and repeat themselves more. Not covered: whether an answer
is true.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from stages.lib import contract, records
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.generate import briefs, evolution, seeds, tasks
from stages.lib.generate.briefs import Brief, Briefs, Lists
from stages.lib.generate.pool import Kept, Pool, new_pool
from stages.lib.generate.tasks import Task
from stages.lib.licences import allowed
from stages.lib.params import Generate, Licences, Spend, Teacher
from stages.lib.records import Message, Record, Verdict
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Entry, Journal, home
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.teachers.teacher import ask, check_failures
from stages.lib.translate import attempts

NAME = "generated"
UNREADABLE: Task = {"instruction": "", "input": "", "output": ""}
PASSES = 3  # over a round's requests, since one that stays without an answer stops the run
EXHAUSTED = 0.1  # share of the tasks asked for under which a round is the last one

Asked = Callable[[Prompt, list[str], str], list[Entry | Failure]]  # (prompt, texts, name of the bar)
Outcome = tuple[Record, Verdict | None]


def main(
    seed_file: Dep,
    lists: Dep,
    wording: Dep,
    evolving: Dep,
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
    from tqdm import tqdm

    journal = Journal(shipped, own=home())
    prompts, author = (Prompt.load(wording), Prompt.load(evolving)), attempts.author(teacher)
    counts: Counter[str] = Counter()
    with (
        Bill(spent, "generate", spend) as bill,
        new_pool(seeds.read(seed_file), generate.novelty, beside=generated) as pool,
        records.Table(generated) as keep,
        records.Table(dropped, records.DROPPED) as drop,
        tqdm(total=generate.wanted, desc="generate", unit="task") as bar,
    ):
        made: Iterable[Outcome] = ()
        if not allowed(generate.licence, licences):  # what may not be used is not bought
            print(f"generate: nothing is asked, since licences ({licences}) lets no {generate.licence} in")
        elif author is None:
            print("generate: engine nllb can only translate, and there is no fallback: nothing is invented")
        else:
            asked = partial(ask, author, spend, journal, bill=bill)
            made = Maker(pool, briefs.load(lists), prompts, author, generate, asked).run()
        for record, verdict in made:
            if verdict is None:
                keep.add(record)
                bar.update()
            else:
                reason, detail = verdict
                counts[reason] += 1
                drop.add({**record, "reason": reason, "detail": detail})
                bar.set_postfix(dropped=drop.rows, refresh=False)
        told = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
        if drop.rows and not keep.rows:
            raise Refusal(f"generate: none of {drop.rows} answers and tasks could be kept ({told})")
    print(f"generate: {keep.rows} tasks kept" + (f", {drop.rows} dropped ({told})" if told else ""))


@dataclass
class Maker:
    """Who makes tasks out of what, and how that went so far."""

    pool: Pool
    lists: Lists
    prompts: tuple[Prompt, Prompt]  # for inventing and for evolving
    teacher: Teacher
    generate: Generate
    asked: Asked
    requests: int = 0
    failed: list[str] = field(default_factory=list)

    def run(self) -> Iterator[Outcome]:
        """Every task that came of it, with the reason why it is not kept if it isn't."""
        yield from self.invent()
        yield from self.evolve()
        check_failures(len(self.failed), self.requests, self.teacher, "generate", self.failed)

    def invent(self) -> Iterator[Outcome]:
        """Rounds of new tasks, until there are as many as wanted, or hardly any new ones come."""
        rng, briefing = random.Random(self.generate.seed), Briefs(self.lists, self.generate.seed)
        count = first_round(self.generate)
        for number in range(1, self.generate.rounds + 1):
            before = len(self.pool)
            dealt = [
                briefing.deal(self.generate.tasks) if briefs.due(place, self.generate.briefed) else {}
                for place in range(1, count + 1)
            ]
            texts = [request(self.pool, self.generate, rng, brief) for brief in dealt]
            found = self.answers(self.prompts[0], texts, f"generate, round {number} of at most {self.generate.rounds}")
            for place, (brief, text, answer) in enumerate(zip(dealt, texts, found, strict=True), 1):
                yield from self.settle(self.prompts[0], text, answer, f"{number}.{place}", briefs.notes(brief))
            new = len(self.pool) - before
            if len(self.pool) >= self.generate.wanted:
                return
            if new < EXHAUSTED * count * self.generate.tasks:
                print(
                    f"generate: round {number} brought {new} new tasks of {count * self.generate.tasks}: the last one"
                )
                return
            count = min(self.generate.requests, math.ceil((self.generate.wanted - len(self.pool)) * count / new))

    def evolve(self) -> Iterator[Outcome]:
        """Rounds in which tasks of the pool give way to what is made of them."""
        invented, lines = len(self.pool), dict[int, list[int]]()  # by lineage: where it and what is made of it stand
        for number, share in enumerate(evolution.rounds(self.generate.evolve), 1):
            drawn = evolution.draw(invented, share, self.generate.seed, number)
            rng = random.Random(f"{self.generate.seed}/operations/{number}")
            operations = briefs.Deck(list(self.lists.operations), rng)
            name = f"generate, evolving {number} of {math.ceil(self.generate.evolve)}"
            for first in range(0, len(drawn), self.generate.requests):
                part = drawn[first : first + self.generate.requests]
                kin = [lines.get(lineage, [lineage]) for lineage in part]
                parents = [(self.pool.kept(line[-1]), operations.deal()) for line in kin]
                texts = [evolution.request(kept.task, by, self.lists.operations[by]) for kept, by in parents]
                found = self.answers(self.prompts[1], texts, f"{name}, from task {first + 1} of {len(drawn)}")
                for lineage, line, (parent, by), text, answer in zip(part, kin, parents, texts, found, strict=True):
                    before, notes = len(self.pool), [*parent.notes, f"evolved: {by}"]
                    yield from self.settle(self.prompts[1], text, answer, parent.id, notes, parent, line)
                    if len(self.pool) > before:
                        lines[lineage] = [*line, before]

    def answers(self, prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        """An answer to every text, or what came instead of a usable one; a text without any stops the run."""
        self.requests += len(texts)
        found = self.asked(prompt, texts, name)
        for _ in range(PASSES - 1):
            gone = missing(found)
            if not gone or not all(failure.again for failure in gone.values()):
                break
            for place, answer in zip(gone, self.asked(prompt, [texts[place] for place in gone], name), strict=True):
                found[place] = answer
        if gone := missing(found):  # without it later requests would be other ones
            # what may have been billed is told first
            worst = min(gone.values(), key=lambda failure: failure.again)
            raise Refusal(
                f"{name}: {len(gone)} of {len(texts)} requests: {worst.reason} ({worst.detail}). What was answered "
                "is in the journal: mend the cause and run it again"
            )
        self.failed += [answer.reason for answer in found if isinstance(answer, Failure) and not whole(answer)]
        if self.requests * self.teacher.max_failed >= 1:
            check_failures(len(self.failed), self.requests, self.teacher, "generate", self.failed)
        return found

    def settle(
        self,
        prompt: Prompt,
        text: str,
        answer: Entry | Failure,
        upstream: str,
        notes: list[str],
        parent: Kept | None = None,
        kin: Sequence[int] = (),
    ) -> Iterator[Outcome]:
        """The tasks of one answer, each judged and, if it is kept, taken into the pool."""

        def record(task: Task, place: int) -> Record:
            made = to_record(task, parent.id if parent else f"{upstream}.{place}", self.generate.licence)
            group = parent.group if parent else made["group"]
            return {**made, "group": group, "teacher": by, "request": request, "notes": notes}

        by, request = self.teacher.model, key(self.teacher, prompt, text)
        if isinstance(answer, Failure):
            found, said = list[Task | None](whole(answer)), ""
            yield record(UNREADABLE, 0), (answer.reason, answer.detail)
        else:
            by, request, said = answer["model"], answer["key"], answer["answer"]
            found = tasks.parse(said)
        for place, task in enumerate(found, 1):
            made = record(task or UNREADABLE, place)
            if task is None:
                yield made, ("malformed", said[:300])
                continue
            verdict = (parent and evolution.fault(parent.task, task)) or self.pool.judge(task, kin)
            if verdict is None:
                self.pool.add(task, made)
            yield made, verdict


def missing(found: list[Entry | Failure]) -> dict[int, Failure]:
    """The requests without any answer, by place."""
    return {n: answer for n, answer in enumerate(found) if isinstance(answer, Failure) and not answer.answered}


def whole(failure: Failure) -> list[Task]:
    """The whole tasks in an answer that was cut: they are paid for."""
    return [task for task in tasks.parse(failure.said) if task]


def first_round(generate: Generate) -> int:
    """The requests of the first round: no more than would do if every task were kept."""
    return min(generate.requests, math.ceil(generate.wanted / generate.tasks))


def request(pool: Pool, generate: Generate, rng: random.Random, brief: Brief) -> str:
    """The examples that one request shows, what it asks for, and how many tasks it wants."""
    shown = pool.sample(generate.seed_examples, generate.pool_examples, rng)
    return json.dumps({"examples": shown, **brief, "wanted": generate.tasks}, ensure_ascii=False)


def to_record(task: Task, upstream: str, licence: str) -> Record:
    """A task as two turns."""
    about = f"\n\n{task['input']}" if task["input"] else ""
    turns: list[Message] = [
        {"role": "user", "content": task["instruction"] + about},
        {"role": "assistant", "content": task["output"]},
    ]
    return records.make("instruction", turns, source=NAME, licence=licence, lang="vi", upstream=upstream)


if __name__ == "__main__":
    contract.run(main)
