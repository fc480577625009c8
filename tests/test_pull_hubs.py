"""Pull in processes of its own: over TLS, from the hubs as their own libraries ask them, killed, and two at once."""

import hashlib
import io
import json
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.upstream import PIECE, Reply, Server, Told, environment, pull_many, serving, tls_of

DATA = random.Random(2).randbytes(40 * PIECE + 7)
SHA256 = hashlib.sha256(DATA).hexdigest()
HALF = 20 * PIECE  # more than any of the libraries holds back
VIETNAMESE = "d/d%E1%BB%AF%20li%E1%BB%87u.json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str]:
    """A certificate authority of the tests' own, and its file."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, str(path)


@pytest.fixture
def https(authority: tuple[trustme.CA, str]) -> Iterator[Server]:
    with serving(tls_of(authority[0])) as server:
        yield server


def test_tls_is_checked_and_a_cut_resumes_over_it(
    https: Server, authority: tuple[trustme.CA, str], tmp_path: Path
) -> None:
    https.replies["/f"] = Reply(DATA, cut=HALF, cuts=1)
    [stranger] = pull_many(tmp_path, DATA, {"s": https.url + "/f"}).values()
    assert "its certificate is not trusted" in stranger["said"]
    assert "SSL_CERT_FILE" in stranger["said"]
    assert https.asked == []
    [known] = pull_many(tmp_path, DATA, {"s": https.url + "/f"}, SSL_CERT_FILE=authority[1]).values()
    assert known["said"] == ""
    [first, second] = https.ranges("/f")
    assert (first, second[:6]) == ("", "bytes=")


# ── the Hugging Face hub ────────────────────────────────────────────────────────────────────────────────────


def hub_error(status: int, code: str, message: str = "no") -> Reply:
    return Reply(b'{"error": "no"}', status, {"X-Error-Code": code, "X-Error-Message": message})


HUB = {
    "hf://o/n@main/f.json": "",
    f"hf://datasets/o/n@{COMMIT}/d/dữ liệu.json": "",
    "hf://o/large@v1/f.json": "",
    "hf://o/gated@v1/f.json": "HTTP 401; log in at {url}/datasets/o/gated and accept its terms, then set HF_TOKEN",
    "hf://o/asked@v1/f.json": "HTTP 403; log in at {url}/datasets/o/asked and accept its terms, then set HF_TOKEN",
    "hf://o/none@v1/f.json": "HTTP 401; no data set o/none for this login; is the name right? If private: set HF_TOKEN",
    "hf://o/n@v9/f.json": "HTTP 404; o/n has no revision v9; see {url}/datasets/o/n/commits",
    "hf://o/n@main/g.json": "HTTP 404; o/n has no file g.json at main; see {url}/datasets/o/n/tree/main",
    "hf://o/barred@v1/f.json": "HTTP 403; set HF_TOKEN to a valid token that may read o/barred",
    "hf://o/down@v1/f.json": "HTTP 503; the server is busy or out of order",
}


@pytest.fixture(scope="module")
def hub(
    authority: tuple[trustme.CA, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Told, Server, Server]]:
    """What pull says of all addresses above, the hub that it asked, and the storage that the hub sends it to."""
    folder = tmp_path_factory.mktemp("hub")
    with serving(tls_of(authority[0])) as server, serving(tls_of(authority[0])) as storage:
        storage.replies["/blob"] = Reply(DATA, cut=HALF, cuts=1)
        about = {
            "ETag": '"e"',
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(DATA)),
            "X-Linked-Etag": f'"{SHA256}"',
        }
        at_storage = about | {"Location": f"{storage.url}/blob?X-Amz-Signature=abcdef"}
        server.replies |= {
            f"/datasets/o/{path}": reply
            for path, reply in {
                "n/resolve/main/f.json": Reply(DATA, headers=about),
                f"n/resolve/{COMMIT}/{VIETNAMESE}": Reply(DATA, headers=about, cut=HALF, cuts=1),
                "large/resolve/v1/f.json": Reply(b"moved", 302, at_storage),
                "gated/resolve/v1/f.json": hub_error(401, "GatedRepo"),
                "asked/resolve/v1/f.json": hub_error(403, "GatedRepo"),
                "none/resolve/v1/f.json": hub_error(401, "RepoNotFound"),
                "n/resolve/v9/f.json": hub_error(404, "RevisionNotFound"),
                "n/resolve/main/g.json": hub_error(404, "EntryNotFound"),
                "barred/resolve/v1/f.json": Reply(b"no", 403),
                "down/resolve/v1/f.json": Reply(b"no", 503),
            }.items()
        }
        urls = {f"s{number}": url for number, url in enumerate(HUB)}
        env = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_secret", "SSL_CERT_FILE": authority[1]}
        told = pull_many(folder, DATA, urls, **env)
        yield {url: told[name] for name, url in urls.items()}, server, storage


@pytest.mark.parametrize("url", HUB)
def test_the_hub_is_asked_as_it_wants_and_says_what_to_do(hub: tuple[Told, Server, Server], url: str) -> None:
    told, server, _ = hub
    said = HUB[url].format(url=server.url)
    assert said in told[url]["said"]
    assert bool(said) == bool(told[url]["said"])
    assert "hf_secret" not in told[url]["said"]


def test_the_hub_resumes_and_its_storage_never_sees_the_token(hub: tuple[Told, Server, Server]) -> None:
    _, server, storage = hub
    for ranges in (server.ranges(f"/datasets/o/n/resolve/{COMMIT}/{VIETNAMESE}"), storage.ranges("/blob")):
        assert [bool(span) for span in ranges] == [False, True]
    assert {asked.login for asked in server.asked} == {"Bearer hf_secret"}
    assert {asked.login for asked in storage.asked} == {""}


def test_the_loopback_hub_speaks_as_the_real_one_does(
    hub: tuple[Told, Server, Server], authority: tuple[trustme.CA, str], tmp_path: Path
) -> None:
    """huggingface_hub's own downloader, untouched, is content with it."""
    code = "from huggingface_hub import hf_hub_download as get; print(get('o/n', 'f.json', repo_type='dataset'))"
    env = environment({"HF_ENDPOINT": hub[1].url, "HF_HOME": str(tmp_path), "SSL_CERT_FILE": authority[1]})
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).read_bytes() == DATA


