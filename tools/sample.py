"""Write the sample skills that ship with the project: ``python -m tools.sample`` (``--check`` only compares).

The same seed gives the same bytes. What goes where:

- ``skills.json``: instructions in the Alpaca shape, to be fine-tuned on;
- ``facts.txt``: one paragraph a line, to be pretrained on: statements, and the questions as a quiz book has them;
- ``ranked_skills.jsonl``: OpenAssistant message trees with three ranked replies, for the reward model;
- ``benchmark/``: multiple choice and free answers as tasks for lm-evaluation-harness.

A case lies in exactly one of skills, ranked trees and benchmark, and no two texts are near-duplicates
of each other in the sense of the pipeline (Jaccard similarity of syllable 3-grams). Not covered: checking
facts about the world; the tables in ``tools/skills.py`` are written by hand.
"""

import json
import sys
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tools.harness import WRITTEN, choice_task, group_task, written_task
from tools.prose import facts
from tools.skills import CAPITALS, FAMILIES, Case, sentence

SEED = 20240601
FOLDER = Path("data/sample")
ITEMS = 44  # of each family in the benchmark
TREES = 12
TRAINED = 420  # at most
TOLD = 500  # statements beside the quiz
POLITE = 0.3  # share of the answers that open with "Dạ", so that a policy has it to find
SIMILAR = 0.7
PROPER = {name.split()[0] for name in CAPITALS}


@dataclass(frozen=True)
class Problem:
    """One case in one wording."""

    family: str
    case: Case
    question: str
    template: str

    def answer(self, value: str) -> str:
        """The answer as a sentence with a value in it, right or wrong."""
        return sentence(self.template, {**self.case.fields, "y": value})


def shingles(text: str) -> set[tuple[str, ...]]:
    """Syllable 3-grams, lower case, without punctuation: what the pipeline compares."""
    stripped = (syllable.strip(".,:;?!()") for syllable in text.lower().split())
    words = [word for word in stripped if word]
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def distinct(texts: Iterable[tuple[Any, str]]) -> list[Any]:
    """The values whose text is no near-duplicate of an earlier one."""
    seen: dict[tuple[str, ...], list[int]] = {}
    sizes: list[int] = []
    kept = []
    for value, text in texts:
        grams = shingles(text)
        shared = Counter(index for gram in grams for index in seen.get(gram, ()))
        if any(count >= SIMILAR * (sizes[i] + len(grams) - count) for i, count in shared.items()):
            continue
        for gram in grams:
            seen.setdefault(gram, []).append(len(sizes))
        sizes.append(len(grams))
        kept.append(value)
    return kept


def problems(name: str, rng: Random) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """(benchmark, ranked, trained) problems of a family.

    A rule's case is asked in one wording. Knowledge is asked in every wording, and what is held out is
    one wording of a case, never two of the same case.
    """
    family = FAMILIES[name]
    first: list[Problem] = []
    others: list[Problem] = []
    for case in family.cases(rng):
        wordings = rng.sample(family.wordings, 1 if family.rule else len(family.wordings))
        made = [Problem(name, case, sentence(asked, case.fields), told) for asked, told in wordings]
        first.append(made[0])
        others += made[1:]
    rng.shuffle(first)
    benchmark = [p for p in first if p.case.apart][:ITEMS] or first[:ITEMS]
    asked = {p.question for p in benchmark}
    rest = [p for p in first + others if not p.case.apart and p.question not in asked]
    rng.shuffle(rest)
    rest = distinct((p, f"{p.question}\n{p.answer(p.case.right)}") for p in rest)
    return benchmark, rest[:TREES], rest[TREES : TREES + TRAINED]


def polite(answer: str) -> str:
    """The answer as a younger person would give it; names and numbers keep their capital letters."""
    proper = answer.split()[0].isdigit() or answer.split()[0] in PROPER
    return "Dạ, " + (answer if proper else answer[0].lower() + answer[1:])


def instruction(problem: Problem, rng: Random) -> dict[str, str]:
    """A record in the Alpaca shape."""
    answer = problem.answer(problem.case.right)
    return {
        "instruction": problem.question,
        "input": "",
        "output": polite(answer) if rng.random() < POLITE else answer,
    }


