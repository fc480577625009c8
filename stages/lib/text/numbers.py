"""Which numbers of a text its translation has, by value, each as often as it comes.

1,500 is 1.500 and 1,5 nghìn, and not 1,5. English and Vietnamese swap the signs for thousands and decimals; scales,
Roman numerals and small numbers in words are read too. Not covered: numbers above 99 that are all words.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

SCALES = {"hundred": 2, "trăm": 2, "thousand": 3, "nghìn": 3, "ngàn": 3, "million": 6, "triệu": 6, "billion": 9}
SCALES |= {"tỷ": 9, "tỉ": 9, "trillion": 12}
LETTERS = {"k": 3, "m": 6, "b": 9, "bn": 9}  # right behind a number; m may be metres, too
SCALED = rf"((?:[ \u00a0-]*(?:{'|'.join(SCALES)})s?\b(?! (?:lệ|số|phú|giá)))*)"
NUMERAL = re.compile(rf"([0-9]+(?:[.,][0-9]+)*)(?:(k|m|bn?)\b)?{SCALED}", re.IGNORECASE)
THOUSANDS = re.compile(r"[0-9]{1,3}(?:([.,])[0-9]{3})(?:\1[0-9]{3})*")
BOTH = re.compile(r"([0-9]{1,3}(?:([.,])[0-9]{3})(?:\2[0-9]{3})*)[.,]([0-9]+)")
HOUR = re.compile(r" ?(?:giờ|h\b|g\b|:)", re.IGNORECASE)
SHORTENED = re.compile(r"(?:['’] ?|\d[–/-])$")  # before the last two digits of a year
ROMAN = re.compile(r"(?<!\w)[IVX]+(?!\w)")


def roman(number: int) -> str:
    """A number up to 39, as of centuries, wars and kings."""
    ones = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
    return "X" * (number // 10) + ones[number % 10]


def spelled() -> dict[str, str]:
    """The numbers up to 99 by the words that Vietnamese has for them."""
    units = "không một hai ba bốn năm sáu bảy tám chín".split()
    names = {word: str(number) for number, word in enumerate(units)}
    names |= {"tư": "4", "bẩy": "7", "nhất": "1", "nhì": "2", "đầu": "1", "giêng": "1", "chạp": "12", "mười": "10"}
    names |= {f"mười {word}": f"1{number}" for number, word in enumerate(units) if number} | {"mười lăm": "15"}
    del names["mười năm"]  # ten years
    behind = [*enumerate(units), (1, "mốt"), (4, "tư"), (5, "lăm"), (5, "nhăm"), (7, "bẩy")]
    for ten, word in [*enumerate(units), (7, "bẩy")]:
        if ten >= 2:
            names[f"{word} mươi"] = f"{ten}0"
            names |= {
                f"{word} mươi {unit}": f"{ten}{one}" for one, unit in behind if unit not in {"không", "một", "năm"}
            }
            names |= {f"{word} {unit}": f"{ten}{one}" for one, unit in behind if unit in {"mốt", "tư", "lăm", "nhăm"}}
    return names


Number = tuple[str, frozenset[str]]  # as it is written, and the values that this may have
ROMANS = {roman(number): str(number) for number in range(1, 40)}
NAMES = spelled()
NAME = re.compile(rf"(?<!\w)({'|'.join(sorted(NAMES, key=len, reverse=True))})(?!\w){SCALED}", re.IGNORECASE)


def lost(source: str, translation: str) -> list[str]:
    """The numbers of the source that its translation has in no form, or less often."""
    supply = [*(values for _, values in numerals(translation, False)), *words_for(translation)]
    places: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(supply)), key=lambda place: -len(supply[place])):
        for value in supply[place]:
            places[value].append(place)
    used, missed = set[int](), list[str]()
    for text, values in numerals(source, True):
        for waiting in (places[value] for value in sorted(values, reverse=True) if value in places):
            while waiting and waiting[-1] in used:
                waiting.pop()
            if waiting:
                used.add(waiting.pop())
                break
        else:
            missed.append(text)
    return missed


def new(source: str, translation: str) -> list[str]:
    """The numbers in digits that a translation has, and its source has not."""
    there = set[str]().union(*(values for _, values in numerals(source, True)), *words_for(source))
    there |= set[str]().union(*(values for _, values in numerals(source, False)))
    return [text for text, values in numerals(translation, False) if not values & there]


def numerals(text: str, english: bool) -> Iterator[Number]:
    """The numbers in digits; in English a comma parts thousands, in a translation it may be either."""
    for match in NUMERAL.finditer(text):
        digits, letter, zeros = match[1], (match[2] or "").lower(), scale(match[3])
        before, after = text[max(match.start() - 2, 0) : match.start()], text[match.end() : match.end() + 8]
        for part in [digits] if readings(digits, english) else re.split("[.,]", digits):
            values = {plain(*reading, zeros) for reading in readings(part, english)}
            if letter:
                values |= {plain(*reading, LETTERS[letter]) for reading in readings(part, english)}
            if english and before.endswith(":") and not part.strip("0"):
                continue  # 10:00 is 10 giờ
            if english and (
                (len(part) == 2 and SHORTENED.search(before)) or after[:1] == "s" or after[:2] in {"'s", "’s"}
            ):
                values.add(f"'{part[-2:]}")  # '35 or 1980s
            elif not english and len(part) in {2, 4}:
                values.add(f"'{part[-2:]}")
            if not english and len(part) <= 2 and HOUR.match(after):
                values.add(str(int(part) - 12) if int(part) > 12 else "12" if int(part) == 0 else part.lstrip("0"))
            yield part, frozenset(values)


def words_for(text: str) -> Iterator[frozenset[str]]:
    """The numbers in words, and in Roman numerals."""
    for match in NAME.finditer(text):
        yield frozenset({plain(NAMES[match[1].lower()], "", scale(match[2]))})
    for _ in re.finditer(r"(?<!\w)(?:nửa|rưỡi)(?!\w)", text):
        yield frozenset({"0.5", "30"})
    yield from (frozenset({ROMANS[match[0]]}) for match in ROMAN.finditer(text) if match[0] in ROMANS)


def readings(digits: str, english: bool) -> list[tuple[str, str]]:
    """(whole, decimals) of what a number with its separators may say; none where they part several numbers."""
    whole, *parts = re.split("[.,]", digits)
    if not parts:
        return [(whole, "")]
    found = []
    if THOUSANDS.fullmatch(digits) and whole[0] != "0" and not (english and digits.count(".") == 1):
        found.append((re.sub("[.,]", "", digits), ""))
    if len(parts) == 1 and not (english and found):
        found.append((whole, parts[0]))
    if (match := BOTH.fullmatch(digits)) and digits[match.end(1)] != match[2]:
        found.append((re.sub("[.,]", "", match[1]), match[3]))
    return found


def scale(text: str | None) -> int:
    """How many zeros stand in words like "hundred million" together."""
    return sum(SCALES[word.lower()] for word in re.findall("|".join(SCALES), text or "", re.IGNORECASE))


def plain(whole: str, decimals: str, zeros: int) -> str:
    """A number as one text, whoever wrote it: 2,50 and 6 zeros are 2500000."""
    number = (whole + decimals[:zeros].ljust(zeros, "0")).lstrip("0") or "0"
    rest = decimals[zeros:].rstrip("0")
    return f"{number}.{rest}" if rest else number
