"""Keep one record of each near-duplicate family.

Exact copies first, then near ones: MinHash finds candidates and their exact Jaccard similarity decides. With
``semantic``, families that say the same in other words are joined after that, by an encoder. Of a family stays the
record with the highest quality, where the table has such a column, of equals the one with the longest answer in
syllables, of equals the smallest id. Each drop names that record and how alike the two are, which in a chain of
near-duplicates may be less than the threshold. Kinds are compared among themselves, good verdicts among good ones, and
pairs ranked under one prompt are meant to be alike; a third record that is near both still joins them. Not covered:
signs without letters or digits, to which the comparison is blind (2 + 3, 2 - 3); hundred thousands of records of one
long template that differ too much, but in fillings of which there are few: their comparisons grow with their square.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib import contract, records, shards
from stages.lib.contract import Dep, Out
from stages.lib.dedup import families, minhash, remote, semantic, shingles
from stages.lib.dedup.families import Batch, Families
from stages.lib.dedup.semantic import Alike
from stages.lib.params import Dedup, Runner

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8192  # in a batch, at most
BATCH = 1 << 21  # bytes of it, about
ANSWERS = ("assistant", "chosen", "text")


def main(table: Dep, kept: Out, dropped: Out, *, engine: Runner, dedup: Dedup) -> None:
    """Sift a table's records by what else stands in it."""
    size = records.size(table)
    if engine == "local":
        drops = find(table, dedup, shards.processors(), minhash.engine(size, dedup))
    else:
        with remote.sketching(size, dedup) as (sketching, workers):
            drops = find(table, dedup, workers, sketching)
    shards.write(divided(table, drops), kept, dropped)


def find(table: Path, dedup: Dedup, workers: int, engine: minhash.Engine) -> "pa.Table":
    """The rows that are not kept, by their position, each with its reason and the detail of it."""
    from tqdm import tqdm

    count = records.count(table)
    with tqdm(total=2 * count, desc="dedup", unit="record", mininterval=1) as bar:
        found = families.find(functools.partial(read, table), count, dedup, engine, workers, bar.update)
    return verdicts(table, found, semantic.join(table, found.root, dedup.semantic) if dedup.semantic else None)


def divided(table: Path, drops: "pa.Table") -> Iterator[shards.Sifted]:
    """A table's rows without and with a drop, shard by shard."""
    import numpy as np
    import pyarrow as pa

    gone, place = drops["row"].to_numpy(), 0
    for rows in records.batches(table):
        low, high = np.searchsorted(gone, [place, place + len(rows)]).tolist()
        keeping = np.ones(len(rows), dtype=bool)
        keeping[gone[low:high] - place] = False
        dropped = rows.filter(pa.array(~keeping))
        for name in ("reason", "detail"):
            dropped = dropped.append_column(name, drops[name].slice(low, high - low).combine_chunks())
        yield shards.Sifted(rows.filter(pa.array(keeping)), dropped)
        place += len(rows)


def read(table: Path) -> Iterator[Batch]:
    """A table's texts and what they may be compared with."""
    return map(batch, records.batches(table, ["kind", "group", "messages"], ROWS, BATCH))


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


def verdicts(table: Path, found: Families, alike: Alike | None = None) -> "pa.Table":
    """The rows that give way to the best of their family, and what they are to it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    root = alike.root if alike else found.root
    members = np.flatnonzero(np.bincount(root, minlength=len(root))[root] > 1)
    names = ["id", "source", "upstream"]
    names += ["quality"] if "quality" in pq.read_schema(table).names else []
    parts, place = [pa.RecordBatch.from_pylist([], pq.read_schema(table)).select(names)], 0
    for rows in records.batches(table, names):
        low, high = np.searchsorted(members, [place, place + len(rows)])
        parts.append(rows.take(pa.array(members[low:high] - place)))
        place += len(rows)
    family = pa.Table.from_batches(parts).append_column("row", pa.array(members))
    family = family.append_column("family", pa.array(root[members]))
    family = family.append_column("answer", pa.array(found.answer[members]))
    family = family.append_column("digits", pc.utf8_length(family["upstream"]))
    best = [("quality", "descending")] if "quality" in names else []
    # equal ids are equal records of several sources, or rows of one: 45 comes before 123
    best += [(name, "descending" if name == "answer" else "ascending") for name in ("answer", "id", "source", "digits")]
    best += [("upstream", "ascending")]
    family = family.sort_by([("family", "ascending"), *best, ("row", "ascending")]).select(["row", "family", "id"])
    row, root = family["row"].to_numpy(), family["family"].to_numpy()
    first = np.append(True, root[1:] != root[:-1])[: len(root)]  # of each family stands its keeper
    keeper, lost = np.flatnonzero(first)[np.cumsum(first) - 1], np.flatnonzero(~first)
    mine, best_one = row[lost], row[keeper[lost]]
    same = found.exact[mine] == found.exact[best_one]
    far = found.root[mine] != found.root[best_one]  # joined by what they mean alone
    near = [
        alike.cosine(one, other) if alike and apart else found.similarity(one, other)
        for one, other, apart in zip(mine.tolist(), best_one.tolist(), far.tolist(), strict=True)
    ]
    told = pa.array([f"{value:.3f}" for value in near], pa.string())
    detail = pc.binary_join_element_wise(family["id"].combine_chunks().take(pa.array(keeper[lost])), told, " ")
    reason = np.where(far, "says the same", np.where(same, "exact duplicate", "near duplicate"))
    drops = {"row": pa.array(mine), "reason": pa.array(reason.tolist(), pa.string()), "detail": detail}
    return pa.table(drops).sort_by("row")


if __name__ == "__main__":
    contract.run(main)
