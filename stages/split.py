"""What is trained on, and what is held out.

A family falls on one side as a whole: a conversation's pieces, a message tree with its ranked pairs, a task with those
evolved from it (one ``group``), and all groups in which the same prompt is answered. Of the families of one source and
broad topic the same share is held out, those with the smallest hash of a group and ``split.seed``: so new
data moves only what stands at the edge. Families that hold ranked answers are held out in their own share, since they
are few.

Memory, by record: 29 bytes for the hashes, about as much again for a moment to sort them, and a batch of each table.
Not covered: prompts that ask the same in other words.
"""

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from stages.lib import contract, records
from stages.lib.contract import Dep, Out
from stages.lib.dedup import shingles
from stages.lib.params import Split
from stages.lib.records import Record
from stages.lib.report import subjects
from stages.lib.report.subjects import Lexicon
from stages.lib.text import vietnamese

if TYPE_CHECKING:
    import pyarrow as pa

SETS = {
    "text": "text", "instruction": "sft", "conversation": "sft", "preference": "preferences", "verdict": "preferences",
}  # fmt: skip
RANKED = ("preference", "verdict")
ABOUT = 1500  # characters of a record that tell its topic

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


class Rows(NamedTuple):
    """Of each record: hashes of its group and prompt (0: none), its family's draw if it is the first, its stratum."""

    group: U64
    prompt: U64
    draw: U64
    stratum: U32
    ranked: Flags


def main(
    table: Dep,
    topics: Dep,
    text_train: Out,
    text_validation: Out,
    sft_train: Out,
    sft_validation: Out,
    preferences_train: Out,
    preferences_validation: Out,
    prompts_train: Out,
    prompts_validation: Out,
    *,
    split: Split,
) -> None:
    """Deal a table's records out by kind and side; the prompts are what the answered records ask, each once."""
    looked = watched(table, "split, looking", ["source", "kind", "group", "messages"])
    rows = survey(looked, records.count(table), subjects.read(topics), split.seed)
    held, fresh = held_out(rows, split), first(rows.prompt)
    del rows
    paths = {
        ("text", False): text_train,
        ("text", True): text_validation,
        ("sft", False): sft_train,
        ("sft", True): sft_validation,
        ("preferences", False): preferences_train,
        ("preferences", True): preferences_validation,
        ("prompts", False): prompts_train,
        ("prompts", True): prompts_validation,
    }
    place = 0
    with ExitStack() as stack:
        tables = {dealt: stack.enter_context(records.Table(path)) for dealt, path in paths.items()}
        for batch in watched(table, "split"):
            here = slice(place, place + len(batch))
            deal(batch, held[here], fresh[here], tables)
            place += len(batch)


def watched(table: Path, desc: str, columns: list[str] | None = None) -> "Iterator[pa.RecordBatch]":
    """A table in pieces, with a bar on the screen where there are many rows."""
    with tqdm(total=records.count(table), desc=desc, unit="record", mininterval=1, delay=1) as bar:
        for batch in records.batches(table, columns):
            yield batch
            bar.update(len(batch))


def deal(batch: "pa.RecordBatch", held: Flags, fresh: Flags, tables: dict[tuple[str, bool], records.Table]) -> None:
    """Append some records to the tables of their kind and side, and the prompts that they are the first to ask."""
    import pyarrow as pa

    sets = np.array([SETS[kind] for kind in batch["kind"].to_pylist()])
    for (name, side), table in tables.items():
        mine = fresh & (held == side) if name == "prompts" else (sets == name) & (held == side)
        if not mine.any():
            continue
        found = batch.filter(pa.array(mine))
        # rows that stay columns are a quarter of the size that they have as Python's objects
        table.append(records.batch(map(to_prompt, found.to_pylist())) if name == "prompts" else found)


