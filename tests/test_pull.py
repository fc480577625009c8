"""Pull against a real server on loopback that cuts, refuses and changes what it serves."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stages import pull
from stages.lib.contract import Refusal

DATA = "Dữ liệu\n".encode() * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/gated": 403, "/login": 401, "/gone": 404}.get(self.path, 200)
        self.send_response(status)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        if status == 200:
            self.wfile.write(DATA[:100] if self.path == "/cut" else DATA)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_pinned_arrives_whole(server: str, tmp_path: Path) -> None:
    pull.main("s", tmp_path / "raw", url=f"{server}/data", sha256=SHA256)
    assert (tmp_path / "raw").read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gated", "accept the licence"),
        ("/login", "HF_TOKEN"),
        ("/gone", "revision still published"),
        ("/cut", "cannot fetch|has the SHA-256"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(server: str, tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(Refusal, match=said) as refusal:
        pull.main("s", tmp_path / "raw", url=server + path, sha256=SHA256)
    assert "sources.s." in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_than_those_pinned_are_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=rf"has the SHA-256 {SHA256}, and {'0' * 64} is pinned"):
        pull.main("s", tmp_path / "raw", url=f"{server}/data", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["no/such/file", "gopher://x/y"])
def test_addresses_that_lead_nowhere(tmp_path: Path, url: str) -> None:
    with pytest.raises(Refusal, match="cannot fetch"):
        pull.main("s", tmp_path / "raw", url=url, sha256=SHA256)
