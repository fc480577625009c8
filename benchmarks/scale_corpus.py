"""Records for a run through the data stages: :mod:`benchmarks.corpus` with the faults that upstream data has.

Of a hundred records about twenty carry a fault, by a draw of their own: what ``clean`` puts right (look-alike
letters, entities, control characters, blanks, tones in the new places, telephone numbers and addresses), what it
drops (refusals, loops, English, cut or empty answers), and a question of a benchmark for ``decontaminate``. Not
covered: records of real length and taste, since half the words mean nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages.lib import records
from stages.lib.records import Message, Record

CHUNK = 50_000  # records that are made and held at a time; copies are copies within one
ENGLISH = "This is an answer that was left in English because the translation of the whole text has failed somewhere."
REFUSED = "Là một mô hình ngôn ngữ, tôi không thể trả lời câu hỏi này."
LOOP = " rất là vui" * 20
FAULTS: tuple[Callable[[str], str], ...] = (
    lambda text: text.replace(" ", "  ", 3).replace(".", ".\u200b", 2),
    lambda text: text.replace("a", "\u0430", 3),  # Cyrillic
    lambda text: text.replace(". ", "&nbsp;&amp; ", 2),
    lambda text: f"{text} Gọi 0912 345 678 hoặc viết cho lan.nguyen@vnmail.vn, số nhà 7, phố Hàng Bạc.",
    lambda text: text.replace("òa", "oà").replace("ủy", "uỷ"),
    lambda text: f"{REFUSED} {text}",
    lambda text: text + LOOP,
    lambda text: f"{ENGLISH} {ENGLISH}",
    lambda text: text[: len(text) * 2 // 3] + " và",
    lambda text: "",
)
SHARE = 0.02  # of the records, for each fault


def rows(count: int, questions: list[str], first: int = 0) -> Iterator[Record]:
    """``count`` records: instructions, one in ten a plain text and one in twenty a ranked pair."""
    for start in range(first, first + count, CHUNK):
        yield from chunk(min(CHUNK, first + count - start), start, questions)


def chunk(count: int, start: int, questions: list[str]) -> Iterator[Record]:
    """Some records, numbered from ``start``, which is the seed as well."""
    from benchmarks import corpus

    rng = np.random.default_rng(start)
    drawn, kinds, asked = rng.random(count), rng.random(count), rng.integers(len(questions), size=count)
    for row, text in enumerate(corpus.make(count, seed=start + 1).to_pylist()):
        question, _, answer = text.partition("\n")
        place = int(drawn[row] / SHARE)
        if place < len(FAULTS):
            answer = FAULTS[place](answer)
        elif place == len(FAULTS):
            question = questions[asked[row]]
        yield made(start + row, kinds[row], question, answer)


def made(number: int, drawn: float, question: str, answer: str) -> Record:
    """One record of the kind that was drawn."""
    kind = "text" if drawn < 0.1 else "preference" if drawn < 0.15 else "instruction"
    messages: list[Message] = [{"role": "user", "content": question}]
    if kind == "text":
        messages = [{"role": "text", "content": answer}]
    elif kind == "preference":
        messages += [{"role": "chosen", "content": answer}, {"role": "rejected", "content": answer[: len(answer) // 3]}]
    else:
        messages.append({"role": "assistant", "content": answer})
    return records.make(
        kind, messages, source="synthetic", licence="CC0-1.0", lang="vi", upstream=str(number), group=""
    )


def tables(paths: list[Path], count: int, questions: list[str]) -> None:
    """``count`` records over some tables, as evenly as whole numbers allow."""
    bounds = [count * place // len(paths) for place in range(len(paths) + 1)]
    for path, first, last in zip(paths, bounds[:-1], bounds[1:], strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write(path, rows(last - first, questions, first))
