"""Whether a conversation changes its forms of address between turns: xưng hô.

Vietnamese has no plain "you" and "I": an assistant that says "bạn" in one answer and "quý khách" in the next, or a
user who is "tôi" here and "em" there, is two people. Only clear cases count: words of address where nothing else can
stand (before "hãy", behind "cảm ơn"), a turn that has one of them and no other, and nothing in quotation marks, lists
or code. Not covered: a form that doesn't suit the two, and a change within a turn, which may be a story.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from stages.lib.records import Verdict
from stages.lib.translate import verbatim
from stages.lib.translate.untranslated import QUOTED

YOU = r"bạn|anh/chị|anh chị|anh|chị|em|quý khách|quý vị|ông|bà|cô|chú|bác|cậu|ngài|con|cháu|mày"
ADDRESSED = re.compile(
    rf"(?<!\w)({YOU}) (?:hãy|đừng|vui lòng|có thể thử|nên thử|nhé|ạ)(?!\w)"
    rf"|(?:^|[.!?:]\s+)(?:cảm ơn|chào|xin chào|mời|kính chào|thưa|xin lỗi|chúc|xin mời) ({YOU})(?=[,.!]| đã)"
    rf"|(?:^|[.!?:]\s+)(?:nếu|khi) ({YOU}) (?:muốn|cần|thấy|có thể|gặp|chưa|không)(?!\w)"
    rf"|(?:^|[.!?:]\s+)({YOU}) (?:có thể|nên|cần) ",
    re.IGNORECASE | re.MULTILINE,
)
ME = r"tôi|em|mình|cháu|con|tớ|tao"
SPOKEN = re.compile(
    rf"(?:^|[.!?:]\s+)({ME}) (?:là|muốn|cần|đang|bị|phải|định|vừa|mới|có thể|không biết|không hiểu|chưa biết)(?!\w)"
    rf"|(?<!\w)(?:giúp|chỉ|dạy|nhắc) ({ME}) (?:với|cách|viết|làm|giải|hiểu|sửa|tìm|hỏi)(?!\w)"
    rf"|(?<!\w)cho ({ME}) (?:hỏi|biết|xin)(?!\w)",
    re.IGNORECASE | re.MULTILINE,
)
LISTED = re.compile(r"^[ \t]*(?:[-*+•>|]|\d{1,3}[.)]).*$", re.MULTILINE)


def mixed(turns: Iterable[tuple[str, str]]) -> Verdict | None:
    """What is wrong with the turns (role, text) of one conversation, or None."""
    said: dict[tuple[str, str], dict[str, str]] = {}
    for role, text in turns:
        if role not in ("user", "assistant"):
            continue
        for what, found in address(text):
            if len(found) == 1:
                said.setdefault((role, what), {}).setdefault(next(iter(found)), text)
    for (role, what), words in said.items():
        if len(words) > 1:
            first, second, *_ = words
            return "register mixed", f"the {role} {what} {first!r} in one turn and {second!r} in another"
    return None


@lru_cache(maxsize=1024)  # a long record's turns are looked at with each of its parts
def address(text: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """By which words a text addresses the other and speaks of itself."""
    plain = LISTED.sub(" ", QUOTED.sub(" ", verbatim.mask(text)[0]))
    return ("says", forms(plain, ADDRESSED)), ("is", forms(plain, SPOKEN))


def forms(text: str, pattern: re.Pattern[str]) -> frozenset[str]:
    """The words of address that a pattern finds."""
    return frozenset(next(filter(None, match.groups())).lower().replace("/", " ") for match in pattern.finditer(text))
