"""Plain sentences about what the skills ask, for pretraining: the same facts, told and not asked."""

from collections.abc import Iterator
from random import Random

from tools.skills import (
    CAPITALS,
    DAYS,
    DIGITS,
    MEMBERS,
    OPPOSITES,
    UNITS,
    held_neighbour,
    held_number,
    held_order,
    listed,
    sentence,
    spell,
)

PEOPLE = ("Lan", "Minh", "Hoa", "Nam", "cô giáo", "ông nội", "bà ngoại", "bé Na", "anh Tú", "chị Mai")


# Prose by topic. What is said once as a figure and once in words, or asked and answered again by another person,
# teaches a model to look back: that, more than any fact, is what the small model lacks.
PROSE = {
    "numbers": (
        "{who} đố: {n}? {other} đọc: {a}. {other} đố lại: {m}? {who} đọc: {b}.",
        "{who} đọc {a}, {other} ghi {n}. {who} đọc tiếp {b}, {other} ghi {m}.",
        "{who} ghi {n} rồi {m}, {other} đọc theo: {a}, {b}.",
        "nhà {who} mang số {n}, tức {a}. Nhà {other} mang số {m}, tức {b}.",
    ),
    "counting": (
        "{who} đếm tiếp: {a}, {b}, {c}, {d}. {other} đếm ngược: {d}, {c}, {b}, {a}.",
        "trước {b} là {a}, sau {b} là {c}. Trước {c} là {b}, sau {c} là {d}.",
        "{b} thêm một là {c}, bớt một là {a}. {c} thêm một là {d}, bớt một là {b}.",
    ),
    "comparing": (
        "giữa {a}, {b}, {c}, {d}, {who} chọn {max} vì lớn hơn cả, {other} chọn {min} vì nhỏ hơn cả.",
        "{who} rút thẻ {p}, {q}, {r}: từ bé đến lớn có {up}, từ lớn đến bé có {down}.",
        "{max} hơn {min}, {min} kém {max}. Thẻ {p}, {q}, {r} của {who} xếp lên {up}, xếp xuống {down}.",
    ),
    "units": (
        "{who} đổi {n} {u} được {y} {v}, vì mỗi {u} có {f} {v}.",
        "một {u} có {f} {v}, nên {who} tính {n} {u} ra {y} {v}.",
        "{who} cần {y} {v}, tức là {n} {u}. Có {n} {u} là {who} có đủ {y} {v}.",
    ),
    "days": (
        "{who} gieo hạt hôm {x}. Qua {n} ngày, sang {y}, cây nảy mầm. Từ {y} lùi {n} ngày lại về {x}.",
        "{x} cộng {n} ngày thành {y}, còn {y} lùi {n} ngày thành {x}, {who} đếm trên lịch.",
        "từ {x} đến {y} phải chờ {n} ngày. Đã đến {y} thì {x} lùi xa {n} ngày, theo lời {who}.",
    ),
    "opposites": (
        "{who} nói {a}, {other} nói ngược: {b}. {who} nói {b}, {other} nói ngược: {a}.",
        "cặp {a} và {b} đối nhau: không {a} mà {b}, không {b} mà {a}, {who} chép vào vở.",
        "{other} bảo {a}, {who} cãi {b}. {other} bảo {b}, {who} lại cãi {a}.",
    ),
    "capitals": (
        "{town} là nơi chính phủ {land} làm việc. {who} sang {land}, đến {town} đầu tiên.",
        "{who} hỏi thăm {land}, {other} kể về {town}. Nói đến {town}, ai cũng nhớ {land}.",
        "tới {land} thì ghé {town}, {who} dặn. Rời {town} là rời {land}, {other} đáp.",
    ),
    "groups": (
        "{x}, {y}, {z} đều là {group}. Kể tên {group}, {who} nhớ ngay {x}.",
        "{who} xếp {x} cùng {y} vào ô {group}; ô {group} còn có {z}.",
        "{other} thấy {x}, {who} nói ngay: {group}. {other} thấy {z}, {who} lại nói: {group}.",
    ),
}  # fmt: skip


def facts(rng: Random) -> Iterator[str]:
    """Paragraphs of prose that hold the same knowledge as statements, without any case that is held out."""

    def tell(topic: str, fields: dict[str, object], form: int | None = None) -> str:
        who, other = rng.sample(PEOPLE, 2)
        forms = PROSE[topic]
        words = {name: str(value) for name, value in fields.items()}
        return sentence(rng.choice(forms) if form is None else forms[form], words | {"who": who, "other": other})

    numbers = [n for n in range(10, 1000) if not held_number(n)]
    rng.shuffle(numbers)
    for n, m in zip(numbers[::2], numbers[1::2], strict=False):
        yield tell("numbers", {"n": n, "a": spell(n), "m": m, "b": spell(m)})
    runs = [n for n in range(10, 1000) if not any(held_neighbour(n + place) for place in range(4))]
    for n in rng.sample(runs, 200):
        yield tell("counting", {"a": n, "b": n + 1, "c": n + 2, "d": n + 3})
    for _ in range(260):
        four = [10 * tens + rng.randrange(10) for tens in rng.sample(range(1, 10), 4)]
        three = next(digits for digits in iter(lambda: rng.sample(range(1, 10), 3), None) if not held_order(digits))
        ends = {"max": max(four), "min": min(four), "up": listed(sorted(three)), "down": listed(sorted(three)[::-1])}
        yield tell("comparing", {**dict(zip("abcdpqr", four + three, strict=True)), **ends})
    for large, small, factor in UNITS:
        for n in rng.sample([n for n in range(2, 100) if not held_number(n)], 14):
            yield tell("units", {"u": large, "v": small, "f": factor, "n": n, "y": n * factor})
    for form in (0, 1, 2):
        for today in range(7):
            for days in (1, 2):
                yield tell("days", {"x": DAYS[today], "y": DAYS[(today + days) % 7], "n": DIGITS[days]}, form)
        for a, b in OPPOSITES:
            yield tell("opposites", {"a": a, "b": b}, form)
        for land, town in CAPITALS.items():
            yield tell("capitals", {"land": land, "town": town}, form)
        for word, group in MEMBERS.items():
            others = [w for w, g in MEMBERS.items() if g == group and w != word]
            first, second = rng.sample(others, 2)
            yield tell("groups", {"group": group, "x": word, "y": first, "z": second}, form)
