"""Normalise, then keep or say why not.

Every record is brought into one normal form, personal data is masked, and the filters are asked in order:
the first that objects gives the record its reason. A preference is judged by its prompt and its better
answer, since the worse one is meant to be bad. A conversation's answers are all asked whether they loop; the other
questions about an answer are put to the last one. What is kept has a ``quality``, 0 to 1, by which ``dedup`` chooses:
how far the answer stays from the limits of its form, and a little less for what a model translated or wrote. Not
covered: whether an answer is true.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from stages.lib import contract, records, shards
from stages.lib.clean import answers, pii, toxicity
from stages.lib.clean.translated import translated_code
from stages.lib.contract import Dep, Out
from stages.lib.params import Clean, Runner
from stages.lib.records import Message, Record, Verdict
from stages.lib.text import language, normal, vietnamese
from stages.lib.text.lexicon import Lexicon, phrases

if TYPE_CHECKING:
    import pyarrow as pa

LANGUAGES = {  # the reason under which an answer in each is dropped; the others stay
    "en": "not Vietnamese",
    "other": "not Vietnamese",
    "mixed": "mixed languages",
    "vi-no-diacritics": "diacritics lost",
}
WORDS = re.compile(r"\w|[^\x00-\x7f]")  # or a sign that is meant, such as an emoji
# a question to which a sign is the whole answer
ASKS_SIGN = re.compile(r"(?<!\w)(?:dấu|k[ýí] hiệu|biểu tượng|so sánh|điền|toán tử|mặt cười)(?!\w)", re.IGNORECASE)
CODE = re.compile(rf"{language.FENCED.pattern}|`[^`\n]+`", re.DOTALL)  # is not searched for phrases
# not those that make a table, a list, a set or a formula
SYMBOL = re.compile(r"[^\w\s.,:;|/()\[\]{}\"'“”‘’+=–—-]")
# an answer in another language is right when it was asked for
ASKS_FOREIGN = re.compile(
    r"\btiếng (anh|pháp|trung|nhật|hàn|đức|tây ban nha|nga|ý|bồ đào nha|latinh|nước ngoài)\b"
    r"|\bdịch (câu|đoạn|từ|sang|văn bản)\b|\bbản dịch\b",
    re.IGNORECASE,
)
# what a translator was told, or said, instead of the text
TRANSLATOR = re.compile(r"đây là bản dịch (?:từ )?tiếng \w+ sang tiếng \w+, (?:vui lòng|xin|hãy)\b", re.IGNORECASE)
# abuse is quoted by one who asks to find it or to take it out
ASKS_ABUSE = re.compile(r"\b(?:kiểm duyệt|thô tục|tục tĩu|xúc phạm|chửi|độc hại|thù ghét|lăng mạ)\b", re.IGNORECASE)
# an advert is right when it was asked for, and quoted by one who warns of it
ASKS_ADVERT = re.compile(
    r"\b(?:quảng cáo|kịch bản|lừa đảo|cảnh giác|tin nhắn rác|khuyến mãi|giảm giá|tiếp thị)\b", re.IGNORECASE
)
MOST = 0.6  # of an answer's words
ASKS_SKETCH = re.compile(r"\b(?:mã giả|giả mã|pseudo ?code)\b", re.IGNORECASE)  # code in anybody's own words


def main(kept: Out, dropped: Out, toxic: Dep, spam: Dep, *tables: Dep, engine: Runner, clean: Clean) -> None:
    """Sift every table's records into one."""
    work = functools.partial(sift, toxic=phrases(toxic), spam=phrases(spam), clean=clean)
    shards.sift(tables, kept, dropped, work, engine, records.JUDGED)
    if clean.toxicity:
        toxicity.sift(kept, dropped, clean.toxicity)


def sift(shard: "pa.RecordBatch", *, toxic: Lexicon, spam: Lexicon, clean: Clean) -> shards.Sifted:
    """Each record of a shard in normal form, and the first objection to it."""
    import pyarrow as pa

    filters = build_filters(toxic, spam, clean)
    good: list[float] = []

    def judged(record: Record) -> tuple[Record, Verdict | None]:
        new = normalise(record, clean)
        if (verdict := judge(new, filters)) is None:
            good.append(quality(new, clean))
        return new, verdict

    found = shards.judged(shard, judged)
    return found._replace(kept=found.kept.append_column("quality", pa.array(good, pa.float64())))