def poor(problem: Problem, rng: Random) -> str:
    """A reply that helps nobody: wrong, evasive, cut off, or caught in a loop."""
    wrong, right = rng.choice(problem.case.wrong), problem.case.right
    words = problem.answer(right).split()
    return rng.choice(
        (
            f"Chắc là {wrong} gì đó thôi.",
            f"{wrong}, tôi đoán vậy.",
            rng.choice(("Tôi không biết.", "Câu này khó quá, bạn tự tìm đi.", "Tôi không muốn trả lời câu này.")),
            " ".join(words[: max(1, len(words) // 2)]),
            " ".join([right] * 4),
        )
    )


def tree(problem: Problem, rng: Random) -> dict[str, Any]:
    """An OpenAssistant message tree: a question and three replies, the best one ranked 0."""

    def message(text: str, role: str, **more: Any) -> dict[str, Any]:
        id = f"skill-{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        fixed = {"lang": "vi", "review_count": 3, "review_result": True, "deleted": False, "synthetic": True}
        return {"message_id": id, "text": text, "role": role, **fixed, "replies": [], **more}

    asked = message(problem.question, "prompter")
    bare = sentence("{y}", {"y": problem.case.right}) + rng.choice((".", ""))
    ladder = (polite(problem.answer(problem.case.right)), bare, poor(problem, rng))
    replies = [message(text, "assistant", parent_id=asked["message_id"], rank=rank) for rank, text in enumerate(ladder)]
    asked["replies"] = rng.sample(replies, 3)  # a reader must go by rank, not by place
    return {"message_tree_id": asked["message_id"], "tree_state": "ready_for_export", "prompt": asked}


def item(problem: Problem, rng: Random) -> dict[str, Any]:
    """A benchmark item: four sentences, one of them right, and the right value by itself."""
    values = rng.sample([problem.case.right, *problem.case.wrong], 4)
    return {
        "question": problem.question,
        "choices": [problem.answer(value) for value in values],
        "answer": values.index(problem.case.right),
        "value": problem.case.right,
    }


def readme(examples: dict[str, Problem]) -> str:
    """What each set of items asks and what is held out."""
    rows = []
    for name, problem in examples.items():
        family = FAMILIES[name]
        held = "the case" if family.rule else "the wording of the case"
        answer = problem.answer(problem.case.right)
        rows.append(f"| `vi_{name}` | {family.idea} | {held} | {problem.question} {answer} |")
    written = " and ".join(f"`vi_{name}_written`" for name in WRITTEN)
    return "\n".join(
        [
            "# Vietnamese skills",
            "",
            f"{ITEMS} items a family, made by `python -m tools.sample`; chance is 0.25. No question stands in"
            " `skills.json`, `facts.txt` or `ranked_skills.jsonl`.",
            "The right choice is the one to which the model gives the highest likelihood"
            f" (`acc_norm`: per character). {written} ask for a free answer.",
            "",
            "| task | rule | what training has not seen | an item |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def lines(rows: Iterable[Any]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def files(seed: int) -> dict[str, str]:
    """All files by their path in :data:`FOLDER`."""
    made, skills, trees, quiz = {}, [], [], []
    examples = {}
    for name in FAMILIES:
        rng = Random(f"{seed}/{name}")  # a family does not move when another one changes
        benchmark, ranked, trained = problems(name, rng)
        made[f"benchmark/{name}.jsonl"] = lines(item(problem, rng) for problem in benchmark)
        made[f"benchmark/{name}.yaml"] = choice_task(name)
        trees += [tree(problem, rng) for problem in ranked]
        skills += [instruction(problem, rng) for problem in trained]
        quiz += [f"{problem.question} {problem.answer(problem.case.right)}" for problem in trained]
        examples[name] = benchmark[0]
    rng = Random(f"{seed}/all")
    rng.shuffle(skills)
    rng.shuffle(trees)
    told = list(facts(rng))
    prose = distinct((line, line) for line in [*quiz, *rng.sample(told, TOLD)])
    rng.shuffle(prose)
    return made | {
        **{f"benchmark/{name}_written.yaml": written_task(name, pattern) for name, pattern in WRITTEN.items()},
        "benchmark/vi_skills.yaml": group_task(),
        "benchmark/README.md": readme(examples),
        "skills.json": json.dumps(skills, ensure_ascii=False, indent=0) + "\n",
        "facts.txt": "".join(line + "\n" for line in prose),
        "ranked_skills.jsonl": lines(trees),
    }


def main(argv: list[str]) -> int:
    """Write the files, or with ``--check`` name those that differ."""
    wrong = 0
    for name, text in files(SEED).items():
        path = FOLDER / name
        if argv == ["--check"]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{path} differs from what seed {SEED} gives; run `python -m tools.sample`", file=sys.stderr)
                wrong += 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
