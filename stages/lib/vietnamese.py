"""Vietnamese on the surface: syllables, tone marks, normal form, and cheap signals of what a text is.

Everything here works on strings alone and is total: no text makes it raise. Not covered: mojibake of the
old 8-bit encodings, look-alike letters, word segmentation.
"""

import html
import re
import unicodedata
from collections import Counter

# letters or digits; marks join thousands to one number (1.000) and the parts of a word (xăng-ti-mét)
SYLLABLE = re.compile(r"\d+(?:[.,]\d{3})+(?!\w)|[^\W_]+(?:['’-][^\W_]+)*")
VIETNAMESE_LETTER = re.compile(r"[ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ]", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200c\u2060\ufeff\u00ad]")
PROTECTED = re.compile(r"```.*?```|`[^`\n]+`|https?://\S+", re.DOTALL)
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


def open_pair(forms: dict[str, str]) -> re.Pattern[str]:
    """The given vowel pairs where nothing follows them in their syllable; the u of qu belongs to the consonant."""
    return re.compile(rf"(?<![qQ])(?:{'|'.join(forms)})(?!\w)")


OPEN = {"old": (open_pair(TO_OLD), TO_OLD), "new": (open_pair(TO_NEW), TO_NEW)}


def syllables(text: str) -> list[str]:
    """Runs of letters and digits, with the marks that join them (``1.000``, ``10/3``)."""
    return SYLLABLE.findall(text)


def place_tones(text: str, style: str) -> str:
    """NFC text with one convention of tone placement, ``old`` (hòa, thủy) or ``new`` (hoà, thuỷ)."""
    pattern, forms = OPEN[style]
    return pattern.sub(lambda match: forms[match[0]], text)


def normalise(text: str, tone: str) -> tuple[str, Counter[str]]:
    """One form of each text, and how often each thing was changed. Code and URLs are left as they are."""
    changes: Counter[str] = Counter()
    parts = []
    end = 0
    for match in PROTECTED.finditer(text):
        parts += [normalise_prose(text[end : match.start()], tone, changes), match[0]]
        end = match.end()
    parts.append(normalise_prose(text[end:], tone, changes))
    return "".join(parts).strip(), changes


def normalise_prose(text: str, tone: str, changes: Counter[str]) -> str:
    """Entities, control characters, composition, tone placement, white space: in an order that is idempotent."""
    for name, step in (
        ("control characters", lambda old: CONTROL.sub("", old)),
        ("entities", unescape),
        ("composition", lambda old: unicodedata.normalize("NFC", old)),
        ("tone placement", lambda old: place_tones(old, tone)),
        ("white space", squeeze),
    ):
        new = step(text)
        changes[name] += new != text
        text = new
    return text


def unescape(text: str) -> str:
    """HTML entities as characters, however often they were escaped."""
    while (plain := CONTROL.sub("", html.unescape(text))) != text:
        text = plain
    return text


def squeeze(text: str) -> str:
    """One kind of line break, no blanks before it, at most one empty line, one space between words."""
    text = re.sub(r"\r\n?|[\u2028\u2029\x85]", "\n", text)
    text = re.sub(r"[ \t\u00a0\u3000]*\n", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"(?<=\S)[ \t\u00a0\u3000]+", " ", text)


def whole(text: str) -> str:
    """Text that can be written down: half a surrogate pair, as a cut emoji leaves it, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def has_diacritics(text: str) -> bool:
    """Whether any letter of a text is one that only Vietnamese (or French, in part) has."""
    return VIETNAMESE_LETTER.search(unicodedata.normalize("NFC", text)) is not None


def looks_english(text: str) -> bool:
    """Whether a tenth or more of the words are English function words."""
    words = [word.lower() for word in syllables(text)]
    return bool(words) and sum(word in ENGLISH for word in words) / len(words) >= 0.1


def loops(text: str) -> bool:
    """Whether the text ends in a run of at least 12 syllables that repeat a unit of up to 8, four times or more."""
    words = [word.lower() for word in syllables(text)]
    for size in range(1, 9):
        unit, count = words[-size:], 0
        while words[len(words) - size * (count + 1) : len(words) - size * count] == unit and count * size < len(words):
            count += 1
        if count >= 4 and count * size >= 12:
            return True
    return False


def key(text: str) -> str:
    """A text blind to case, punctuation, composition and tone placement, to compare by."""
    return " ".join(syllables(place_tones(unicodedata.normalize("NFC", text), "old").lower()))
