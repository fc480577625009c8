"""Nothing that the benchmarks ask is trained on.

A record goes when one of its texts, in Vietnamese or in the original that it was translated from, holds a benchmark's
question: the whole of a short one, a run of ``ngram`` syllables of a longer one, or the share ``near`` of its runs
of three with the same numbers. A benchmark's file may give each item's English ``original`` and its ``passage``, which
are searched for likewise. Not covered: questions in other words.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib import contamination, contract, datafile, minhash, records, rows, shards, shingles
from stages.lib.contamination import Hit, Index
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.params import Decontaminate, Runner
from stages.lib.records import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

ASKED = ("question", "passage", "original")  # texts of a benchmark item; the first one every item has


def main(table: Dep, kept: Out, dropped: Out, *items: Dep, engine: Runner, decontaminate: Decontaminate) -> None:
    """Sift a table's records by the questions of every benchmark."""
    index = contamination.index(
        [question for path in items for question in asked(path)], decontaminate.ngram, decontaminate.near
    )
    compiled = records.size(table) >= minhash.COMPILED_FROM
    shards.sift([table], kept, dropped, functools.partial(sift, index=index, compiled=compiled), engine)


def asked(path: Path) -> Iterator[str]:
    """The texts of every item of a benchmark file of JSON lines."""
    for item in datafile.read(path):
        number, row = (item.upstream, item.reason) if isinstance(item, rows.Refused) else item
        if not isinstance(row, dict) or not isinstance(row.get(ASKED[0]), str):
            raise Refusal(f"{path}, line {number}: a benchmark item is a JSON object with a text under `question`")
        for name in ASKED:
            if not isinstance(text := row.get(name, ""), str):
                raise Refusal(f"{path}, line {number}: `{name}` is a text, found {type(text).__name__}")
            if text:
                yield text


def sift(shard: "pa.RecordBatch", *, index: Index, compiled: bool) -> shards.Sifted:
    """Part a shard into the records that no benchmark asks and those that one does."""
    read = contamination.reader(compiled)
    found: dict[int, Verdict] = {}
    for name in ("messages", "original"):
        column = shard[name]
        texts = shingles.texts(column)
        hits = contamination.find(index, *read(texts)) if len(texts.messages) > 1 else iter(())
        for hit in sorted(hits, key=lambda hit: (hit.message, -hit.share, hit.question)):
            row = int(texts.records.searchsorted(hit.message, side="right")) - 1
            text = column[row][hit.message - int(texts.records[row])]["content"].as_py()
            if row not in found and (verdict := judge(hit, index, text)):
                found[row] = verdict
    return shards.parted(shard, found)


def judge(hit: Hit, index: Index, text: str) -> Verdict | None:
    """The reason and the question, or None where a text only resembles one."""
    question = index.questions[hit.question]
    if hit.share == 1:
        return "asked by a benchmark", question
    if contamination.same_numbers(question, text):
        return "near a benchmark's question", f"{hit.share:.2f} of: {question}"
    return None


if __name__ == "__main__":
    contract.run(main)
