"""Vietnamese instruction records with planted near-duplicates, the same for the same seed.

Words are made of the sounds of Vietnamese (an onset, a rime, a tone) and drawn by Zipf's law; a record is a request
from a template and an answer of sentences, some of them stock phrases that unrelated records share. Near three
records in ten are copies: of another case, decomposed (NFD), with the tone on the other vowel, with 1 to 20% of their
words replaced, left out or doubled, cut short, or continued; a copy may be copied again. In another corpus
nearly all are letters of a few forms, whose gaps are filled in differently: strangers, only just. Not covered: meaning.
"""

import unicodedata
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

ONSETS = "b c ch d đ g gi h kh l m n ng nh ph qu r s t th tr v x".split()
RIMES = (
    "a e ê i o ô ơ u ư ai ao au ay âu ây eo êu ia iu oa oai oe oi ôi ơi ua ui uy ưa ưi ưu"
    " am an ang anh ăm ăn ăng âm ân âng em en eng ênh iên iêng iêm im in inh oan oang om on ong"
    " ôm ôn ông ơn uân un ung uôn uông ươn ương ươm uyên"
).split()
CHECKED = "ac ach ap at ăc ăt âp ât ec et ich iêc iêt it oc ot ôc ôt ơp uc ut ưc ưt ươc uyêt".split()
TONES = ("", "\u0300", "\u0301", "\u0309", "\u0303", "\u0323")
REQUESTS = (
    "Hãy viết một đoạn văn ngắn về {}.",
    "Giải thích khái niệm {} cho học sinh lớp năm.",
    "Liệt kê những điều cần biết về {}.",
    "So sánh {} với những gì bạn đã học.",
    "Làm thế nào để {}?",
    "Vì sao {} lại quan trọng?",
    "Tóm tắt nội dung sau: {}.",
    "Cho tôi lời khuyên về {}.",
)
STOCK = (
    "dưới đây là một vài gợi ý mà bạn có thể tham khảo",
    "nói một cách ngắn gọn thì điều này phụ thuộc vào hoàn cảnh của mỗi người",
    "trước hết chúng ta cần hiểu rõ vấn đề là gì",
    "ngoài ra bạn nên hỏi thêm ý kiến của người có chuyên môn",
    "hy vọng những thông tin trên sẽ giúp ích cho bạn",
    "tóm lại đây là một việc cần thời gian và sự kiên trì",
    "ví dụ sau đây cho thấy rõ hơn điều vừa nói",
    "có nhiều cách để làm việc này nhưng cách đơn giản nhất là làm từng bước",
)
COMMON = (
    "và của là có các một được cho không trong người những với khi đã để này từ đến thì cũng như về ra nhiều phải trên"
    " năm vào làm sẽ lại còn nước ngày hơn nhưng việc theo đó bạn nên cần nếu mà hay do tại bằng rất chỉ đi học nhà con"
    " thể điều cách vì sau trước hai ba nói biết thấy mới lớn đầu tôi chúng mình họ ông bà anh chị em trẻ thành phố đất"
    " trời biển sông núi cây hoa ăn uống ngủ viết đọc nghe hỏi trả lời giúp dùng chọn mua bán tiền giá xe đường máy"
).split()
EDITS = (0.01, 0.03, 0.05, 0.1, 0.15, 0.2)  # of the words
PLACES = (
    ("òa", "oà"),
    ("óa", "oá"),
    ("ỏa", "oả"),
    ("ọa", "oạ"),
    ("ùy", "uỳ"),
    ("úy", "uý"),
    ("ủy", "uỷ"),
    ("ụy", "uỵ"),
)
WORDS = 20_000
CHUNK = 10_000
FORMS = (7, 7, 8, 9)  # words before each gap: of the longer ones the letters are alike, of the shorter not quite
GAPS = 10
CHOICES = 12  # for one gap in four, as for a town or a month


def syllables(rng: np.random.Generator) -> list[str]:
    """Some thousand syllables the common ones first, the others in an order of its own."""
    found = []
    for onset in ONSETS:
        for rime in RIMES + CHECKED:
            for tone in (TONES[2], TONES[5]) if rime in CHECKED else TONES:
                found.append(unicodedata.normalize("NFC", onset + toned(rime, tone)))
    order = rng.permutation(len(found))
    return COMMON + [found[place] for place in order]


def toned(rime: str, tone: str) -> str:
    """A rime with its tone on the modified vowel, else on the last but one of an open pair, else on the first."""
    vowels = [place for place, letter in enumerate(rime) if letter in "aăâeêioôơuưy"]
    marked = [place for place in vowels if rime[place] in "ăâêôơư"]
    second = len(vowels) > 2 or (len(vowels) > 1 and rime[-1] not in "aeiouy")
    at = marked[-1] if marked else vowels[second]
    return rime[: at + 1] + tone + rime[at + 1 :]


