"""Each fault of a translation is found under its name, and what only looks like one passes."""

import math
import time
from pathlib import Path

import pytest

from stages.lib import paramfile
from stages.lib.params import Checks
from stages.lib.text import numbers
from stages.lib.translate import sentences, validators
from stages.lib.translate.stops import Habit

CHECKS = paramfile.check(Path("params.yaml"), Path("recipes"))[0].translate.checks

WALK = "The old man walks along the river every morning. He feeds the ducks with his grandson."
WALK_VI = "Sáng nào ông cụ cũng đi dạo dọc bờ sông. Ông cho vịt ăn cùng đứa cháu trai của mình."
LONGER = "Rồi hai ông cháu về nhà ăn sáng, tưới cây trong vườn, đọc báo, chơi cờ và kể chuyện đời xưa cho nhau nghe."
CODE = "Write a loop:\n```python\nfor name in names:\n    print(name)\n```"


def verdict(
    source: str, translation: str, checks: Checks = CHECKS, finish: str = "stop", reach: float = math.inf
) -> str:
    found = validators.verdict(source, translation, finish_reason=finish, checks=checks, reach=reach)
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("source", "translation", "name"),
    [
        (WALK, " \n", "empty translation"),
        (WALK, "TRANSLATION_FAILED", "failure marker"),
        (WALK, WALK, "left in English"),
        (WALK, "The old man walks along bờ sông. Ông cho vịt ăn cùng đứa cháu trai của mình.", "left in English"),
        ("I represent children.", "I represent children.", "left in English"),
        (WALK, "Sang nao ong cu cung di dao doc bo song. Ong cho vit an cung dua chau trai.", "diacritics lost"),
        ("Thank you.", "Cam on.", "diacritics lost"),
        (WALK, "老人每天早上沿着河边散步。他和孙子一起喂鸭子。", "wrong script"),
        (WALK, "Sáng nào ông cụ cũng đi dạo dọc bờ sông. Старик кормит уток cùng đứa cháu.", "wrong script"),
        (WALK, WALK_VI[:70], "truncated"),
        (WALK, "Sáng nào ông cụ cũng đi dạo dọc bờ sông.", "truncated"),
        (CODE, CODE.removesuffix("```").replace("Write a loop", "Viết một vòng lặp"), "truncated"),
        (WALK, WALK_VI + " Ông vui." * 12, "looped"),
        (WALK, WALK_VI + " vui vui vui vui vui vui vui vui vui vui vui vui vui. Hết rồi.", "looped"),
        (WALK, WALK_VI + " " + LONGER, "length ratio"),
        ("What is the capital of France?", "Thủ đô của Pháp là Paris.", "answered instead of translated"),
        ("Name three fruits.", "Chắc chắn rồi! Cam, táo và chuối.", "answered instead of translated"),
        ("Name three fruits.", "Dưới đây là ba loại quả.", "answered instead of translated"),
        ("It weighs 42 kilograms.", "Nó nặng 24 kí.", "numbers lost"),
        ("It cost 1,500 dong in 1999.", "Năm 1999 nó có giá 1.600 đồng.", "numbers lost"),
        ("In 1999 it cost a lot.", "Năm 1999 nó có giá 500.", "numbers lost"),
        ("It is 1.5 metres long.", "Nó dài 15 mét.", "numbers lost"),
        ("It is 12.5 metres long.", "Nó dài 1,25 mét.", "numbers lost"),
        ("It is 10 metres long.", "Nó dài 1.0 mét.", "numbers lost"),
        ("I bought 3 apples and 3 pears.", "Tôi mua 3 quả táo và mấy quả lê.", "numbers lost"),
        ("There are 3 million of us.", "Chúng ta có 3 nghìn người.", "numbers lost"),
        ("There are 25 of us.", "Chúng ta có hai mươi bốn người.", "numbers lost"),
        ('Fill {"city": "Hue", "age": 3} in.', 'Hãy điền {"city": "Huế", "age": 4}.', "placeholders lost"),
        ("Is it raining?", "Trời mưa to lắm.", "answered instead of translated"),
        ("List ten rivers.", "Tôi rất vui được giúp! Sông Hương và sông Hồng.", "answered instead of translated"),
        (CODE, "Viết một vòng lặp:\n```python\ncho tên trong các_tên:\n    in(tên)\n```", "code lost"),
        ("Call `len(x)` twice, please.", "Hãy gọi `độ_dài(x)` hai lần nhé.", "code lost"),
        ("Buy:\n- milk\n- bread\n- eggs", "Mua:\n- sữa\n- bánh mì và trứng", "list items lost"),
        ("1. Wash it.\n2. Dry it.", "1. Rửa sạch rồi lau khô.", "list items lost"),
        ("See https://example.org/a for more.", "Xem thêm ở https://example.org/b nhé.", "placeholders lost"),
        ("Dear {name}, welcome back.", "Chào {tên}, mừng bạn trở lại.", "placeholders lost"),
        ("We know that $a^2 + b^2 = c^2$ holds.", "Ta biết rằng a² + b² = c² là đúng.", "placeholders lost"),
        ('Fill {"city": "", "age": 0} in.', 'Hãy điền {"thành phố": "", "tuổi": 0}.', "placeholders lost"),
        ("| Name | Age |\n|---|---|\n| An | 9 |", "| Tên | Tuổi |\n|---|---|\n| An 9 |", "placeholders lost"),
        ("Human: how are you?\nAssistant: fine", "Người: bạn khỏe không?\nTrợ lý: khỏe", "placeholders lost"),
        ("It ends with <|im_end|> here.", "Nó kết thúc ở đây.", "placeholders lost"),
    ],
)  # fmt: skip
def test_each_fault_has_its_name(source: str, translation: str, name: str) -> None:
    assert verdict(source, translation) == name


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        (WALK, WALK_VI),
        ("OK", "OK"),
        ("Stephen Watt.", "Stephen Watt."),
        ("An area of 6 cm by 10 cm.", "Diện tích 6 cm nhân 10 cm."),
        ("Is it a typhoon or a hurricane?", 'Nó là "typhoon" hay "hurricane"?'),
        ('Correct it: "She go to school."', 'Hãy sửa câu: "She go to school."'),
        ("It cost 1,500 dong, 2.5 million or 20 cents.", "Nó giá 1.500 đồng, 2,5 triệu hoặc 20 xu."),
        ("The 2,000,000 people of the 1980s, at 5 pm.", "2 triệu người của những năm 1980, lúc 17 giờ."),
        ("There are 3 cats here.", "Ở đây có ba con mèo."),
        ("A day on 20 November.", "Một ngày, 20 tháng 11."),
        ("I saw Mrs. Drucker. She was ill.", "Tôi gặp bà Drucker. Bà bị ốm."),
        ("He came, he saw. He won the war of that year.", "Ông đã đến, đã thấy và đã thắng cuộc chiến năm đó."),
        ("I said to him:\n\"All right.\"", "Tôi nói với anh ấy:\n\"Được thôi\""),
        ("Repeat: ha ha ha ha ha ha ha ha ha ha ha ha ha.", "Lặp lại: ha ha ha ha ha ha ha ha ha ha ha ha ha."),
        (CODE, CODE.replace("Write a loop", "Viết một vòng lặp")),
        ("x = 1  # the number of cats", "x = 1  # số con mèo"),
        ("The yard was dust;\nthe rain came down;", "Sân đầy bụi bặm;\nrồi mưa đổ xuống;"),
        ("Yes, of course. It is here.", "Vâng, tất nhiên rồi. Nó ở đây."),
        ("The sum of α and β is γ.", "Tổng của α và β là γ."),
        ("1. Wash it.\n2. Dry it.", "1. Rửa sạch.\n2. Lau khô."),
        ("There are 1,500,000 people in 2 cities.", "Có 1,5 triệu người ở 2 thành phố."),
        ("Only 2,000,000 people live there.", "Chỉ có 2 triệu người sống ở đó."),
        ("Almost 3 million people live there.", "Gần 3.000.000 người sống ở đó."),
        ("Some 100 thousand won, or 100k.", "Chừng 100.000 won, tức 100.000."),
        ("It costs $2.50, and before it was $5.00.", "Nó có giá 2,5 đô la, còn trước kia là 5 đô la."),
        ("She was born on 07/04/1976.", "Cô ấy sinh ngày 4/7/1976."),
        ("She was born on 07/04/1976.", "Cô ấy sinh ngày 7/4/1976."),
        ("She was born on 07/04/1976.", "Cô ấy sinh ngày 7 tháng tư năm 1976."),
        ("We met on Dec 25 that year.", "Chúng tôi gặp nhau ngày 25/12 năm ấy."),
        ("We met on Sept. 11 that year.", "Chúng tôi gặp nhau ngày 11 tháng 9 năm ấy."),
        ("It is a child of the 21st century.", "Nó là đứa con của thế kỷ XXI."),
        ("They fought in World War II.", "Họ chiến đấu trong Thế chiến thứ 2."),
        ("It took 21 days, 15 hours and 11 minutes.", "Mất hai mươi mốt ngày, mười lăm giờ và mười một phút."),
        ("He is 44, she is 20, and I am 99.", "Anh 44, cô ấy hai mươi, còn tôi chín mươi chín."),
        ("We start at 10:00 in room 7.", "Chúng ta bắt đầu lúc 10 giờ ở phòng 7."),
        ("He was here in '35, and in ' 71.", "Ông đã ở đây năm 1935, rồi năm 1971."),
        ("In the 1980s we were 5.", "Vào thập niên 80 chúng tôi lên 5."),
        ("The change is 200 - 150 = 50 thousand dong.", "Tiền thừa là 200 - 150 = 50 nghìn đồng."),
        ("I am very happy today.", "Tôi rất vui hôm nay."),
        ("There are several ways to do this:", "Sau đây là một số cách để làm việc này:"),
        ("You can use the following code:", "Sau đây là mã bạn có thể dùng:"),
        ("Can you help me?", "Hãy giúp tôi."),
        ("Is it raining?", "Trời có mưa không"),
        ("| Name | Age |\n|------|:---:|\n| An | 9 |", "| Tên | Tuổi |\n|---|---|\n| An | 9 |"),
        ('Fill {"city": "river", "age": 3} in.', 'Hãy điền {"city": "dòng sông", "age": 3}.'),
        ("It costs $5 and x_1 = $6 today.", "Hôm nay nó có giá 5 đô la và x_1 = 6 đô la."),
        ("Thank you.", "Cảm ơn bạn"),
        ("The weather is fine today.", "Hôm nay trời đẹp. 😀"),
        ("He said that it was fine today.", "Anh ấy nói hôm nay trời đẹp.»"),
        ("The train leaves on time at 5 p.m.", "Tàu chạy đúng giờ, lúc 17 giờ"),
        ("I read The Lord of the Rings twice.", "Tôi đã đọc The Lord of the Rings hai lần."),
        ("I read “The Lord of the Rings” twice.", "Tôi đã đọc “The Lord of the Rings” hai lần."),
        ("Vitamin C.", "vitamin C."),
        ("Question: how far is it?\nAnswer: not far", "Câu hỏi: còn bao xa?\nTrả lời: không xa"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_fault_passes(source: str, translation: str) -> None:
    assert verdict(source, translation) == ""


def test_the_finish_reason_is_read() -> None:
    assert verdict(WALK, WALK_VI, finish="length") == "truncated"


def test_every_threshold_moves_its_check() -> None:
    """A threshold that no check reads would let both verdicts be the same."""
    half = "The old man walks along bờ sông. Ông cho vịt ăn cùng đứa cháu trai của mình."
    bare = "Sáng nào ông cu cung di dao doc bo song. Ong cho vit an cung dua chau trai cua minh."
    cases: dict[str, tuple[float, str, str]] = {
        "english": (1.0, WALK, half),
        "diacritics": (0.0, WALK, bare),
        "code": (0.0, CODE, "Viết một vòng lặp:\n```python\ncho tên trong các_tên:\n    in(tên)\n```"),
        "items": (1.0, "1. Wash it.\n2. Dry it.", "1. Rửa sạch rồi lau khô."),
        "numbers": (1.0, "It weighs 42 kilograms of fine wood.", "Nó nặng kha khá, toàn gỗ tốt."),
    }
    assert cases.keys() == Checks.model_fields.keys()
    for name, (value, source, translation) in cases.items():
        found = verdict(source, translation)
        then = verdict(source, translation, CHECKS.model_copy(update={name: value}))
        assert found and found != then, (name, found, then)


@pytest.mark.parametrize(
    ("stopless", "whole", "reach"), [(0, 400, math.inf), (4, 400, math.inf), (20, 400, 1.15), (130, 400, 0.75)]
)
def test_what_a_missing_stop_tells_depends_on_the_translators_habit(stopless: int, whole: int, reach: float) -> None:
    habit = Habit()
    for number in range(whole):
        habit.note(WALK, WALK_VI.rstrip(".") + " nhé" if number < stopless else WALK_VI + " Nhé.")
    assert (habit.stopless, habit.whole, habit.reach) == (stopless, whole, reach)
    shown = {share: verdict(WALK, WALK_VI[:-1], reach=share) for share in (math.inf, 1.15, 0.75)}
    assert shown == {math.inf: "truncated", 1.15: "truncated", 0.75: ""}
    assert verdict(WALK, WALK_VI[:60], reach=0.75) == "truncated"


def test_a_habit_is_not_learned_from_what_was_cut_nor_from_a_few() -> None:
    habit = Habit()
    for _ in range(400):
        habit.note(WALK, WALK_VI[:70])
        habit.note("A heading", "Một tiêu đề")
    assert habit.whole == 0
    for _ in range(40):
        habit.note(WALK, WALK_VI.rstrip(".") + " nhé")
    assert habit.reach == math.inf


def test_a_sentence_that_is_merged_is_not_one_that_is_lost() -> None:
    three = "I was tired that day. We had walked for many hours in the sun. Nobody wanted to talk about it."
    merged = "Hôm đó tôi mệt vì chúng tôi đã đi bộ nhiều giờ dưới nắng. Không ai muốn nói về chuyện đó."
    lost = "Hôm đó tôi mệt. Không ai muốn nói về chuyện đó."
    assert sentences.unpaired(three, merged) == 0
    assert sentences.unpaired(three, lost) == 1
    assert sentences.unpaired(lost, three) == 0
    assert sentences.lengths("Mr. An came. He left") == [12, 7]


@pytest.mark.parametrize("number", range(100))
def test_the_numbers_up_to_99_are_known_by_their_words(number: int) -> None:
    words = {4: "bốn", 15: "mười lăm", 20: "hai mươi", 21: "hai mươi mốt", 55: "năm mươi lăm", 74: "bảy mươi tư"}
    said = words.get(number) or next(name for name, digits in numbers.NAMES.items() if digits == str(number))
    assert numbers.lost(f"It is {number}.", f"Đó là {said} cái.") == []
    assert numbers.lost(f"It is {number + 1}.", f"Đó là {said} cái.") == [str(number + 1)]


def test_a_number_of_any_length_is_read() -> None:
    long = "9" * 5000
    assert numbers.lost(f"It is {long}.", f"Đó là {long}.") == [] and numbers.new("It is 1.", long) == [long]
    assert verdict(f"It is {long}.", f"Đó là {long[1:]}.") == "numbers lost"


def test_texts_of_any_length_are_judged_in_time() -> None:
    started = time.monotonic()
    assert sentences.unpaired("It rains now. " * 2000, "Trời mưa. " * 1000) == 0
    assert numbers.lost("1,5 " * 5000, "2 " * 5000) == ["1,5"] * 5000
    assert time.monotonic() - started < 3
