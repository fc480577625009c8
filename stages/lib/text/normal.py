"""One form of each text: whatever looks the same to a reader is the same string afterwards.

Broken encodings (``encodings.py``), control and invisible characters, HTML entities, composition (NFC), look-alike
letters inside Vietnamese words, tone placement and white space are put right, and each change is counted by name.
Code, LaTeX and web addresses are left as they are (a text that is all code loses control characters and is
composed). Normalising twice changes nothing more. Not covered: spelling, and letters of another alphabet that make
up a whole word.
"""

import html
import html.entities
import re
import unicodedata
from collections import Counter

from stages.lib.text.encodings import BROKEN_LETTERS, repair, repair_viqr
from stages.lib.text.language import is_code, kinds
from stages.lib.text.vietnamese import count_placed

PROTECTED = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`|https?://\S+|www\.\S+"
    # LaTeX; a sum in dollars has no sign of a formula in it
    r"|\$\$.{1,1000}?\$\$|\$(?=[^$\n]{0,200}[\\^_={}])[^$\n]{1,200}\$|\\\(.{1,500}?\\\)|\\\[.{1,1000}?\\\]"
    r"|\\begin\{(\w+\*?)\}.{0,2000}?\\end\{\1\}",
    re.DOTALL,
)
# invisible: C0 and C1, soft hyphen, zero width (a joiner holds emoji together, a non-joiner is spelling in
# Persian and in India's scripts), directions, byte order mark
CONTROL_SIGNS = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb"
)
CONTROL = re.compile(f"[{CONTROL_SIGNS}]|(?<![\u0590-\u1cff])\u200c|\u200c(?![\u0590-\u1cff])")
BLANK = "[ \t\xa0\u2000-\u200a\u202f\u205f\u3000]"
AMPERSAND = re.compile("&(?:amp;)+")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|([a-zA-Z]\w{1,31}));", re.ASCII)
CODE_SIGN = re.compile(r"[;{}()\[\]=<>$]")  # without which a line such as "tên: An" may be a form
RARE_BLANKS = "\t\r\x85\xa0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
RARE_BLANK = re.compile(f"[{RARE_BLANKS}]")
LINE_END = "\n\r\u2028\u2029\x85"
LOOSE = re.compile(rf"\r\n?|[\u2028\u2029\x85]|{BLANK}++|\n{{3,}}+")
CYRILLIC = dict(zip("аеорсухіјѕһԁАВЕКМНОРСТУХІЈЅѴ", "aeopcyxijshdABEKMHOPCTYXIJSV", strict=True))
GREEK = dict(zip("οανικυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "oavikuABEZHIKMNOPTYX", strict=True))
STROKED = {"ð": "đ", "Ð": "Đ", "Ɖ": "Đ", "ɖ": "đ"}
ALIKE = str.maketrans(CYRILLIC | GREEK | STROKED)
# a word with such a letter; letters of the mathematical alphabets or of full width, two or more
ODD = re.compile(f"[{''.join(map(chr, ALIKE))}]")
ODD_WORD = re.compile(r"[^\W\d_]+")
STYLED_LETTERS = "\U0001d400-\U0001d7ff\uff21-\uff5a"
STYLED_LETTER = re.compile(f"[{STYLED_LETTERS}]")
STYLED = re.compile("(?:[\U0001d400-\U0001d7ff][\u0300-\u0323]*){2,}|[\uff21-\uff3a\uff41-\uff5a]{2,}")
FORMULA_SIGN = re.compile("[-=+−×·*/^<>≤≥∑∫√]")
# what any step but tone placement begins with: most texts have none of it, and one look tells. A zero-width non-joiner
# is a control character in some places; the letters of the old encodings are told apart there
SUSPECT = re.compile(f"[{CONTROL_SIGNS}\u200c{BROKEN_LETTERS}Ã{RARE_BLANKS}{''.join(map(chr, ALIKE))}{STYLED_LETTERS}]")
ROUNDS = 8  # after which nothing has ever been left to change; a bound, so that no text can go round for ever


def normalise(text: str, tone: str) -> tuple[str, Counter[str]]:
    """The normal form of a text, and how often each thing was changed."""
    changes: Counter[str] = Counter()
    for _ in range(ROUNDS):
        new = once(text, tone, changes)
        if new == text:
            break
        text = new
    return text, changes


def once(text: str, tone: str, changes: Counter[str]) -> str:
    """One round over what is not code, LaTeX or a web address."""
    if is_program(text):
        return compose(control(text, changes), changes).strip("\n")
    if "`" in text:  # a grave tone of VIQR, or code
        text, found = repair_viqr(text)
        changes.update(found)
    parts = []
    end = 0
    for match in PROTECTED.finditer(text):
        parts += [normalise_prose(text[end : match.start()], tone, changes), match[0]]
        end = match.end()
    parts.append(normalise_prose(text[end:], tone, changes))
    return "".join(parts).strip()


