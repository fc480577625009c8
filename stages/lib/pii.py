"""Personal data in Vietnamese texts, found by rule.

Each rule wants a shape, and where the shape alone is too common, a cue word before it, so that years, prices
and quantities stay. Not covered: names and street addresses.
"""

import re
from collections import Counter

# mobile numbers; landlines with their area code stand below
PHONE = r"(?<![\d.,])(?:\+84|\(\+84\)|84|0)[\s.-]?(?:3[2-9]|5[25689]|7[06-9]|8[1-9]|9\d)(?:[\s.-]?\d){7}(?![\d]|[.,]\d)"


def after(cues: str, number: str) -> re.Pattern[str]:
    """The number (group ``v``) with one of the cue words at most some words before it, unless it is of money."""
    money = r"(?!\d|[.,]\d|\s*(?:đồng|đ|vnđ|vnd|usd|triệu|tỷ)\b)"
    return re.compile(rf"\b(?:{cues})\b[^\d\n]{{0,40}}?(?P<v>{number}){money}", re.IGNORECASE)


RULES: list[tuple[str, re.Pattern[str]]] = [
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("số điện thoại", re.compile(PHONE)),
    ("số điện thoại", re.compile(r"(?<![\d.,])\(?02\d{1,2}\)?[\s.-]?\d{3,4}[\s.-]?\d{4}(?!\d|[.,]\d)")),
    ("số căn cước", after("cccd|cmnd|căn cước công dân|căn cước|chứng minh nhân dân|chứng minh thư", r"\d{12}|\d{9}")),
    ("số tài khoản", after("stk|số tài khoản", r"\d(?:[ -]?\d){7,18}")),
    ("mã số thuế", after("mst|mã số thuế", r"\d{10}(?:-\d{3})?")),
]


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with each piece of personal data as its name in brackets, and how many of each there were."""
    found: Counter[str] = Counter()

    def replace(match: re.Match[str], name: str) -> str:
        found[name] += 1
        if "v" not in match.re.groupindex:
            return f"[{name}]"
        return match[0][: match.start("v") - match.start()] + f"[{name}]"

    for name, pattern in RULES:
        text = pattern.sub(lambda match, name=name: replace(match, name), text)  # type: ignore[misc]
    return text, found
