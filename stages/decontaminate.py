"""Nothing that the benchmarks ask is trained on.

A record goes when one of its texts, in Vietnamese or in the original that it was translated from, holds a benchmark's
question: the whole of a short one, a run of ``ngram`` syllables of a longer one, or the share ``near`` of its runs
of three with the same numbers; or when a question of a word or two is all that the record asks at first. A benchmark's
file may give each item's English ``original`` and its ``passage``, which are searched for likewise. How many questions
could only be sought as a whole record's, or not at all, is told. Not covered: questions in other words.
"""

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib import contract, records, shards
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.dedup import contamination, minhash, shingles
from stages.lib.dedup.contamination import Hit, Index
from stages.lib.params import Decontaminate, Runner
from stages.lib.records import Verdict
from stages.lib.sources import datafile, rows

if TYPE_CHECKING:
    import pyarrow as pa

ASKED = ("question", "passage", "original")  # texts of a benchmark item; the first one every item has


def main(
    table: Dep, kept: Out, dropped: Out, sought: Out, *items: Dep, engine: Runner, decontaminate: Decontaminate
) -> None:
    """Sift a table's records by the questions of every benchmark."""
    index = contamination.index(
        [question for path in items for question in asked(path)], decontaminate.ngram, decontaminate.near
    )
    told = contamination.told(index)
    sought.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if told["alone"] or told["unsearched"]:
        print(
            f"note: of {told['questions']:,} texts of the benchmarks {told['alone']:,} have so few words of their own"
            f" that only a record that asks nothing else is dropped for them, and {told['unsearched']:,} have none at"
            " all and can't be looked for",
            file=sys.stderr,
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
        for row, text in first_asked(column) if index.alone else ():
            if row not in found and (question := contamination.repeated(index, text)) is not None:
                found[row] = "asked by a benchmark", index.questions[question]
    return shards.parted(shard, found)


def first_asked(column: "pa.ListArray") -> Iterator[tuple[int, str]]:
    """The rows of records in which a user speaks, and what is said first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    messages = column.flatten()
    spoken = np.flatnonzero(pc.equal(messages.field("role"), "user").to_numpy(zero_copy_only=False))
    ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False))
    rows, first = np.unique(np.searchsorted(ends, spoken, side="right"), return_index=True)
    yield from zip(rows.tolist(), messages.field("content").take(pa.array(spoken[first])).to_pylist(), strict=True)


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
