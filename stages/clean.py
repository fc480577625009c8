"""Normalise, then keep or say why not.

Every record is brought into one normal form, personal data is masked, and the filters are asked in order:
the first that objects gives the record its reason. A preference is judged by its prompt and its better
answer, since the worse one is meant to be bad. Not covered: whether an answer is true.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from stages.lib import contract, pii, records, vietnamese
from stages.lib.contract import Dep, Out
from stages.lib.params import Clean
from stages.lib.records import Message, Record, Verdict
from stages.lib.validators import FAILURE_MARKERS

# an answer in another language is right when it was asked for
ASKS_FOREIGN = re.compile(
    r"\btiếng (anh|pháp|trung|nhật|hàn|đức)\b|\bdịch (câu|đoạn|từ|sang)\b|\b(viết|đoạn) mã\b"
    r"|\b(code|python|html|sql)\b",
    re.IGNORECASE,
)
# in the first person, since an answer may well say what a language model is
REFUSAL = re.compile(
    r"(?i:\b(?:tôi|mình|em) (?:chỉ )?là một|^(?:vì )?là một|\bvới tư cách là một) "
    r"(?:(?i:mô hình ngôn ngữ|trí tuệ nhân tạo|chatbot)|AI\b)|(?i:as an ai language model)",
    re.MULTILINE,
)
LONG = 8  # syllables from which Vietnamese prose is bound to show a diacritic


def main(kept: Out, dropped: Out, toxic: Dep, spam: Dep, *tables: Dep, clean: Clean) -> None:
    """Sift every table's records into one."""
    filters = build_filters(phrases(toxic), phrases(spam), clean)
    normalised = (normalise(record, clean) for record in records.read(*tables))
    records.sift(normalised, kept, dropped, lambda record: judge(record, filters))


def phrases(path: Path) -> re.Pattern[str]:
    """The phrases of a lexicon, one a line, as whole words; ``#`` begins a comment."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = "|".join(re.escape(line) for line in lines if line)
    # an empty list finds nothing; an empty pattern would find everything
    return re.compile(rf"(?<!\w)(?:{found})(?!\w)" if found else r"(?!)", re.IGNORECASE)


def normalise(record: Record, clean: Clean) -> Record:
    """The record in normal form, with what was changed in its notes."""
    changes: Counter[str] = Counter()
    messages: list[Message] = []
    for message in record["messages"]:
        text, changed = vietnamese.normalise(message["content"], clean.tone)
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
    answer = next(records.content(record, role) for role in ("assistant", "chosen", "text") if has(record, role))
    return next((verdict for ask in filters if (verdict := ask(record, judged, answer))), None)


def has(record: Record, role: str) -> bool:
    """Whether any text of the record has the role."""
    return any(message["role"] == role for message in record["messages"])


def build_filters(toxic: re.Pattern[str], spam: re.Pattern[str], clean: Clean) -> list[Filter]:
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

    def matches(name: str, pattern: re.Pattern[str]) -> Filter:
        def ask(record: Record, judged: str, answer: str) -> Verdict | None:
            match = pattern.search(judged)
            return (name, match[0]) if match else None

        return ask

    def loops(record: Record, judged: str, answer: str) -> Verdict | None:
        return ("loops", answer[-80:]) if vietnamese.loops(answer) else None

    def language(record: Record, judged: str, answer: str) -> Verdict | None:
        words = vietnamese.syllables(answer)
        if len(words) < LONG or vietnamese.has_diacritics(answer) or ASKS_FOREIGN.search(judged):
            return None
        if vietnamese.looks_english(answer):
            return "not Vietnamese", answer[:80]
        letters = sum(word.isalpha() for word in words)  # formulas, lists of numbers and names of things are fine
        return ("diacritics lost", answer[:80]) if letters / len(words) > 0.8 else None

    def symbols(record: Record, judged: str, answer: str) -> Verdict | None:
        share = sum(not (sign.isalnum() or sign.isspace()) for sign in answer) / len(answer)
        return ("symbols", f"{share:.2f}") if len(answer) >= 20 and share > clean.max_symbols else None

    def repeats(record: Record, judged: str, answer: str) -> Verdict | None:
        lines = [line for line in answer.split("\n") if line.strip()]
        share = 1 - len(set(lines)) / len(lines)
        return ("repeated lines", f"{share:.2f}") if len(lines) >= 4 and share > clean.max_repeats else None

    def length(record: Record, judged: str, answer: str) -> Verdict | None:
        count = len(vietnamese.syllables(judged))
        if count > clean.max_syllables:
            return "too long", str(count)
        if record["kind"] == "text" and count < clean.min_text_syllables:
            return "too short", str(count)
        return None

    def echo(record: Record, judged: str, answer: str) -> Verdict | None:
        question = records.content(record, "user")
        same = bool(question) and vietnamese.key(question) == vietnamese.key(answer)
        return ("answer repeats the prompt", answer[:80]) if same else None

    def refuses(record: Record, judged: str, answer: str) -> Verdict | None:
        match = REFUSAL.search(answer)
        return ("refusal", match[0]) if match else None

    lexical = [refuses, matches("spam", spam), matches("toxic", toxic)]
    return [empty, failed_translation, personal, *lexical, loops, language, symbols, repeats, length, echo]


if __name__ == "__main__":
    contract.run(main)
