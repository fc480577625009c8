"""Share what this commit holds: ``python -m tools.push`` (``make push``).

Goes further than ``dvc push``: it fails when an object is missing here, replaces objects that an earlier,
killed push left cut short on the remote, and takes along the teacher's journal. Not covered: other commits.
"""

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from tools import store

if TYPE_CHECKING:
    from dvc.repo import Repo


def main() -> int:
    """Push, and see for ourselves that all is there."""
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            store.remote(repo)
        if store.TEACHER.is_dir():
            store.dvc("add", "--quiet", str(store.TEACHER))
        with Repo() as repo:
            push(repo)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    if uncommitted := changed("dvc.lock", f"{store.TEACHER}.dvc", "metrics"):
        print(f"Commit {' and '.join(uncommitted)} too: others find these bytes by what the commit says.")
    return 0


def push(repo: "Repo") -> None:
    """Send what is missing, replace what is cut short."""
    cache, there = repo.cache.local, store.remote(repo)
    wanted = store.needed(repo, cache)
    here = store.sizes(cache, wanted)
    if gone := store.lacking(wanted, here):
        raise Refusal(f"not in this clone's cache: {listed(gone)}; `make repro` makes it, `make pull` fetches it")
    # DVC stumbles over a folder's list that is cut short, and remembers what it once sent without looking again
    mend(cache, there, store.cut_short(wanted, here, store.sizes(there, wanted)))
    if store.dvc("push"):
        raise Refusal("`dvc push` failed; run `make push` again, it goes on where it stopped")
    mend(cache, there, not_whole(wanted, here, store.sizes(there, wanted)))
    if bad := not_whole(wanted, here, store.sizes(there, wanted)):
        raise Refusal(f"not whole on the remote: {listed(bad)}; does it have room, and may you write to it?")
    print(f"The remote holds all {len({each.md5 for each in wanted})} objects of this commit.")


def mend(cache: Any, there: Any, bad: list[store.Object]) -> None:
    """Send objects past DVC, over what is there under their names."""
    for path, md5 in bad:
        print(f"{path}: the remote's copy of {md5} is missing or cut short; replacing it")
        there.add(cache.oid_to_path(md5), cache.fs, md5, check_exists=False)


def not_whole(wanted: list[store.Object], here: store.Size, there: store.Size) -> list[store.Object]:
    """The objects that another place lacks or has with another size; of those with one name only the first."""
    bad = [*store.lacking(wanted, there), *store.cut_short(wanted, here, there)]
    return list({each.md5: each for each in reversed(bad)}.values())[::-1]


def listed(found: list[store.Object]) -> str:
    """Paths with their objects, the first few."""
    shown = ", ".join(f"{each.path} ({each.md5})" for each in found[:5])
    return shown + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def changed(*paths: str) -> list[str]:
    """Those of the paths that git has not recorded as they are."""
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--", *paths]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line[3:] for line in lines]


if __name__ == "__main__":
    sys.exit(main())
