"""Published weights by name: a hub repository at a pinned revision (``owner/name@`` and 40 hex digits), or a folder.

Only what is data is fetched, and what was fetched once is taken from the hub's own cache. Not covered: whether a
folder's contents changed under the same name.
"""

import re
from pathlib import Path

from stages.lib.contract import Refusal

FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.codes"]
PINNED = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})")


def folder(model: str, key: str) -> Path:
    """Where a model lies on this machine; ``key`` is the param that names it."""
    if pinned := PINNED.fullmatch(model):
        return download(pinned[1], pinned[2], key)
    if Path(model).is_dir():
        return Path(model)
    raise Refusal(
        f"{key}: found {model!r}, which is no folder here; name one, or a hub repository with its revision, as"
        " owner/name@ and the 40 hex digits of a commit"
    )


def download(repo: str, revision: str, key: str) -> Path:
    """The snapshot's folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=FILES))
    except (RepositoryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise Refusal(
            f"{key}: {repo} at {revision} can't be had: {' '.join(str(error).split())[:200]};"
            " check the name and the revision, set HF_TOKEN if it is gated, or name a local folder"
        ) from None
