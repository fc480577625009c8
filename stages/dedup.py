"""Keep one record of each near-duplicate family.

Exact copies first, then near ones: MinHash finds candidates and their exact Jaccard similarity decides. Of a
family the longest record stays, of equals the one with the smallest id, and each drop points at it. Kinds
are compared among themselves, and pairs ranked under one prompt are meant to be alike. Not covered:
texts that say the same in other words.
"""

import itertools
from collections import defaultdict
from pathlib import Path

from stages.lib import contract, records, vietnamese
from stages.lib.contract import Dep, Out
from stages.lib.minhash import Families, candidates, jaccard, permutations, shingles, signature
from stages.lib.params import Dedup
from stages.lib.records import Record, Verdict


def main(table: Dep, kept: Out, dropped: Out, *, dedup: Dedup) -> None:
    """Sift a table's records by what else stands in it."""
    verdicts = find(table, dedup)
    place = itertools.count()
    records.sift(records.read(table), kept, dropped, lambda _: verdicts.get(next(place)))


def find(table: Path, dedup: Dedup) -> dict[int, Verdict]:
    """Why a row is not kept, by its position; rows that are kept are absent."""
    found: dict[int, Verdict] = {}
    keepers = exact(table, found)
    by_kind: dict[str, list[int]] = defaultdict(list)
    rows = {place: record for place, record in enumerate(records.read(table)) if place in keepers}
    for place, record in rows.items():
        by_kind[record["kind"]].append(place)
    for places in by_kind.values():
        near([(place, rows[place]) for place in places], dedup, found)
    # the copy that an exact duplicate points at may itself have had a better near duplicate
    lost = {rows[place]["id"]: keeper for place, (_, keeper) in found.items() if place in rows}
    return {place: (reason, lost.get(keeper, keeper)) for place, (reason, keeper) in found.items()}


def exact(table: Path, found: dict[int, Verdict]) -> set[int]:
    """The positions of the first of each set of records with equal keys; the others are found."""
    first: dict[str, tuple[int, str]] = {}
    for place, record in enumerate(records.read(table)):
        key = f"{record['kind']}\n{vietnamese.key(records.plain(record))}"
        if key in first:
            found[place] = "exact duplicate", first[key][1]
        else:
            first[key] = place, record["id"]
    return {place for place, _ in first.values()}


def near(rows: list[tuple[int, Record]], dedup: Dedup, found: dict[int, Verdict]) -> None:
    """Find the near-duplicates among rows of one kind."""
    texts = [records.plain(record) for _, record in rows]
    sets = [shingles(text, dedup.shingle) for text in texts]
    hashers = permutations(dedup.permutations)
    families = Families(len(rows))
    for earlier, later in candidates((signature(hashes, hashers) for hashes in sets), dedup.bands):
        one, other = rows[earlier][1], rows[later][1]
        siblings = one["kind"] == "preference" and one["group"] == other["group"]
        joined = families.find(earlier) == families.find(later)
        if not siblings and not joined and jaccard(sets[earlier], sets[later]) >= dedup.threshold:
            families.join(earlier, later)
    best: dict[int, int] = {}
    order = sorted(range(len(rows)), key=lambda row: (-len(texts[row]), rows[row][1]["id"]))
    for row in order:
        best.setdefault(families.find(row), row)
    for row, (place, _) in enumerate(rows):
        if (keeper := best[families.find(row)]) != row:
            found[place] = "near duplicate", rows[keeper][1]["id"]


if __name__ == "__main__":
    contract.run(main)