# ── Kaggle ──────────────────────────────────────────────────────────────────────────────────────────────────

KAGGLE = {
    "kaggle://o/d@3/f.csv": "",
    "kaggle://o/d@3/cut.csv": "",
    "kaggle://o/d@3/zipped.csv": "",
    "kaggle://o/d@3/barred.csv": "HTTP 403; log in: set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY (https://w",
    "kaggle://o/d@3/login.csv": "and accept the licence on https://www.kaggle.com/datasets/o/d",
    "kaggle://o/d@9/f.csv": "HTTP 404; o/d has no version 9, or no file f.csv in it; see https://www.kaggle.com/datasets/",
}


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Told, Server]]:
    """What pull says of all addresses above. The server stands in as a proxy: kagglehub can't be told an address."""
    pytest.importorskip("kagglehub", reason="the extra `kaggle` is not installed")
    folder, packed = tmp_path_factory.mktemp("kaggle"), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("zipped.csv", DATA)
    stored = {
        "f.csv": Reply(DATA),
        "cut.csv": Reply(DATA, cut=HALF, cuts=1),
        "zipped.csv.zip": Reply(packed.getvalue()),
    }
    with serving() as server:
        service = "/api/v1/datasets.DatasetApiService/DownloadDataset?o/d@"
        server.replies |= {f"/store/{name}": reply for name, reply in stored.items()}
        server.replies |= {
            f"{service}3/{name.removesuffix('.zip')}": Reply(
                b"moved", 302, {"Location": f"http://localhost/store/{name}"}
            )
            for name in stored
        }
        server.replies[f"{service}3/barred.csv"] = Reply(b'{"code": 403, "message": "consent"}', 403)
        server.replies[f"{service}3/login.csv"] = Reply(b'{"code": 401, "message": "login"}', 401)
        urls = {f"s{number}": url for number, url in enumerate(KAGGLE)}
        env = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": server.url, "KAGGLE_API_TOKEN": "KGAT_secret"}
        told = pull_many(folder, DATA, urls, **env)
        yield {url: told[name] for name, url in urls.items()}, server


