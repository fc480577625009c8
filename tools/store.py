"""What this commit needs from a DVC cache or remote: every object, and the file that it is for.

An output is one object named by its MD5; a folder is a list of such objects, itself an object that ends in
``.dir``. DVC says "up to date" when a push lacks objects here, and names no object when a pull was cut
short: ``tools/push.py`` and ``tools/pull.py`` ask this module. Not covered: other commits' objects.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from stages.lib.contract import Refusal

if TYPE_CHECKING:
    from dvc.repo import Repo

TEACHER = Path("data/teacher")
SIMULTANEOUS = 16  # questions to a remote
CHUNK = 1 << 20
T = TypeVar("T")


class Object(NamedTuple):
    """A file of this commit and the MD5 under which caches and remotes keep it."""

    path: str
    md5: str


Size = Callable[[str], int | None]  # bytes of an object, or None if it is not there


def objects(path: str, md5: str, listing: Callable[[str], str | None]) -> Iterator[Object]:
    """An output and, of a folder whose list can be read, all files in it."""
    yield Object(path, md5)
    if not md5.endswith(".dir") or (text := listing(md5)) is None:
        return
    try:
        members = json.loads(text)
    except json.JSONDecodeError:
        return
    yield from (Object(f"{path}/{member['relpath']}", member["md5"]) for member in members)


def lacking(wanted: Iterable[Object], size: Size) -> list[Object]:
    """The objects that are not there."""
    return [each for each in wanted if size(each.md5) is None]


def cut_short(wanted: Iterable[Object], here: Size, there: Size) -> list[Object]:
    """The objects that are there with another size than here."""
    return [each for each in wanted if there(each.md5) not in (None, here(each.md5))]


def needed(repo: "Repo", *stores: Any) -> list[Object]:
    """All objects of the commit, sorted by path, with the lists of folders from the first store that has them.

    An output that was never made is refused.
    """
    found: set[Object] = set()
    for out in repo.index.outs:
        if not out.use_cache:
            continue
        if not out.hash_info:
            raise Refusal(f"{out.def_path} is not in dvc.lock, so it was never made; run `make repro`")
        path = str(Path(out.fs_path).relative_to(repo.root_dir))
        found.update(objects(path, out.hash_info.value, lambda md5: listing(md5, stores)))
    return sorted(found)


def listing(md5: str, stores: Iterable[Any]) -> str | None:
    """The text of a folder's list."""
    for odb in stores:
        try:
            return str(odb.fs.cat_file(odb.oid_to_path(md5)).decode("utf-8", "replace"))
        except FileNotFoundError:
            continue
    return None


def sizes(odb: Any, wanted: Iterable[Object]) -> Size:
    """The sizes that a cache or a remote gives for some objects."""

    def ask(md5: str) -> int | None:
        try:
            return int(odb.fs.info(odb.oid_to_path(md5))["size"])
        except FileNotFoundError:
            return None

    return ask_all(ask, wanted).get


def whole(odb: Any, wanted: Iterable[Object]) -> dict[str, bool]:
    """Whether the bytes of some objects are those that their names promise; all are read, none is kept."""

    def ask(md5: str) -> bool:
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with odb.fs.open(odb.oid_to_path(md5), "rb") as stream:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
        except FileNotFoundError:
            return False
        return digest.hexdigest() == md5.removesuffix(".dir")

    return ask_all(ask, wanted)


def ask_all(ask: Callable[[str], T], wanted: Iterable[Object]) -> dict[str, T]:
    """The answers about some objects, by MD5; several questions are under way at once."""
    names = sorted({each.md5 for each in wanted})
    with ThreadPoolExecutor(SIMULTANEOUS) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))


def remote(repo: "Repo") -> Any:
    """The default remote's objects; a refusal if there is none, or if it takes what it is given unread."""
    name = repo.config["core"].get("remote")
    if not name:
        raise Refusal("no remote is set; `make remote URL=/a/folder` or `make remote URL=s3://bucket/path` sets one")
    if not repo.config["remote"][name].get("verify"):
        raise Refusal(
            f"remote {name!r} has no `verify = true`, so DVC would take an object that was cut short for whole; "
            f"run `dvc remote modify {name} verify true`"
        )
    return repo.cloud.get_remote_odb()


def dvc(*words: str) -> int:
    """Run DVC with its output on this terminal; its exit status."""
    return subprocess.run([sys.executable, "-m", "dvc", *words], check=False).returncode
