"""What the benchmarks ask is found in other words around it, nearly as it is, and in the English it came from."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import decontaminate
from stages.lib import records
from stages.lib.contract import Refusal
from stages.lib.dedup import contamination, shingles
from stages.lib.dedup.contamination import Index
from stages.lib.params import Decontaminate
from stages.lib.records import Message, Record

SHORT = "Thủ đô của Lào là gì?"
LONG = "Một bể nước cao 2 mét được bơm đầy trong 3 giờ bằng hai máy bơm như nhau; hỏi chỉ dùng một máy thì mất bao lâu?"
ENGLISH = "Which river, longest of those in the country, gives its name to the southern delta of Vietnam?"
QUESTIONS = [SHORT, LONG, ENGLISH]


def record(text: str, original: str = "") -> Record:
    messages: list[Message] = [{"role": "text", "content": text}]
    made = records.make("text", messages, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    return {**made, "original": [{"role": "text", "content": original}] if original else []}


def index(ngram: int = 13, near: float = 0.75) -> Index:
    return contamination.index(QUESTIONS, ngram, near)


def verdict(folder: Path, row: Record, ngram: int = 13, near: float = 0.75) -> tuple[str, str] | None:
    before = record("Một dòng ở trước.")
    records.write(folder / "rows", [before, row])
    made = decontaminate.sift(next(records.batches(folder / "rows")), index=index(ngram, near), compiled=False)
    dropped: list[Any] = made.dropped.to_pylist()
    assert [row["id"] for row in made.kept.to_pylist()][:1] == [before["id"]]
    return (dropped[0]["reason"], dropped[0]["detail"]) if dropped else None


ASKED = "asked by a benchmark"
NEAR = "near a benchmark's question"


@pytest.mark.parametrize(
    ("text", "original", "reason"),
    [
        ("Cho tôi hỏi: thủ đô của LÀO là gì", "", ASKED),
        ("Thủ đô của Lào là gi\u0300?", "", ASKED),  # composed otherwise
        ("Thủ đô của Thái Lan là gì?", "", ""),
        ("Thủ đô của Lào", "", ""),
        ("Bài 5. " + LONG, "", ASKED),
        ("Bài 5. " + LONG[:70], "", ASKED),  # 13 syllables in a row
        (LONG[:40], "", ""),
        (LONG.replace("cao", "sâu").replace("như nhau", "giống nhau"), "", NEAR),
        (LONG.replace("bơm như", "bơm giống").replace("3 giờ", "7 giờ"), "", ""),  # other numbers: another question
        ("Sông nào?", ENGLISH.lower(), ASKED),
        ("Sông nào?", "Which river gives its name to the delta?", ""),
        ("", "", ""),
        ("!?", "…", ""),
    ],
)
def test_what_counts_as_contamination(tmp_path: Path, text: str, original: str, reason: str) -> None:
    found = verdict(tmp_path, record(text, original))
    assert (found[0] if found else "") == reason, found


def test_the_detail_is_the_question_and_how_much_of_it_is_there(tmp_path: Path) -> None:
    assert verdict(tmp_path, record(SHORT)) == (ASKED, SHORT)
    near = verdict(tmp_path, record(LONG.replace("cao", "sâu").replace("như nhau", "giống nhau")))
    assert near == (NEAR, f"0.76 of: {LONG}")
    assert verdict(tmp_path, record(LONG.replace("cao", "sâu").replace("như nhau", "giống nhau")), near=0.8) is None


def test_both_readers_give_the_same_tokens() -> None:
    texts = shingles.of_strings(["", SHORT, LONG, "1.000 đồng; 漢字 x", ENGLISH, "\u0301", "a" * 40])
    quick, compiled = contamination.reader(False), contamination.reader(True)
    (keys, counts), (others, other_counts) = quick(texts), compiled(texts)
    assert keys.tolist() == others.tolist() and counts.tolist() == other_counts.tolist()


WORDS = st.lists(st.sampled_from("một hai ba bốn năm sáu".split()), min_size=0, max_size=12).map(" ".join)


FEW_WORDS = st.lists(st.sampled_from("một hai".split()), min_size=0, max_size=12).map(" ".join)


def runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]


def holds(words: list[str], question: str, questions: list[str], ngram: int, near: float) -> bool:
    """Whether a text holds a question, by the definition."""
    asked = question.split()
    if len(asked) < ngram:
        return len(asked) >= 3 and tuple(asked) in runs(words, len(asked))
    held_by = Counter(run for other in set(questions) for run in set(runs(other.split(), ngram)))
    common = {i + j for i, run in enumerate(runs(asked, ngram)) if held_by[run] > 3 for j in range(ngram)}
    own = [i not in common for i in range(len(asked))]
    evidence = {run for i, run in enumerate(runs(asked, ngram)) if 2 * sum(own[i : i + ngram]) > ngram}
    if evidence & set(runs(words, ngram)):
        return True
    threes = {run for i, run in enumerate(runs(asked, 3)) if any(own[i : i + 3]) or not any(own)}
    if common and len(threes) < 3:
        return False  # is looked for as all that is asked
    return len(threes & set(runs(words, 3))) >= near * len(threes)


@given(
    st.one_of(st.lists(WORDS, min_size=1, max_size=4), st.lists(FEW_WORDS, min_size=1, max_size=9)),
    st.one_of(st.lists(WORDS, min_size=1, max_size=5), st.lists(FEW_WORDS, min_size=1, max_size=5)),
    st.sampled_from([0.5, 0.8, 1.0]),
)
def test_a_plain_search_finds_the_same(questions: list[str], texts: list[str], near: float) -> None:
    ngram = 5
    found = contamination.index(questions, ngram, near)
    hits = {hit.message for hit in contamination.find(found, *contamination.reader(False)(shingles.of_strings(texts)))}
    for place, text in enumerate(texts):
        wanted = any(holds(text.split(), question, questions, ngram, near) for question in questions)
        assert (place in hits) == wanted, (questions, text)


TEMPLATE = "Hãy đọc kỹ rồi chọn đáp án đúng nhất trong các phương án dưới đây và giải thích ngắn gọn:"
OWN = ("thủ đô nước Lào ở đâu?", "mấy sông lớn của nước ta đổ ra biển Đông?", "ai xây chùa Một Cột?",
       "quả gì chua nhất vậy?", "ngược với rộng?")  # fmt: skip
POSED = [f"{TEMPLATE} {own}" for own in OWN]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (f"{TEMPLATE} con gì kêu meo meo?", None),  # the template alone
        (f"{TEMPLATE} thủ đô nước Anh ở đâu?", None),
        (TEMPLATE, None),
        (POSED[0], 0),
        (f"Cho biết {OWN[1]} Trả lời: {TEMPLATE}", 1),
        (f"Bài tập. {POSED[2].replace('xây', 'dựng')}", None),
        (f"{POSED[3]} Vì sao?", 3),
    ],
)
def test_what_many_questions_begin_with_is_no_evidence(text: str, question: int | None) -> None:
    found = contamination.index(POSED, 13, 0.8)
    hits = contamination.find(found, *contamination.reader(False)(shingles.of_strings([text])))
    assert {hit.question for hit in hits} == ({question} if question is not None else set())


def asking(*turns: str, original: str = "") -> Record:
    messages: list[Message] = [{"role": "system", "content": "12 + 5"}]
    messages += [{"role": "assistant" if place % 2 else "user", "content": turn} for place, turn in enumerate(turns)]
    made = records.make("conversation", messages, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    return {**made, "original": [{"role": "user", "content": original}] if original else []}


@pytest.mark.parametrize(
    ("row", "question"),
    [
        (asking("12 + 5 = ?", "17"), "12 + 5"),
        (asking("12+5=", "17"), "12 + 5"),
        (asking("12 - 5", "7"), None),
        (asking("1 2 + 5", "8"), None),
        (asking("Tính 12 + 5 rồi nhân đôi", "34"), None),
        (asking("Nói số 17", "12 + 5", "12 + 5", "17"), None),  # asked later is another's question
        (asking("Vì  SAO?", "Vì thế."), "Vì sao?"),
        (asking("Tìm gì?", "x"), "tìm gì"),
        (asking("x", "y", original="Why not?"), "Why not"),
        (asking("?", "y"), None),
        (asking(POSED[4], "hẹp"), None),
    ],
)
def test_short_questions_are_all_that_is_asked(tmp_path: Path, row: Record, question: str | None) -> None:
    found = contamination.index(["12 + 5", "Vì sao?", "tìm gì", "Why not", "?", "…", SHORT], 13, 0.8)
    assert contamination.told(found) == {"questions": 7, "alone": 4, "unsearched": 2}
    records.write(tmp_path / "rows", [record("Một dòng."), asking("Gì thế này?", "12 + 5"), row, asking("Vì sao?")])
    whole = next(records.batches(tmp_path / "rows"))
    for shard, place in ((whole, 2), (whole.slice(1), 1), (whole.slice(2), 0)):
        dropped: list[Any] = decontaminate.sift(shard, index=found, compiled=False).dropped.to_pylist()
        wanted = [(records.plain(row), question)] if question else []
        assert [(records.plain(gone), gone["detail"]) for gone in dropped[:-1]] == wanted, place
        assert dropped[-1]["detail"] == "Vì sao?"


def test_of_a_template_with_little_else_all_that_is_asked_counts() -> None:
    found = contamination.index(POSED, 13, 0.8)
    assert contamination.repeated(found, POSED[4].upper()) is None
    few = contamination.index([*POSED, f"{TEMPLATE} rộng?"], 13, 0.8)
    assert contamination.told(few) == {"questions": 6, "alone": 1, "unsearched": 0}
    assert contamination.repeated(few, f"{TEMPLATE}\nRỘNG") == 5 and contamination.repeated(few, TEMPLATE) is None


def test_the_stage_tells_what_it_cannot_look_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "items.jsonl").write_text("".join(f'{{"question": "{q}"}}\n' for q in ("12 + 5", "?", SHORT)), "utf-8")
    records.write(tmp_path / "rows", [record("Một dòng.")])
    paths = [tmp_path / name for name in ("rows", "kept", "dropped", "sought", "items.jsonl")]
    decontaminate.main(*paths, engine="local", decontaminate=Decontaminate(ngram=13, near=0.8))
    assert json.loads((tmp_path / "sought").read_text()) == {"questions": 3, "alone": 1, "unsearched": 1}
    assert "of 3 texts of the benchmarks 1 have" in capsys.readouterr().err


def test_the_stage_drops_what_items_ask_in_any_of_their_texts(tmp_path: Path) -> None:
    passage = "Chợ nổi họp từ tờ mờ sáng, ghe thuyền treo hàng lên cây sào cao để người mua từ xa đã biết bán gì."
    item = {"question": "Chợ họp khi nào trong ngày?", "original": "When does the market open?", "passage": passage}
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    rows = [record(passage), record("Khác hẳn."), record("x", item["original"]), record(item["question"])]
    records.write(tmp_path / "rows", rows)
    paths = [tmp_path / name for name in ("rows", "kept", "dropped", "sought", "items.jsonl")]
    decontaminate.main(*paths, engine="local", decontaminate=Decontaminate(ngram=13, near=0.8))
    assert [row["messages"][0]["content"] for row in records.read(tmp_path / "kept")] == ["Khác hẳn."]
    dropped: list[Any] = list(records.read(tmp_path / "dropped"))
    assert [row["detail"] for row in dropped] == [passage, item["original"], item["question"]]


@pytest.mark.parametrize("item", [{"text": "x"}, {"question": 3}, {"question": "Gì thế này?", "original": ["x"]}])
def test_an_item_that_is_none_is_named(tmp_path: Path, item: Any) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"items\.jsonl, line 1: "):
        list(decontaminate.asked(tmp_path / "items.jsonl"))
