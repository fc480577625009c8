"""Bring a data set in from upstream, known to the byte.

The bytes are pinned by their SHA-256: whatever else arrives is refused, and nothing half-written is left
where a stage would read it. Any address that fsspec opens will do: a path in this repo, ``https://``,
``hf://datasets/<repo>@<revision>/<file>``. Not covered: reading the format (``stages/parse.py``).
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated

from stages.lib import contract
from stages.lib.contract import Key, Out, Refusal, Word
from stages.lib.params import Sha256

CHUNK = 1 << 20
HINTS = {
    401: "it asks for a login: set HF_TOKEN for the hub",
    403: "access is refused: log in, and accept the licence on the data set's page",
    404: "nothing is there: is the address right, and the revision still published?",
}


def main(
    name: Word,
    raw: Out,
    *,
    url: Annotated[str, Key("sources.{name}.url")],
    sha256: Annotated[Sha256, Key("sources.{name}.sha256")],
) -> None:
    """Fetch ``url`` and keep it only if its bytes are those that were pinned."""
    part = raw.with_name(raw.name + ".part")
    try:
        found = download(url, part, name)
        if found != sha256:
            raise Refusal(
                f"params.yaml: sources.{name}.sha256: {url} has the SHA-256 {found}, and {sha256} is pinned. "
                "If upstream changed on purpose, look at what changed and pin the new one."
            )
        os.replace(part, raw)
    finally:
        part.unlink(missing_ok=True)


def download(url: str, path: Path, name: str) -> str:
    """Stream an address into a file with a progress bar; the SHA-256 of what came, in hexadecimal."""
    import aiohttp
    import fsspec
    from tqdm import tqdm

    digest = hashlib.sha256()
    try:
        with fsspec.open(url, "rb") as upstream, path.open("wb") as local:
            size = getattr(upstream, "size", None)
            with tqdm(total=size, unit="B", unit_scale=True, desc=f"pull {name}", leave=False) as bar:
                while chunk := upstream.read(CHUNK):
                    digest.update(chunk)
                    local.write(chunk)
                    bar.update(len(chunk))
    except (OSError, ValueError, ImportError, aiohttp.ClientError) as error:
        raise Refusal(f"params.yaml: sources.{name}.url: cannot fetch {url}: {reason(error)}") from error
    return digest.hexdigest()


def reason(error: BaseException) -> str:
    """What went wrong, with what to do about it where the answer is known."""
    # fsspec says "not found" of every refusal and keeps the server's own word as the cause
    status = next((found for fault in (error.__cause__, error) if (found := http_status(fault))), None)
    if status is None and isinstance(error, FileNotFoundError):
        status = 404
    hint = HINTS.get(status or 0, "is the network up, and the address right?")
    return f"{error} ({f'HTTP {status}: ' if status else ''}{hint})"


def http_status(error: BaseException | None) -> int | None:
    """The status in an aiohttp or a requests error."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


if __name__ == "__main__":
    contract.run(main)