def survey(batches: "Iterable[pa.RecordBatch]", count: int, lexicon: Lexicon, seed: int) -> Rows:
    """What of each record decides where it falls."""
    found = Rows(
        np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.uint32),
        np.zeros(count, np.bool_),
    )  # fmt: skip
    strata: dict[tuple[str, str], int] = {}
    for place, record in enumerate(record for batch in batches for record in batch.to_pylist()):
        syllables = vietnamese.syllables(records.plain(record)[:ABOUT].lower())
        stratum = record["source"], subjects.broad(syllables, lexicon)
        prompt = to_prompt(record)
        found.group[place] = shingles.digest(record["group"])
        found.prompt[place] = shingles.digest(vietnamese.fold(records.plain(prompt))) | 1 if prompt else 0
        found.draw[place] = draw(record["group"], seed)
        found.stratum[place] = strata.setdefault(stratum, len(strata))
        found.ranked[place] = record["kind"] in RANKED
    # by name, so that the order of the records decides nothing
    order = np.argsort(sorted(range(len(strata)), key=list(strata).__getitem__)).astype(np.uint32)
    return found._replace(stratum=order[found.stratum])


def draw(group: str, seed: int) -> int:
    """A group's place among all, drawn by hash."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{group}".encode()).digest()[:8])


def held_out(rows: Rows, split: Split) -> Flags:
    """Whether each record is on the validation side."""
    family = families(rows.group, rows.prompt)
    heads = family == np.arange(len(family), dtype=np.uint32)
    others = places(~heads)
    ranked, drawn, stratum = rows.ranked.copy(), rows.draw.copy(), rows.stratum.copy()
    # the least of each, so that the order of the records decides nothing
    np.logical_or.at(ranked, family[others], rows.ranked[others])
    np.minimum.at(drawn, family[others], rows.draw[others])
    np.minimum.at(stratum, family[others], rows.stratum[others])
    held = np.zeros(len(family), np.bool_)
    for share, kind in ((split.validation, False), (split.preferences, True)):
        mine = places(heads & (ranked == kind))
        mine = mine[np.lexsort((drawn[mine], stratum[mine]))]
        begins = np.flatnonzero(np.diff(stratum[mine])) + 1
        for begin, end in itertools.pairwise((0, *begins.tolist(), len(mine))):
            # what rounding leaves of one stratum goes to the next, so that all of them together have the share too
            wanted = math.floor(end * share + 0.5) - math.floor(begin * share + 0.5)
            held[mine[begin : begin + wanted]] = True
    return held[family]


def families(group: U64, prompt: U64) -> U32:
    """The first record of each record's family: those joined by a group or by a prompt, directly or not."""
    found, asked = earliest(group), places(prompt != 0)
    asker = asked[earliest(prompt[asked])]
    while True:
        # the least member that a prompt knows, then the least that a family knows, until nothing moves
        least = found.copy()
        np.minimum.at(least, asker, found[asked])
        least[asked] = least[asker]
        joined = np.full(len(found), len(found), np.uint32)
        np.minimum.at(joined, found, least)
        new = joined[found]
        if (new == found).all():
            return new
        found = new[new]


def earliest(values: U64) -> U32:
    """For each value the first place where it stands."""
    order = np.argsort(values, kind="stable").astype(np.uint32)
    new = np.ones(len(order), np.bool_)
    ordered = values[order]
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    del ordered
    first = order[new]
    found = np.empty(len(order), np.uint32)
    found[order] = first[np.cumsum(new, dtype=np.uint32) - np.uint32(1)]
    return found


def first(prompts: U64) -> Flags:
    """Whether a record is the first to ask its prompt."""
    return (prompts != 0) & (earliest(prompts) == np.arange(len(prompts), dtype=np.uint32))


def places(wanted: Flags) -> U32:
    """Where an array is true."""
    return np.flatnonzero(wanted).astype(np.uint32)


def to_prompt(record: Record) -> Record | None:
    """What a record asks, without the answers; None where nothing is asked."""
    messages = [] if record["kind"] == "text" else records.prompt(record)
    if not messages:
        return None
    return {
        **record,
        "id": records.fingerprint([m["content"] for m in messages]),
        "kind": "prompt",
        "messages": messages,
    }


if __name__ == "__main__":
    contract.run(main)
