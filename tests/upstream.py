"""Servers on loopback that fail as upstreams do: a plain web server, with TLS or not, that others can stand on.

What a path answers is a :class:`Reply`; every request is written down. The same server plays the Hugging Face hub
(paths under ``/datasets``, with its headers), Kaggle (asked as a proxy for ``http://localhost``) and S3.
:func:`pull_many` asks them from a process that knows no other upstream.
"""

import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

ROOT = Path(__file__).parents[1]
PIECE = 1 << 16
# one process asks for many sources; what it says of each, and whether the file is there, goes to a file
MANY = """
import json, sys
from pathlib import Path
from stages import pull
from stages.lib.contract import Refusal

pull.PAUSES[:] = [0.01, 0.01]
told = {}
for name, url in json.load(sys.stdin).items():
    try:
        pull.main(name, Path(name), url=url, sha256=sys.argv[1])
        said = ""
    except Refusal as refusal:
        said = str(refusal)
    left = [str(path) for path in Path("data/downloads").rglob("*") if path.is_file()]
    told[name] = {"said": said, "whole": Path(name).exists(), "left": left}
Path("told.json").write_text(json.dumps(told))
"""
Told = Mapping[str, Mapping[str, Any]]


@dataclass
class Reply:
    """What a path answers, and how it fails."""

    data: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)  # statuses of the first answers
    cut: int | None = None  # the connection breaks before this byte …
    cuts: int = 1 << 30  # … so many times
    step: int = 0  # … and this much later each time
    ranges: bool = True
    length: int | None = None  # a Content-Length that is wrong
    wait: float = 0.0  # seconds before each piece


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    host: str
    path: str
    range: str
    login: str


class Server(ThreadingHTTPServer):
    """Replies by path, the requests that came, and the address."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []

    def ranges(self, path: str) -> list[str]:
        """The Range headers of the GET requests for a path, in order; "" where there was none."""
        return [asked.range for asked in self.asked if asked.method == "GET" and asked.path == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed or refuses the certificate is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        # a proxy is asked for a whole address
        path = re.sub(r"^http://localhost(?=/)", "", self.path).partition("?")[0]
        if body := self.rfile.read(int(self.headers.get("Content-Length") or 0)):
            words = json.loads(body)
            path += "?{ownerSlug}/{datasetSlug}@{datasetVersionNumber}/{fileName}".format(**words)
        span = self.headers.get("Range", "")
        login = self.headers.get("Authorization", "")
        self.server.asked.append(Asked(self.command, self.headers.get("Host", ""), path, span, login))
        self.answer(self.server.replies.get(path, Reply(b"nothing here", 404)), span)

    do_HEAD = do_POST = do_GET

    def answer(self, reply: Reply, span: str) -> None:
        status = reply.busy.pop(0) if reply.busy else reply.status
        data, start, last = reply.data, 0, len(reply.data) - 1
        headers = dict(reply.headers)
        if reply.ranges and status == 200:
            headers["Accept-Ranges"] = "bytes"
            if found := re.fullmatch(r"bytes=(\d+)-(\d*)", span):
                start, last = int(found[1]), min(last, int(found[2] or last))
                status = 206 if start <= last else 416
                headers["Content-Range"] = (
                    f"bytes {start}-{last}/{len(data)}" if start <= last else f"bytes */{last + 1}"
                )
        whole = len(data[start : last + 1]) if reply.length is None else reply.length - start
        self.send_response(status)
        for name, value in {"Content-Length": str(whole), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = reply.cut is not None and reply.cuts > 0 and status in (200, 206)
        if cut:
            reply.cuts -= 1
            last = min(last, (reply.cut or 0) - 1)
            reply.cut = (reply.cut or 0) + reply.step
        for position in range(start, last + 1, PIECE):
            time.sleep(reply.wait)
            self.wfile.write(data[position : min(position + PIECE, last + 1)])
            self.wfile.flush()
        self.close_connection = cut or reply.length is not None
        if self.close_connection:
            time.sleep(0.1)  # a client may lose what it has not read yet when the connection breaks

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server that answers until the block ends."""
    with Server(tls) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    """TLS for the loopback address, under a certificate authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def environment(variables: dict[str, str]) -> dict[str, str]:
    """This process's, without what would reach or hide a hub."""
    ours = ("HF_", "KAGGLE", "AWS_", "FSSPEC_", "DVC_ROOT", "SSL_CERT", "NO_PROXY", "no_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1"} | variables


def pull_many(folder: Path, data: bytes, urls: Mapping[str, str], **variables: str) -> Told:
    """Pull sources of the same bytes one after the other in one process; nothing half-done is left by any."""
    command = [sys.executable, "-c", MANY, hashlib.sha256(data).hexdigest()]
    env = environment({"HOME": str(folder), **variables})
    done = subprocess.run(
        command, cwd=folder, env=env, input=json.dumps(urls), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: Told = json.loads((folder / "told.json").read_text())
    for name, one in told.items():
        assert one["whole"] == (not one["said"])
        assert not one["whole"] or (folder / name).read_bytes() == data
        assert one["left"] == []
    return told
