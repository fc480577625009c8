"""What language a text is in: ``vi``, ``en``, ``mixed``, ``vi-no-diacritics``, ``code``, ``other`` or ``unclear``.

Vietnamese syllables are few and their spelling is closed: an onset, a rime and a tone that the rime allows. So
each word is one of a few kinds (a marked syllable; a bare one that is a word as it stands; a bare one that only
lost marks explain, such as ``duoc``; an English word; a word of another language; anything else), and the text
is read as the row of its words' kinds. ``unclear`` is a text without words to judge by, such as numbers,
formulas and names, which rightly have no diacritics. Not covered: which other language it is, Chinese or
Japanese in Latin letters, and Vietnamese without diacritics of three words or fewer.
"""

import re
import unicodedata
from functools import cache, lru_cache
from itertools import product

TONES = ("", "\u0300", "\u0309", "\u0303", "\u0301", "\u0323")  # ngang, huyền, hỏi, ngã, sắc, nặng
ONSETS = ["", *"b c ch d đ g gh gi h k kh l m n ng ngh nh p ph qu r s t th tr v x".split()]
RIMES = (
    "a ac ach ai am an ang anh ao ap at au ay ă ăc ăm ăn ăng ăp ăt âc âm ân âng âp ât âu ây e ec em en eng eo ep et"
    " ê êch êm ên ênh êp êt êu i ia ich iêc iêm iên iêng iêp iêt iêu im in inh ip it iu o oa oac oach oai oam oan"
    " oang oanh oao oap oat oay oăc oăm oăn oăng oăt oc oe oen oeo oet oi om on ong ooc oong op ot ô ôc ôi ôm ôn ông"
    " ôp ôt ơ ơi ơm ơn ơp ơt u ua uân uâng uât uây uc uê uêch uên uênh uêt ui um un ung uơ uôc uôi uôm uôn uông uôt up"
    " ut uy uya uych uyên uyêt uyn uynh uyp uyt uyu ư ưa ưc ưi ưm ưn ưng ươc ươi ươm ươn ương ươp ươt ươu ưt ưu y yêm"
    " yên yêng yêt yêu"
).split()
STOPPED = ("c", "ch", "p", "t")  # rimes that end so have a tone, sắc or nặng

