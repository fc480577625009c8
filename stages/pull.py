"""Bring a data set in from upstream, known to the byte.

The bytes are pinned by their SHA-256: whatever else arrives is refused, and nothing half-written is left where a
stage would read it. What is half done lies in data/downloads of the main checkout, under the pinned hash, until the
next run goes on from there; one process at a time works on a pin. Addresses: a path in this repo, ``https://``,
``s3://`` and whatever else fsspec opens, ``hf://<owner>/<name>@<revision>/<path>``,
``kaggle://<owner>/<dataset>@<version>/<path>``. Not covered: reading the format (``stages/parse.py``).
"""

import errno
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from stages.lib import contract
from stages.lib.contract import Key, Out, Refusal, Word
from stages.lib.params import Sha256
from stages.lib.sources import fetch, fetch_errors

PAUSES = [0.5, 1.0, 2.0, 4.0]  # seconds before each new try, as long as tries bring nothing


def main(
    name: Word,
    raw: Out,
    *,
    url: Annotated[str, Key("sources.{name}.url")],
    sha256: Annotated[Sha256, Key("sources.{name}.sha256")],
) -> None:
    """Fetch ``url`` and keep it only if its bytes are those that were pinned."""
    folder = home() / sha256
    try:
        with alone(folder.with_suffix(".lock"), raw) as brought:
            if brought and brought.is_file() and sha256_of(brought) == sha256:
                copy(brought, raw)
            else:
                place(bring(name, url, folder, sha256), raw)
                shutil.rmtree(folder)
    except Refusal as refusal:
        raise Refusal(f"params.yaml: sources.{name}.{refusal}") from refusal
    except OSError as error:
        raise Refusal(f"pull {name}: cannot write {raw} or data/downloads: {error}") from error


def home() -> Path:
    """Half-done downloads of this checkout; DVC_ROOT is the main checkout also in experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "data" / "downloads"


@contextmanager
def alone(lock: Path, raw: Path) -> Iterator[Path | None]:
    """Hold a pin alone. A process that waited here is told where the one before it has put the bytes."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    before: Path | None = None
    while True:
        with lock.open("a+", encoding="utf-8") as note:
            try:
                fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("another process brings the same bytes; waiting for it", file=sys.stderr)
                fcntl.flock(note, fcntl.LOCK_EX)
            if lock.exists() and os.path.samestat(os.fstat(note.fileno()), lock.stat()):
                note.truncate(0)
                try:
                    yield before
                    note.write(str(raw.resolve()))
                finally:
                    lock.unlink(missing_ok=True)
                return
            note.seek(0)  # who held this one is done, and a lock is taken on the file of that name
            told = note.read()
            before = Path(told) if told else None


def pin(name: str, url: str) -> str:
    """The SHA-256 of what an address holds today. The bytes wait in data/downloads for the stage that is so pinned."""
    folder = home() / hashlib.sha256(url.encode()).hexdigest()
    with alone(folder.with_suffix(".lock"), folder):
        fetched(name, url, folder)
        sha256 = sha256_of(folder / "part")
        if (pinned := home() / sha256).exists():
            shutil.rmtree(folder)
        else:
            os.replace(folder, pinned)
    return sha256


def bring(name: str, url: str, folder: Path, sha256: str) -> Path:
    """The pinned file, whole. What was put together from several tries and is wrong gets one more, from zero."""
    part = folder / "part"
    for _ in range(2):
        put_together = fetched(name, url, folder)
        size, found = part.stat().st_size, sha256_of(part)
        if found == sha256:
            return part
        shutil.rmtree(folder)
        if not put_together:
            break
    raise Refusal(
        f"sha256: {fetch.plain(url)} has the SHA-256 {found}, and {sha256} is pinned ({size:,} bytes came, none is "
        "kept). If upstream changed on purpose, look at what changed and pin the new one."
    )


def fetched(name: str, url: str, folder: Path) -> bool:
    """Bring all that an address holds into a folder's ``part``; whether that took more than one try, ever."""
    part = folder / "part"
    step = partial(from_kaggle, url, part) if fetch.scheme(url) == "kaggle" else partial(go_on, name, url, part)
    try:
        return patiently(step, folder)
    except fetch_errors.faults() as error:
        kept = held(folder)
        kept_too = f" ({kept:,} bytes of it are in data/downloads; the next run goes on from there)" if kept else ""
        why = fetch_errors.explain(url, error)
        raise Refusal(f"url: cannot fetch {fetch.plain(url)}: {why}{kept_too}") from error
    finally:
        if not held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def patiently(step: Callable[[], None], folder: Path) -> bool:
    """Repeat a step that was cut off, as long as it gets further; whether it needed more than one try, ever."""
    most = start = held(folder)
    tries = total = 0
    while True:
        try:
            step()
            return bool(start or total)
        except fetch_errors.faults() as error:
            kept = held(folder)
            tries = 0 if kept > most else tries
            most = max(most, kept)
            if tries == len(PAUSES) or not fetch_errors.passing(error):
                raise
        time.sleep(PAUSES[tries])
        tries, total = tries + 1, total + 1


def go_on(name: str, url: str, part: Path) -> None:
    """Stream what is missing of a file to the end of what is there."""
    from tqdm import tqdm

    part.parent.mkdir(parents=True, exist_ok=True)
    every = 0.1 if sys.stderr.isatty() else 10.0
    with part.open("ab") as local, fetch.opened(url, local.tell()) as upstream:
        local.truncate(upstream.start)
        need_room(part, (upstream.size or 0) - upstream.start)
        bar = tqdm(
            desc=f"pull {name}",
            total=upstream.size,
            initial=upstream.start,
            unit="B",
            unit_scale=True,
            leave=False,
            mininterval=every,
        )
        with bar:
            for chunk in upstream.chunks:
                local.write(chunk)
                bar.update(len(chunk))


def from_kaggle(url: str, part: Path) -> None:
    """Let kagglehub bring a file, with its own progress bar; it goes on with what it finds."""
    if part.exists():
        return
    file = fetch.kaggle(url, part.parent / "kaggle")
    if part.parent.resolve() in file.resolve().parents:
        os.replace(file, part)
    else:  # a Kaggle notebook has its data sets mounted
        shutil.copyfile(file, part)


def need_room(path: Path, missing: int) -> None:
    """Say at once that the disk is too small, and not after hours."""
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise OSError(errno.ENOSPC, f"{missing:,} bytes are missing and {free:,} are free", str(path))


def held(folder: Path) -> int:
    """Bytes that a folder of half-done downloads holds."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place(whole: Path, raw: Path) -> None:
    """Put a whole file where stages read it, at once."""
    try:
        os.replace(whole, raw)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(whole, raw)


def copy(whole: Path, raw: Path) -> None:
    """Put a copy there, which appears at once too."""
    if whole == raw.resolve():
        return
    half = raw.with_name(raw.name + ".part")
    try:
        shutil.copyfile(whole, half)
        os.replace(half, raw)
    finally:
        half.unlink(missing_ok=True)


if __name__ == "__main__":
    contract.run(main)
