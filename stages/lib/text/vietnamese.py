"""Vietnamese on the surface: syllables, tone marks, and cheap signals of what a text is.

Everything here works on strings alone and is total: no text makes it raise. Not covered: word segmentation,
and what normalising a text means (``normal.py``).
"""

import re
import unicodedata
from functools import lru_cache

# letters or digits; marks join thousands to one number (1.000) and the parts of a word (xăng-ti-mét)
SYLLABLE = re.compile(r"\d+(?:[.,]\d{3})+(?!\w)|[^\W_]+(?:['’-][^\W_]+)*")
VIETNAMESE_LETTER = re.compile(r"[ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ]", re.IGNORECASE)
ENGLISH = frozenset(
    "the of and to in is that for it with as was on are be by this have from or an they which you were their will"
    " would there been can what how why when your not has but at we he she do does if then than about should".split()
)


def placements() -> dict[str, str]:
    """Old → new form of each open oa, oe, uy with a tone: on the first vowel (hòa), on the second (hoà)."""
    forms = {}
    for vowels in ("oa", "oe", "uy", "Oa", "Oe", "Uy", "OA", "OE", "UY"):
        for tone in "\u0300\u0309\u0303\u0301\u0323":
            old, new = vowels[0] + tone + vowels[1], vowels + tone
            forms[unicodedata.normalize("NFC", old)] = unicodedata.normalize("NFC", new)
    return forms


TO_NEW = placements()
TO_OLD = {new: old for old, new in TO_NEW.items()}


def misplaced() -> dict[str, str]:
    """Tones that stand on the wrong vowel under either convention (tóan, qúa, gìa), with the right form."""
    forms: dict[str, str] = {}
    for first, second in ("oa", "oe", "ua", "uă", "uâ", "ue", "uê", "uơ", "uy", "ia", "iê", "iơ", "iô", "iư"):
        for tone in "\u0300\u0309\u0303\u0301\u0323":
            wrong = unicodedata.normalize("NFC", first + tone + second)
            right = unicodedata.normalize("NFC", first + second + tone)
            forms |= {wrong: right, wrong.upper(): right.upper(), wrong.capitalize(): right.capitalize()}
    return forms


MISPLACED = misplaced()
PLACED = {"old": TO_OLD, "new": TO_NEW}
# a set of letters comes first in each pattern: the engine then skips to it
TONED = {
    "old": re.compile(r"[oOuU](?<![qQ].)[àảãáạèẻẽéẹỳỷỹýỵÀẢÃÁẠÈẺẼÉẸỲỶỸÝỴ](?!\w)"),
    "new": re.compile(r"[òỏõóọùủũúụÒỎÕÓỌÙỦŨÚỤ](?<![qQ].)[aeyAEY](?!\w)"),
}
# the u of qu belongs to the consonant, and so does the i of gi before a vowel
WRONG = re.compile(
    r"[òỏõóọùủũúụìỉĩíịÒỎÕÓỌÙỦŨÚỤÌỈĨÍỊ](?:(?<=[oòỏõóọOÒỎÕÓỌ])[aeAE](?=[a-zA-Z])|(?<=[ùủũúụÙỦŨÚỤ])[âêyÂÊY](?=[a-zA-Z])"
    r"|(?<=[qQ].)[aăâeêơyAĂÂEÊƠY]|(?<=[gG].)(?<!\w[gG].)(?<=[ìỉĩíịÌỈĨÍỊ])[aêơôưAÊƠÔƯ])"
)


@lru_cache(maxsize=4)  # one text is asked about many times in a row
def syllables(text: str) -> list[str]:
    """Runs of letters and digits, with the marks that join them (``1.000``, ``10/3``); not to be changed."""
    return SYLLABLE.findall(text)


def place_tones(text: str, style: str) -> str:
    """NFC text with one convention of tone placement, ``old`` (hòa, thủy) or ``new`` (hoà, thuỷ)."""
    return count_placed(text, style)[0]


def count_placed(text: str, style: str) -> tuple[str, int]:
    """As :func:`place_tones`, with the number of tones that moved."""
    moved = 0

    def move(match: re.Match[str], forms: dict[str, str]) -> str:
        nonlocal moved
        new = forms.get(match[0], match[0])
        moved += new != match[0]
        return new

    text = WRONG.sub(lambda match: move(match, MISPLACED), text)
    return TONED[style].sub(lambda match: move(match, PLACED[style]), text), moved


def whole(text: str) -> str:
    """Text that can be written down: half a surrogate pair, as a cut emoji leaves it, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def loops(text: str) -> bool:
    """Whether the text ends in a run of at least 12 syllables that repeat a unit of up to 8, four times or more.

    A row of digits may repeat itself: 1/3 is 0,3 3 3 3.
    """
    words = syllables(text)
    last = [word.lower() for word in words[-32:]]
    sizes = [
        size for size in range(1, 9) if last[-size:] * 3 == last[-4 * size : -size]
    ]  # four times, as is asked below
    words = [word.lower() for word in words] if sizes else []
    for size in sizes:
        unit, count = words[-size:], 0
        while words[len(words) - size * (count + 1) : len(words) - size * count] == unit and count * size < len(words):
            count += 1
        if count >= 4 and count * size >= 12 and not all(map(str.isdigit, unit)):
            return True
    return False


def key(text: str) -> str:
    """A text blind to case, punctuation, composition and tone placement, to compare by."""
    return " ".join(syllables(place_tones(unicodedata.normalize("NFC", text), "old").lower()))


def fold(text: str) -> str:
    """A text without what makes it no other one: case, composition, white space, where tones stand."""
    return " ".join(place_tones(unicodedata.normalize("NFC", text), "old").lower().split())
