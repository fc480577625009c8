"""Fetch what this commit holds: ``python -m tools.pull`` (``make pull``).

Goes further than ``dvc pull``: when it fails it names each file, the object that it needs and what the remote
has under that name; and answers of a teacher that were bought here since are kept, ahead of those that arrive.
Not covered: repairing a remote (``tools/push.py``, in a clone that is whole).
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.contract import Refusal
from stages.lib.teachers import journal_index
from tools import store

if TYPE_CHECKING:
    from dvc.repo import Repo

JOURNAL = store.TEACHER / "journal.jsonl"
ASIDE = Path("data/journal.aside.jsonl")


def main() -> int:
    """Pull, and say exactly what didn't arrive."""
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            store.remote(repo)
        put_aside()
        try:
            status = store.dvc("pull")
        finally:
            bring_back()
        with Repo() as repo:
            arrived = report(repo)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    return status or int(not arrived)


def report(repo: "Repo") -> bool:
    """Whether all has arrived; what has not is named, once the remote's bytes have been read to find what is wrong."""
    cache, there = repo.cache.local, store.remote(repo)
    wanted = store.needed(repo, cache, there)
    gone = store.lacking(wanted, store.sizes(cache, wanted))
    for line in explain(gone, store.sizes(there, gone), store.whole(there, gone), there.oid_to_path):
        print(line, file=sys.stderr)
    return not gone


def explain(
    gone: list[store.Object], size: store.Size, whole: Mapping[str, bool], address: Callable[[str], str]
) -> Iterator[str]:
    """A line for every file whose object is at fault, and what to do."""
    faulty = [each for each in gone if not whole[each.md5]]
    for path, md5 in faulty:
        found = size(md5)
        what = "is not on the remote" if found is None else f"is damaged on the remote, where it has {found} bytes"
        yield f"error: {path}: object {md5} {what} ({address(md5)})"
    if faulty:
        yield "Run `make push` in a clone that has it all: it sends what is missing and replaces what is cut short."
    elif gone:
        yield f"error: {len(gone)} objects did not arrive, and the remote has them whole; run `make pull` again"


def put_aside() -> None:
    """Move this clone's journal out of DVC's way, which would not overwrite it."""
    if Path(f"{store.TEACHER}.dvc").exists() and JOURNAL.exists() and not ASIDE.exists():
        os.replace(JOURNAL, ASIDE)


def bring_back() -> None:
    """Add the answers that were put aside to those that arrived, each line once.

    They stand first: where both have an answer to the same request the last one counts, so that all clones agree.
    """
    if not ASIDE.exists():
        return
    arrived = lines(JOURNAL) if JOURNAL.exists() else []
    known = set(arrived)
    own = [line for line in lines(ASIDE) if line not in known]
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    whole = JOURNAL.with_name(f"{JOURNAL.name}.whole")
    with whole.open("w", encoding="utf-8") as log:
        log.writelines(f"{line}\n" for line in [*own, *arrived])
        log.flush()
        os.fsync(log.fileno())
    os.replace(whole, JOURNAL)
    ASIDE.unlink()
    if twice := len(keys(own) & keys(arrived)):
        print(f"note: {twice} requests had another answer here than in the journal that arrived, whose answers count")


def keys(found: list[str]) -> set[str]:
    """The keys of the lines that hold an answer."""
    entries = (journal_index.parse(line.encode("utf-8")) for line in found)
    return {entry["key"] for entry in entries if entry}


def lines(path: Path) -> list[str]:
    """The lines of a journal; only line breaks part them, whatever else a text may hold."""
    return path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")


if __name__ == "__main__":
    sys.exit(main())
