"""What the validators catch on real pairs: ``python -m benchmarks.validators FOLDER [tune|report]``.

FOLDER holds tst2012.en and tst2012.vi of IWSLT'15 (1,553 pairs of talk subtitles; not in this repository). Faults
are injected from a seed; thresholds were chosen on the first half of the file (``tune``) and are reported on the
second, other talks by other translators (``report``). The subtitles are detokenised. Many human references drop the
final stop that their source has, which is a habit of subtitles: figures are given for the references as published
and with that one stop restored. As in the translate stage, a half's own translations tell whether stops may be asked
for, and teach the lexicon which words stand for which; so many of them are another text's. Not covered: faults that
real teachers make and nobody thought of, and the checks that need a model.
"""

import html
import random
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from stages.lib import paramfile
from stages.lib.params import Checks
from stages.lib.translate import meaning
from stages.lib.translate.alignment import Lexicons
from stages.lib.translate.stops import Habit
from stages.lib.translate.validators import verdict

TURNS = 4  # other ones each time
WRONG = (0, 20, 5)  # one in so many translations says something else; 0: none
Pair = tuple[str, str]
Fault = Callable[[list[Pair], int, random.Random], Pair | None]


def detokenised(text: str) -> str:
    """Subtitles as people write them."""
    text = html.unescape(html.unescape(re.sub(r"& (amp|quot|apos|lt|gt) ;", r"&\1;", text)))
    text = re.sub(r"\s+([.,;:?!%)\]])", r"\1", text)
    text = re.sub(r"([(\[])\s+", r"\1", text)
    text = re.sub(r" '\s?(s|re|ve|ll|d|m)\b", r"'\1", text)
    text = re.sub(r"n 't\b", "n't", text)
    return re.sub(r'" ([^"]*?) "', r'"\1"', text).strip()


def load(folder: Path) -> list[Pair]:
    """The pairs."""
    sides = [(folder / f"tst2012.{lang}").read_text(encoding="utf-8").splitlines() for lang in ("en", "vi")]
    pairs = zip(*([unicodedata.normalize("NFC", detokenised(line)) for line in side] for side in sides), strict=True)
    return [(source, text) for source, text in pairs]


def stopped(pairs: list[Pair]) -> list[Pair]:
    """The pairs with the final stop that subtitles drop."""
    return [(source, stop(source, text)) for source, text in pairs]


def stop(source: str, text: str) -> str:
    """A translation with the last sign of its source, where it ends with a letter, a digit or a comma."""
    dropped = source[-1] in ".?!" and (text[-1].isalnum() or text[-1] == ",")
    return text.rstrip(" ,") + source[-1] if dropped else text


def joined(pairs: list[Pair], at: int, count: int) -> list[Pair]:
    """Some neighbours."""
    return pairs[at : at + count]


def paragraph(group: list[Pair]) -> Pair:
    """Neighbours as one text and its translation."""
    return " ".join(one for one, _ in group), " ".join(other for _, other in group)


def listed(group: list[Pair], number: int) -> Pair:
    """Neighbours as the items of a list."""
    marks = [f"{place}. " if number % 2 else "- " for place in range(1, len(group) + 1)]
    sides = ["\n".join(mark + pair[side] for mark, pair in zip(marks, group, strict=True)) for side in (0, 1)]
    return sides[0], sides[1]


CODE = [
    (
        "```python\ndef total(prices):\n    result = 0\n    for price in prices:\n        result += price\n```",
        "```python\nđịnh_nghĩa tổng(giá):\n    kết_quả = 0\n    cho giá in giá:\n        kết_quả += giá\n```",
    ),
    (
        "for (let i = 0; i < names.length; i++) {\n  console.log(names[i]);\n}",
        "cho (đặt i = 0; i < tên.độ_dài; i++) {\n  bảng.ghi(tên[i]);\n}",
    ),
    ("SELECT name, age FROM students WHERE age > 18;", "CHỌN tên, tuổi TỪ học_sinh NƠI tuổi > 18;"),
    (
        '```html\n<ul class="menu">\n  <li>Home</li>\n</ul>\n```',
        '```html\n<danh sách lớp="thực đơn">\n  <mục>Trang chủ</mục>\n</danh sách>\n```',
    ),
    ("Use `git commit -m` first.", "Trước tiên hãy dùng `git cam kết -m`."),
    ("import math\nprint(math.sqrt(16))", "nhập toán\nin(toán.căn(16))"),
]


