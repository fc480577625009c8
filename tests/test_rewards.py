"""Which value an answer ends in, and what it earns where that is the right one."""

import json
from pathlib import Path

import pytest

from stages.lib import records
from stages.lib.records import Message
from stages.lib.train import rewards


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("Số 354 đọc là gì?", "Số 354 đọc là ba trăm năm mươi tư.", "ba trăm năm mươi tư"),
        ("69 ki-lô-gam bằng bao nhiêu gam?", "Dạ, 69 ki-lô-gam bằng 69.000 gam.", "69000"),
        ("69 ki-lô-gam bằng bao nhiêu gam?", "69000", "69000"),
        ("Sắp xếp tăng dần: 8, 9, 5.", "Dạ, xếp tăng dần ta được 5, 8, 9.", "5, 8, 9"),
        ("Thủ đô nước Áo là gì?", "Thủ đô nước Áo là Vienna.", "vienna"),
        ("Từ trái nghĩa với khỏe là gì?", "Trái nghĩa với khoẻ là yếu", "yếu"),
        ("Lan có 5 kẹo, cho 2.", "Lan còn 5 - 2 = 3.\nRồi ăn 1.\n#### 2", "2"),
        ("Chọn đáp án.", "Vì thế, ta chọn.\nĐáp án: B", "b"),
        ("Solve.", "It is \\boxed{1.234}.", "1234"),
        ("?", "#### 1,234", "1234"),
        ("?", "#### 1234", "1234"),
        ("?", "#### 5,000,000", "5000000"),
        ("?", "#### 5.000.000,50", "5000000.5"),
        ("?", "#### 5,000,000.5", "5000000.5"),
        ("?", "#### 3.14", "3.14"),
        ("?", "#### 2.14", "2.14"),
        ("?", "#### 3,14", "3.14"),
        ("?", "\\boxed{0.5}", "0.5"),
        ("?", "\\boxed{0,50}", "0.5"),
        ("?", "\\boxed{5}", "5"),
        ("?", "\\boxed{0.125}", "0.125"),
        ("?", "\\boxed{-3}", "-3"),
        ("?", "\\boxed{1/2}", None),
        ("?", "\\boxed{\\frac{1}{2}}", None),
        ("?", "\\boxed{\\frac{1}{3}}", None),
        ("?", "\\boxed{2x+1}", None),
        ("?", "\\boxed{x - 1}", None),
        ("?", "\\boxed{2x}", "2x"),
        ("?", "#### 12:30", None),
        ("?", "#### 30", "30"),
        ("?", "#### 1.5 triệu", "1.5 triệu"),
        ("?", "#### 2,5 triệu đồng", "2.5 triệu"),
        ("?", "#### 42 quả táo.", "42"),
        ("?", "#### 50%", "50"),
        ("?", "#### 5.000đ", "5000"),
        ("?", "#### 20/11/2024", None),
        ("?", "Đáp số: 12 km. Vì đi 3 giờ.", "12"),
        ("?", "Đáp án: B. Vì nước sôi ở 100 độ", "b"),
        ("?", "Đáp án: (B) vì thế", "b"),
        ("?", "Đáp án: Hà Nội. Vì đó là thủ đô", "hà nội"),
        ("?", "#### 5, 8, 9", "5, 8, 9"),
        ("?", "#### 5,8,9", "5, 8, 9"),
        ("Pi?", "Pi là 3,14.", "3.14"),
        ("Nửa?", "Là 1/2.", None),
        ("Mấy giờ?", "Là 12:30.", None),
        ("5 + 3?", "Dạ, 5 + 3 = 8.", "8"),
        ("5 + 3?", "5 + 3", None),
        ("Giá?", "Giá là 1,5 triệu.", "1.5 triệu"),
        ("Vì sao thủy triều lên xuống?", "Do lực hút của Mặt Trăng. Trái Đất tự quay nên có hai lần mỗi ngày.", None),
        ("Nên làm gì?", "Bạn tập đều, ngủ đủ.", None),
        ("Hôm nay là thứ mấy?", "", None),
    ],
)
def test_the_value_of_an_answer(question: str, answer: str, found: str | None) -> None:
    assert rewards.value(question, answer) == found


def test_the_values_of_the_benchmarks_are_found_and_told_from_wrong_ones(root: Path) -> None:
    told, items = 0, 0
    for path in sorted((root / "data/sample/benchmark").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            found = [rewards.value(item["question"], choice) for choice in item["choices"]]
            items += 1
            told += found[item["answer"]] is not None and found.count(found[item["answer"]]) == 1
    assert items > 300 and told / items > 0.97


def test_a_right_value_is_rewarded_and_an_answer_cut_off_pays() -> None:
    turns = [Message(role="user", content="Sau 3 là gì?")]
    row = records.make(
        "instruction", [*turns, Message(role="assistant", content="Sau 3 là 4.")], source="s", licence="l", lang="vi",
        upstream="1",
    )  # fmt: skip
    known = rewards.references([row])
    assert known == {(("user", "Sau 3 là gì?"),): "4"}
    said = ["Dạ, là 4.", "Là 5.", "Là 4"]
    found = rewards.of_trl(known)(
        prompts=[turns, turns, turns, [Message(role="user", content="Sao?")]],
        completions=[[Message(role="assistant", content=text)] for text in [*said, "?"]],
        completion_ids=[[1, 9], [1, 7], [1, 2], [9]],
        trainer_state=None,
    )
    assert found == [rewards.RIGHT, 0, rewards.RIGHT, None]
    lost = rewards.ending([8, 9])(completion_ids=[[1, 9], [8], [1, 2]], trainer_state=None)
    assert lost == [0, 0, -rewards.UNENDED]
