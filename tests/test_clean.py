"""The filters on literal records: each finds what it is for, and leaves alone what only looks like it."""

from pathlib import Path

import pytest

from stages import clean
from stages.lib import params, records
from stages.lib.records import Message, Record

DIALS = params.check(Path("params.yaml"), Path("recipes"))[0].clean
FILTERS = clean.build_filters(
    clean.phrases(Path("stages/lexicons/toxic.txt")), clean.phrases(Path("stages/lexicons/spam.txt")), DIALS
)


def instruction(question: str, answer: str) -> Record:
    turns: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return records.make("instruction", turns, source="s", licence="CC0-1.0", lang="vi", upstream="1")


def reason(question: str, answer: str) -> str:
    verdict = clean.judge(clean.normalise(instruction(question, answer), DIALS), FILTERS)
    return verdict[0] if verdict else ""


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Hỏi gì đó?", " ", "empty"),
        ("Hỏi gì đó?", "|||TRANSLATION_FAILED||| The answer", "failure marker"),
        ("Ai thắng?", "Là một mô hình ngôn ngữ, tôi không thể đoán.", "refusal"),
        ("Ai thắng?", "Tôi chỉ là một AI nên không biết.", "refusal"),
        ("Mua gì?", "Khuyến mãi khủng, mua ngay kẻo hết!", "spam"),
        ("Sao thế?", "Im mồm, đồ ngu!", "toxic"),
        ("Hát đi!", "mưa rơi " * 9, "loops"),
        ("Trả lời đi!", "The answer is that they have gone to the market with their friends.", "not Vietnamese"),
        ("Trả lời đi!", "hom nay troi dep lam chung ta cung di choi nhe cac ban oi", "diacritics lost"),
        ("Vẽ gì?", "*** ### $$$ %%% ^^^ &&& *** ### a", "symbols"),
        ("Kể đi!", "một\nmột\nmột\nmột\nhai", "repeated lines"),
        ("Kể đi!", "dài lắm " + " ".join(f"từ{n}" for n in range(2500)), "too long"),
        ("Thủ đô của Lào là gì?", "thủ đô của lào là gì", "answer repeats the prompt"),
    ],
)
def test_each_filter_finds_what_it_is_for(question: str, answer: str, expected: str) -> None:
    assert reason(question, answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "Hạt óc chó tốt cho tim, bạn nên ăn một nắm mỗi ngày.",
        "Siêu âm ĐM cảnh giúp phát hiện mảng xơ vữa.",
        "Nếu sốt cao, bạn hãy liên hệ ngay với bác sĩ.",
        "Trong nhà cái gì cũng đã cũ.",
        "Chim cút đi kiếm ăn vào sáng sớm.",
        "ChatGPT là một mô hình ngôn ngữ do một công ty ở Mỹ làm ra.",
        "Ước gì mình là một ai đó khác.",
        "2, 4, 6, 8, 10, 12, 14, 16, 18, 20",
        "a = b + c\nx = y * z",
    ],
)
def test_good_answers_that_only_look_bad_stay(answer: str) -> None:
    assert reason("Bạn cho mình hỏi một chút nhé?", answer) == ""


def test_a_foreign_answer_stays_where_it_was_asked_for() -> None:
    answer = "The weather is fine today and we should all go out to the park."
    assert reason("Hãy dịch câu này sang tiếng Anh.", answer) == ""
    assert reason("Dịch vụ của cửa hàng thế nào?", answer) == "not Vietnamese"


def test_an_empty_lexicon_finds_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "none.txt"
    empty.write_text("# nothing\n", encoding="utf-8")
    assert clean.phrases(empty).search("Xin chào bạn.") is None


def test_a_preference_may_hold_a_bad_answer_as_the_worse_one() -> None:
    turns: list[Message] = [
        {"role": "user", "content": "Sao thế?"},
        {"role": "chosen", "content": "Dạ, tại trời mưa ạ."},
        {"role": "rejected", "content": "mưa mưa " * 20},
    ]
    record = records.make("preference", turns, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    assert clean.judge(record, FILTERS) is None
