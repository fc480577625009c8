"""Pull from real servers on loopback that cut, refuse and change what they serve."""

import hashlib
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import pull
from stages.lib.contract import Refusal
from stages.lib.sources import fetch
from tests.full_disk import small_files
from tests.upstream import PIECE, Reply, Server, serving

DATA = random.Random(1).randbytes(20 * PIECE + 7)
SHA256 = hashlib.sha256(DATA).hexdigest()
HALF = 10 * PIECE
DOWNLOADS = Path("data/downloads")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout of one's own, and no time lost between tries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(pull, "PAUSES", [0.01, 0.01])


def ask(server: Server, path: str, reply: Reply) -> str:
    """Let a path answer so; its address."""
    server.replies[path] = reply
    server.asked.clear()
    return server.url + path


def refused(url: str, sha256: str = SHA256) -> str:
    """What pull says of an address; nothing lies where a stage would read it."""
    with pytest.raises(Refusal) as refusal:
        pull.main("s", Path("raw"), url=url, sha256=sha256)
    assert str(refusal.value).startswith("params.yaml: sources.s.")
    assert not list(Path().glob("raw*"))
    return str(refusal.value)


def left() -> list[Path]:
    """What lies in data/downloads."""
    return [path for path in DOWNLOADS.rglob("*") if path.is_file()]


def arrives(url: str) -> None:
    """The pinned bytes come, and nothing else is left anywhere."""
    pull.main("s", Path("raw"), url=url, sha256=SHA256)
    assert Path("raw").read_bytes() == DATA
    assert left() == []
    assert sorted(Path().iterdir()) == [Path("data"), Path("raw")]


# ── the way there ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_pinned_arrives_whole(server: Server) -> None:
    arrives(ask(server, "/whole", Reply(DATA)))
    assert server.ranges("/whole") == [""]


def test_stored_bytes_are_not_unpacked_on_the_way(server: Server) -> None:
    arrives(ask(server, "/news.txt.gz", Reply(DATA, headers={"Content-Encoding": "gzip"})))


def offsets(server: Server, path: str) -> list[int]:
    """Where each request for a path wanted to begin."""
    return [int(re.sub(r"\D", "", span) or 0) for span in server.ranges(path)]


def test_a_cut_connection_goes_on_where_it_broke(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    arrives(ask(server, "/cut", Reply(DATA, cut=HALF, cuts=1)))
    [first, second] = offsets(server, "/cut")
    assert first == 0
    assert 0 < second <= HALF  # aiohttp gives away what it had received and not handed over
    [_, percent] = re.findall(r"\rpull s: +(\d+)%", capfd.readouterr().err)
    assert int(percent) == pytest.approx(100 * second / len(DATA), abs=1)  # the second progress bar begins there


def test_many_cuts_are_borne_as_long_as_bytes_come(server: Server) -> None:
    arrives(ask(server, "/often", Reply(DATA, cut=4 * PIECE, cuts=4, step=4 * PIECE)))
    begun = offsets(server, "/often")
    assert len(begun) == 5 > len(pull.PAUSES) + 1
    assert begun == sorted(begun)


def test_a_connection_that_always_breaks_leaves_its_part_for_the_next_run(server: Server) -> None:
    reply = Reply(DATA, cut=HALF)
    said = refused(ask(server, "/broken", reply))
    [part] = left()
    assert SHA256 in part.parts
    kept = part.stat().st_size
    assert 0 < kept <= HALF
    assert part.read_bytes() == DATA[:kept]
    assert f"{kept:,} bytes of it are in data/downloads; the next run goes on from there" in said
    reply.cut = None
    arrives(ask(server, "/broken", reply))
    assert offsets(server, "/broken") == [kept]


def test_a_server_without_ranges_begins_anew(server: Server) -> None:
    arrives(ask(server, "/simple", Reply(DATA, cut=HALF, cuts=1, ranges=False)))
    assert len(offsets(server, "/simple")) == 2


def test_a_busy_server_is_asked_again(server: Server) -> None:
    arrives(ask(server, "/busy", Reply(DATA, busy=[500, 503])))


def test_what_was_whole_when_its_process_died_is_not_fetched_again(server: Server) -> None:
    part = DOWNLOADS / SHA256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    arrives(ask(server, "/died", Reply(DATA)))
    assert server.ranges("/died") == [f"bytes={len(DATA)}-"]


def test_a_part_of_what_upstream_had_before_is_thrown_away(server: Server) -> None:
    part = DOWNLOADS / SHA256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(HALF))
    arrives(ask(server, "/changed", Reply(DATA)))
    assert server.ranges("/changed") == [f"bytes={HALF}-", ""]


