"""Vietnamese that was written in one encoding and read in another, found and put right line by line.

Known are UTF-8 read as Windows-1252 or Latin-1 (``Tiáº¿ng Viá»‡t``), the two old font encodings TCVN3, also
called ABC (``TiÕng ViÖt``), and VNI (``Tieáng Vieät``), and the mnemonics of VIQR (``Tie^'ng Vie^.t``, RFC 1456).
A line is changed only when it shows the letters of one of them and turns into Vietnamese syllables; a line that
already holds letters only Unicode has is left. Not covered: capitals of TCVN3 that their font alone makes,
VISCII, bytes that were lost on the way, and lines of a single word.
"""

import re
import string
import unicodedata
from collections.abc import Callable
from functools import cache

from stages.lib.text.language import kinds

TCVN3 = dict(
    zip(
        [chr(code) for code in (*range(0xA1, 0xAF), *range(0xB5, 0xBA), *range(0xBB, 0xBF), 0xC6, *range(0xC7, 0xCD))]
        + [chr(code) for code in (0xCE, 0xCF, *range(0xD0, 0xD9), *range(0xDC, 0xE0), *range(0xE1, 0xF0))]
        + [chr(code) for code in range(0xF1, 0xFF)],
        "ĂÂÊÔƠƯĐăâêôơưđ" + "àảãáạ" + "ằẳẵắ" + "ặ" + "ầẩẫấậè" + "ẻẽ" + "éẹềểễếệìỉ" + "ĩíịò" + "ỏõóọồổỗốộờởỡớợù"
        + "ủũúụừửữứựỳỷỹýỵ",
        strict=True,
    )
)  # fmt: skip
# VNI: a plain vowel and a letter that stands for its marks
VNI_TONES = {"": "", "ù": "\u0301", "ø": "\u0300", "û": "\u0309", "õ": "\u0303", "ï": "\u0323"}
VNI_ROOF = {"â": "", "á": "\u0301", "à": "\u0300", "å": "\u0309", "ã": "\u0303", "ä": "\u0323"}
VNI_BREVE = {"ê": "", "é": "\u0301", "è": "\u0300", "ú": "\u0309", "ü": "\u0303", "ë": "\u0323"}
VNI_ALONE = {"ñ": "đ", "ì": "ì", "í": "í", "æ": "ỉ", "ó": "ĩ", "ò": "ị", "î": "ỵ", "ô": "ơ", "ö": "ư"}
VIQR_SHAPES = {"": "", "^": "\u0302", "(": "\u0306", "+": "\u031b"}
VIQR_TONES = {"": "", "'": "\u0301", "`": "\u0300", "?": "\u0309", "~": "\u0303", ".": "\u0323"}

# what a line must show before it is looked at more closely
BROKEN_LETTERS = (
    "\x80-\x9f\xa1-\xbf\xc4-\xc7\xcb\xce-\xd1\xd6-\xd8\xdb\xdc\xde\xdf\xe4-\xe7\xeb\xee-\xf1\xf6-\xf8\xfb\xfc\xfe\xff"
)
FOREIGN = re.compile(f"[{BROKEN_LETTERS}]|Ã[ ]")
UNICODE = re.compile("[\u0102-\u01b0\u1ea0-\u1ef9]")
CONTINUED = (
    "[\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192"
    "\u02c6\u02dc\u2013\u2014\u2018-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
)
MOJIBAKE = re.compile(f"[\xc2-\xdf]{CONTINUED}|[\xe0-\xef]{CONTINUED}{{2}}|[\xf0-\xf4]{CONTINUED}{{3}}")
VIQR = re.compile(r"(?i:[aeo]\^['`?~.]?[a-z]|[uo]\+['`?~.]?[a-z]|a\(['`?~.]?[a-z]|[aeo]\^['`?~.]|[uo]\+['`?~.])")
VIQR_VOWEL = re.compile(
    r"([aA])([(^]?)(['`?~.]?)|([eE])(\^?)(['`?~.]?)|([oO])([\^+]?)(['`?~.]?)|([uU])(\+?)(['`?~.]?)|([iyIY])(['`?~.]?)"
)
Reading = tuple[str, Callable[[str], bool], Callable[[str], str]]  # (name, whether a line shows it, the line read anew)
EDGES = string.punctuation + "“”‘’«»…–—"


def repair(text: str) -> tuple[str, dict[str, int]]:
    """A text whose garbled lines are Vietnamese again, and the number of lines of each encoding."""
    if not FOREIGN.search(text) and not (("^" in text or "+" in text) and VIQR.search(text)):
        return text, {}
    return reread(text, READINGS)


def repair_viqr(text: str) -> tuple[str, dict[str, int]]:
    """As :func:`repair` for VIQR alone, whose grave tones look like the marks of code."""
    return reread(text, READINGS[-1:]) if len(VIQR.findall(text)) > 1 else (text, {})


