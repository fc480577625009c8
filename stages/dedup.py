"""Keep one record of each near-duplicate family.

Exact copies first, then near ones: MinHash finds candidates and their exact Jaccard similarity decides. With
``semantic``, families that say the same in other words are joined after that, by an encoder. Of a family stays the
record with the highest quality, where the table has such a column, of equals the one with the longest answer in
syllables, of equals the smallest id. Each drop names that record and how alike the two are, which in a chain of
near-duplicates may be less than the threshold. Kinds are compared among themselves, good verdicts among good ones, and
pairs ranked under one prompt are meant to be alike. Not covered: signs without letters or digits, to which the
comparison is blind (2 + 3, 2 - 3).
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import contract, families, minhash, records, semantic, shingles
from stages.lib.contract import Dep, Out
from stages.lib.families import Batch, Families
from stages.lib.params import Dedup
from stages.lib.records import Verdict
from stages.lib.semantic import Alike

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8192  # in a batch, at most
BATCH = 1 << 21  # bytes of it, about
ANSWERS = ("assistant", "chosen", "text")


def main(table: Dep, kept: Out, dropped: Out, *, dedup: Dedup) -> None:
    """Sift a table's records by what else stands in it."""
    verdicts = find(table, dedup, families.threads())
    place = itertools.count()
    records.sift(records.read(table), kept, dropped, lambda _: verdicts.get(next(place)))


def find(table: Path, dedup: Dedup, workers: int, engine: minhash.Engine | None = None) -> dict[int, Verdict]:
    """Why a row is not kept, by its position; rows that are kept are absent."""
    from tqdm import tqdm

    count = records.count(table)
    engine = engine or minhash.engine(records.size(table), dedup)
    with tqdm(total=2 * count, desc="dedup", unit="record", mininterval=1) as bar:
        found = families.find(functools.partial(read, table), count, dedup, engine, workers, bar.update)
    return verdicts(table, found, semantic.join(table, found.root, dedup.semantic) if dedup.semantic else None)


def read(table: Path) -> Iterator[Batch]:
    """A table's texts and what they may be compared with."""
    import pyarrow.parquet as pq

    fitting = BATCH * records.count(table) // max(1, records.size(table))
    with pq.ParquetFile(table) as file:
        for rows in file.iter_batches(min(max(fitting, 1), ROWS), columns=["kind", "group", "messages"]):
            yield batch(rows)


def batch(rows: "pa.RecordBatch") -> Batch:
    """What the comparison needs of some rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = rows["kind"].dictionary_encode()
    hashes = np.array([shingles.digest(str(kind)) for kind in kinds.dictionary.to_pylist()], dtype=np.uint64)
    siblings = np.zeros(len(rows), dtype=np.uint64)
    ranked = np.flatnonzero(pc.equal(rows["kind"], "preference").to_numpy(zero_copy_only=False))
    groups = rows["group"].take(pa.array(ranked)).to_pylist()
    siblings[ranked] = [shingles.digest(str(group)) | 1 for group in groups]
    texts = shingles.texts(rows["messages"])
    roles = rows["messages"].flatten().field("role")
    given = np.flatnonzero(pc.is_in(roles, pa.array(ANSWERS)).to_numpy(zero_copy_only=False))
    answers = np.full(len(rows), -1, dtype=np.int64)
    answers[np.searchsorted(texts.records, given, side="right") - 1] = given  # of several, the last
    compared = hashes[kinds.indices.to_numpy()]
    judged = np.flatnonzero(pc.equal(rows["kind"], "verdict").to_numpy(zero_copy_only=False))
    closing = roles.take(pa.array(texts.records[judged + 1] - 1)).to_pylist()
    # one answer that is praised and one that is not teach by their difference
    compared[judged] = [shingles.digest(f"verdict/{role}") for role in closing]
    return Batch(texts, compared, siblings, answers)


def verdicts(table: Path, found: Families, alike: Alike | None = None) -> dict[int, Verdict]:
    """The keeper of each family, and what the others are to it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    root = alike.root if alike else found.root
    members = np.flatnonzero(np.bincount(root, minlength=len(root))[root] > 1)
    names = ["id", "source", "upstream"]
    names += ["quality"] if "quality" in pq.read_schema(table).names else []
    parts, place = [], 0
    with pq.ParquetFile(table) as file:
        for rows in file.iter_batches(ROWS, columns=names):
            low, high = np.searchsorted(members, [place, place + len(rows)])
            parts.append(rows.take(pa.array(members[low:high] - place)))
            place += len(rows)
    if not len(members):
        return {}
    family = pa.Table.from_batches(parts).append_column("row", pa.array(members))
    family = family.append_column("family", pa.array(root[members]))
    family = family.append_column("answer", pa.array(found.answer[members]))
    family = family.append_column("digits", pc.utf8_length(family["upstream"]))
    best = [("quality", "descending")] if "quality" in names else []
    # equal ids are equal records of several sources, or rows of one: 45 comes before 123
    best += [(name, "descending" if name == "answer" else "ascending") for name in ("answer", "id", "source", "digits")]
    best += [("upstream", "ascending")]
    family = family.sort_by([("family", "ascending"), *best, ("row", "ascending")])
    judged: dict[int, Verdict] = {}
    keeper: dict[str, Any] = {}
    for row in family.select(["row", "family", "id"]).to_batches():
        for member in row.to_pylist():
            if member["family"] != keeper.get("family"):
                keeper = member
                continue
            one, other = member["row"], keeper["row"]
            if alike and found.root[one] != found.root[other]:
                judged[one] = "says the same", f"{keeper['id']} {alike.cosine(one, other):.3f}"
                continue
            same = found.exact[one] == found.exact[other]
            reason = "exact duplicate" if same else "near duplicate"
            judged[one] = reason, f"{keeper['id']} {found.similarity(one, other):.3f}"
    return judged


if __name__ == "__main__":
    contract.run(main)
