"""What is wrong with an answer on its face: it refuses, it was cut off, it repeats itself.

Each question takes texts and gives what it found, or an empty string. Not covered: whether an answer is true, and
an answer cut at the end of a sentence.
"""

import re

from stages.lib.text.vietnamese import syllables

FAILURE_MARKERS = ("|||TRANSLATION_FAILED|||", "TRANSLATION_FAILED")  # what earlier tools wrote instead of a text
# in the first person, since an answer may well say what a language model is, and with something that it can't do,
# since an assistant may well say what it is
REFUSAL = re.compile(
    r"(?i:\b(?:tôi|mình|em) (?:chỉ )?là một|^(?:vì )?là một|\bvới tư cách là một) "
    r"(?:(?i:mô hình ngôn ngữ|trí tuệ nhân tạo|chatbot|trợ lý ảo|chương trình máy tính)|AI\b)"
    r"|(?i:as an ai language model)",
    re.MULTILINE,
)
UNABLE = re.compile(
    r"\b(?:không thể(?! thiếu)|chưa thể|nên không|không có (?:khả năng|quyền|cảm xúc|ý kiến)|không được phép"
    r"|(?:tôi|mình|em) không|can(?:no|')t|unable|do(?:n't| not))(?!\w)",
    re.IGNORECASE,
)
# what a model begins with that won't: sorry, or that it can't
SORRY = re.compile(
    r"^(?:(?:tôi|mình|em) )?(?:rất |thành thật )?(?:xin lỗi|rất tiếc|tiếc là)\b|^(?:tôi|mình|em) không (?:thể|có)\b"
    r"|^không thể (?:thực hiện|hoàn thành|tạo)\b",
    re.IGNORECASE,
)
# and why: what only a model says of itself
EXCUSE = re.compile(
    r"\b(?:nhiệm vụ(?: này)? (?:yêu cầu|liên quan)|thực hiện nhiệm vụ này|(?:bởi|của) mô hình"
    r"|mô hình (?:gpt|ai|ngôn ngữ)"
    r"|được lập trình để|với tư cách là (?:một )?(?:trợ lý|mô hình|chatbot|ai)|tôi không có (?:quyền )?truy cập"
    r"|thông tin (?:theo )?thời gian thực)(?!\w)",
    re.IGNORECASE,
)
VAGUE = re.compile(
    r"^(?:hướng dẫn|yêu cầu|câu hỏi|đầu vào)(?: này| của bạn)?"
    r" (?:mơ hồ|không rõ ràng|chưa rõ|không đầy đủ|không hợp lệ)\b",
    re.IGNORECASE,
)
ENDED = re.compile(r"[.!?…:;)\]}>\"'”’»*`|/=%°]\s*$|[^\w\s,]\s*$|\d\s*$")
HANGING = re.compile(
    r"(?<!\w)(?:(?:và|của|những|các|với|để|trong|cho|bởi|mà|thì|như|nhưng|hoặc|bằng|vì|nếu|một|rằng))\s*$"
)
# a last line that has no need of a full stop: a link, tags, a name after a quotation, an item, a heading
NAMED_END = re.compile(
    r"#\s?\w|https?://|www\.|[\"”'’]\s*[-–—]|[-–—]\s*[^\W\d_][\w. ]{2,40}$|(?:^|\s)[A-ZĐ]\w*\.?\s+[A-ZĐ]\w*\s*$"
)
ITEM = re.compile(r"\s*(?:[-*•+]|\w{1,4}[.)])\s")
OPEN_END = re.compile(rf"^{ITEM.pattern}|^\s*[#>]\s|{NAMED_END.pattern}")
INNER_END = re.compile(r"[^\W\d]{2}[.!?]\s+\w+\s+\w")  # a sentence that ends within the line, and another
SENTENCE = re.compile(r"[^.!?\n]+")


def refusal(answer: str) -> str:
    """Words in which a model speaks of itself instead of answering: what it is and can't, or its excuse."""
    start = " ".join(SENTENCE.findall(answer[:600])[:2]).strip()
    if (SORRY.search(start) and EXCUSE.search(start) and UNABLE.search(start)) or VAGUE.search(start):
        return start[:80]
    plain = answer.lower()
    if "là một" not in plain and "language model" not in plain:
        return ""
    for sentence in SENTENCE.findall(answer):
        found = REFUSAL.search(sentence.strip())
        if found and UNABLE.search(sentence):
            return found[0]
    return ""


def truncated(answer: str, prose: int) -> str:
    """The end of an answer that was cut off, or an empty string.

    It shows in a fence left open, a last word that can end nothing, or no sign that ends a sentence: where the last
    line is prose of at least ``prose`` syllables, or an item that holds a sentence before, or the one item left open.
    """
    if answer.count("```") % 2:
        return "```"
    *before, last = [line for line in answer.split("\n") if line.strip()] or [""]
    if ENDED.search(last[-3:]):
        return ""
    count = len(syllables(last))
    sentences = len(re.findall(r"[.!?](?:\s|$)", answer))
    if (sentences or count >= prose) and count >= prose / 2 and HANGING.search(last):
        return last[-80:]
    item = ITEM.match(last)
    inner = item and INNER_END.search(last[item.end() :])
    if inner or (len(before) > 3 and all(ENDED.search(line[-3:]) for line in before)):
        return last[-80:] if count >= 2 and not NAMED_END.search(last) else ""
    open_end = OPEN_END.search(last) or "|" in last or "->" in last
    return last[-80:] if count >= prose and sentences > 1 and not open_end else ""


def repetition(text: str, size: int = 4) -> float:
    """The share of a text's runs of ``size`` syllables that came before in it, 0 to 1."""
    # notes of a tune are no words
    words = [word.lower() for word in syllables(text) if len(word) > 1 or word.isdigit()]
    runs = len(words) - size + 1
    return 1 - len(set(zip(*(words[start:] for start in range(size)), strict=False))) / runs if runs > 0 else 0.0