def normalise(record: Record, clean: Clean) -> Record:
    """The record in normal form, with what was changed in its notes."""
    changes: Counter[str] = Counter()
    messages: list[Message] = []
    for message in record["messages"]:
        text, changed = normal.normalise(message["content"], clean.tone)
        masked, found = masking(text)
        changes.update(changed)
        changes.update({f"personal data: {name}": count for name, count in found.items()})
        messages.append({"role": message["role"], "content": masked})
    original: list[Message] = [
        {"role": message["role"], "content": masking(message["content"])[0]} for message in record["original"]
    ]
    notes = [f"{name}×{count}" for name, count in sorted(changes.items()) if count]
    return {**record, "messages": messages, "original": original, "notes": record["notes"] + notes}


def masking(text: str) -> tuple[str, Counter[str]]:
    """A text without personal data, and what was found; a program's numbers and names are left to it."""
    return (text, Counter()) if normal.is_program(text) else pii.mask(text)


Filter = Callable[[Record, str, str], Verdict | None]  # (record, all judged texts, the answer)


def judge(record: Record, filters: list[Filter]) -> Verdict | None:
    """The first objection, or None."""
    judged = "\n".join(message["content"] for message in record["messages"] if message["role"] != "rejected")
    answer = judged_answer(record)
    return next((verdict for ask in filters if (verdict := ask(record, judged, answer))), None)


def judged_answer(record: Record) -> str:
    """The answer that is judged; empty where none is meant to be good."""
    role = answer_role(record)
    return "" if role == "rejected" else records.content(record, role)


def quality(record: Record, clean: Clean) -> float:
    """How far an answer stays from the limits of its form, 0 to 1.

    In tenths, so that among copies that differ a little their length decides; half a tenth less for a model's words,
    so that of equals what people wrote stays.
    """
    limits = clean.max_symbols, clean.max_repeats, clean.max_repetition
    used = [share / limit for share, limit in zip(shares(prose(judged_answer(record))), limits, strict=True) if share]
    tenths = round(10 * max(0.0, 1 - max(used, default=0.0)))
    return max(0, 20 * tenths - 10 * bool(record["teacher"])) / 200


def answer_role(record: Record) -> str:
    """The role of the answer that is judged, or an empty string where there is none.

    A verdict against an answer closes with ``rejected`` alone and holds none that is meant to be good.
    """
    roles = {message["role"] for message in record["messages"]}
    if "rejected" in roles and "chosen" not in roles:
        return "rejected" if record["kind"] == "verdict" else ""
    return next((role for role in ("chosen", "assistant", "text") if role in roles), "")


def prose(answer: str) -> str:
    """An answer without its fenced parts, or nothing of an answer that is code: code may repeat itself."""
    plain = language.FENCED.sub(" ", answer)
    return "" if language.is_code(plain) else plain


@functools.lru_cache(maxsize=4)  # asked by two filters and for the quality
def shares(plain: str) -> tuple[float, float, float]:
    """What of a text is symbols, lines that came before, and runs of syllables that did; 0 where it is too short."""
    symbols = len(SYMBOL.findall(plain)) / len(plain) if len(plain) >= 20 else 0.0
    # items may be the same again: a form's answers, what goes into several dishes
    lines = [
        line for line in plain.split("\n") if len(line) > 2 and WORDS.search(line) and not answers.ITEM.match(line)
    ]
    same = 1 - len(set(lines)) / len(lines) if len(lines) >= 4 else 0.0
    return symbols, same, answers.repetition(plain) if len(plain) > 200 else 0.0


