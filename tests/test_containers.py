"""Raw files that are compressed, packed or damaged: what is in them is read in place, or said to be wrong."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from stages.lib.sources import containers
from stages.lib.sources.containers import Unreadable

TEXT = "Một dòng chữ.\n".encode() * 50_000


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd,
}  # fmt: skip


def read(path: Path, wanted: str | None = None) -> dict[str, bytes]:
    return {member.name: member.file.read() for member in containers.members(path, wanted)}


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", COMPRESS)
def test_what_is_compressed_reads_as_what_it_was(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "raw"
    path.write_bytes(COMPRESS[kind](TEXT))
    assert read(path) == {"": TEXT}


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_frames_one_after_the_other_are_one_text(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "raw"
    path.write_bytes(COMPRESS[kind](TEXT) * 2)
    assert read(path) == {"": TEXT * 2}


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_a_stream_that_was_cut_is_told_and_not_read_as_if_it_were_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "raw"
    path.write_bytes(COMPRESS[kind](TEXT)[:-12])
    with pytest.raises(containers.DAMAGE):
        read(path)


def test_archives_are_read_in_order_and_what_is_packed_in_them_is_unpacked(tmp_path: Path) -> None:
    files = {"a/1.jsonl.gz": gzip.compress(TEXT), "__MACOSX/a/._1": b"x", "a/.DS_Store": b"x", "b.txt": b"b"}
    expected = {"a/1.jsonl.gz": TEXT, "b.txt": b"b"}
    assert read(zipped(tmp_path / "z", **files)) == expected
    assert read(tarred(tmp_path / "t.gz", **files)) == expected
    assert read(tarred(tmp_path / "t.tar", **files)) == expected
    assert read(zipped(tmp_path / "z", **files), "*.txt") == {"b.txt": b"b"}


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil"])
def test_a_path_that_leads_out_of_the_archive_refuses_it_as_a_whole(
    tmp_path: Path, pack: Callable[..., Path], name: str
) -> None:
    with pytest.raises(Unreadable, match="leads out of its folder"):
        read(pack(tmp_path / "a", **{name: b"x", "good": b"y"}))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_links_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(Unreadable, match="nothing but folders"):
        read(path)


def test_an_empty_file_and_an_archive_without_the_wanted_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Unreadable, match="the file is empty"):
        read(tmp_path / "empty")
    with pytest.raises(Unreadable, match=r"no file in the archive fits \*\.csv; it holds a\.txt"):
        read(zipped(tmp_path / "z", **{"a.txt": b"x"}), "*.csv")


def test_an_archive_within_an_archive_and_an_empty_one_are_told(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "i", **{"a.txt": b"x"}).read_bytes()
    with pytest.raises(Unreadable, match=r"b\.zip in the archive is an archive itself"):
        read(zipped(tmp_path / "z", **{"b.zip": inner}))
    with pytest.raises(Unreadable, match="nothing but folders"):
        read(zipped(tmp_path / "e"))


def test_what_is_packed_twice_is_unpacked_twice(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(gzip.compress(gzip.compress(TEXT)))
    assert read(tmp_path / "raw") == {"": TEXT}


def test_a_locked_zip_is_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "z", a=b"x")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption in the index
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="password"):
        read(path)


def test_progress_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(gzip.compress(TEXT))
    told: list[int] = []
    for member in containers.members(path, advance=told.append):
        member.file.read()
    assert sum(told) == path.stat().st_size