# The commonest words, and short forms as one word. Those that are also bare Vietnamese syllables count half.
ENGLISH = frozenset(
    "the of and to in is that for it with as was on are be by this have from or an they which you were their will"
    " would there been can what how why when your not has but at we he she do does if then than about should i'm i've"
    " i'll i'd it's don't didn't doesn't can't won't isn't aren't wasn't couldn't wouldn't shouldn't let's that's"
    " what's there's you're you've you'll we're we've we'll they're he's she's my his her its our us them him who whom"
    " whose where because while although though however also just only very too more most much many some any all both"
    " each few other another such no nor so own same into over under after before between through during above below up"
    " down out off again once here every never always often sometimes already still yet even ever until since without"
    " within against among around could may might must shall did had having being get gets got make makes made take"
    " go goes going went come came see seen know knows known think say says said tell told give given find found want"
    " need needs use used using work works working like likes look looking feel try ask call keep let begin help show"
    " play run move live believe bring happen write written read learn add change follow stop create open close"
    " start cook boil wash click enter sell sells sold buy send sent wait love good great new old big small long"
    " short high low best better first last next early late young important different able available happy sorry please"
    " thank thanks hello hi hey yes okay welcome dear regards today tomorrow yesterday day days night morning evening"
    " week month year years time times people man men woman women child children friend friends family mother father"
    " world life hand part place case point company number group problem fact water money house home school room food"
    " book word words story question answer answers example sentence city country state government team game"
    " language data information system user following these those something anything everything nothing someone"
    " everyone nobody one two three four five six seven eight nine ten hundred thousand million birthday weather"
    " really quickly usually especially therefore likely probably perhaps maybe together away back well right"
    " left".split()
)
# Function words of the other languages in Latin letters that are met most: fr de es it pt nl id/ms tl sv/da/no pl tr fi
FOREIGN = frozenset(
    "le la les un une des du de et est sont dans pour sur avec que qui ne pas plus vous nous je tu il elle ils mon ma"
    " mes ce cette ces au aux ou où été être avoir suis très bien comme mais aussi aujourd'hui c'est n'est l'on d'un"
    " der die das ein eine einen und ist sind nicht ich du er sie wir ihr mit für auf von zu im den dem des auch als"
    " wie aber oder wenn haben hat sehr bitte gerne gestern heute wird wurde"
    " el los las una unos y es son en por para con su sus al del se lo como pero más muy este esta está qué yo"
    " mi muchas"
    " gracias todos días il lo gli uno di e è sono nel della che non per più molto questo questa io ciao grazie dei"
    " o os as um uma do da dos das no na nos em com não é são eu você muito obrigado obrigada pelo seu sua"
    " de het een en is niet ik je hij wij zij van op te dat voor met zijn aan ook naar heb heel maar"
    " yang dan di dari untuk ini itu dengan tidak saya aku anda kamu dia kami kita mereka ada akan pada ke bisa sudah"
    " belum juga atau karena sangat lagi terima kasih banyak apa bagaimana adalah oleh sebuah hari orang harus tahu"
    " ang ng mga sa ay na ko mo po siya ito hindi at kung ako ikaw natin namin magandang salamat"
    " och att det som en ett är på av till inte jag han hon vi den om har ska mycket ikke jeg"
    " i w z na się jest nie to że ja ty proszę dziękuję bardzo ve bir bu için çok değil ne ben sen bugün güzel ja on"
    " ei se että oli hän minä sinä kiitos".split()
)
# letters of scripts that are neither Latin nor what formulas use: runs of two, or one that is a word by itself
FOREIGN_SCRIPT = re.compile(
    "[\u0370-\u03ff\u0400-\u052f\u0530-\u1cff\u1f00-\u1fff\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]{2,}"
)
WORD = re.compile(r"\w+(?:['’]\w+)*")  # with its digits, so that a unit or a formula is no word
QUOTED = re.compile(r"[\"“][^\"”\n]{1,80}[\"”]")
FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
NO_WORDS = re.compile(
    r"</?[a-zA-Z][^<>\n]*>|\b[Mm]ade in \w+|`[^`\n]+`|(?:https?://|www\.)\S+|(?<![\w.+-])[\w.+-]*@\S+|\\[a-zA-Z]+"
)
CODE_LINE = re.compile(
    r"\s*(?:"
    r"(?:def|class|fn|func|function|import|package|using|namespace|struct|interface|enum|async|await|return|const|let|var"
    r"|public|private|static|throw|try|catch|else|elif|except|finally|export|module|print|echo|printf)\b"
    r".*[(){}\[\];:=\"'<>./].*"
    r"|from [\w.]+ import .+|import [\w.]+(?: as \w+)?|package \w+|return\b.{0,60}"
    r"|(?:if|for|while|switch|with|elif)\b.*[:{]"
    r"|(?:if|for|while|switch|foreach)\s*\(.*|\}.*|\{.*|\].*|\[\w+\]|\).*|else:?|try:?|break;?|pass|done|fi|#!.*|#include.*"
    r"|//.*|/\*.*|\*/|--\s.*|@\w+(?:\(.*\))?"
    r"|(?i:select\b.+\bfrom|insert into|update \w+ set|delete from|create"
    r" (?:table|database|index|view)|alter table|drop table)\b.*"
    r"|\w+\s+(?:INT|INTEGER|VARCHAR|TEXT|DATE|DECIMAL|BOOLEAN|SERIAL)\b.*"
    r"|(?:FROM|WHERE|GROUP BY|ORDER BY|JOIN|VALUES|INNER|LEFT|LIMIT|HAVING)\b.*"
    r"|\$?[a-z_][\w.]+(?:\[[^\]]*\])*\s*(?:[-+*/|&]|<-|:)?=[^=].*|[a-z]\s*=\s*(?:[\"'\[{]|[\w.]{3,}\().*"
    r"|(?:int|float|double|char|string|bool|auto|long)\b[^.]*[=;({].*"
    r"|\$?[\w.]+(?:::\w+)*!?\(.*\)[;,{]?(?:\s*[+.].*)?"
    r"|[^.!?]*[=()_\[\]].*;|[\w.]+(?:\+\+|--);|.*\{"
    r"|<(?:!DOCTYPE|[/?!]?[a-zA-Z][\w-]*(?:\s[^>]*=[^>]*)?/?>).*|[\w-]+\s*:\s*[^.!?]*;|\w+(?:\.\w+)+ ?\(.*"
    r"|(?:git|pip|pip3|npm|yarn|docker|sudo|curl|wget|apt|apt-get|cd|mkdir|echo|python3?|conda|make|cargo|kubectl|ssh)\s+\S.*"
    r"|\"?[a-z_][\w-]*\"?:(?:\s*(?:\d+|true|false|null|\"[^\"]*\"|[\w./-]+|\[.*|\{.*))?,?"
    r"|[.#][\w-]+(?::\w+)?\s*\{.*|\w+\s*<-.*|\w+ \w+\(.*\)\s*(?:=>.*)?)\s*"
)
WIDTH = 300  # characters of a line that are looked at, so that none takes long
COMMENT = re.compile(r"\s*(?:#|//|--|/\*|\*)\s")