def reread(text: str, readings: tuple[Reading, ...]) -> tuple[str, dict[str, int]]:
    """Each line read anew by the first of the readings that makes it Vietnamese."""
    found: dict[str, int] = {}
    lines = text.split("\n")
    for place, line in enumerate(lines):
        for name, shows, read in readings:
            if shows(line) and is_better(line, new := read(line)):
                lines[place] = new
                found[name] = found.get(name, 0) + 1
                break
    return "\n".join(lines), found


def is_better(old: str, new: str) -> bool:
    """Whether a line became Vietnamese: two marked syllables or more, and far more syllables than before."""
    if new == old:
        return False
    (marked, spelt), (marked_before, spelt_before) = shares(new), shares(old)
    return marked >= 2 and marked > marked_before and spelt >= 0.6 and spelt >= spelt_before + 0.2


def shares(line: str) -> tuple[int, float]:
    """The number of marked syllables of a line, and the share of its words that are spelt as syllables."""
    words = [word for part in line.lower().split() if (word := part.strip(EDGES)) and not word.isdigit()]
    found = [kinds().get(word, "x") for word in words]
    # a lone letter may be the sign of a product: 2 × 3
    marked = sum(kind == "V" and len(word) > 1 for kind, word in zip(found, words, strict=True))
    return marked, sum(kind in "Vvdab" for kind in found) / max(1, len(found))


def misread(text: str) -> str:
    """UTF-8 that was read as Windows-1252 or Latin-1, once or more often."""
    for _ in range(3):
        # a no-break space, the end of an à, that became a plain one counts as itself
        lost = re.sub(r"Ã (?=[\w\s.,;:!?)]|$)", "Ã\u00a0", text)
        text = MOJIBAKE.sub(lambda match: decoded(match[0]), lost)
    return text


def decoded(run: str) -> str:
    """One character of UTF-8 from the characters that its bytes were taken for, if they are one."""
    try:
        return b"".join(byte(sign) for sign in run).decode("utf-8")
    except UnicodeDecodeError:
        return run


def byte(sign: str) -> bytes:
    """The byte of a character in Windows-1252, or in Latin-1 where the former has none."""
    try:
        return sign.encode("cp1252")
    except UnicodeEncodeError:
        return sign.encode("latin-1")


def tcvn3(text: str) -> str:
    """TCVN3: one letter for each letter."""
    return "".join(TCVN3.get(letter, letter) for letter in text)


@cache
def vni_table() -> dict[str, str]:
    """Each pair of letters of VNI, and each that stands alone, with its letter."""
    marks = [("aeouy", VNI_TONES, ""), ("aeo", VNI_ROOF, "\u0302"), ("a", VNI_BREVE, "\u0306")]
    table = {**VNI_ALONE}
    for vowels, signs, shape in marks:
        for vowel in vowels:
            for sign, tone in signs.items():
                table[vowel + sign] = unicodedata.normalize("NFC", vowel + shape + tone)
    for sign, tone in VNI_TONES.items():
        table["ô" + sign] = unicodedata.normalize("NFC", "ơ" + tone)
        table["ö" + sign] = unicodedata.normalize("NFC", "ư" + tone)
    for pair, letter in list(table.items()):
        table[pair.upper()] = letter.upper()
        table[pair.capitalize()] = letter.upper()
    return table


@cache
def vni_pattern() -> re.Pattern[str]:
    """The pairs before the single letters."""
    return re.compile("|".join(sorted(vni_table(), key=len, reverse=True)))


def vni(text: str) -> str:
    """VNI: a mark's letter after its vowel."""
    return vni_pattern().sub(lambda match: vni_table()[match[0]], text)


def viqr(text: str) -> str:
    """VIQR; a dot or a question mark that ends a sentence stays what it is."""

    def letter(match: re.Match[str]) -> str:
        base, *signs = (part for part in match.groups() if part is not None)
        shape, tone = signs if len(signs) == 2 else ("", signs[0])
        rest = match.string[match.end() :]
        # at the end of a word it is a tone where the sentence goes on in small letters
        if tone in (".", "?", "'", "`") and tone and not re.match(r"[a-zA-Z]|[ ,;][ ]?[a-z]", rest):
            return unicodedata.normalize("NFC", base + VIQR_SHAPES[shape]) + tone
        return unicodedata.normalize("NFC", base + VIQR_SHAPES[shape] + VIQR_TONES[tone])

    return re.sub(r"[dD][dD]", lambda match: "đ" if match[0][0] == "d" else "Đ", VIQR_VOWEL.sub(letter, text))


def old_font(line: str) -> bool:
    """Whether a line shows letters of the old font encodings, and none that only Unicode has."""
    return FOREIGN.search(line) is not None and UNICODE.search(line) is None


READINGS: tuple[Reading, ...] = (
    ("UTF-8 mojibake", lambda line: MOJIBAKE.search(line) is not None, misread),
    ("TCVN3", old_font, tcvn3),
    ("VNI", old_font, vni),
    ("VIQR", lambda line: len(VIQR.findall(line)) >= 2, viqr),
)
