"""What is wrong with an answer on its face: it refuses, it was cut off, it repeats itself.

Each question takes texts and gives what it found, or an empty string. Not covered: whether an answer is true, and
an answer cut at the end of a sentence.
"""

import re
from collections import Counter

from stages.lib.vietnamese import syllables

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
    runs = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    return 1 - len(runs) / runs.total() if runs else 0.0
