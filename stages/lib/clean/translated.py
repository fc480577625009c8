"""Code that was taken for prose and put into Vietnamese: ``nếu (x > 0) {``, ``Chọn * từ khách hàng``, ``</nút>``.

Two ways to see it. A sign is what only a translated program, query, style sheet or markup holds; some of them may
also be a sentence, so that two are wanted, or one among lines that look like code. And in a text that has lines no
prose has, a line of code with a marked Vietnamese letter outside its strings and comments is translated, whatever
its words. Not covered: translated names without a marked letter, and keywords whose case was changed.
"""

import re

from stages.lib.text.vietnamese import VIETNAMESE_LETTER

MARKED = VIETNAMESE_LETTER.pattern
# words of a Vietnamese name for something, one of them with a mark
WORDS = rf"(?=[^:<>=\n]{{0,40}}{MARKED})[^\W\d_][\w -]{{0,40}}+"
# HTML's elements, put into words
TAG = r"(?:nút|thân|đầu|kiểu|nhãn|biểu mẫu|hình ảnh|đoạn văn|tập lệnh|bảng|phần thân|tiêu đề|cơ thể)"
SUM = r"(?:đếm|tổng|tối đa|tối thiểu|trung bình|count|sum|avg|min|max|stddev)"
SURE = (
    # markup: </nút>
    rf"</\s*{TAG}\s*>",
    # a query: Chọn Đếm (*) từ sách; Chọn Top 10 *; Xóa khỏi khách hàng / Trong đó id = 1
    rf"^[ \t]*(?:\d+\.\s)?chọn\b[^.;\n]{{0,80}}\b{SUM}\s?\([^)\n]{{0,40}}\)[^\n]{{0,80}}\btừ\b",
    r"^[ \t]*(?:\d+\.\s)?(?:chọn|lựa chọn)\s+(?:top\s+\d+\s+)?\*\s*(?:$|\btừ\b)",
    r"^[ \t]*(?:chọn|lựa chọn)\s[^.;\n]*(?:\w\.[\w*]|\w,)[^;\n]*\n[ \t]*từ\s+[^.;\n]{1,40}\n",
    r"^[ \t]*(?:chọn|lựa chọn)\s[^.;\n]{1,60}\n[ \t]*từ\s[^.;\n]{1,40}\n[ \t]*(?:nơi|trong đó|where)\s[^\n]*[=<>]",
    r"^[ \t]*chọn\s[^\n]{1,80}\btừ\b[^\n]{1,60}\b(?:(?-i:WHERE|ORDER BY|GROUP BY|JOIN)|tham gia\s[^\n]{1,40}\btrên)\b",
    r"^[ \t]*(?:xóa (?:khỏi|từ)|cập nhật|chèn vào)\s+[\w ]{1,40}\n?[^\n]{0,80}\b(?:trong đó|ở đâu|nơi|đặt|giá trị)\b"
    r"[^\n]{0,60}[=(<>]",
    r"\b(?:đặt hàng|sắp xếp|nhóm)\s+(?:theo|bằng|bởi)\s+[^\n;]{1,60}\b(?:desc|asc|giới hạn\s+\d+|limit)\b",
    # a program: chức năng foo (a, b) {; đối với i trong phạm vi (5):; [i * 2 cho i trong số]
    r"\b(?:hàm|chức năng)\s+[\w$]+\s*\([^)\n]*\)\s*\{",
    r"\b(?:đối với|cho)\s+\w{1,12}\s+trong\s+phạm vi\s?\([^;\n]*\)\s*:",
    r"[\[(][^\n]{1,40}\bcho\s+\w{1,12}\s+trong\s+\w+(?:\s+nếu\s[^\]\n]{1,40})?\]",
    r"^[ \t]*\}?\s*khác(?:\s+nếu\s*\([^\n]*\))?\s*\{[ \t]*$",
)
MAYBE = (
    # a style sheet: Màu nền: #8C7573; kích thước phông chữ: 20px;
    rf"^[ \t]*{WORDS}\s*:\s*(?:#[0-9a-f]{{6}}\b;?|-?[\d.]+(?:px|em|rem|%);)[ \t]*$",
    # the same in words: Màu nền: Trắng; in braces
    rf"\{{[ \t]*\n(?:[ \t]*[\w -]{{1,40}}:[^;\n]{{1,40}};[ \t]*\n){{0,9}}?[ \t]*{WORDS}\s*:[^;\n]{{1,40}};[ \t]*$",
    # markup: </nút bấm>, <nút loại = "nút">; an XML name holds no blank, and its author may choose any other
    rf"</\s*(?=[^<>\n]*\w[ ]+\w){WORDS}\s*>",
    rf"<(?:{TAG}\b[^<>=\n]{{0,40}}\s*=|{WORDS}\s=)\s*[\"“'][^<>\n]{{0,200}}>",
    # a query: Chọn * từ khách hàng trong đó id = 2
    r"^[ \t]*(?:\d+\.\s)?chọn\s+(?:\*|[\w., ]{1,60})\s+từ\s+[^\n]{1,60}?"
    r"(?:\b(?:trong đó|ở đâu|nơi|nhóm theo)\b[^\n]{1,60}[=<>]|;[ \t]*$)",
    # a program: nhập React từ 'react'; trả về x; nếu (x > 0) {; cho i trong phạm vi (5):; in ("a")
    r"^[ \t]*(?:nhập|từ)\s+[\w.{}, ]+\s+(?:nhập|nhập khẩu|từ)\s+['\"\w.]+(?: \w+){0,2};?[ \t]*$"
    r"|^[ \t]*nhập\s+\w+(?:\.\w+)+;",
    r"^[ \t]*nhập khẩu\s+\w+(?:\s+(?:dưới dạng|như)\s+\w+)?[ \t]*$",
    r"(?:^|[{;])[ \t]*(?:trả về|trở lại|trả lại)\s*(?:\([^\n]*\)\s*;|[\w.\[\]()]+(?:\s*[+*/-]\s*[\w.\[\]()]+)*;)",
    r"^[ \t]*\}?\s*(?:nếu|khác nếu|trong khi|cho)\s*\([^\n]*[<>=][^\n]*\)\s*(?:\{|:)?[ \t]*$",
    r"^[ \t]*khác\s*:[ \t]*$",
    r"\bcho\s+\w+\s+trong\s+(?:phạm vi\s*\([^;\n]*\)\s*:|\w+\s*[\]:]\s*$)",
    r"^[ \t]*in\s*\(\s*[\"“'f\w]",
    r"\b(?:công khai|riêng tư|lớp)\s+(?:lớp|công khai|tĩnh|vô hiệu|void|int|string|boolean|chuỗi)\b",
    r"^[ \t]*lớp\s+[^\W\d]\w+\s*(?:\([^)\n]*\))?\s*[{:][ \t]*$",
    r"\bbảng điều khiển\.\s?log",
)
SURE_SIGNS, MAYBE_SIGNS = (
    tuple(re.compile(sign, re.IGNORECASE | re.MULTILINE) for sign in signs) for signs in (SURE, MAYBE)
)
# what else there is in code, and no sentence has
CODE_LINE = re.compile(
    r"[;{][ \t]*$|^[ \t]+[^\s\d*•+-][^\n]*[=(){}]"  # a line that ends so, or that is set in and is no item of a list
    r"|\w\w\.\w\w+ ?\(|^[ \t]*\w+ ?\(\s*[\"'][^\n]*\)[ \t]*$|\w\s*=\s*'[^'\n]+'|^\w+ = \w"  # a call, a value
    r"|</?(?:tr|td|th|div|li|ul|input|h[1-6])\b",
    re.IGNORECASE | re.MULTILINE,
)
HINT = re.compile(r"[;{}()=<>#*]")  # signs without which there is no code
# a line that no prose has
PROGRAM = re.compile(
    r"\b(?:for|if|while|switch|foreach)\s?\([^\n]*[;<>=]|\w\.\w+ ?\([^\n]*\);|^[ \t]*[{}][ \t;]*$|\+\+|[=!+-]=|=>"
    r"|^[ \t]*(?:var|let|const|int|float|double|string|char|bool|public|private|function|def|class|void)\b[^\n]*[=({;:]"
    r"|\b(?:console|system\.out)\.(?:log|println|writeline)",
    re.IGNORECASE | re.MULTILINE,
)
# what a program may say in any language: strings, comments, and text between tags
SPOKEN = re.compile(
    r"\"[^\"\n]*\"|“[^”\n]*”|'[^'\n]*'|`[^`\n]*`|/\*.*?(?:\*/|\Z)|(?://|#|--|<!--)[^\n]*|>[^<>\n]*<|[\"“'`][^\n]*",
    re.DOTALL,
)
# a statement: it ends as one, and assigns, calls or opens a block
STATEMENT = re.compile(
    r"(?=\s*(?:trả về|trả lại|trở lại)\b"
    r"|[^\n]*(?:[\w\]]\s?[-+*/]?=\s?[\w\[({$-]|\w\s?\([^\n]*\)\s*[;{]|\w\[))[^\n]*[;{][ \t]*$"
)


def translated_code(text: str) -> str:
    """A keyword, tag, property or name of a program in Vietnamese, or an empty string."""
    if not HINT.search(text):
        return ""
    for sign in SURE_SIGNS:
        if match := sign.search(text):
            return match[0].strip()
    found = [match for sign in MAYBE_SIGNS if (match := sign.search(text))]
    if len(found) > 1 or (found and CODE_LINE.search(text)):
        return found[0][0].strip()
    return marked_statement(text)


def marked_statement(text: str) -> str:
    """A statement of a program that has a marked letter outside its strings and comments."""
    if not PROGRAM.search(text):
        return ""
    for line in SPOKEN.sub("''", text).split("\n"):
        if len(line) < 200 and re.search(MARKED, line, re.IGNORECASE) and STATEMENT.match(line):
            return line.strip()
    return ""