def test_half_done_downloads_lie_in_the_main_checkout(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    refused(ask(server, "/root", Reply(DATA, cut=HALF)))
    assert (tmp_path / "main" / DOWNLOADS / SHA256 / "part").stat().st_size > 0
    assert not DOWNLOADS.exists()


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────


def test_other_bytes_than_those_pinned_are_refused(server: Server) -> None:
    said = refused(ask(server, "/other", Reply(DATA)), "0" * 64)
    assert said.startswith("params.yaml: sources.s.sha256: ")
    assert f"has the SHA-256 {SHA256}, and {'0' * 64} is pinned" in said
    assert server.ranges("/other") == [""]
    assert left() == []


def test_wrong_bytes_after_a_resume_get_one_more_try(server: Server) -> None:
    assert "is pinned" in refused(ask(server, "/wrong", Reply(DATA, cut=HALF, cuts=1)), "0" * 64)
    [first, second, third] = offsets(server, "/wrong")
    assert first == third == 0 < second
    assert left() == []


SAID = {
    "gated": (Reply(b"no", 403), "HTTP 403; access is refused: does its page ask for a login, or for a click on a lic"),
    "login": (Reply(b"no", 401), "HTTP 401; it asks for a login: put it into ~/.netrc"),
    "gone": (Reply(b"no", 404), "HTTP 404; nothing is there; is the address right, and still published?"),
    "down": (Reply(b"no", 503), "HTTP 503; the server is busy or out of order; run it again later"),
    "short": (Reply(DATA, length=HALF), "has the SHA-256"),
    "huge": (Reply(DATA, length=10**18), "no room on the disk (1,000,000,000,000,000,000 bytes are missing and "),
}


@pytest.mark.parametrize("path", SAID)
def test_what_goes_wrong_is_said_and_leaves_nothing(server: Server, path: str) -> None:
    reply, said = SAID[path]
    assert said in refused(ask(server, f"/{path}", reply))
    assert left() == []


def test_an_answer_shorter_than_it_said_counts_as_cut(server: Server) -> None:
    arrives(ask(server, "/long", Reply(DATA, length=len(DATA) + 100)))  # the rest is asked for, and there is none
    Path("raw").unlink()
    said = refused(ask(server, "/long", Reply(DATA, length=len(DATA) + 100, ranges=False)))
    assert f"{left()[0].stat().st_size:,} bytes of it are in data/downloads" in said


def test_a_full_disk_is_said_and_keeps_the_part(server: Server) -> None:
    url = ask(server, "/full", Reply(DATA))
    with small_files() as limit:
        limit(HALF)
        said = refused(url)
    assert f"no room on the disk (File too large); make some and run it again ({HALF:,} bytes of it are in" in said
    arrives(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no/such/file", "cannot fetch no/such/file: .*no such file here; is the path right"),
        ("file://no/such/file", "no such file here"),
        ("data", "Is a directory.*; a source is one file"),
        ("gopher://x/y", "Protocol not known: gopher; is the address right"),
        ("http://127.0.0.1:1/x", "is the network up"),
        ("http://no-such-host.invalid/x", "is the network up"),
        ("https://[x", "is the address right"),
        ("hf://owner/name@0123/f", "HF_HUB_OFFLINE is set; unset it"),
        ("hf://owner/name/f", "hf://owner/name/f names no revision; pin a revision: a commit hash of https://huggingf"),
        ("hf://datasets/owner/name@0123", "names no file; hf://<owner>/<name>@<revision>/<path of one file>"),
        ("hf://models/owner/name@0123/f", "hf://models/ is no data set"),
        ("hf://owner", "a file of the hub is written hf://<owner>"),
        ("kaggle://owner/set/f", "pin a version: a number of https://www.kaggle.com/datasets/owner/set/versions"),
        ("kaggle://owner/set@2/../f", "is written kaggle://<owner>/<dataset>@<version>/<path of one file>"),
        ("kaggle://owner@2/f", "is written kaggle://<owner>"),
    ],
)
def test_addresses_that_lead_nowhere(url: str, said: str) -> None:
    Path("data").mkdir()
    told = refused(url)
    assert told.startswith("params.yaml: sources.s.url: ")
    assert re.search(said, told), told
    assert left() == []


@pytest.mark.parametrize(
    ("package", "url", "extra"), [("s3fs", "s3://b/k", "s3"), ("kagglehub", "kaggle://o/d@1/f", "kaggle")]
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, url: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert f"`make setup EXTRAS={extra}` installs it" in refused(url)


def test_a_place_that_cannot_be_written_is_said(server: Server) -> None:
    Path("raw/in the way").mkdir(parents=True)
    with pytest.raises(Refusal, match=r"pull s: cannot write raw or data/downloads: .*Is a directory"):
        pull.main("s", Path("raw"), url=ask(server, "/whole", Reply(DATA)), sha256=SHA256)
    Path("raw/in the way").rmdir()
    Path("raw").rmdir()
    arrives(ask(server, "/whole", Reply(DATA)))  # what came is still there: nothing more is asked for
    assert offsets(server, "/whole") == [len(DATA)]


def test_wrong_bytes_that_always_come_in_pieces_are_refused_in_the_end(server: Server) -> None:
    said = refused(ask(server, "/pieces", Reply(DATA, cut=HALF, cuts=4, step=HALF // 2)), "0" * 64)
    assert "is pinned" in said
    assert left() == []


def test_a_login_is_taken_from_netrc(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path.parent / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    arrives(ask(server, "/login", Reply(DATA)))
    assert server.asked[-1].login.startswith("Basic ")


def test_no_secret_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(server, "/signed", Reply(b"no", 403))
    address = server.url.replace("://", "://someone:pass%2Fword@") + "/signed?X-Amz-Signature=abcdef#x"
    said = refused(address)
    assert f"cannot fetch {server.url}/signed?…:" in said
    assert server.asked[-1].login.startswith("Basic ")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    told = fetch.plain("at https://u:p@ss@h.vn/a?t=1, 'http://h/b?k=2' with hf_secret of hf://o/n@rev/f")
    assert told == "at https://h.vn/a?… 'http://h/b?…' with … of hf://o/n@rev/f"


def test_a_path_in_the_repo_is_copied() -> None:
    Path("data").mkdir()
    Path("data/sample.txt").write_bytes(DATA)
    for url in ("data/sample.txt", f"file://{Path.cwd()}/data/sample.txt"):
        pull.main("s", Path("raw"), url=url, sha256=SHA256)
        assert Path("raw").read_bytes() == DATA == Path("data/sample.txt").read_bytes()
        assert left() == []
        Path("raw").unlink()
