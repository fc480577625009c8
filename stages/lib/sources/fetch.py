"""One upstream file, opened at any byte, whatever it is addressed by.

:func:`opened` gives the bytes from an offset on: ``https://`` and every address that fsspec knows (a path, ``s3://``)
through fsspec, ``hf://`` through huggingface_hub's own session, so that its endpoint, token and offline switch hold.
``kaggle://`` goes through kagglehub, which writes and resumes a file by itself (:func:`kaggle`). Bytes come as the
server stores them: nothing is unpacked on the way. Not covered: what can go wrong (``fetch_errors.py``),
when to try again and what to keep (``stages/pull.py``), and what the bytes mean.

huggingface_hub 2.4's ``hf_hub_download`` is not used: it throws a half-done file away when it stops.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from stages.lib.contract import Refusal

CHUNK = 1 << 20
BLOCK = 8 << 20  # what one request to an object store brings
SILENCE = 60.0  # seconds without a byte; a download as a whole may take days
SECRETS = ("HF_TOKEN", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^/\s'\"]*@)?(?P<rest>[^\s'\"<>?]*)(?P<query>\?[^\s'\"<>]*)?"
)


@dataclass(frozen=True)
class Upstream:
    """Bytes on their way: ``start`` is 0 where the server can't begin within a file, ``size`` is the whole file's."""

    start: int
    size: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Place:
    """A file of a versioned data set on a hub."""

    repo: str
    revision: str
    path: str


def scheme(url: str) -> str:
    """``https``, ``hf``, …; ``file`` for a plain path. fsspec's chains (``zip://a::https://b``) go by their first."""
    return url.partition("://")[0].lower() if "://" in url else "file"


def opened(url: str, offset: int) -> AbstractContextManager[Upstream]:
    """The bytes of a file from ``offset`` on, or from 0 on where upstream can't do that."""
    if scheme(url) == "hf":
        return hub(hub_place(url), offset)
    return web(url, offset) if scheme(url) in ("http", "https") else files(url, offset)


@contextmanager
def web(url: str, offset: int) -> Iterator[Upstream]:
    """A plain web address, through fsspec; the environment's proxies and ~/.netrc count."""
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    # aiohttp's own limit is five minutes for the whole file
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    # raise_for_status: aiohttp lets go of a connection that it refuses, fsspec forgets to
    client = {"timeout": timeout, "trust_env": True, "auto_decompress": False, "raise_for_status": True}
    system = HTTPFileSystem(client_kwargs=client)
    try:
        # block_size=0: one request, read as it comes; a size: no HEAD before it, which some servers refuse
        file = system.open(url, block_size=0, size=1, headers=span(offset))
    except aiohttp.ClientResponseError as error:
        if error.status != 416:
            raise
        file = None  # nothing comes after the offset
    if file is None:
        yield Upstream(offset, None, iter(()))
        return
    with file:
        start, size = extent(file.r.status, file.r.headers, offset)
        yield Upstream(start, size, iter(partial(file.read, CHUNK), b""))


@contextmanager
def hub(place: Place, offset: int) -> Iterator[Upstream]:
    """A file of a data set on the Hugging Face hub; HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(place.repo, place.path, repo_type="dataset", revision=place.revision)
    headers = build_hf_headers() | span(offset)
    with get_session().stream("GET", url, headers=headers, timeout=SILENCE) as response:
        if response.status_code == 416:
            yield Upstream(offset, None, iter(()))
            return
        hf_raise_for_status(response)
        start, size = extent(response.status_code, response.headers, offset)
        yield Upstream(start, size, response.iter_raw(CHUNK))


@contextmanager
def files(url: str, offset: int) -> Iterator[Upstream]:
    """A path, an object store, and whatever else fsspec opens."""
    import fsspec

    system, path = fsspec.url_to_fs(url)
    with system.open(path, "rb", block_size=BLOCK) as file:
        start = offset if offset and file.seekable() else 0
        size = getattr(file, "size", None)
        if start and (size is None or start <= size):
            file.seek(start)
        elif start:
            start = 0  # what lies here is longer than all of upstream: another file
        yield Upstream(start, size, iter(partial(file.read, CHUNK), b""))


def span(offset: int) -> dict[str, str]:
    """Headers that ask for the stored bytes from an offset on."""
    return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})


def extent(status: int, headers: Any, offset: int) -> tuple[int, int | None]:
    """Where an answer begins, and the size of the whole file where the server tells it."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if status == 206 and found:
        if int(found[1]) != offset:
            raise ConnectionError(f"asked for the bytes from {offset} on, it sends those from {found[1]} on")
        return offset, None if found[2] == "*" else int(found[2])
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def kaggle(url: str, folder: Path) -> Path:
    """A file of a Kaggle data set, brought into a folder by kagglehub, which goes on with what it finds there."""
    place = kaggle_place(url)
    before = os.environ.get("KAGGLEHUB_CACHE")
    # its `output_dir` refuses to go on with a half-done file; its cache does
    os.environ["KAGGLEHUB_CACHE"] = str(folder.resolve())
    try:
        import kagglehub

        return Path(kagglehub.dataset_download(f"{place.repo}/versions/{place.revision}", path=place.path))
    finally:
        os.environ.pop("KAGGLEHUB_CACHE")
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before


def hub_place(url: str) -> Place:
    """The parts of ``hf://owner/name@revision/path``, with or without the usual ``datasets/`` in front."""
    from huggingface_hub import parse_hf_uri

    shape = "hf://<owner>/<name>@<revision>/<path of one file>"
    body = url.partition("://")[2]
    kind = body.partition("/")[0]
    if kind in ("models", "spaces", "kernels", "buckets"):
        raise Refusal(f"url: hf://{kind}/ is no data set; a source is one file of a data set: {shape}")
    try:
        found = parse_hf_uri("hf://" + ("" if kind == "datasets" else "datasets/") + body)
    except ValueError as error:
        raise Refusal(f"url: {plain(str(error))}; a file of the hub is written {shape}") from None
    if not found.revision:
        page = f"https://huggingface.co/datasets/{found.id}/commits"
        raise Refusal(f"url: {url} names no revision; pin a revision: a commit hash of {page}; {shape}")
    if not found.path_in_repo:
        raise Refusal(f"url: {url} names no file; {shape}")
    return Place(found.id, found.revision, found.path_in_repo)


def kaggle_place(url: str) -> Place:
    """The parts of ``kaggle://owner/dataset@version/path``."""
    shape = "kaggle://<owner>/<dataset>@<version>/<path of one file>"
    found = re.fullmatch(r"kaggle://([\w-]+/[\w-]+)(?:@(\d+))?/(.+)", url)
    if not found or {"", ".", ".."} & set(found[3].split("/")):
        raise Refusal(f"url: found {plain(url)}; a file of a Kaggle data set is written {shape}")
    if not found[2]:
        page = f"https://www.kaggle.com/datasets/{found[1]}/versions"
        raise Refusal(f"url: {url} names no version; pin a version: a number of {page}; {shape}")
    return Place(found[1], found[2], unquote(found[3]))


def plain(text: str) -> str:
    """A text on one line, without passwords and tokens: neither those in addresses nor those in the environment."""
    for name in SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "…")
    return ADDRESS.sub(bare, " ".join(text.split()))[:400]


def bare(found: re.Match[str]) -> str:
    """An address without login and query; the ``@`` of a hub's address is its revision."""
    user = found["user"] or "" if found["scheme"] in ("hf", "kaggle") else ""
    return f"{found['scheme']}://{user}{found['rest']}{'?…' if found['query'] else ''}"
