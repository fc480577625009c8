"""What the benchmarks ask is found in other words around it, and in the English that it was translated from."""

from stages import decontaminate
from stages.lib import records
from stages.lib.records import Message, Record


def record(text: str) -> Record:
    messages: list[Message] = [{"role": "text", "content": text}]
    return records.make("text", messages, source="s", licence="CC0-1.0", lang="vi", upstream="1")


def test_contamination_is_a_whole_short_question_or_a_long_run() -> None:
    long = "một hai ba bốn năm sáu bảy tám chín mười mười một mười hai mười ba"
    runs = decontaminate.cut(decontaminate.index(iter(["Thủ đô của Lào là gì?", long])), 13)
    assert decontaminate.overlap(record("Cho tôi hỏi: thủ đô của LÀO là gì"), runs) == (
        "asked by a benchmark",
        "Thủ đô của Lào là gì?",
    )
    assert decontaminate.overlap(record("Thủ đô của Thái Lan là gì?"), runs) is None
    assert decontaminate.overlap(record("x y " + long), runs) is not None
    assert decontaminate.overlap(record("x y " + long.rsplit(" ", 4)[0]), runs) is None


def test_the_original_of_a_translation_is_searched_too() -> None:
    runs = decontaminate.cut(decontaminate.index(iter(["What is the capital of Laos?"])), 13)
    translated = record("Lào có thủ đô nào?")
    translated["original"] = [{"role": "text", "content": "what is the capital of Laos"}]
    assert decontaminate.overlap(translated, runs) is not None
