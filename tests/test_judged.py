"""Which turns of a record are judged, and how good what stays is."""

from pathlib import Path

import pytest

from stages import clean, dedup
from stages.lib import paramfile, records
from stages.lib.records import Message, Record
from tests import cleaning
from tests.cleaning import DIALS, instruction


@pytest.mark.parametrize("role", ["chosen", "rejected"])
@pytest.mark.parametrize(("question", "expected"), [("Kể tên ba loại quả ngọt", ""), ("Im mồm, đồ ngu!", "toxic")])
def test_a_single_verdict_is_judged_by_its_question_and_its_good_answer(
    role: str, question: str, expected: str
) -> None:
    turns: list[Message] = [{"role": "user", "content": question}, {"role": role, "content": "Xoài, mít và nhãn."}]
    record = records.make("verdict", turns, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    assert cleaning.reason(clean.normalise(record, DIALS)) == expected


def test_a_preference_may_hold_a_bad_answer_as_the_worse_one() -> None:
    turns: list[Message] = [
        {"role": "user", "content": "Sao thế?"},
        {"role": "chosen", "content": "Dạ, tại trời mưa ạ."},
        {"role": "rejected", "content": "mưa mưa " * 20},
    ]
    record = records.make("preference", turns, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    assert cleaning.reason(record) == ""


@pytest.mark.parametrize(
    ("kind", "turns", "expected"),
    [
        ("verdict", "user rejected", ""),
        ("verdict", "user assistant user rejected", ""),
        ("preference", "user rejected", "no answer"),
        ("instruction", "system user", "no answer"),
        ("conversation", "user tool", "no answer"),
        ("preference", "user chosen rejected", ""),
        ("preference", "user assistant user chosen rejected", ""),
    ],
)
def test_a_record_wants_an_answer_to_judge(kind: str, turns: str, expected: str) -> None:
    messages: list[Message] = [{"role": role, "content": f"Câu số {n} đây."} for n, role in enumerate(turns.split())]
    record = records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    assert cleaning.reason(record) == expected


def conversation(kind: str, *turns: tuple[str, str]) -> str:
    messages: list[Message] = [{"role": role, "content": content} for role, content in turns]
    record = records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1")
    return cleaning.reason(record)


def test_the_chosen_answer_is_judged_and_not_a_turn_before_it() -> None:
    before = (("user", "Chào em!"), ("assistant", "Dạ, em chào anh."), ("user", "Vẽ gì?"))
    assert conversation("preference", *before, ("chosen", ".."), ("rejected", "Dạ, cây tre.")) == "too short"


def test_every_answer_of_a_conversation_is_asked_whether_it_loops() -> None:
    turns = (("user", "Hát đi!"), ("assistant", "mưa rơi " * 9), ("user", "Thôi."), ("assistant", "Dạ, vâng ạ."))
    assert conversation("conversation", *turns) == "loops"


def test_only_a_question_and_the_judged_answer_may_not_be_empty() -> None:
    answer = ("assistant", "Dạ, em xong rồi ạ.")
    assert conversation("conversation", ("user", "Làm đi!"), ("tool", ""), answer) == ""
    assert conversation("preference", ("user", "Làm đi!"), ("chosen", "Dạ, vâng."), ("rejected", "")) == ""
    assert conversation("conversation", ("user", ""), answer) == "empty"
    assert conversation("conversation", ("user", "Mua gì?"), ("tool", "Khuyến mãi khủng!"), answer) == ""


PROSE = "Cá heo bơi theo đàn, săn mồi cùng nhau và gọi nhau bằng tiếng huýt."


@pytest.mark.parametrize(
    ("answer", "teacher", "expected"),
    [
        (PROSE, "", 1.0),
        (PROSE, "a-model", 0.95),  # of equals what people wrote comes first
        (PROSE + " !", "", 1.0),  # little differences count nothing
        (PROSE + " ***!!! ???", "", 0.6),  # 9 signs of 78 characters, where 0.3 are allowed
        ("một dòng\nhai dòng\nba dòng\nmột dòng", "", 0.5),
        ("một dòng\nhai dòng\nmột dòng\nhai dòng", "m", 0.0),
        (f"{PROSE} {PROSE} Rồi {' '.join(f'từ{n}' for n in range(20))}.", "", 0.5),  # 12 of 48 runs
        ("12", "", 1.0),
    ],
)
def test_quality_is_how_far_an_answer_stays_from_the_limits(answer: str, teacher: str, expected: float) -> None:
    record: Record = {**instruction("Cá heo sống thế nào?", answer), "teacher": teacher}
    assert clean.quality(record, DIALS) == expected


def test_dedup_chooses_by_the_quality_and_no_later_table_holds_it(tmp_path: Path) -> None:
    rows = [instruction("Cá heo sống thế nào?", PROSE + more) for more in (" !?!?!?!?!?!?", " Vậy", "")]
    translated: Record = {**rows[2], "teacher": "a-model", "id": "0" * 32, "source": "a"}
    records.write(tmp_path / "in", [translated, *rows])
    cleaned, kept, lost = tmp_path / "cleaned", tmp_path / "kept", tmp_path / "lost"
    lexicons = [Path("stages/lexicons/toxic.txt"), Path("stages/lexicons/spam.txt")]
    clean.main(cleaned, lost, *lexicons, tmp_path / "in", engine="local", clean=DIALS)
    good = [row["quality"] for batch in records.batches(cleaned) for row in batch.to_pylist()]
    assert good == [0.95, 0.5, 1.0, 1.0] and records.count(lost) == 0
    dials = paramfile.check(Path("params.yaml"), Path("recipes"))[0].dedup
    dedup.main(cleaned, kept, tmp_path / "copies", engine="local", dedup=dials)
    assert next(records.batches(kept)).schema.names == records.SCHEMA.names
    assert [row["id"] for row in records.read(kept)] == [rows[1]["id"]]  # of the two best the longer one
