"""Fetch what this commit holds: ``python -m tools.pull`` (``make pull``).

Goes further than ``dvc pull``: when it fails it names each file, the object that it needs and what the remote
has under that name; and answers of a teacher that were bought here since are kept, behind those that arrive.
Not covered: repairing a remote (``tools/push.py``, in a clone that is whole).
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.contract import Refusal
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
    """Add the answers that were put aside to those that arrived, each line once."""
    if not ASIDE.exists():
        return
    known = set(lines(JOURNAL)) if JOURNAL.exists() else set()
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    with JOURNAL.open("a", encoding="utf-8") as log:
        log.writelines(f"{line}\n" for line in lines(ASIDE) if line not in known)
        log.flush()
        os.fsync(log.fileno())
    ASIDE.unlink()


def lines(path: Path) -> list[str]:
    """The lines of a journal; only line breaks part them, whatever else a text may hold."""
    return path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")


if __name__ == "__main__":
    sys.exit(main())
