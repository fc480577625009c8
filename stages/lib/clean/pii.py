"""Personal data in Vietnamese texts, found by rule.

Each rule wants a shape, and where the shape alone is too common, a cue word before it, a unit of none after it, or
a check digit, so that years, prices, quantities, hotlines, ISBNs and versions stay, and so do the e-mail addresses
of manuals (user@example.com). Code and web addresses are not looked into. A citizen's number is not held to the
provinces' prefixes, whose list lapsed in July 2024. Not covered: names, passports, numbers spelt in words, and
addresses without a number.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import product

PROTECTED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|https?://\S+", re.DOTALL)
# a number ends here: it goes on in no way, and counts neither money nor people nor things
END = (
    r"(?![ .,-]?\d|\w|[ ]?%"
    r"|[ ]?(?:đồng|đ|vnđ|vnd|usd|euro|triệu|tỷ|tỉ|nghìn|ngàn|người|lượt|lần|cái|chiếc|km|m|kg|g|ha|bits?|bytes?)\b)"
)
START = r"(?<![\w,])(?<!\d\.)(?<!\d[ /-])"
LETTERS = "".join(
    unicodedata.normalize("NFC", vowel + tone)
    for vowel, tone in product("AĂÂEÊIOÔƠUƯY", ("", "\u0300", "\u0309", "\u0303", "\u0301", "\u0323"))
)
UPPER = f"[A-ZĐ{LETTERS}]"
WORD = rf"{UPPER}\w{{0,30}}+(?!\w)"  # that begins with a capital
# all runs are bounded and give nothing back, so that no text takes long
CAPITALS = rf"{WORD}(?:[ ]{WORD}){{0,5}}+"
NUMBER = r"\d{1,4}+[A-Z]?(?:/\d{1,4}+[A-Z]?){0,4}+(?![\w.]{0,9}\d)(?!\w)"  # of a house
NAME = rf"(?:{WORD}|\d{{1,3}}+(?:/\d{{1,3}}+){{0,3}}+(?![\d.,]{{0,9}}\d))(?:[ ](?:{WORD}|\d{{1,2}}\b)){{0,5}}+"
STREET = r"(?i:đường|phố|ngõ|ngách|hẻm|kiệt|đại lộ)"
AREA = r"(?i:phường|quận|xã|huyện|thị trấn|thị xã|thành phố|khu phố|khu đô thị|chung cư|thôn|ấp|tổ|xóm|tỉnh)"
SHORT = r"[PpQqFf]\.?[ ]?(?=\d|[A-ZĐ])"  # P. 5, Q1
PART = rf"(?:(?:{STREET}|{AREA})[ ]{NAME}|{SHORT}{NAME}|[Tt][Pp]\.?[ ]?{CAPITALS})"
PARTS = rf"(?:[ ]?,?[ ]{PART}){{0,6}}+"
LIVES = (
    r"(?i:\b(?:địa chỉ(?: nhận)?|đ/c|đc|trụ sở|văn phòng|trú tại|thường trú|ở|tại|sống|giao|gửi|ship|đến"
    r"|tới|ghé|về|nhà(?: mình|"
    r" em| tôi| anh| chị)?)\b)[^\d\n.]{0,20}?"
)

ADDRESS = re.compile(
    # số nhà 7, phố Hàng Bạc; but "nhà số 5 có chó" tells no place
    rf"(?<!\w)(?i:số nhà)[ ]{NUMBER}(?:,?[ ]{CAPITALS})?{PARTS}"
    rf"|(?<!\w)(?i:nhà số)[ ]{NUMBER}(?:,?[ ]{CAPITALS}|[ ]?,?[ ]{PART}){PARTS}"
    # số 12 ngõ 45 đường Láng
    rf"|(?<!\w)(?i:số)[ ]{NUMBER},?[ ]{STREET}[ ]{NAME}(?:[ ]{CAPITALS})?{PARTS}"
    # 56 đường Lê Lợi, phường 2; but neither a date nor a road: năm 1890 Nghệ An, xã Kim Liên
    rf"|(?<![\w.,/–-])(?<!(?i:năm)[ ])(?<!(?i:ngày)[ ])(?<!(?i:tháng)[ ])(?<!(?i:quốc lộ)[ ])"
    rf"(?:(?i:số)[ ])?{NUMBER}[ ](?:{STREET}[ ])?{NAME}[ ]?,?[ ]{PART}{PARTS}"
    # hẻm 25 đường Cách Mạng Tháng Tám
    rf"|(?<!\w)(?i:ngõ|ngách|hẻm|kiệt)[ ]{NUMBER},?[ ](?:{STREET}[ ])?{CAPITALS}{PARTS}"
    # trụ sở ở số 1 Đại Cồ Việt
    rf"|{LIVES}(?P<v>(?:(?i:số)[ ]{NUMBER}(?:[ ]{STREET})?[ ]{WORD}[ ]{CAPITALS}"
    rf"|(?:{STREET}[ ])?{NUMBER}[ ]{STREET}[ ]{CAPITALS}"
    rf"|(?:(?i:lô|căn(?: hộ)?|tầng)[ ]\w+|(?i:tổ|thôn|ấp|xóm)[ ]{NAME})[ ]?,?[ ]{PART}){PARTS})"
)


def after(cues: str, number: str, gap: int = 40) -> re.Pattern[str]:
    """The number (group ``v``) with one of the cue words at most some words before it, unless it counts something."""
    return re.compile(rf"(?<!\w)(?:{cues})(?!\w)[^\d\n]{{0,{gap}}}?(?P<v>(?<![\w,])(?>{number}){END})", re.IGNORECASE)


def luhn(digits: str) -> bool:
    """Whether a card number's check digit is right (ISO/IEC 7812)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def taxed(digits: str) -> bool:
    """Whether the tenth digit of a tax number is right (as the tax office weighs the nine before)."""
    weights = (31, 29, 23, 19, 17, 13, 7, 5, 3)
    return 10 - sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False)) % 11 == int(digits[9])


