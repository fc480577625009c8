"""A published model's files at one commit, or a folder's, as data: what is code or a pickle is never fetched.

A download that broke off goes on where it ended, since huggingface_hub keeps the pieces; without a network, what was
fetched before is used. Not covered: data sets, which ``stages/pull.py`` fetches; whether a folder's contents changed
under the same name.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from stages.lib.contract import Refusal
from stages.lib.sources.fetch_errors import NO_ROOM, PASSING, cause, chain, faults, kinds, status

FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.codes"]
COMMIT = re.compile(r"[0-9a-f]{40}")
PINNED = re.compile(rf"([\w.-]+/[\w.-]+)@({COMMIT.pattern})")
ELSEWHERE = ["*/*", "consolidated*"]  # other formats and copies of the same weights


@dataclass(frozen=True)
class Snapshot:
    """A model's folder, and the commit that it is."""

    folder: Path
    commit: str


def folder(model: str, key: str) -> Path:
    """Where a model lies on this machine: a folder, or what ``owner/name@commit`` is; ``key`` is the param's name."""
    if pinned := PINNED.fullmatch(model):
        return snapshot(pinned[1], pinned[2], key).folder
    if Path(model).is_dir():
        return Path(model)
    raise Refusal(
        f"{key}: found {model!r}, which is no folder here; name one, or a hub repository with its revision, as"
        " owner/name@ and the 40 hex digits of a commit"
    )


def snapshot(repo: str, revision: str, key: str = "base.repo") -> Snapshot:
    """The model's files; whoever names a branch is told which commit that was."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        about = HfApi().model_info(repo, revision=revision)
        commit = str(about.sha)
        check_files(repo, revision, key, [file.rfilename for file in about.siblings or []])
        folder = Path(
            snapshot_download(repo, revision=commit, allow_patterns=FILES, ignore_patterns=ELSEWHERE, max_workers=4)
        )
    except failures() as error:
        kept = None if status(error) or room(error) else fetched(repo, revision)
        if kept is None:
            raise Refusal(f"{key}: {repo} at {revision}: {explain(repo, revision, error)}") from None
        folder, commit = kept, kept.name
    if not complete(folder):
        raise Refusal(f"{key}: {repo} at {revision}: files that its index of weights names are missing; run it again")
    if not COMMIT.fullmatch(revision):
        print(
            f"warning: base.revision: {revision} is a name that can move, so this model can't be made again for sure;"
            f" today it is {commit}: write that into the recipe",
            file=sys.stderr,
        )
    return Snapshot(folder, commit)


def failures() -> tuple[type[BaseException], ...]:
    """All that huggingface_hub and the libraries below it raise, once it has been imported."""
    return (*faults(), RuntimeError)


def tokenizer_files(repo: str, revision: str) -> Path:
    """A folder with the model's files, its weights left out."""
    try:
        return download(repo, revision, FILES, [*ELSEWHERE, "*.safetensors"])
    except failures() as error:
        raise Refusal(f"base.repo: {repo} at {revision}: {explain(repo, revision, error)}") from None


def download(repo: str, revision: str, kinds: list[str], left: list[str]) -> Path:
    """A folder with a model's files of some kinds, of an earlier download where the hub can't be reached.

    The hub is asked one question first, which fails at once without a network: a download would try for half a minute.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        HfApi().model_info(repo, revision=revision)
    except failures() as error:
        folder = None if status(error) else earlier(repo, revision, kinds, left)
        if folder is None:
            raise
        return folder
    return Path(snapshot_download(repo, revision=revision, allow_patterns=kinds, ignore_patterns=left))


def earlier(repo: str, revision: str, kinds: list[str], left: list[str]) -> Path | None:
    """The folder of an earlier download of files of these kinds, if it is known."""
    from huggingface_hub import snapshot_download

    asked: dict[str, Any] = {"allow_patterns": kinds, "ignore_patterns": left, "local_files_only": True}
    try:
        return Path(snapshot_download(repo, revision=revision, **asked))
    except (OSError, ValueError):
        return None


def fetched(repo: str, revision: str) -> Path | None:
    """The folder of an earlier download of a model, if all of it is there."""
    folder = earlier(repo, revision, FILES, ELSEWHERE)
    return folder if folder and complete(folder) else None


def complete(folder: Path) -> bool:
    """Whether a folder holds all weights that its index names; what has none has one file."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(folder.glob("*.safetensors"))
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return all((folder / name).is_file() for name in names)