def marked(rime: str, tone: str) -> str:
    """A rime with its tone: on the last marked vowel, else the last but one of an open rime, else the last."""
    vowels = [place for place, letter in enumerate(rime) if letter in "aăâeêioôơuưy"]
    strong = [place for place in vowels if rime[place] in "ăâêôơư"]
    closed = vowels[-1] < len(rime) - 1
    place = strong[-1] if strong else vowels[-1] if closed or len(vowels) == 1 else vowels[-2]
    return unicodedata.normalize("NFC", rime[: place + 1] + tone + rime[place + 1 :])


def bare(text: str) -> str:
    """A text without any of its marks."""
    parts = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(part for part in parts if not unicodedata.combining(part))


@cache
def kinds() -> dict[str, str]:
    """Kind of each known word, in small letters.

    ``V`` a marked Vietnamese syllable, ``v`` a bare one that is a word as it stands, ``d`` a bare one whose marks
    are lost, ``e`` English, ``a`` English or bare Vietnamese, ``o`` another language's, ``b`` that or bare Vietnamese.
    """
    table: dict[str, str] = {}
    for onset, rime, tone in product(ONSETS, RIMES, TONES):
        ending = next((stop for stop in ("ch", "c", "p", "t") if rime.endswith(stop)), "")
        spelt = onset[:-1] if onset in ("gi", "qu") and rime.startswith(onset[-1]) else onset
        if ending in STOPPED and tone not in ("\u0301", "\u0323"):
            table.setdefault(bare(spelt + rime), "d")
            continue
        word = spelt + marked(rime, tone)
        if word.isascii():
            table[word] = "v"
        else:
            table[word] = "V"
            table.setdefault(bare(word), "d")
            if tone and rime in ("oa", "oe", "uy"):
                table[spelt + unicodedata.normalize("NFC", rime + tone)] = "V"  # the new placement
    for words, alone, either in ((FOREIGN - ENGLISH, "o", "b"), (ENGLISH, "e", "a")):
        for word in words:
            if table.get(word) != "V":
                table[word] = either if word in table else alone
    return table | dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "n")


def classify(text: str, max_english: float) -> str:
    """The language of a text; ``mixed`` when more than ``max_english`` of a Vietnamese text's words are English."""
    return label(text, max_english, quotes=True)


def label(text: str, max_english: float, quotes: bool) -> str:
    """As :func:`classify`; with ``quotes``, a text that seems mixed is read again without what it quotes, once."""
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    prose = FENCED.sub(" ", text)
    if is_code(prose) or (prose is not text and len(prose.strip()) < len(text) / 10):
        return "code"
    if any(sign in prose for sign in ("`", "@", "\\", "://", "www.", "</", "ade in ")):
        prose = NO_WORDS.sub(" ", prose)
    words, known = WORD.findall(prose), kinds()
    row = "".join([known.get(word) or known.get(word.lower()) or unknown(word) for word in words])
    count = len(row) - row.count("n")
    strange = sum(map(len, FOREIGN_SCRIPT.findall(prose)))
    if strange and strange > 0.2 * sum(map(len, words)):
        return "mixed" if row.count("V") > 4 else "other"
    if not count:
        return "unclear"
    vietnamese = row.count("V")
    if vietnamese >= max(1, count / 7):
        english = english_words(words, row)
        if english >= 3 and english > max_english * count:
            if not quotes:
                return "mixed"
            plain = QUOTED.sub(lambda match: match[0] if marks(match[0]) else " ", prose)
            return "mixed" if plain == prose else label(plain, max_english, quotes=False)  # quoted is only mentioned
        others = small(words, row)
        return "other" if others > 2 * vietnamese and not english and not lists(prose, row) else "vi"
    lost = sum(kind == "d" and not word.isupper() for word, kind in zip(words, row, strict=True))
    return "unclear" if lists(prose, row) and not lost else without_marks(words, row, count)