def card(match: re.Match[str]) -> bool:
    """A card's number has a known issuer and check digit, and stands in groups or after a word for cards."""
    digits = re.sub(r"\D", "", match[0])
    issued = re.match(r"4|5[1-5]|2[2-7]|3[47]|35|6|9704", digits)
    grouped = re.fullmatch(r"(?:\d{4}[ -]){3}\d{1,7}|\d{4}[ -]\d{6}[ -]\d{5}", match[0])
    cue = re.search(r"(?i)thẻ|card|visa|atm|napas|jcb", match.string[max(0, match.start() - 60) : match.start()])
    return bool(issued and (grouped or cue)) and 13 <= len(digits) <= 19 and luhn(digits)


def always(match: re.Match[str]) -> bool:
    """The shape is enough."""
    return True


def branch(match: re.Match[str]) -> bool:
    """A company's branch without a cue word: its check digit decides."""
    return taxed(match[0])


def somebody(match: re.Match[str]) -> bool:
    """An e-mail address that is somebody's, and not a manual's."""
    name, _, place = match[0].lower().partition("@")
    return place not in ("example.com", "example.org", "example.net") or name not in MANUAL


def together(match: re.Match[str]) -> bool:
    """A telephone number's digits stand together: 0 9 1 2 … is a row of digits."""
    return len(re.findall(r"\d(?=\d)", match.groupdict().get("v") or match[0])) >= 3


def landline(match: re.Match[str]) -> bool:
    """A landline has eleven digits with the nought, and its digits stand together."""
    return len(re.sub(r"^(?:00)?84", "0", re.sub(r"\D", "", match[0]))) == 11 and together(match)