def check_files(repo: str, revision: str, key: str, names: list[str]) -> None:
    """Refuse a repository whose weights are pickles, or that holds no model."""
    top = [name for name in names if "/" not in name]
    if any(name.endswith(".safetensors") for name in top):
        return
    if any(name.endswith((".bin", ".pt", ".pth")) for name in top):
        made = f"data/hub/{repo.split('/')[-1]}"
        ours = f"convert them once, `python -m tools.convert {repo} {revision} {made}`, and name that folder"
        others = "pin a commit that has safetensors, as SFconvertbot offers in pull requests"
        raise Refusal(
            f"{key}: {repo} at {revision} has its weights in a format that can run code;"
            f" {ours if key == 'base.repo' else others}"
        )
    raise Refusal(f"{key}: {repo} at {revision} holds no safetensors: is it the model, not an adapter or a GGUF?")


def room(error: BaseException) -> bool:
    """Whether the disk is full."""
    return any(isinstance(fault, OSError) and fault.errno in NO_ROOM for fault in chain(error))


def explain(repo: str, revision: str, error: BaseException) -> str:
    """What went wrong and what to do about it."""
    from huggingface_hub import constants

    page, names, found = f"{constants.ENDPOINT}/{repo}", kinds(error), status(error)
    login = f"set HF_TOKEN to a valid token that may read it; if {page} shows terms, accept them first"
    hints: Mapping[str | int, str] = {
        "GatedRepoError": f"log in at {page} and accept its licence, then set HF_TOKEN to a token of that account",
        "RevisionNotFoundError": f"it has no such revision; see {page}/commits",
        "RepositoryNotFoundError": f"no such model for this login; is the name right? If it is private: {login}",
        "HFValidationError": "that is no name of a repository, nor a folder here; a name reads owner/model",
        "OfflineModeIsEnabled": "it was not fetched before, and HF_HUB_OFFLINE is set; unset it",
        401: login,
        403: login,
    }
    if room(error):
        return "no room on the disk for its files; make some (or set HF_HOME to a larger one) and run it again"
    if found in PASSING:
        return f"HTTP {found}; the hub is busy or out of order; run it again later, it goes on where it ended"
    known = next((text for key, text in hints.items() if key in names or key == found), None)
    # the hub's own words about what it did not find here stand before the one cause
    first = next((fault for fault in chain(error) if type(fault).__name__ != "LocalEntryNotFoundError"), error)
    said = f"HTTP {found}" if found else shorten(cause(first), 200, placeholder=" …")
    return f"{said}; {known or 'is the network up, and HTTPS_PROXY set where one is needed? Or name a local folder'}"


def config(folder: Path, repo: str) -> dict[str, Any]:
    """A model's configuration, if it is one that can be trained here without running its own code."""
    from transformers import __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    try:
        found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"base.repo: {repo} has no config.json, so it is no model; check the name") from None
    kind = found.get("model_type")
    if kind not in KNOWN:
        raise Refusal(
            f"base.repo: {repo} is of the architecture {kind!r}, which transformers {__version__} does not know as a"
            " language model, and code from a model's folder is never run; pick a model of another family"
        )
    if "quantization_config" in found:
        raise Refusal(f"base.repo: {repo} holds quantised weights, which lose by learning; name the model they are of")
    return found
