"""Normalise, then keep or say why not.

Every record is brought into one normal form, personal data is masked, and the filters are asked in order:
the first that objects gives the record its reason. A preference is judged by its prompt and its better
answer, since the worse one is meant to be bad. Not covered: whether an answer is true.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.lib import answers, contract, language, normal, pii, records, vietnamese
from stages.lib.contract import Dep, Out
from stages.lib.params import Clean
from stages.lib.records import Message, Record, Verdict
from stages.lib.validators import FAILURE_MARKERS

LANGUAGES = {  # the reason under which an answer in each is dropped; the others stay
    "en": "not Vietnamese",
    "other": "not Vietnamese",
    "mixed": "mixed languages",
    "vi-no-diacritics": "diacritics lost",
}
WORDS = re.compile(r"\w|[^\x00-\x7f]")  # or a sign that is meant, such as an emoji
# not those that make a table, a list, a set or a formula
SYMBOL = re.compile(r"[^\w\s.,:;|/()\[\]{}\"'“”‘’+=–—-]")
# an answer in another language, or code, is right when it was asked for
ASKS_FOREIGN = re.compile(
    r"\btiếng (anh|pháp|trung|nhật|hàn|đức|tây ban nha|nga|ý|bồ đào nha|latinh|nước ngoài)\b"
    r"|\bdịch (câu|đoạn|từ|sang|văn bản)\b"
    r"|\b(viết|đoạn) mã\b|\bbản dịch\b|\b(code|python|html|sql|css|java|javascript)\b",
    re.IGNORECASE,
)


def main(kept: Out, dropped: Out, toxic: Dep, spam: Dep, *tables: Dep, clean: Clean) -> None:
    """Sift every table's records into one."""
    filters = build_filters(phrases(toxic), phrases(spam), clean)
    normalised = (normalise(record, clean) for record in records.read(*tables))
    records.sift(normalised, kept, dropped, lambda record: judge(record, filters))


@dataclass(frozen=True)
class Lexicon:
    """Phrases to look for as whole words."""

    plain: tuple[str, ...]  # in small letters: a text that holds none of them needs no closer look
    pattern: re.Pattern[str]

    def find(self, text: str) -> str:
        """The first phrase in a text, or an empty string."""
        small = text.lower()
        match = self.pattern.search(text) if any(phrase in small for phrase in self.plain) else None
        return match[0] if match else ""


