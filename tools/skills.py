"""Ten families of small Vietnamese tasks with exact answers, made from nothing but a random generator.

A family is a few wordings and a list of cases. In a *rule* family (numbers, order, units) a case that is
held out is never shown in any wording; in a *memory* family (capitals, opposites, groups, weekdays) its
wording is new and the knowledge is not. Tone marks stand in the old place (hòa, thủy). Not covered: how the
cases are shared out between training, ranking and benchmark (``tools/sample.py``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

DIGITS = "không một hai ba bốn năm sáu bảy tám chín".split()
DAYS = ("thứ hai", "thứ ba", "thứ tư", "thứ năm", "thứ sáu", "thứ bảy", "chủ nhật")
UNITS = (
    ("mét", "xăng-ti-mét", 100), ("ki-lô-mét", "mét", 1000), ("ki-lô-gam", "gam", 1000), ("tấn", "ki-lô-gam", 1000),
    ("tạ", "ki-lô-gam", 100), ("yến", "ki-lô-gam", 10), ("lít", "mi-li-lít", 1000), ("thế kỷ", "năm", 100),
    ("đề-xi-mét", "xăng-ti-mét", 10), ("thập kỷ", "năm", 10),
)  # fmt: skip
CAPITALS = dict(
    pair.split(":")
    for pair in (
        "Việt Nam:Hà Nội|Lào:Viêng Chăn|Campuchia:Phnôm Pênh|Thái Lan:Băng Cốc|Trung Quốc:Bắc Kinh|Nhật Bản:Tokyo"
        "|Hàn Quốc:Seoul|Pháp:Paris|Đức:Berlin|Anh:London|Ý:Rome|Tây Ban Nha:Madrid|Bồ Đào Nha:Lisbon|Nga:Moskva"
        "|Ấn Độ:New Delhi|Malaysia:Kuala Lumpur|Philippines:Manila|Mông Cổ:Ulaanbaatar|Úc:Canberra|Canada:Ottawa"
        "|Mỹ:Washington|Cuba:La Habana|Peru:Lima|Ai Cập:Cairo|Kenya:Nairobi|Thụy Điển:Stockholm|Ba Lan:Warszawa"
        "|Hy Lạp:Athens|Áo:Vienna|Hungary:Budapest"
    ).split("|")
)
OPPOSITES = [
    tuple(pair.split("-"))
    for pair in (
        "to-nhỏ|cao-thấp|dài-ngắn|nóng-lạnh|nhanh-chậm|mới-cũ|giàu-nghèo|vui-buồn|sáng-tối|trên-dưới|trong-ngoài"
        "|trước-sau|nặng-nhẹ|dày-mỏng|rộng-hẹp|sâu-nông|mạnh-yếu|khô-ướt|đúng-sai|tốt-xấu|già-trẻ|cứng-mềm|đắt-rẻ"
        "|gần-xa|sớm-muộn|mua-bán|đóng-mở|khóc-cười|yêu-ghét|sạch-bẩn|chăm chỉ-lười biếng|an toàn-nguy hiểm"
    ).split("|")
]
GROUPS = {
    "động vật": "mèo, chó, trâu, bò, ngựa, vịt, hổ, voi",
    "trái cây": "xoài, cam, chuối, ổi, mít, nhãn, đu đủ, dưa hấu",
    "nghề nghiệp": "bác sĩ, giáo viên, kỹ sư, thợ may, đầu bếp, phi công, nhà báo, nông dân",
    "phương tiện": "xe đạp, xe máy, ô tô, tàu hỏa, máy bay, thuyền, xe buýt, trực thăng",
    "nhạc cụ": "đàn bầu, đàn tranh, sáo trúc, trống cơm, vĩ cầm, dương cầm, kèn, ghi-ta",
    "thể thao": "bóng đá, bóng chuyền, cầu lông, bơi lội, điền kinh, cờ vua, bóng rổ, quần vợt",
}
MEMBERS = {word: group for group, words in GROUPS.items() for word in words.split(", ")}


@dataclass(frozen=True)
class Case:
    """The values of a wording's fields, the right answer in a few words, and three wrong ones.

    ``apart`` marks what only a benchmark may ask.
    """

    fields: dict[str, str]
    right: str
    wrong: list[str]
    apart: bool = False


@dataclass(frozen=True)
class Family:
    """Wordings as (question, answer) with ``{fields}`` and ``{y}``, and how to make the cases."""

    idea: str
    wordings: tuple[tuple[str, str], ...]
    cases: Callable[[Random], list[Case]]
    rule: bool


def spell(number: int) -> str:
    """A whole number from 0 to 999 as it is read aloud: 24 "hai mươi tư", 105 "một trăm linh năm"."""
    hundreds, rest = divmod(number, 100)
    words = [DIGITS[hundreds], "trăm"] if hundreds else []
    tens, unit = divmod(rest, 10)
    if tens == 0:
        return " ".join(words + (["linh"] if words and unit else []) + ([DIGITS[unit]] if unit or not words else []))
    words += ["mười"] if tens == 1 else [DIGITS[tens], "mươi"]
    last = {1: "mốt" if tens > 1 else "một", 4: "tư" if tens > 1 else "bốn", 5: "lăm"}.get(unit, DIGITS[unit])
    return " ".join(words + ([last] if unit else []))


def held_number(number: int) -> bool:
    """Numbers that are read or written nowhere but in the benchmark."""
    return number % 17 == 5


def held_neighbour(number: int) -> bool:
    """Numbers whose neighbours are named nowhere but in the benchmark."""
    return number % 7 == 5


def held_order(digits: list[int]) -> bool:
    """Three digits that, in this order, are sorted nowhere but in the benchmark."""
    return held_number(int("".join(map(str, digits))))


def near_numbers(rng: Random, number: int) -> list[int]:
    """Three other numbers that differ in one digit each, or in their order."""
    digits = [int(digit) for digit in str(number)]
    found = [int("".join(map(str, reversed(digits))))]
    for place, digit in enumerate(digits):
        other = rng.choice([d for d in range(1, 10) if d != digit])
        found.append(int("".join(map(str, [*digits[:place], other, *digits[place + 1 :]]))))
    pool = sorted({n for n in found if n != number and n > 9})
    while len(pool) < 3:
        pool = sorted({*pool, number + rng.choice([-9, -2, 2, 9, 11])} - {number})
    return rng.sample(pool, 3)


def spelling_cases(rng: Random) -> list[Case]:
    """Numbers from 10 to 999, to be read aloud."""
    numbers = rng.sample(range(10, 1000), 990)
    return [Case({"x": str(n)}, spell(n), [spell(m) for m in near_numbers(rng, n)], held_number(n)) for n in numbers]


def numeral_cases(rng: Random) -> list[Case]:
    """The same numbers the other way."""
    numbers = rng.sample(range(10, 1000), 990)
    return [Case({"x": spell(n)}, str(n), [str(m) for m in near_numbers(rng, n)], held_number(n)) for n in numbers]


def neighbour_cases(rng: Random) -> list[Case]:
    """The number just before or after, up to 300."""
    cases = []
    for n in rng.sample(range(10, 300), 290):
        step = rng.choice([-1, 1])
        wrong = [str(n - step), str(n + 10 * step), str(n + 2 * step)]
        fields = {"x": str(n), "k": "liền sau" if step > 0 else "liền trước"}
        cases.append(Case(fields, str(n + step), wrong, held_neighbour(n)))
    return cases


def extreme_cases(rng: Random) -> list[Case]:
    """The largest or the smallest of four numbers of different tens."""
    cases = []
    for _ in range(900):
        numbers = [10 * tens + rng.randrange(10) for tens in rng.sample(range(1, 10), 4)]
        kind, pick = rng.choice([("lớn nhất", max), ("bé nhất", min)])
        right = pick(numbers)
        cases.append(Case({"x": listed(numbers), "k": kind}, str(right), [str(n) for n in numbers if n != right]))
    return cases


def order_cases(rng: Random) -> list[Case]:
    """Three one-digit numbers to be put in order."""
    cases: dict[tuple[str, str], Case] = {}
    while len(cases) < 800:
        numbers = rng.sample(range(1, 10), 3)
        rising = rng.random() < 0.5
        kind, right = "tăng dần" if rising else "giảm dần", sorted(numbers, reverse=not rising)
        wrong = [[right[i] for i in turn] for turn in ((0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1))]
        fields = {"x": listed(numbers), "k": kind}
        others = [listed(w) for w in rng.sample(wrong, 3)]
        cases[listed(numbers), kind] = Case(fields, listed(right), others, held_order(numbers))
    return list(cases.values())


def unit_cases(rng: Random) -> list[Case]:
    """Conversions by powers of ten."""
    cases = []
    for large, small, factor in UNITS:
        for n in range(2, 100):
            others = [f for f in (1, 10, 100, 1000, 10000) if f != factor]
            wrong = [str(n * f) for f in rng.sample(others, 3)]
            cases.append(Case({"x": str(n), "u": large, "v": small}, str(n * factor), wrong, held_number(n)))
    return rng.sample(cases, len(cases))


def weekday_cases(rng: Random) -> list[Case]:
    """The day of the week one or two days ahead or back."""
    cases = []
    for today in range(7):
        for days in (-2, -1, 1, 2):
            right = DAYS[(today + days) % 7]
            phrase = f"{DIGITS[abs(days)]} ngày {'nữa' if days > 0 else 'trước'}"
            wrong = rng.sample([day for day in DAYS if day != right], 3)
            cases.append(Case({"x": DAYS[today], "p": phrase}, right, wrong))
    return cases


def opposite_cases(rng: Random) -> list[Case]:
    """Words and their opposites, both ways."""
    pairs = [*OPPOSITES, *((b, a) for a, b in OPPOSITES)]
    return [Case({"x": a}, b, rng.sample([d for c, d in pairs if d not in (a, b)], 3)) for a, b in pairs]


def capital_cases(rng: Random) -> list[Case]:
    """Countries and their capitals."""
    towns = list(CAPITALS.values())
    return [Case({"x": land}, town, rng.sample([t for t in towns if t != town], 3)) for land, town in CAPITALS.items()]


def group_cases(rng: Random) -> list[Case]:
    """Words and the group of things that they belong to."""
    return [Case({"x": w}, g, rng.sample([other for other in GROUPS if other != g], 3)) for w, g in MEMBERS.items()]


def listed(numbers: list[int]) -> str:
    """Numbers with commas between them."""
    return ", ".join(map(str, numbers))


def sentence(template: str, fields: dict[str, str]) -> str:
    """A filled template in which every sentence opens with a capital letter."""
    return re.sub(r"(?:^|[.?] )\w", lambda start: start.group().upper(), template.format(**fields))


FAMILIES: dict[str, Family] = {
    "spelling": Family("Viết số bằng chữ", (
        ("Số {x} đọc là gì?", "Số {x} đọc là {y}."), ("Hãy viết số {x} bằng chữ.", "Số {x} viết bằng chữ là {y}."),
        ("Đọc giúp tôi số {x}.", "Số này đọc là {y}."), ("{x} đọc thế nào?", "{x} đọc là {y}."),
    ), spelling_cases, rule=True),
    "numerals": Family("Viết số bằng chữ số", (
        ("Viết bằng chữ số: {x}.", "Số đó viết là {y}."), ("Số {x} viết thế nào?", "Số ấy viết là {y}."),
        ("{x} là số nào?", "Đó là số {y}."), ("Hãy đổi {x} thành chữ số.", "Đổi thành chữ số là {y}."),
    ), numeral_cases, rule=True),
    "neighbours": Family("Số liền trước, liền sau", (
        ("Số {k} của {x} là số nào?", "Số {k} của {x} là {y}."),
        ("Số nào đứng {k} số {x}?", "Đứng {k} số {x} là số {y}."),
        ("Tìm số {k} số {x}.", "Số cần tìm là {y}."),
    ), neighbour_cases, rule=True),
    "extremes": Family("Số lớn nhất, bé nhất trong bốn số", (
        ("Số nào {k} trong các số {x}?", "Số {k} là {y}."), ("Tìm số {k}: {x}.", "Số {k} là {y}."),
        ("Trong dãy {x}, số nào {k}?", "Số {k} trong dãy là {y}."),
    ), extreme_cases, rule=True),
    "order": Family("Sắp xếp ba số", (
        ("Xếp {x} theo thứ tự {k}.", "Thứ tự {k} là {y}."), ("Sắp xếp {k}: {x}.", "Xếp {k} ta được {y}."),
        ("Viết lại {x} theo chiều {k}.", "Theo chiều {k}, ta có {y}."),
    ), order_cases, rule=True),
    "units": Family("Đổi đơn vị đo", (
        ("{x} {u} bằng bao nhiêu {v}?", "{x} {u} bằng {y} {v}."), ("Đổi {x} {u} sang {v}.", "{x} {u} đổi ra {y} {v}."),
        ("{x} {u} là mấy {v}?", "{x} {u} là {y} {v}."),
    ), unit_cases, rule=True),
    "weekdays": Family("Tính ngày trong tuần", (
        ("Hôm nay là {x}, {p} là thứ mấy?", "{p} là {y}."),
        ("Nếu hôm nay là {x} thì {p} rơi vào ngày nào?", "{p} rơi vào {y}."),
        ("{p} là ngày gì, biết hôm nay {x}?", "Hôm nay {x} thì {p} là {y}."),
        ("Tính từ {x}, {p} là thứ mấy?", "Tính từ {x}, {p} là {y}."),
        ("Biết hôm nay {x}, hãy cho biết {p} là thứ mấy.", "{p} là {y}."),
        ("Hôm nay {x}. Hỏi {p} là thứ mấy?", "{p} là {y}."),
        ("Đang là {x}, {p} là thứ mấy?", "Đang là {x} thì {p} là {y}."),
    ), weekday_cases, rule=False),
    "opposites": Family("Tìm từ trái nghĩa", (
        ("Từ trái nghĩa với {x} là gì?", "Trái nghĩa với {x} là {y}."),
        ("{x} trái nghĩa với từ nào?", "{x} trái nghĩa với {y}."),
        ("Cho tôi một từ ngược nghĩa với {x}.", "Từ ngược nghĩa với {x} là {y}."),
        ("Ngược lại với {x} là gì?", "Ngược lại với {x} là {y}."),
        ("Hãy tìm từ đối lập với {x}.", "Đối lập với {x} là {y}."),
    ), opposite_cases, rule=False),
    "capitals": Family("Thủ đô của các nước", (
        ("Thủ đô của {x} là gì?", "Thủ đô của {x} là {y}."), ("{x} có thủ đô là đâu?", "{x} có thủ đô là {y}."),
        ("Thành phố nào là thủ đô nước {x}?", "Thủ đô nước {x} là {y}."),
        ("Hãy cho biết tên thủ đô {x}.", "Tên thủ đô {x} là {y}."),
        ("Nước {x} đặt thủ đô ở đâu?", "Nước {x} đặt thủ đô ở {y}."),
    ), capital_cases, rule=False),
    "groups": Family("Xếp từ vào nhóm", (
        ("{x} thuộc nhóm nào?", "{x} thuộc nhóm {y}."),
        ("Xếp từ {x} vào nhóm thích hợp.", "Từ {x} thuộc nhóm {y}."),
        ("Hãy phân loại từ {x}.", "{x} xếp vào nhóm {y}."), ("{x} là gì?", "{x} thuộc về nhóm {y}."),
        ("Nên xếp từ {x} vào đâu?", "Nên xếp {x} vào nhóm {y}."),
    ), group_cases, rule=False),
}  # fmt: skip
