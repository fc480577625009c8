"""What is wrong with an answer on its face: it refuses, it was cut off, its code was translated, it repeats itself.

Each question takes texts and gives what it found, or an empty string. Not covered: whether an answer is true, and
an answer cut at the end of a sentence.
"""

import re

from stages.lib.vietnamese import VIETNAMESE_LETTER, syllables

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
MARKED = VIETNAMESE_LETTER.pattern
# words of a Vietnamese name for something, one of them with a mark
WORDS = rf"(?=[^:<>=\n]{{0,40}}{MARKED})[^\W\d_][\w -]{{0,40}}+"
# HTML's elements, put into words
TAG = r"(?:nút|thân|đầu|kiểu|nhãn|biểu mẫu|hình ảnh|đoạn văn|tập lệnh|bảng|phần thân)"
SIGNS = (
    # a style sheet: Màu nền: #8C7573; kích thước phông chữ: 20px;
    rf"^[ \t]*{WORDS}\s*:\s*(?:#[0-9a-f]{{6}}\b;?|-?[\d.]+(?:px|em|rem|%);)[ \t]*$",
    # markup: </nút>, <nút loại = "nút">; an XML name holds no blank, and its author may choose any other
    rf"</\s*(?:{TAG}|(?=[^<>\n]*\w[ ]+\w){WORDS})\s*>",
    rf"<(?:{TAG}\b[^<>=\n]{{0,40}}\s*=|{WORDS}\s=)\s*[\"“'][^<>\n]{{0,200}}>",
    # a query: Chọn * từ khách hàng trong đó id = 2
    r"^[ \t]*chọn\s+(?:\*|[\w., ]{1,60})\s+từ\s+[^\n]{1,60}?"
    r"(?:\b(?:trong đó|ở đâu|nơi|nhóm theo)\b[^\n]{1,60}[=<>]|;[ \t]*$)",
    # a program: nhập React từ 'react'; trả về x; nếu (x > 0) {; cho i trong phạm vi (5):; in ("a")
    r"^[ \t]*(?:nhập|từ)\s+[\w.{}, ]+\s+(?:nhập|từ)\s+['\"\w.]+;?[ \t]*$|^[ \t]*nhập\s+\w+(?:\.\w+)+;",
    r"(?:^|[{;])[ \t]*(?:trả về|trở lại|trả lại)\s*(?:\([^\n]*\)\s*;|[\w.\[\]()]+(?:\s*[+*/-]\s*[\w.\[\]()]+)*;)",
    r"^[ \t]*\}?\s*(?:nếu|khác nếu|trong khi|cho)\s*\([^\n]*[<>=][^\n]*\)\s*(?:\{|:)?[ \t]*$",
    r"\bcho\s+\w+\s+trong\s+(?:phạm vi\s*\([^;\n]*\)\s*:|\w+\s*[\]:]\s*$)",
    r"^[ \t]*in\s*\(\s*[\"“'f\w]",
    r"\bhàm\s+\w+\s*\([^)\n]*\)\s*\{",
    r"\b(?:công khai|riêng tư)\s+(?:lớp|tĩnh|vô hiệu|void|int|string|boolean|chuỗi)\b",
    r"^[ \t]*lớp\s+[^\W\d]\w+\s*(?:\([^)\n]*\))?\s*[{:][ \t]*$",
    r"\bbảng điều khiển\.\s?log",
)
TRANSLATED = tuple(re.compile(sign, re.IGNORECASE | re.MULTILINE) for sign in SIGNS)
# what else there is in code, and no sentence has
CODE_LINE = re.compile(
    r"[;{][ \t]*$|^[ \t]+[^\s\d*•+-][^\n]*[=(){}]"  # a line that ends so, or that is set in and is no item of a list
    r"|\w\w\.\w\w+ ?\(|^[ \t]*\w+ ?\(\s*[\"'][^\n]*\)[ \t]*$|\w\s*=\s*'[^'\n]+'"  # a call, a value
    r"|</?(?:tr|td|th|div|li|ul|input|h[1-6])\b",
    re.IGNORECASE | re.MULTILINE,
)
HINT = re.compile(r"[;{}()=<#]|</")  # signs without which there is no code
ENDED = re.compile(r"[.!?…:;)\]}>\"'”’»*`|/=%°]\s*$|[^\w\s,]\s*$|\d\s*$")
HANGING = re.compile(
    r"(?<!\w)(?:(?:và|của|những|các|với|để|trong|cho|bởi|mà|thì|như|nhưng|hoặc|bằng|vì|nếu|một|rằng))\s*$"
)
# a last line that has no need of a full stop: an item, a heading, tags, a link, a name after a quotation
OPEN_END = re.compile(
    r"^\s*(?:[-*•+#>]|\w{1,4}[.)])\s|#\w|https?://|www\."
    r"|[\"”'’]\s*[-–—]|[-–—]\s*[^\W\d_][\w. ]{2,40}$|(?:^|\s)[A-ZĐ]\w*\s+[A-ZĐ]\w*\s*$"
)
SENTENCE = re.compile(r"[^.!?\n]+")
FENCE = re.compile(r"^\s*```", re.MULTILINE)


def refusal(answer: str) -> str:
    """Words in which a model speaks of itself instead of answering: what it is, and in that sentence what it can't."""
    plain = answer.lower()
    if "là một" not in plain and "language model" not in plain:
        return ""
    for sentence in SENTENCE.findall(answer):
        found = REFUSAL.search(sentence.strip())
        if found and UNABLE.search(sentence):
            return found[0]
    return ""


def translated_code(text: str) -> str:
    """A keyword, tag or property of a program that was taken for prose and put into Vietnamese.

    One of them may be a sentence, so that two kinds are wanted, or one among lines that look like code.
    """
    if not HINT.search(text):
        return ""
    found = [match for sign in TRANSLATED if (match := sign.search(text))]
    return found[0][0].strip() if len(found) > 1 or (found and CODE_LINE.search(text)) else ""


def truncated(answer: str, prose: int) -> str:
    """The end of an answer that was cut off, or an empty string.

    It shows in a fence left open, a last word that can end nothing, or, where the last line is prose of at least
    ``prose`` syllables, no sign that ends a sentence.
    """
    if "```" in answer and len(FENCE.findall(answer)) % 2:
        return "```"
    last = answer.rstrip().rpartition("\n")[2]
    if ENDED.search(last[-3:]):
        return ""
    count = len(syllables(last))
    sentences = len(re.findall(r"[.!?](?:\s|$)", answer))
    if (sentences or count >= prose) and count >= prose / 2 and HANGING.search(last):
        return last[-80:]
    open_end = OPEN_END.search(last) or "|" in last or "->" in last
    return last[-80:] if count >= prose and sentences > 1 and not open_end else ""


def repetition(text: str, size: int = 4) -> float:
    """The share of a text's runs of ``size`` syllables that came before in it, 0 to 1."""
    words = [word.lower() for word in syllables(text)]
    runs = len(words) - size + 1
    return 1 - len(set(zip(*(words[start:] for start in range(size)), strict=False))) / runs if runs > 0 else 0.0