def words(rng: np.random.Generator) -> list[str]:
    """A lexicon of words of one and two syllables, the common ones first."""
    known = syllables(rng)
    weights = zipf(len(known))
    first, second = rng.choice(len(known), (2, WORDS), p=weights)
    single = rng.random(WORDS) < 0.35
    pairs = zip(first, second, single, strict=True)
    return [known[one] if alone else f"{known[one]} {known[two]}" for one, two, alone in pairs]


def zipf(count: int) -> np.ndarray:
    """Probabilities that fall as the rank to the power of 0.9."""
    weights = 1 / np.arange(3, count + 3) ** 0.9
    return weights / weights.sum()


def originals(rng: np.random.Generator, lexicon: list[str], count: int) -> Iterator[str]:
    """Records that know nothing of each other."""
    edges = np.cumsum(zipf(len(lexicon)))
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        lengths = np.clip(rng.lognormal(4.2, 0.55, size), 12, 900).astype(int)
        drawn = np.searchsorted(edges, rng.random(lengths.sum()))
        ends = np.cumsum(lengths)
        requests, stocks = rng.integers(len(REQUESTS), size=size), rng.integers(2 * len(STOCK), size=(size, 2))
        for row in range(size):
            text = [lexicon[min(word, len(lexicon) - 1)] for word in drawn[ends[row] - lengths[row] : ends[row]]]
            topic, body = " ".join(text[:4]), text[4:]
            sentences = [" ".join(body[place : place + 11]) for place in range(0, len(body), 11)]
            for place, stock in zip((0, len(sentences)), stocks[row], strict=True):
                if stock < len(STOCK):
                    sentences.insert(place, STOCK[stock])
            answer = ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)
            yield f"{REQUESTS[requests[row]].format(topic)}\n{answer}."


def copied(rng: np.random.Generator, lexicon: list[str], text: str) -> str:
    """A copy that differs in one of the ways that copies differ."""
    way = rng.integers(12)
    if way == 0:
        return text.upper() if rng.random() < 0.5 else text.lower()
    if way == 1:
        return unicodedata.normalize("NFD", text)
    if way == 2:
        for old, new in PLACES:
            text = text.replace(old, new)
        return text
    parts = text.split(" ")
    if way == 3:
        return " ".join(parts[: int(len(parts) * rng.uniform(0.6, 0.98))])
    if way == 4:
        return f"{text} {' '.join(lexicon[place] for place in rng.integers(len(lexicon), size=8))}."
    rate = EDITS[rng.integers(len(EDITS))]
    for place in np.flatnonzero(rng.random(len(parts)) < rate):
        kind = rng.integers(3)
        if kind == 0:
            parts[place] = lexicon[rng.integers(len(lexicon))]
        else:
            parts[place] = "" if kind == 1 else f"{parts[place]} {parts[place]}"
    return " ".join(part for part in parts if part)


def make(count: int, seed: int = 1, share: float = 0.3) -> pa.Array:
    """``count`` records as one column of texts, in random order."""
    rng = np.random.default_rng(seed)
    lexicon = words(rng)
    fresh = count - int(count * share)
    texts = list(originals(rng, lexicon, fresh))
    for origin in rng.integers(fresh, size=count - fresh):
        # one copy in ten is a copy of a copy
        source = int(rng.integers(fresh, len(texts))) if len(texts) > fresh and rng.random() < 0.1 else int(origin)
        texts.append(copied(rng, lexicon, texts[source]))
    return pa.array([texts[place] for place in rng.permutation(count)], type=pa.large_string())


def forms(count: int, seed: int = 1, share: float = 0.1) -> pa.Array:
    """``count`` letters in random order, each a form with its gaps filled in; some are copies, as above."""
    rng = np.random.default_rng(seed)
    lexicon = words(rng)
    edges = np.cumsum(zipf(len(lexicon)))
    given = [[[lexicon[word] for word in rng.integers(len(lexicon), size=size)] for _ in range(GAPS)] for size in FORMS]
    fresh = count - int(count * share)
    texts = []
    for form in rng.integers(len(FORMS), size=fresh):
        drawn = np.searchsorted(edges, rng.random(GAPS))
        drawn[::4] = rng.integers(CHOICES, size=len(drawn[::4]))
        parts = [[*fixed, lexicon[min(word, len(lexicon) - 1)]] for fixed, word in zip(given[form], drawn, strict=True)]
        texts.append(". ".join(" ".join(part) for part in parts))
    texts += [copied(rng, lexicon, texts[origin]) for origin in rng.integers(fresh, size=count - fresh)]
    return pa.array([texts[place] for place in rng.permutation(count)], type=pa.large_string())