def marks(text: str) -> bool:
    """Whether any word of a text is a marked Vietnamese syllable."""
    return any(kinds().get(word.lower()) == "V" for word in WORD.findall(text))


def without_marks(words: list[str], row: str, count: int) -> str:
    """The language of a text in which marked Vietnamese syllables are few or none."""
    lost, english = row.count("d"), row.count("e") + row.count("a") / 2
    foreign = row.count("o") + 2 * row.count("X") + row.count("b") / 2
    spelt = sum(map(row.count, "dvVab"))
    large = [word[0].isupper() for word, kind in zip(words, row, strict=True) if kind != "n"]
    # names and titles; a text all in capitals is none
    names = sum(large) >= 0.75 * len(large) and not all(map(str.isupper, words))
    if spelt >= 0.75 * count and english < 0.3 * count and (lost or count > 3) and spelt / 2 > foreign:
        return "unclear" if all(large) and names and count <= 6 else "vi-no-diacritics"
    if (names and (count > 6 or not english)) or (row.count("n") >= count and english < 2):
        return "unclear"
    if english and english >= foreign and english >= 0.1 * count:
        return "en"
    others = small(words, row)
    if count > 1 and (foreign > max(0.5, 0.1 * count) or (others > 1 and others >= 0.4 * count)):
        return "other"
    return "vi" if row.count("V") else "unclear"


def small(words: list[str], row: str) -> int:
    """The number of words in small letters that are neither Vietnamese nor English: names have capitals."""
    return sum(words[match.start()][0].islower() for match in re.finditer("[oXx]", row))


def lists(text: str, row: str) -> bool:
    """Whether a text is an enumeration of names or terms: many items of hardly more than two words, none of grammar."""
    items = len(re.findall(r"[,;\n]", text)) + 1
    grammar = row.count("e") + row.count("o")
    return items >= 3 and (len(row) < 1.5 * items or (len(row) <= 2.5 * items and not grammar))


def unknown(word: str) -> str:
    """``n`` for what is no word (a unit, an abbreviation, a formula), ``x`` in plain letters, ``X`` in foreign ones."""
    if (
        len(word) == 1
        or any(map(str.isdigit, word))
        or "_" in word
        or not (word.islower() or word.isupper() or word.istitle())
    ):
        return "n"
    if not word.isascii():
        return "X"
    return "x" if re.search("[aeiouy]", word, re.IGNORECASE) else "n"


def english_words(words: list[str], row: str) -> int:
    """The number of words in runs of English: three or more between Vietnamese words, and not a name or title."""
    total = 0
    for run in re.finditer(r"[eaxnovbd]{3,}", row):
        english = run[0].strip("vobd")
        if english.count("e") + english.count("a") / 2 < max(1.5, len(english) / 5):
            continue
        content = [
            word
            for word, kind in zip(words[run.start() : run.end()], run[0], strict=True)
            if kind in "xn" or (kind == "e" and len(word) > 3)
        ]
        if not all(word[0].isupper() for word in content):
            total += len(english)
    return total


@lru_cache(maxsize=4)  # one text is asked about many times in a row
def is_code(text: str) -> bool:
    """Whether most lines of a text are lines of a program, a query, a markup or a configuration."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    found = [line for line in lines if COMMENT.match(line) or CODE_LINE.fullmatch(line[:WIDTH])]
    real = [line for line in found if not COMMENT.match(line)]
    return bool(real) and sum(map(len, found)) > 0.6 * sum(map(len, lines))
