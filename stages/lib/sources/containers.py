"""A raw file as the data files in it: plain, compressed (gz, bz2, xz, zst), or an archive (zip, tar) of such.

What lies inside is recognised by its first bytes and read where it lies: nothing is written under a name that an
archive gives, and one whose names lead out of its folder is refused as a whole. Not covered: archives inside
archives, passwords, and what the data files are (``datafile.py``).
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

BUFFER = 1 << 20
TAR_MAGIC = (257, b"ustar")
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# what the libraries raise on bytes that are cut or damaged
DAMAGE = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, OSError)


class Unreadable(Exception):
    """The file as a whole can't be read as what it should be."""


class Metered(io.RawIOBase):
    """A file that tells how many bytes were read of it, for a progress bar."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], Any]) -> None:
        self._file = file
        self._advance = advance
        self._left = file.seek(0, io.SEEK_END)
        file.seek(0)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Zip and Parquet begin at the end."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """Read, and tell how much; what is read twice is not told twice."""
        count = int(cast(Any, self._file).readinto(buffer))
        self._advance(min(count, self._left))
        self._left -= min(count, self._left)
        return count


class Stream(io.RawIOBase):
    """A member of a tar that is read in one pass: its own class claims no more than that."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes next."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@dataclass(frozen=True)
class Member:
    """A data file: its path in the archive (empty for a file that is no archive) and its bytes."""

    name: str
    file: BinaryIO

    @property
    def on_disk(self) -> bool:
        """Whether any place in it can be read without what comes before."""
        return isinstance(getattr(self.file, "raw", None), Metered)


def members(
    raw: Path, wanted: str | None = None, advance: Callable[[int], Any] = lambda count: None
) -> Iterator[Member]:
    """The data files in ``raw`` whose path fits the pattern ``wanted``, in the archive's order.

    Raises Unreadable when the bytes are damaged (also while a member is being read, see :data:`DAMAGE`), when
    an archive holds a path that leads out of its folder, or when nothing in it fits.
    """
    with raw.open("rb", buffering=0) as disk:
        file = io.BufferedReader(cast(Any, Metered(cast(BinaryIO, disk), advance)), BUFFER)
        if not file.peek(1):
            raise Unreadable("the file is empty")
        found, seen = 0, []
        for member in opened("", file):
            seen.append(member.name)
            if not wanted or not member.name or fnmatch(member.name, wanted):
                found += 1
                yield member
        if not found:
            inside = ", ".join(seen[:5]) or "nothing but folders"
            raise Unreadable(f"no file in the archive fits {wanted or '*'}; it holds {inside}")


def opened(name: str, file: io.BufferedReader) -> Iterator[Member]:
    """A file, its decompressed form, or what an archive holds."""
    # peek promises nothing beyond what one raw read gives, so a fresh buffer is filled by one large read
    head = file.peek(BUFFER)
    zipped, tarred = head.startswith(ZIP_MAGIC), head[TAR_MAGIC[0] :].startswith(TAR_MAGIC[1])
    if name and (zipped or tarred):
        raise Unreadable(f"{name} in the archive is an archive itself; unpack the outer one")
    if zipped:
        yield from from_zip(file)
    elif tarred:
        yield from from_tar(file)
    elif (unpacked := decompressed(file, head)) is not None:
        yield from opened(name, io.BufferedReader(cast(Any, unpacked), BUFFER))
    else:
        yield Member(name, cast(BinaryIO, file))


def decompressed(file: io.BufferedReader, head: bytes) -> IO[bytes] | None:
    """A stream of what a compressed file holds, or None when it is not compressed."""
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        # unlike zstandard's own reader, Arrow's says when a stream ends early
        return cast(IO[bytes], pa.CompressedInputStream(file, "zstd"))
    return None


def from_zip(file: io.BufferedReader) -> Iterator[Member]:
    """The files of a zip archive."""
    with zipfile.ZipFile(file) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        for info in infos:
            check_path(info.filename)
        for info in infos:
            if hidden(info.filename):
                continue
            if info.flag_bits & 1:
                raise Unreadable(f"{info.filename} in the archive is locked by a password")
            with archive.open(info) as inner:
                yield from opened(info.filename, io.BufferedReader(cast(Any, inner), BUFFER))


def from_tar(file: io.BufferedReader) -> Iterator[Member]:
    """The files of a tar archive, in one pass; links and devices are passed over."""
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for info in archive:
            check_path(info.name)
            inner = archive.extractfile(info) if info.isreg() and not hidden(info.name) else None
            if inner is not None:
                yield from opened(info.name, io.BufferedReader(Stream(inner), BUFFER))


def check_path(name: str) -> None:
    """Raises Unreadable for a path that leads out of the archive's folder: nobody packs one by chance."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise Unreadable(f"the archive holds the path {name!r}, which leads out of its folder; nothing of it was used")


def hidden(name: str) -> bool:
    """What systems leave in archives and nobody means as data."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts if part != ".")
