"""Nothing that the benchmarks ask is trained on.

A record goes when one of its texts, in Vietnamese or in the original that it was translated from, holds a
run of ``ngram`` syllables of a benchmark question, or the whole of a shorter question. Not covered:
questions in other words.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from stages.lib import contract, datafile, records, rows
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.params import Decontaminate
from stages.lib.records import Record, Verdict
from stages.lib.vietnamese import key

SHORTEST = 3  # syllables: fewer than these in a row are no question
Runs = dict[int, dict[str, str]]  # length in syllables → run → the question that it is of


def main(table: Dep, kept: Out, dropped: Out, *items: Dep, decontaminate: Decontaminate) -> None:
    """Sift a table's records by the questions of every benchmark."""
    runs = index(question for path in items for question in questions(path))
    runs = cut(runs, decontaminate.ngram)
    records.sift(records.read(table), kept, dropped, lambda record: overlap(record, runs))


def questions(path: Path) -> Iterator[str]:
    """The ``question`` of every item of a benchmark file of JSON lines."""
    for item in datafile.read(path):
        number, row = (item.upstream, item.reason) if isinstance(item, rows.Refused) else item
        if not isinstance(row, dict) or not isinstance(row.get("question"), str):
            raise Refusal(f"{path}, line {number}: a benchmark item is a JSON object with a text under `question`")
        yield row["question"]


def index(asked: Iterator[str]) -> Runs:
    """Whole questions by their length."""
    runs: Runs = defaultdict(dict)
    for question in asked:
        words = key(question).split()
        if len(words) >= SHORTEST:
            runs[len(words)][" ".join(words)] = question
    return runs


def cut(whole: Runs, ngram: int) -> Runs:
    """Questions longer than ``ngram`` syllables as their runs of that length."""
    runs: Runs = {length: dict(found) for length, found in whole.items() if length <= ngram}
    for length, found in whole.items():
        for text, question in found.items():
            words = text.split()
            for place in range(length - ngram + 1 if length > ngram else 0):
                runs.setdefault(ngram, {})[" ".join(words[place : place + ngram])] = question
    return runs


def overlap(record: Record, runs: Runs) -> Verdict | None:
    """The first question that a record holds, or None."""
    for message in [*record["messages"], *record["original"]]:
        words = key(message["content"]).split()
        for length, found in sorted(runs.items()):
            for place in range(len(words) - length + 1):
                if question := found.get(" ".join(words[place : place + length])):
                    return "asked by a benchmark", question
    return None


if __name__ == "__main__":
    contract.run(main)
