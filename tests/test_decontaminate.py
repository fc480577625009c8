"""What the benchmarks ask is found in other words around it, nearly as it is, and in the English it came from."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import decontaminate
from stages.lib import contamination, records, shingles
from stages.lib.contamination import Index
from stages.lib.contract import Refusal
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


@given(
    st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=5), st.sampled_from([0.5, 0.8, 1.0])
)
def test_a_plain_search_finds_the_same(questions: list[str], texts: list[str], near: float) -> None:
    ngram = 5
    found = contamination.index(questions, ngram, near)
    hits = {hit.message for hit in contamination.find(found, *contamination.reader(False)(shingles.of_strings(texts)))}
    for place, text in enumerate(texts):
        words = str.split(text)
        wanted = False
        for question in questions:
            asked = str.split(question)
            runs = [asked] if len(asked) < ngram else [asked[i : i + ngram] for i in range(len(asked) - ngram + 1)]
            held = any(words[i : i + len(run)] == run for run in runs for i in range(len(words)) if run)
            threes = {tuple(asked[i : i + 3]) for i in range(len(asked) - 2)}
            mine = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
            wanted |= len(asked) >= 3 and (held or (len(asked) >= ngram and len(threes & mine) >= near * len(threes)))
        assert (place in hits) == wanted, (questions, text)


def test_the_stage_drops_what_items_ask_in_any_of_their_texts(tmp_path: Path) -> None:
    passage = "Chợ nổi họp từ tờ mờ sáng, ghe thuyền treo hàng lên cây sào cao để người mua từ xa đã biết bán gì."
    item = {"question": "Chợ họp khi nào trong ngày?", "original": "When does the market open?", "passage": passage}
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    rows = [record(passage), record("Khác hẳn."), record("x", item["original"]), record(item["question"])]
    records.write(tmp_path / "rows", rows)
    paths = [tmp_path / name for name in ("rows", "kept", "dropped", "items.jsonl")]
    decontaminate.main(*paths, engine="local", decontaminate=Decontaminate(ngram=13, near=0.8))
    assert [row["messages"][0]["content"] for row in records.read(tmp_path / "kept")] == ["Khác hẳn."]
    dropped: list[Any] = list(records.read(tmp_path / "dropped"))
    assert [row["detail"] for row in dropped] == [passage, item["original"], item["question"]]


@pytest.mark.parametrize("item", [{"text": "x"}, {"question": 3}, {"question": "Gì thế này?", "original": ["x"]}])
def test_an_item_that_is_none_is_named(tmp_path: Path, item: Any) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"items\.jsonl, line 1: "):
        list(decontaminate.asked(tmp_path / "items.jsonl"))