def is_program(text: str) -> bool:
    """Whether the whole of a text, but for what it fences, is code."""
    return CODE_SIGN.search(text) is not None and is_code(text)


def control(text: str, changes: Counter[str]) -> str:
    """A text without control and invisible characters."""
    if CONTROL.search(text):
        text, count = CONTROL.subn("", text)
        changes["control characters"] += count
    return text


def compose(text: str, changes: Counter[str]) -> str:
    """A text in NFC."""
    new = unicodedata.normalize("NFC", text)
    if new != text:
        changes["composition"] += max(1, len(text) - len(new))
    return new


def normalise_prose(text: str, tone: str, changes: Counter[str]) -> str:
    """Each step in turn: an encoding first, since its letters may be control characters."""
    given, odd = text, SUSPECT.search(text) is not None
    if odd or "^" in text or "+" in text:
        text, found = repair(text)
        changes.update(found)
    if odd:
        text = control(text, changes)
    if "&" in text:
        text = unescape(text, changes)
    if not text.isascii():
        text = compose(text, changes)
        if odd or text != given:  # what a step has made may be odd
            text = look_alikes(text, changes)
        text, count = count_placed(text, tone)
        if count:
            changes["tone placement"] += count
    return squeeze(text, changes, odd or text != given)


def unescape(text: str, changes: Counter[str]) -> str:
    """HTML entities as characters, however often they were escaped; only whole ones: ``?a=1&lt=2`` has none."""
    while (plain := CONTROL.sub("", ENTITY.sub(character, AMPERSAND.sub("&", text)))) != text:
        changes["entities"] += max(1, text.count("&") - plain.count("&"))
        text = plain
    return text


def character(match: re.Match[str]) -> str:
    """What an entity stands for, or itself where no name is known."""
    name = match[1]
    return html.unescape(match[0]) if name is None or f"{name};" in html.entities.html5 else match[0]


def look_alikes(text: str, changes: Counter[str]) -> str:
    """Letters of other alphabets as the Latin ones they look like, where they stand in a Vietnamese word."""
    if STYLED_LETTER.search(text):
        lines = [line if is_formula(line) else STYLED.sub(upright, line) for line in text.split("\n")]
        changes["look-alike letters"] += sum(map(str.__ne__, lines, text.split("\n")))
        text = "\n".join(lines)
    if not ODD.search(text):
        return text

    def plain(match: re.Match[str]) -> str:
        word = match[0]
        new = word.translate(ALIKE)
        latin = any(letter < "\u0250" or "\u1e00" <= letter < "\u1f00" for letter in word)
        if new == word or not latin or kinds().get(new.lower(), "x") not in "Vvdab":
            return word
        changes["look-alike letters"] += 1
        return new

    return ODD_WORD.sub(plain, text)


def upright(match: re.Match[str]) -> str:
    """Styled letters as plain ones."""
    return unicodedata.normalize("NFKC", match[0])


def is_formula(line: str) -> bool:
    """Whether the styled letters of a line are mathematics: signs of a formula, and no run of letters like a word's."""
    return bool(FORMULA_SIGN.search(line)) and all(len(match[0]) <= 3 for match in STYLED.finditer(line))


def squeeze(text: str, changes: Counter[str], odd: bool) -> str:
    """One kind of line break, no blanks before it, at most one empty line, one space between words."""
    if not ("  " in text or " \n" in text or "\n\n\n" in text or (odd and RARE_BLANK.search(text))):
        return text

    def tidy(match: re.Match[str]) -> str:
        found, after = match[0], match.end()
        if found[0] in LINE_END:
            return "\n\n" if found[0] == "\n" else "\n"
        if after < len(text) and text[after] in LINE_END:
            return ""
        indents = match.start() == 0 or text[match.start() - 1].isspace()
        return found if indents else " "

    new = LOOSE.sub(tidy, text)
    if new != text:
        changes["white space"] += 1
    return new
