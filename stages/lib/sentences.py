"""Which sentences and which numbers of a text its translation has.

Sentences by their lengths alone (after Gale and Church 1993): translators put two into one as often as they leave
one out; the lengths tell which it was. The cheapest way through both texts pairs one sentence with one, two or
three, or leaves one without a partner. Numbers by value, each as often as it comes: 1,500 is 1.500, 1,5 nghìn and
not 1,5. Not covered: what the sentences say, a translation that has as many sentences as its source, and numbers
above 99 that are all words.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator

ABBREVIATION = re.compile(
    r"\b(?:[A-ZĐ]|Mrs?|Ms|Drs?|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|TP|ThS|TS|GS|PGS|BS|[ap]\.m)\.(?=\s+\w)"
)
STOP = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|\n")
MARK = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+", re.MULTILINE)
RATIO = 0.97  # characters of Vietnamese for one of English, the mean of IWSLT'15
SHORTEST = 8  # characters that the shortest sentence counts as
PAIRED = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2))
LONGEST = 400  # sentences of a source up to which they are paired, in about a second
BAND = 8  # sentences that the way may stray from the diagonal, apart from those that are missing

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


ROMANS = {roman(number): str(number) for number in range(1, 40)}
NAMES = spelled()
NAME = re.compile(rf"(?<!\w)({'|'.join(sorted(NAMES, key=len, reverse=True))})(?!\w){SCALED}", re.IGNORECASE)


def lengths(text: str) -> list[int]:
    """The characters of each sentence; the last one counts with or without its stop."""
    plain, found, start = ABBREVIATION.sub(lambda match: match[0].replace(".", " "), MARK.sub("", text)), [], 0
    for end in [*(match.end() for match in STOP.finditer(plain)), len(plain)]:
        if any(sign.isalnum() for sign in plain[start:end]):
            found.append(len(plain[start:end].strip()))
        start = end
    return found


def unpaired(source: str, translation: str, cost: float, spread: float) -> int:
    """How many of the source's sentences have no partner, where the translation has fewer.

    ``cost`` is what one more sentence in a pair costs, and one without a partner; ``spread`` is the variance of a
    translation's length for each character of its source. Of very long texts none is said to be missing.
    """
    ours, theirs = lengths(source), lengths(translation)
    if len(theirs) >= len(ours) or len(ours) > LONGEST:
        return 0
    band = len(ours) - len(theirs) + BAND
    best = {(0, 0): (0.0, 0)}  # (sentences of the source, of the translation) so far → (cost, without a partner)
    for here in range(len(ours) + 1):
        for there in range(max(here - band, 0), min(here + band, len(theirs)) + 1):
            if (here, there) not in best:
                continue
            so_far, alone = best[here, there]
            steps = [(one, other, cost * (one + other - 2), 0) for one, other in PAIRED]
            for one, other, price, lost in [*steps, (1, 0, cost, 1), (0, 1, cost, 0)]:
                after = here + one, there + other
                if after[0] <= len(ours) and after[1] <= len(theirs):
                    if one and other:
                        price += distance(sum(ours[here : after[0]]), sum(theirs[there : after[1]]), spread)
                    best[after] = min(best.get(after, (math.inf, 0)), (so_far + price, alone + lost))
    return best[len(ours), len(theirs)][1]


def distance(length: int, other: int, spread: float) -> float:
    """Half the squared deviation from the expected length, in standard deviations."""
    return (other - RATIO * length) ** 2 / (2 * spread * max(length, SHORTEST))


Number = tuple[str, frozenset[str]]  # as it is written, and the values that this may have


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