def with_code(pair: Pair, number: int, translated: bool) -> Pair:
    """A pair with a piece of code behind it, as it is or translated."""
    plain, changed = CODE[number % len(CODE)]
    return f"{pair[0]}\n{plain}", f"{pair[1]}\n{changed if translated else plain}"


def stripped(text: str) -> str:
    """A text without its diacritics."""
    plain = "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
    return plain.replace("đ", "d").replace("Đ", "D")


def untranslated(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """The source again."""
    source, text = pairs[at]
    return (source, source) if " " in source and source != text else None


def bare(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """The translation without its diacritics, where it has any."""
    source, text = pairs[at]
    return (source, stripped(text)) if " " in text and stripped(text) != text else None


def half(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """Half of it in English, the first or the second."""
    source, text = (side.split() for side in pairs[at])
    if len(source) < 4:
        return None
    if rng.random() < 0.5:
        mixed = source[: len(source) // 2] + text[len(text) // 2 :]
    else:
        mixed = text[: len(text) // 2] + source[len(source) // 2 :]
    return pairs[at][0], " ".join(mixed)


def cut(share: float) -> Fault:
    """The begin of it."""

    def fault(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
        source, text = pairs[at]
        return (source, text[: int(len(text) * share)].rstrip()) if len(text) >= 20 else None

    return fault


def dropped(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """One sentence of several is not there."""
    group = joined(pairs, at, rng.randint(3, 5))
    lost = rng.randrange(len(group))
    return paragraph(group)[0], paragraph(group[:lost] + group[lost + 1 :])[1]


def loop(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """It gets stuck somewhere."""
    source, text = pairs[at]
    words = text.split()
    place, size = rng.randint(1, len(words)), rng.randint(1, 8)
    unit = words[max(place - size, 0) : place]
    return source, " ".join(words[:place] + unit * rng.randint(12 // len(unit) + 1, 30))


def number(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """A digit is another one."""
    source, text = pairs[at]
    digits = [match.start() for match in re.finditer(r"\d", text)] if re.search(r"\d", source) else []
    if not digits:
        return None
    place = rng.choice(digits)
    return source, text[:place] + rng.choice([d for d in "123456789" if d != text[place]]) + text[place + 1 :]


def item(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """One line of a list is not there."""
    group = joined(pairs, at, rng.randint(3, 5))
    source, text = listed(group, at)
    lines = text.split("\n")
    lines.pop(rng.randrange(len(lines)))
    return source, "\n".join(lines)


def other(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """The translation of another text."""
    return pairs[at][0], pairs[rng.choice([i for i in range(len(pairs)) if i != at])][1]


def similar_length(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """The translation of another text that is about as long."""
    source, text = pairs[at]
    near = [i for i, (_, t) in enumerate(pairs) if i != at and abs(len(t) - len(text)) <= 0.15 * len(text)]
    return (source, pairs[rng.choice(near)][1]) if near else None


def answer(pairs: list[Pair], at: int, rng: random.Random) -> Pair | None:
    """What follows a question instead of the question."""
    source, _ = pairs[at]
    if not source.endswith("?") or at + 1 == len(pairs) or pairs[at + 1][0].endswith("?"):
        return None
    return source, pairs[at + 1][1]


FAULTS: dict[str, Fault] = {
    "left in English": untranslated,
    "diacritics stripped": bare,
    "half English": half,
    "cut at 85%": cut(0.85),
    "cut at 50%": cut(0.5),
    "a dropped sentence (of 3–5)": dropped,
    "loop": loop,
    "number changed": number,
    "list item dropped (of 3–5)": item,
    "code translated": lambda pairs, at, rng: with_code(pairs[at], at, True),
    "an answer to the question": answer,
    "another pair's sentence": other,
    "another's, of like length": similar_length,
}
REFERENCES: dict[str, Fault] = {
    "reference": lambda pairs, at, rng: pairs[at],
    "reference, 3–5 in a row": lambda pairs, at, rng: paragraph(joined(pairs, at, rng.randint(3, 5))),
    "reference, as list items": lambda pairs, at, rng: listed(joined(pairs, at, rng.randint(3, 5)), at),
    "reference, with code": lambda pairs, at, rng: with_code(pairs[at], at, False),
}


def cases(fault: Fault, pairs: list[Pair]) -> Iterator[Pair]:
    """A fault in every pair that it fits, the same each time."""
    rng = random.Random(1)
    for at in range(len(pairs) - 4):
        if made := fault(pairs, at, rng):
            yield made


@cache
def refused(pair: Pair, checks: Checks, reach: float) -> str:
    """The name under which a pair is refused, or an empty string."""
    found = verdict(pair[0], pair[1], finish_reason="stop", checks=checks, reach=reach)
    return found[0] if found else ""


def habit(pairs: list[Pair]) -> Habit:
    """What these translators do with final stops."""
    told = Habit()
    for source, text in pairs:
        told.note(source, text)
    return told


def table(pairs: list[Pair], checks: Checks) -> None:
    """One line a kind of fault: how many were refused, and under which names."""
    told = habit(pairs)
    print(f"{told.stopless} of {told.whole} whole ones lack their stop; it counts below a length of {told.reach}\n")
    print("| case | n | refused | under |\n|---|---|---|---|")
    for name, fault in (REFERENCES | FAULTS).items():
        names = Counter(refused(pair, checks, told.reach) for pair in cases(fault, pairs))
        total = names.total()
        under = ", ".join(f"{key} {count}" for key, count in names.most_common() if key)
        print(f"| {name} | {total} | {1 - names[''] / total:.1%} | {under} |")


def elsewhere(pairs: list[Pair], checks: Checks, fault: Fault, every: int) -> tuple[Counter[str], Counter[str]]:
    """The good and the bad translations of a source in which one in so many is bad, by what refuses them."""
    reach, good, bad = habit(pairs).reach, Counter[str](), Counter[str]()
    for turn in range(min(every, TURNS) or 1):
        rng = random.Random(turn)
        wrong = {at: fault(pairs, at, rng) for at in range(len(pairs)) if every and at % every == turn}
        mixed = [(wrong.get(at) or pair, bool(wrong.get(at))) for at, pair in enumerate(pairs)]
        names = [refused(pair, checks, reach) for pair, _ in mixed]
        passed = [[pair] for (pair, _), name in zip(mixed, names, strict=True) if not name]
        lexicons = Lexicons(passed)
        found = iter(meaning.near(lexicons, lexicons.lowest)(passed))
        for (_, is_wrong), name in zip(mixed, names, strict=True):
            seen = name or ("lexicon" if next(found) else "")
            (bad if is_wrong else good)["lexicon" if seen == "lexicon" else "surface" if seen else ""] += 1
    return good, bad


def learned(pairs: list[Pair], checks: Checks) -> None:
    """One line a kind and a share of wrong translations: what the surface sees, and what the lexicon adds."""
    print("\n| with the lexicon | wrong | false alarms | caught | of these by the surface |\n|---|---|---|---|---|")
    for name, fault in list(FAULTS.items())[-2:]:
        for every in WRONG:
            good, bad = elsewhere(pairs, checks, fault, every)
            share = f"{1 / every:.0%}" if every else "none"
            caught = (bad.total() - bad[""]) / max(bad.total(), 1), bad["surface"] / max(bad.total(), 1)
            print(f"| {name} | {share} | {1 - good[''] / good.total():.1%} | {caught[0]:.1%} | {caught[1]:.1%} |")


def main() -> None:
    """A table for the references as published, one with their stops restored, and one with the lexicon."""
    pairs = load(Path(sys.argv[1]))
    middle = len(pairs) // 2
    half = pairs[:middle] if sys.argv[2:] == ["tune"] else pairs[middle:]
    checks = paramfile.check(Path("params.yaml"), Path("recipes"))[0].translate.checks
    for title, judged in (("as published", half), ("final stops restored", stopped(half))):
        print(f"\n{title}: ", end="")
        table(judged, checks)
    learned(half, checks)


if __name__ == "__main__":
    main()