MANUAL = frozenset(  # names that stand for anybody
    "a b abc admin alice an ban bob contact email hello hotro info john john.doe jane jane.doe lienhe mail me name"
    " no-reply noreply someone support ten test test1 ten.ban tenban user user1 user2 username webmaster xyz you"
    " your.name your_email youremail yourname".split()
)
D = r"[ .-]?\d"  # one more digit
NO_SUM = r"(?!\w|[.,]\d|[ ]?(?i:đồng(?![ ](?:chí|nghiệp))|đ(?!/)|vnđ|vnd)\b)"  # where a telephone number ends
BANKS = (
    "vietcombank|vcb|techcombank|tcb|bidv|vietinbank|agribank|mb ?bank|acb|sacombank|tpbank|vpbank|vib|shb|hdbank"
    "|ocb|msb|seabank|eximbank|momo"
)
Rule = tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]]
RULES: list[Rule] = [
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}+(?![\w-]|\.\w|:\S)"), somebody),
    ("số thẻ", re.compile(rf"{START}\d(?:[ -]?\d){{12,18}}(?![ .,-]?\d|\w)"), card),
    (
        "số căn cước",
        after(
            "cccd|cmnd|cmt|cmtnd|căn cước công dân|căn cước|chứng minh nhân dân|chứng minh thư|định danh"
            "|định danh cá nhân",
            rf"\d(?:{D}){{11}}|\d(?:{D}){{8}}",
        ),
        always,
    ),
    (
        "mã số thuế",
        after("mst|mã số thuế|mã số doanh nghiệp|msdn|mã doanh nghiệp", r"\d{12,13}|\d{10}(?:[ -]\d{3}(?!\d))?"),
        always,
    ),
    ("mã số thuế", re.compile(rf"{START}\d{{10}}-\d{{3}}{END}"), branch),
    ("số tài khoản", after("stk|số tài khoản|số tk", rf"\d{{2,4}}[A-Z]\d{{6,}}|\d(?:{D}){{5,18}}"), always),
    ("số tài khoản", after(f"tài khoản|tk|account|{BANKS}", rf"\d(?:{D}){{7,18}}"), always),
    # mobile, then landline, whose area code is 02 and one or two digits more
    (
        "số điện thoại",
        re.compile(
            rf"{START}(?:(?:\+|00)?84|\(\+?84\)|0|\+84[ ]?\(0\))[ .-]?"
            rf"(?:3[ .-]?[2-9]|5[ .-]?[25689]|7[ .-]?[06-9]|8[ .-]?[1-9]|9{D})(?:{D}){{7}}{NO_SUM}"
        ),
        together,
    ),
    (
        "số điện thoại",
        re.compile(rf"{START}(?:\(0[ ]?2\d{{1,2}}\)|(?:(?:\+|00)84|\(\+84\)|0)[ .-]?2{D}(?:{D})?)"
            rf"[ .-]?\d(?:{D}){{6,7}}{NO_SUM}"),
        landline,
    ),
    (
        "số điện thoại",
        after(
            "sđt|sdt|đt|số điện thoại|điện thoại|tel|phone|zalo|fax|di động",
            r"(?=\(?(?:\+|0|84))\+?\(?\d\)?(?:[ .-]?\(?\d\)?){9,11}", 20
        ),
        together,
    ),
    (
        "biển số xe",
        re.compile(rf"{START}(?<![.-])[1-9]\d[ -]?[A-Z]{{1,2}}\d?[ -]?\d{{3}}\.\d{{2}}(?!\w|[.,]?\d)"),
        always,
    ),
    (
        "biển số xe",
        after(
            "biển số xe|biển số|biển kiểm soát|biển|bks|xe|ô tô|taxi|xe máy|mô tô",
            r"[1-9]\d[ -]?[A-Z]{1,2}\d?[ -]?(?:\d{3}\.\d{2}|\d{4,5})",
            20,
        ),
        always,
    ),
    ("địa chỉ", ADDRESS, always),
]  # fmt: skip
# what may be there without a number of four digits or more
LONG = re.compile(r"\d(?:[ .-]?\(?\d){3}")
ROUNDS = 4  # a bound, so that no text can take long
FEW_DIGITS = [rule for rule in RULES if rule[0] in ("email", "địa chỉ")]


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with each piece of personal data as its name in brackets, and how many of each there were."""
    found: Counter[str] = Counter()
    if not re.search(r"\d|@", text):  # as most texts are
        return text, found
    parts, end = [], 0
    for match in PROTECTED.finditer(text):
        parts += [mask_prose(text[end : match.start()], found), match[0]]
        end = match.end()
    return "".join([*parts, mask_prose(text[end:], found)]), found


def mask_prose(text: str, found: Counter[str]) -> str:
    """A text outside code and web addresses, masked; what was found is counted.

    What is masked may show what stood beside it: the rules are asked until there is nothing more.
    """
    rules = RULES if LONG.search(text) else FEW_DIGITS
    for _ in range(ROUNDS):
        before = text
        for name, pattern, holds in rules:
            text = replaced(text, name, pattern, holds, found)
        if text == before:
            break
    return text


def replaced(
    text: str, name: str, pattern: re.Pattern[str], holds: Callable[[re.Match[str]], bool], found: Counter[str]
) -> str:
    """A text with the name in brackets for each match of a rule that holds; behind one, the rule sees a new text."""
    parts, rest, place = [], text, 0
    while match := pattern.search(rest, place):
        if not holds(match):
            place = max(match.end(), match.start() + 1)
            continue
        found[name] += 1
        start, end = match.span("v" if match.groupdict().get("v") is not None else 0)
        parts += [rest[:start], f"[{name}]"]
        rest, place = rest[end:], 0
    return "".join([*parts, rest])
