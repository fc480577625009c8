import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tools import sample, skills

READ = {
    10: "mười", 11: "mười một", 14: "mười bốn", 15: "mười lăm", 20: "hai mươi", 21: "hai mươi mốt",
    24: "hai mươi tư", 25: "hai mươi lăm", 100: "một trăm", 101: "một trăm linh một", 105: "một trăm linh năm",
    110: "một trăm mười", 111: "một trăm mười một", 215: "hai trăm mười lăm", 340: "ba trăm bốn mươi",
    555: "năm trăm năm mươi lăm", 844: "tám trăm bốn mươi tư", 991: "chín trăm chín mươi mốt", 0: "không", 7: "bảy",
}  # fmt: skip


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return sample.files(sample.SEED)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("number", READ)
def test_numbers_are_read_as_vietnamese_reads_them(number: int) -> None:
    assert skills.spell(number) == READ[number]


def test_no_two_numbers_are_read_alike() -> None:
    assert len({skills.spell(number) for number in range(1000)}) == 1000


def test_the_same_seed_gives_the_files_in_git_and_another_seed_others(files: dict[str, str], root: Path) -> None:
    for name, text in files.items():
        assert (root / sample.FOLDER / name).read_text(encoding="utf-8") == text, name
    assert sample.files(sample.SEED + 1)["skills.json"] != files["skills.json"]


def test_no_benchmark_question_is_shown_before(files: dict[str, str]) -> None:
    shown = {record["instruction"] for record in json.loads(files["skills.json"])}
    shown |= {tree["prompt"]["text"] for tree in rows(files["ranked_skills.jsonl"])}
    asked = [item["question"] for name in skills.FAMILIES for item in rows(files[f"benchmark/{name}.jsonl"])]
    assert len(asked) >= 400
    assert not shown & set(asked)
    assert not [question for question in asked if re.search(rf"(?<!\w){re.escape(question)}", files["facts.txt"])]


def test_held_out_numbers_are_spelled_nowhere_else(files: dict[str, str]) -> None:
    items = rows(files["benchmark/spelling.jsonl"]) + rows(files["benchmark/numerals.jsonl"])
    words = {item["value"] for item in items if " " in item["value"]}
    said = json.dumps(json.loads(files["skills.json"]), ensure_ascii=False).lower()
    for word in words:
        # a longer number may end in a shorter one: what counts is the word as a whole
        more = "mươi|trăm|linh|mốt|hai|ba|tư|lăm|sáu|bảy|tám|chín|năm"
        assert not re.search(rf"(?<!trăm )\b{word}\b(?! (?:{more}))", said)


def test_items_have_four_different_choices_of_which_the_answer_is_right(files: dict[str, str]) -> None:
    places: Counter[int] = Counter()
    for name in skills.FAMILIES:
        for item in rows(files[f"benchmark/{name}.jsonl"]):
            assert len(set(item["choices"])) == 4
            assert item["value"].lower() in item["choices"][item["answer"]].lower()
            places[item["answer"]] += 1
    assert min(places.values()) > sum(places.values()) / 6  # no place is a hint


def test_no_text_is_a_near_duplicate_of_another(files: dict[str, str]) -> None:
    records = json.loads(files["skills.json"])
    texts = [f"{record['instruction']}\n{record['output']}" for record in records]
    prose = files["facts.txt"].splitlines()
    assert len(sample.distinct((line, line) for line in prose)) == len(prose)
    assert len(sample.distinct((text, text) for text in texts)) > 0.97 * len(texts)


def test_near_duplicates_are_told_from_different_texts() -> None:
    near = ["Thủ đô của nước Pháp là thành phố Paris cổ kính", "thủ đô của nước Pháp là thành phố Paris, cổ kính."]
    assert sample.distinct((text, text) for text in [*near, "Hai cộng hai là bốn"]) == [near[0], "Hai cộng hai là bốn"]


def test_ranked_trees_are_best_middle_worst(files: dict[str, str]) -> None:
    trees = rows(files["ranked_skills.jsonl"])
    assert len(trees) == 120
    assert len({tree["message_tree_id"] for tree in trees}) == 120
    for tree in trees:
        assert tree["message_tree_id"].startswith("skill-")
        replies = sorted(tree["prompt"]["replies"], key=lambda reply: int(reply["rank"]))
        assert [reply["rank"] for reply in replies] == [0, 1, 2]
        assert replies[0]["text"].startswith("Dạ, ")
        assert len({reply["text"] for reply in replies}) == 3
        assert {reply["parent_id"] for reply in replies} == {tree["prompt"]["message_id"]}


@pytest.mark.parametrize("name", skills.FAMILIES)
def test_a_case_is_never_both_asked_and_taught(name: str) -> None:
    benchmark, ranked, trained = sample.problems(name, Random(1))
    asked = {problem.question for problem in benchmark}
    assert not asked & {problem.question for problem in ranked + trained}
    if skills.FAMILIES[name].rule:
        cases = {tuple(sorted(problem.case.fields.items())) for problem in benchmark}
        assert not cases & {tuple(sorted(problem.case.fields.items())) for problem in ranked + trained}


def test_sizes_stay_small(files: dict[str, str]) -> None:
    assert len(files["skills.json"].encode()) < 600 * 1024
    assert len(files["facts.txt"].encode()) < 300 * 1024