def build_filters(toxic: Lexicon, spam: Lexicon, clean: Clean) -> list[Filter]:
    """The filters in the order in which they are asked, each a question with a named reason."""

    def unanswered(record: Record, judged: str, answer: str) -> Verdict | None:
        return None if answer_role(record) else ("no answer", " ".join(turn["role"] for turn in record["messages"]))

    def empty(record: Record, judged: str, answer: str) -> Verdict | None:
        if any(turn["role"] == "user" and not turn["content"] for turn in record["messages"]):
            return "empty", "user"
        role = answer_role(record)
        return ("empty", role) if not answer and role != "rejected" else None

    def failed_translation(record: Record, judged: str, answer: str) -> Verdict | None:
        told = TRANSLATOR.search(judged)
        marker = told[0] if told else next((marker for marker in answers.FAILURE_MARKERS if marker in judged), None)
        return ("failure marker", marker) if marker else None

    def personal(record: Record, judged: str, answer: str) -> Verdict | None:
        found = [note for note in record["notes"] if note.startswith("personal data")]
        return ("personal data", found[0]) if found and clean.pii == "drop" else None

    def adverts(record: Record, judged: str, answer: str) -> Verdict | None:
        found = spam.find(CODE.sub(" ", answer))
        return ("spam", found) if found and not ASKS_ADVERT.search(questions(record)) else None

    def abuses(record: Record, judged: str, answer: str) -> Verdict | None:
        searched = answer if ASKS_ABUSE.search(questions(record)) else judged
        found = toxic.find(CODE.sub(" ", searched))
        return ("toxic", found) if found else None

    def loops(record: Record, judged: str, answer: str) -> Verdict | None:
        given = [turn["content"] for turn in record["messages"] if turn["role"] == "assistant"]
        looped = next((text for text in dict.fromkeys((answer, *given)) if vietnamese.loops(prose(text))), "")
        return ("loops", looped[-80:]) if looped else None

    def foreign(record: Record, judged: str, answer: str) -> Verdict | None:
        if len(vietnamese.syllables(answer)) < clean.min_judged_syllables:
            return None  # a name or a number is no language
        found = language.classify(answer, clean.max_english)
        if found not in LANGUAGES or wants_foreign(record, clean.min_judged_syllables) or copies(record, answer):
            return None
        return LANGUAGES[found], answer[:80]

    def translated(record: Record, judged: str, answer: str) -> Verdict | None:
        found = "" if ASKS_SKETCH.search(questions(record)) else translated_code(language.FENCED.sub("\n", answer))
        return ("translated code", found) if found else None

    def symbols(record: Record, judged: str, answer: str) -> Verdict | None:
        share = shares(prose(answer))[0]
        return ("symbols", f"{share:.2f}") if share > clean.max_symbols else None

    def repeats(record: Record, judged: str, answer: str) -> Verdict | None:
        _, same, repeated = shares(prose(answer))
        if same > clean.max_repeats:
            return "repeated lines", f"{same:.2f}"
        return ("repetition", f"{repeated:.2f}") if repeated > clean.max_repetition else None

    def length(record: Record, judged: str, answer: str) -> Verdict | None:
        # a text has at least as many characters as syllables
        count = (
            len(vietnamese.syllables(judged)) if record["kind"] == "text" or len(judged) > clean.max_syllables else 0
        )
        if count > clean.max_syllables:
            return "too long", str(count)
        if record["kind"] == "text" and count < clean.min_text_syllables:
            return "too short", str(count)
        if not answer or len(answer) > 3 or WORDS.search(answer) or ASKS_SIGN.search(questions(record)):
            return None
        return "too short", answer

    def echo(record: Record, judged: str, answer: str) -> Verdict | None:
        question = records.content(record, "user")
        # fewer words, or other signs, may well be the answer: to a call, or to a sentence to be punctuated
        same = question.lower().split() == answer.lower().split() and len(vietnamese.syllables(answer)) >= 5
        return ("answer repeats the prompt", answer[:80]) if same else None

    def refuses(record: Record, judged: str, answer: str) -> Verdict | None:
        found = answers.refusal(answer)
        return ("refusal", found) if found else None

    def cut(record: Record, judged: str, answer: str) -> Verdict | None:
        found = answers.truncated(answer, clean.min_prose_syllables) if record["kind"] != "text" else ""
        return ("truncated answer", found) if found else None

    # a text's length comes before what takes longer the longer it is
    formal = [loops, length, translated, foreign, symbols, repeats, echo, cut]
    return [unanswered, empty, failed_translation, personal, refuses, adverts, abuses, *formal]


def questions(record: Record) -> str:
    """What the user and the system say in a record."""
    return "\n".join(message["content"] for message in record["messages"] if message["role"] in ("user", "system"))


def wants_foreign(record: Record, most: int) -> bool:
    """Whether a record's questions ask for another language, or are in it: in so few syllables that it is an exercise.

    What is foreign on both sides was never translated.
    """
    asked = questions(record)
    if ASKS_FOREIGN.search(asked):
        return True
    foreign = language.classify(asked, 0.0) not in ("vi", "unclear", "vi-no-diacritics")
    return foreign and (record["lang"] != "vi" or len(vietnamese.syllables(asked)) < most)


def copies(record: Record, answer: str) -> bool:
    """Whether most words of an answer stand in its question: it was asked to work on them."""
    given = set(vietnamese.syllables(questions(record).lower()))
    words = vietnamese.syllables(answer.lower())
    return sum(word in given for word in words) >= MOST * len(words)


if __name__ == "__main__":
    contract.run(main)