@pytest.mark.parametrize("url", KAGGLE)
def test_kaggle_is_asked_as_it_wants_and_says_what_to_do(kaggle: tuple[Told, Server], url: str) -> None:
    assert KAGGLE[url] in kaggle[0][url]["said"]
    assert bool(KAGGLE[url]) == bool(kaggle[0][url]["said"])


def test_kaggle_resumes(kaggle: tuple[Told, Server]) -> None:
    spans = [span for span in kaggle[1].ranges("/store/cut.csv") if span]
    assert len(spans) == 1
    assert 0 < int(spans[0].strip("bytes=-")) <= HALF


# ── S3 ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s3_is_read_from_where_it_broke_off(tmp_path: Path) -> None:
    pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
    refusal = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    nothing = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
    part = tmp_path / "data/downloads" / SHA256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:HALF])
    with serving() as server:
        server.replies |= {
            "/bucket/whole": Reply(DATA, headers={"ETag": '"e"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}),
            "/bucket/barred": Reply(refusal, 403),
            "/bucket": Reply(nothing),
        }
        urls = {name: f"s3://bucket/{name}" for name in ("whole", "barred", "gone")}
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "aws_secret", "AWS_DEFAULT_REGION": "us-east-1"}
        told = pull_many(tmp_path, DATA, urls, AWS_ENDPOINT_URL=server.url, **keys)
        nobody = {"AWS_ENDPOINT_URL": server.url, "AWS_EC2_METADATA_DISABLED": "true"}
        stranger = pull_many(tmp_path, DATA, {"new": urls["whole"]}, **nobody)
    assert server.ranges("/bucket/whole") == [f"bytes={HALF}-{len(DATA) - 1}"]
    assert told["whole"]["said"] == ""
    assert "HTTP 403; log in: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in told["barred"]["said"]
    assert "HTTP 404; no such bucket or key" in told["gone"]["said"]
    assert "; log in: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in stranger["new"]["said"]


# ── processes that die, and that meet ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A checkout with one source, at a slow server's address."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/r.yaml").write_text("{}\n")
    return tmp_path


def start(folder: Path, server: Server, raw: str) -> "subprocess.Popen[str]":
    """The stage itself, as dvc runs it."""
    source = {"url": f"{server.url}/slow", "sha256": SHA256}
    (folder / "params.yaml").write_text(json.dumps({"recipe": "r", "sources": {"s": source}}))
    command = [sys.executable, "-m", "stages.pull", "s", raw]
    return subprocess.Popen(command, cwd=folder, env=environment({}), stderr=subprocess.PIPE, text=True)


def test_a_killed_pull_goes_on_where_it_stopped(stage: Path) -> None:
    part = stage / "data/downloads" / SHA256 / "part"
    with serving() as server:
        server.replies["/slow"] = Reply(DATA, wait=0.02)
        killed = start(stage, server, "raw")
        while not (part.exists() and part.stat().st_size):
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        kept = part.stat().st_size
        assert 0 < kept < len(DATA)
        assert not (stage / "raw").exists()
        again = start(stage, server, "raw")
        assert again.communicate()[1].count("Traceback") == again.returncode == 0
    assert server.ranges("/slow") == ["", f"bytes={kept}-"]
    assert (stage / "raw").read_bytes() == DATA
    assert list((stage / "data/downloads").iterdir()) == []


def test_two_at_once_fetch_once(stage: Path) -> None:
    with serving() as server:
        server.replies["/slow"] = Reply(DATA, wait=0.04)
        both = [start(stage, server, raw) for raw in ("one", "two")]
        said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("another process brings the same bytes; waiting for it" in one for one in said) == 1
    assert server.ranges("/slow") == [""]
    assert (stage / "one").read_bytes() == (stage / "two").read_bytes() == DATA
    assert list((stage / "data/downloads").iterdir()) == []
