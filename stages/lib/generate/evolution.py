"""Kept tasks made into harder or rarer ones (Evol-Instruct, Xu et al. 2023).

A round draws tasks and, for each, an operation: one more constraint, more depth, a concrete case, more steps, or
another task of the same field. What comes of it stands for its parent in the next round; when it is dropped, the
parent stays. Beside what is asked of every task, an evolved one must differ from its parent and must not speak of the
request that made it. Not covered: whether it really is harder.
"""

import json
import math
import random
import re

from stages.lib.generate.tasks import FIELDS, Task
from stages.lib.records import Verdict
from stages.lib.text import vietnamese

# words of the request and its prompt that have no place in a task, and those that have none in its instruction
MARKED = re.compile(
    r"#+ ?(?:given|rewritten|created) prompt ?#*|\b(?:given|rewritten|created) (?:prompt|task|instruction)\b",
    re.IGNORECASE,
)
COPIED = re.compile(
    r"\b(?:nhiệm vụ|yêu cầu|câu lệnh|tác vụ|prompt) (?:đã cho|được viết lại|đã viết lại)\b"
    r"|\bphiên bản (?:khó|phức tạp) hơn\b",
    re.IGNORECASE,
)


def request(task: Task, operation: str, description: str) -> str:
    """What is asked of the teacher."""
    shown = {name: task[name] for name in FIELDS}
    return json.dumps({"task": shown, "operation": operation, "how": description}, ensure_ascii=False)


def fault(parent: Task, task: Task) -> Verdict | None:
    """Why an evolved task is dropped for what it has of its parent or of its request, or None."""
    if all(vietnamese.key(parent[name]) == vietnamese.key(task[name]) for name in ("instruction", "input")):
        return "unchanged", "the instruction and the input are the parent's"
    for name in FIELDS:
        match = MARKED.search(task[name]) or (COPIED.search(task[name]) if name == "instruction" else None)
        if match and match[0].lower() not in parent[name].lower():
            return "copies the prompt", match[0]
    return None


def rounds(evolve: float) -> list[float]:
    """The share of the tasks that each round evolves: 2.5 is all, all and half of them."""
    return [min(1.0, evolve - number) for number in range(math.ceil(evolve))]


def draw(count: int, share: float, seed: int, number: int) -> list[int]:
    """Which of ``count`` tasks a round evolves, in order."""
    return sorted(random.Random(f"{seed}/evolve/{number}").sample(range(count), round(share * count)))
