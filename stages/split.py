"""What is trained on, and what is held out.

A family falls on one side as a whole: a conversation's pieces, a message tree with its ranked pairs, a task with those
evolved from it (one ``group``), and all groups in which the same prompt is answered. Of the families of one source and
broad topic the same share is held out, those with the smallest hash of a group and ``split.seed``: so new
data moves only what stands at the edge. Families that hold ranked answers are held out in their own share, since they
are few. Not covered: prompts that ask the same in other words.
"""

import hashlib
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from stages.lib import contract, records, shingles, subjects, vietnamese
from stages.lib.contract import Dep, Out
from stages.lib.params import Split
from stages.lib.records import Record
from stages.lib.subjects import Lexicon

SETS = {
    "text": "text", "instruction": "sft", "conversation": "sft", "preference": "preferences", "verdict": "preferences",
}  # fmt: skip
RANKED = ("preference", "verdict")
ABOUT = 1500  # characters of a record that tell its topic

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """Of each record: hashes of its group and prompt (0: none), its family's draw if it is the first, its stratum."""

    group: U64
    prompt: U64
    draw: U64
    stratum: I64
    ranked: npt.NDArray[np.bool_]


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
    rows = survey(watched(table, "split, looking"), records.count(table), subjects.read(topics), split.seed)
    held = held_out(rows, split)
    fresh = first(rows.prompt)
    paths = {
        ("text", "train"): text_train,
        ("text", "validation"): text_validation,
        ("sft", "train"): sft_train,
        ("sft", "validation"): sft_validation,
        ("preferences", "train"): preferences_train,
        ("preferences", "validation"): preferences_validation,
        ("prompts", "train"): prompts_train,
        ("prompts", "validation"): prompts_validation,
    }
    with ExitStack() as stack:
        tables = {place: stack.enter_context(records.Table(path)) for place, path in paths.items()}
        for place, record in enumerate(watched(table, "split")):
            side = "validation" if held[place] else "train"
            tables[SETS[record["kind"]], side].add(record)
            if fresh[place] and (prompt := to_prompt(record)) is not None:
                tables["prompts", side].add(prompt)


def watched(table: Path, desc: str) -> Iterator[Record]:
    """A table's records, with a bar on the screen where there are many."""
    yield from tqdm(records.read(table), desc, records.count(table), unit="record", mininterval=1, delay=1)


def survey(rows: Iterator[Record], count: int, lexicon: Lexicon, seed: int) -> Rows:
    """What of each record decides where it falls."""
    found = Rows(
        np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.int64),
        np.zeros(count, np.bool_),
    )  # fmt: skip
    strata: dict[tuple[str, str], int] = {}
    for place, record in enumerate(rows):
        syllables = vietnamese.syllables(records.plain(record)[:ABOUT].lower())
        stratum = record["source"], subjects.broad(syllables, lexicon)
        prompt = to_prompt(record)
        found.group[place] = shingles.digest(record["group"])
        found.prompt[place] = shingles.digest(fold(records.plain(prompt))) | 1 if prompt else 0
        found.draw[place] = draw(record["group"], seed)
        found.stratum[place] = strata.setdefault(stratum, len(strata))
        found.ranked[place] = record["kind"] in RANKED
    # by name, so that the order of the records decides nothing
    order = np.argsort(sorted(range(len(strata)), key=list(strata).__getitem__)) if strata else np.zeros(0, np.int64)
    return found._replace(stratum=order[found.stratum])


def fold(text: str) -> str:
    """A prompt without what makes it no other one: case, composition, white space, where tones stand."""
    return " ".join(vietnamese.place_tones(unicodedata.normalize("NFC", text), "old").lower().split())


def draw(group: str, seed: int) -> int:
    """A group's place among all, drawn by hash."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{group}".encode()).digest()[:8])


def held_out(rows: Rows, split: Split) -> npt.NDArray[np.bool_]:
    """Whether each record is on the validation side."""
    family = families(rows.group, rows.prompt)
    ranked = np.zeros(len(family), np.bool_)
    np.logical_or.at(ranked, family, rows.ranked)
    heads = np.flatnonzero(family == np.arange(len(family)))
    # the least of each, so that the order of the records decides nothing
    drawn, stratum = rows.draw.copy(), rows.stratum.copy()
    np.minimum.at(drawn, family, rows.draw)
    np.minimum.at(stratum, family, rows.stratum)
    held = np.zeros(len(family), np.bool_)
    for share, kind in ((split.validation, False), (split.preferences, True)):
        mine = heads[ranked[heads] == kind]
        mine = mine[np.lexsort((drawn[mine], stratum[mine]))]
        # what rounding leaves of one stratum goes to the next, so that all of them together have the share too
        wanted = np.floor(np.arange(len(mine) + 1) * share + 0.5).astype(np.int64)
        _, begins, sizes = np.unique(stratum[mine], return_index=True, return_counts=True)
        place = np.arange(len(mine)) - np.repeat(begins, sizes)
        held[mine[place < np.repeat(wanted[begins + sizes] - wanted[begins], sizes)]] = True
    return held[family]


def families(group: U64, prompt: U64) -> I64:
    """The first record of each record's family: those joined by a group or by a prompt, directly or not."""
    found = earliest(group)
    asked = np.flatnonzero(prompt)
    asker = asked[earliest(prompt[asked])]
    while True:
        # the least member that a prompt knows, then the least that a family knows, until nothing moves
        least = found.copy()
        np.minimum.at(least, asker, found[asked])
        least[asked] = least[asker]
        joined = np.full(len(found), len(found))
        np.minimum.at(joined, found, least)
        new = joined[found]
        if (new == found).all():
            return new
        found = new[new]


def earliest(values: U64) -> I64:
    """For each value the first place where it stands."""
    _, place, which = np.unique(values, return_index=True, return_inverse=True)
    return place[which].astype(np.int64)


def first(prompts: U64) -> npt.NDArray[np.bool_]:
    """Whether a record is the first to ask its prompt."""
    return (prompts != 0) & (earliest(prompts) == np.arange(len(prompts)))


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