def phrases(path: Path) -> Lexicon:
    """A lexicon's phrases, one a line; ``=`` before one minds its case, ``#`` begins a comment."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    written = [line for line in lines if line]
    found = "|".join(f"(?-i:{re.escape(line[1:])})" if line[0] == "=" else re.escape(line) for line in written)
    pattern = re.compile(rf"(?<!\w)(?:{found})(?!\w)", re.IGNORECASE)
    return Lexicon(tuple(line.removeprefix("=").lower() for line in written), pattern)


def normalise(record: Record, clean: Clean) -> Record:
    """The record in normal form, with what was changed in its notes."""
    changes: Counter[str] = Counter()
    messages: list[Message] = []
    for message in record["messages"]:
        text, changed = normal.normalise(message["content"], clean.tone)
        masked, found = pii.mask(text)
        changes += changed + Counter({f"personal data: {name}": count for name, count in found.items()})
        messages.append({"role": message["role"], "content": masked})
    original: list[Message] = [
        {"role": message["role"], "content": pii.mask(message["content"])[0]} for message in record["original"]
    ]
    notes = [f"{name}×{count}" for name, count in sorted(changes.items()) if count]
    return {**record, "messages": messages, "original": original, "notes": record["notes"] + notes}


Filter = Callable[[Record, str, str], Verdict | None]  # (record, all judged texts, the answer)


def judge(record: Record, filters: list[Filter]) -> Verdict | None:
    """The first objection, or None."""
    judged = "\n".join(message["content"] for message in record["messages"] if message["role"] != "rejected")
    # a verdict against an answer may hold none that is meant to be good
    answer = next((records.content(record, role) for role in ("assistant", "chosen", "text") if has(record, role)), "")
    return next((verdict for ask in filters if (verdict := ask(record, judged, answer))), None)


def has(record: Record, role: str) -> bool:
    """Whether any text of the record has the role."""
    return any(message["role"] == role for message in record["messages"])


def build_filters(toxic: Lexicon, spam: Lexicon, clean: Clean) -> list[Filter]:
    """The filters in the order in which they are asked, each a question with a named reason."""

    def empty(record: Record, judged: str, answer: str) -> Verdict | None:
        roles = [message["role"] for message in record["messages"] if not message["content"]]
        return ("empty", roles[0]) if roles else None

    def failed_translation(record: Record, judged: str, answer: str) -> Verdict | None:
        marker = next((marker for marker in FAILURE_MARKERS if marker in judged), None)
        return ("failure marker", marker) if marker else None

    def personal(record: Record, judged: str, answer: str) -> Verdict | None:
        found = [note for note in record["notes"] if note.startswith("personal data")]
        return ("personal data", found[0]) if found and clean.pii == "drop" else None

    def matches(name: str, lexicon: Lexicon) -> Filter:
        def ask(record: Record, judged: str, answer: str) -> Verdict | None:
            found = lexicon.find(judged)
            return (name, found) if found else None

        return ask

    def loops(record: Record, judged: str, answer: str) -> Verdict | None:
        return ("loops", answer[-80:]) if vietnamese.loops(answer) else None

    def foreign(record: Record, judged: str, answer: str) -> Verdict | None:
        if len(vietnamese.syllables(answer)) < clean.min_judged_syllables:
            return None  # a name or a number is no language
        found = language.classify(answer, clean.max_english)
        if found not in LANGUAGES or wants_foreign(record):
            return None
        return LANGUAGES[found], answer[:80]

    def translated(record: Record, judged: str, answer: str) -> Verdict | None:
        found = answers.translated_code(answer)
        return ("translated code", found) if found else None

    def symbols(record: Record, judged: str, answer: str) -> Verdict | None:
        share = len(SYMBOL.findall(answer)) / max(1, len(answer))
        if len(answer) < 20 or share <= clean.max_symbols or language.is_code(answer):
            return None
        return "symbols", f"{share:.2f}"

    def repeats(record: Record, judged: str, answer: str) -> Verdict | None:
        lines = [line for line in answer.split("\n") if len(line) > 2 and WORDS.search(line)]
        share = 1 - len(set(lines)) / max(1, len(lines))
        if len(lines) >= 4 and share > clean.max_repeats:
            return "repeated lines", f"{share:.2f}"
        share = answers.repetition(answer) if len(answer) > 200 else 0
        return ("repetition", f"{share:.2f}") if share > clean.max_repetition else None

    def length(record: Record, judged: str, answer: str) -> Verdict | None:
        # a text has at least as many characters as syllables
        count = (
            len(vietnamese.syllables(judged)) if record["kind"] == "text" or len(judged) > clean.max_syllables else 0
        )
        if count > clean.max_syllables:
            return "too long", str(count)
        if record["kind"] == "text" and count < clean.min_text_syllables:
            return "too short", str(count)
        return ("too short", answer) if answer and len(answer) <= 3 and not WORDS.search(answer) else None

    def echo(record: Record, judged: str, answer: str) -> Verdict | None:
        question = records.content(record, "user")
        near = 0.5 < len(question) / max(1, len(answer)) < 2  # or not worth the look
        same = near and vietnamese.key(question) == vietnamese.key(answer)
        return ("answer repeats the prompt", answer[:80]) if same else None

    def refuses(record: Record, judged: str, answer: str) -> Verdict | None:
        found = answers.refusal(answer)
        return ("refusal", found) if found else None

    def cut(record: Record, judged: str, answer: str) -> Verdict | None:
        found = answers.truncated(answer, clean.min_prose_syllables) if record["kind"] != "text" else ""
        return ("truncated answer", found) if found else None

    lexical = [refuses, matches("spam", spam), matches("toxic", toxic)]
    formal = [loops, translated, foreign, symbols, repeats, length, echo, cut]
    return [empty, failed_translation, personal, *lexical, *formal]


def wants_foreign(record: Record) -> bool:
    """Whether a record's questions ask for another language or for code, or are in it themselves."""
    asked = "\n".join(message["content"] for message in record["messages"] if message["role"] in ("user", "system"))
    return bool(ASKS_FOREIGN.search(asked)) or language.classify(asked, 0.0) not in (
        "vi",
        "unclear",
        "vi-no-diacritics",
    )


if __name__ == "__main__":
    contract.run(main)
