"""A teacher who invents tasks by rule, and a run of the stage with it."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from stages import generate
from stages.generate import Maker, Outcome
from stages.lib.generate import briefs
from stages.lib.generate.pool import new_pool
from stages.lib.generate.tasks import Task
from stages.lib.params import Params
from stages.lib.records import Record
from stages.lib.teachers.journal import Entry
from stages.lib.teachers.requests import Failure, Prompt, key

LISTS = briefs.Lists(
    topics=["chợ", "biển", "núi"], personas=["em bé", "cụ già"], difficulties=["dễ", "khó"],
    kinds=["kể", "tính", "dịch"], operations={"đào sâu": "Hỏi sâu hơn.", "mở rộng": "Nghĩ việc khác."},
)  # fmt: skip


PROMPTS = Prompt("generate", "Invent.", 2), Prompt("evolve", "Evolve.")


SEEDS = [{"instruction": f"Kể chuyện về loài vật số {n}.", "input": "", "output": f"Chuyện {n}."} for n in range(6)]


ANSWER = "Đây là một câu trả lời ngắn gọn."


def task(instruction: str, output: str = ANSWER, about: str = "") -> Task:
    return {"instruction": instruction, "input": about, "output": output}


def words(seed: object, count: int) -> str:
    """Vietnamese syllables drawn by a text, so that equal requests get equal answers."""
    known = "trời đất nước nhà người cây lúa sông biển núi chợ trường lớp bàn ghế đèn sách bút thơ gió mưa".split()
    return " ".join(random.Random(str(seed)).choices([f"{one} {two}" for one in known for two in known], k=count))


def inventive(prompt: Prompt, text: str) -> str:
    """A reply that depends on the request alone; the third task of an invention is a copy of an example."""
    asked = json.loads(text)
    if prompt.name == "evolve":
        return json.dumps(task(f"Hãy bàn thêm về {words(text, 6)}."))
    made = [task(f"Đặt câu với {words((text, place), 5)}.") for place in range(asked["wanted"])]
    made[2::3] = [asked["examples"][0] for _ in made[2::3]]
    return json.dumps({"tasks": made})


class Teacher:
    """Answers each text once and remembers it, as the journal does; may be cut off after so many."""

    def __init__(self, params: Params, reply: Callable[[Prompt, str], str] = inventive) -> None:
        self.reply, self.dials = reply, params.teacher
        self.known: dict[str, str] = {}
        self.left = -1
        self.calls: list[int] = []

    def __call__(self, prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        self.calls.append(len(texts))
        return [self.answer(prompt, text) for text in texts]

    def answer(self, prompt: Prompt, text: str) -> Entry | Failure:
        id = key(self.dials, prompt, text)
        if id not in self.known:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.known[id] = self.reply(prompt, text)
        return Entry(
            key=id, model="m", prompt=prompt.name, input=text, answer=self.known[id], finish_reason="stop", usage={}
        )


def run(params: Params, asked: generate.Asked, **dials: Any) -> list[Outcome]:
    """What a run with these dials makes."""
    small = {"wanted": 1000, "rounds": 3, "requests": 4, "tasks": 5, "briefed": 0.5, "evolve": 0.5} | dials
    changed = params.generate.model_copy(update=small)
    with new_pool(SEEDS, changed.novelty) as pool:
        return list(Maker(pool, LISTS, PROMPTS, params.teacher, changed, asked).run())


def kept(outcomes: list[Outcome]) -> list[Record]:
    return [record for record, verdict in outcomes if verdict is None]


def reasons(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(verdict[0] for _, verdict in outcomes if verdict)
