"""What can go wrong on the way from upstream: whether another try may help, and what to do about it.

Every library has errors of its own; here they are told apart by the names of their classes, since most of the
libraries are not imported, or not even installed, when another one fails. Texts leave without passwords and tokens.
Not covered: a wrong hash, which is no error of the way (``stages/pull.py``).
"""

import errno
import os
import sys
from collections.abc import Iterator, Mapping

from stages.lib.sources.fetch import hub_place, kaggle_place, plain, scheme

PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that another try may change
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CUT = {  # classes of connections that broke, in builtins, aiohttp, httpx2, requests and botocore
    *("ConnectionError", "TimeoutError", "ClientConnectionError", "ClientPayloadError", "TransportError", "Timeout"),
    *("ChunkedEncodingError", "HTTPClientError", "DataCorruptionError"),
}
# what a library raises beside OSError and ValueError, if it was imported at all
RAISED = {
    "aiohttp": ["ClientError"],
    "httpx2": ["HTTPError"],
    "botocore.exceptions": ["BotoCoreError", "ClientError"],
    "kagglehub.exceptions": ["BackendError", "CredentialError", "DataCorruptionError", "UnauthenticatedError"],
}
Hints = Mapping[str | int, str]  # what to do, by the name of an error's class or by its status


def faults() -> tuple[type[BaseException], ...]:
    """All that an address may raise that is no fault of ours."""
    found = [
        getattr(sys.modules[module], name) for module in RAISED if module in sys.modules for name in RAISED[module]
    ]
    return (OSError, ValueError, ImportError, *found)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def status(error: BaseException) -> int | None:
    """The HTTP status behind an error, or what comes nearest to it."""
    for fault in chain(error):
        found = getattr(fault, "status", None) or getattr(getattr(fault, "response", None), "status_code", None)
        if isinstance(found, int):
            return found
    # object stores borrow these classes; from this machine's own files they come with an errno
    borrowed = isinstance(error, OSError) and error.errno is None and "LocalEntryNotFoundError" not in kinds(error)
    if borrowed and isinstance(error, FileNotFoundError):
        return 404
    return 403 if borrowed and isinstance(error, PermissionError) else None


def passing(error: BaseException) -> bool:
    """Whether another try may help: a cut or refused connection, a busy server; not a certificate, not a full disk."""
    if (found := status(error)) is not None:
        return found in PASSING
    names = kinds(error)
    return bool(CUT & names) and not {"SSLCertVerificationError", "OfflineModeIsEnabled"} & names


def kinds(error: BaseException) -> set[str]:
    """The names of all classes of an error and of its causes: the libraries behind them need not be there."""
    return {kind.__name__ for fault in chain(error) for kind in type(fault).__mro__}


def explain(url: str, error: BaseException) -> str:
    """What went wrong and what to do about it, without any secret."""
    names, found = kinds(error), status(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"no room on the disk ({error.strerror}); make some and run it again"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return f"{error.filename} can't be read or written by this user: {os.strerror(error.errno)}"
    if "SSLCertVerificationError" in names:
        return (
            f"its certificate is not trusted ({cause(error)}); is this machine's clock right? An authority of your own "
            "goes into SSL_CERT_FILE (REQUESTS_CA_BUNDLE for Kaggle, AWS_CA_BUNDLE for S3)"
        )
    if "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set; unset it to let this machine ask the hub"
    if isinstance(error, ImportError):
        extra = {"s3": "s3", "s3a": "s3", "kaggle": "kaggle"}.get(scheme(url))
        does = f"`make setup EXTRAS={extra}` installs it" if extra else "install it into .venv"
        return f"a package for {scheme(url)}:// is missing ({plain(str(error))}); {does}"
    said = f"HTTP {found}" if found and scheme(url) != "file" else cause(error)
    return f"{said}; {hint(url, found, names)}"


def hint(url: str, found: int | None, names: set[str]) -> str:
    """What to do, by the kind of address and by the class or the status of the error."""
    if found in PASSING:
        return "the server is busy or out of order; run it again later"
    tables = {"hf": hub_hints, "kaggle": kaggle_hints, "s3": s3_hints, "s3a": s3_hints, "file": file_hints}
    table = tables.get(scheme(url), web_hints)(url)
    offline = "is the network up, the address right, and HTTPS_PROXY set where one is needed?"
    unknown = "is the address right?" if found or "ValueError" in names else offline
    return next((text for key, text in table.items() if key in names or key == found), unknown)


def hub_hints(url: str) -> Hints:
    """What to do about a file of the Hugging Face hub."""
    from huggingface_hub import constants

    place = hub_place(url)
    page = f"{constants.ENDPOINT}/datasets/{place.repo}"
    login = f"set HF_TOKEN to a valid token that may read {place.repo}; if {page} shows terms, accept them"
    return {
        "GatedRepoError": f"log in at {page} and accept its terms, then set HF_TOKEN to a token of that account",
        "RevisionNotFoundError": f"{place.repo} has no revision {place.revision}; see {page}/commits",
        "RemoteEntryNotFoundError": f"{place.repo} has no file {place.path} at {place.revision}; see {page}/tree/main",
        "RepositoryNotFoundError": f"no data set {place.repo} for this login; is the name right? If private: {login}",
        401: login,
        403: login,
    }


def kaggle_hints(url: str) -> Hints:
    """What to do about a file of a Kaggle data set."""
    place = kaggle_place(url)
    page = f"https://www.kaggle.com/datasets/{place.repo}"
    login = (
        "log in: set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY (https://www.kaggle.com/settings), "
        f"and accept the licence on {page}"
    )
    gone = f"{place.repo} has no version {place.revision}, or no file {place.path} in it; see {page}"
    return {"UnauthenticatedError": login, "CredentialError": login, 401: login, 403: login, 404: gone}


def s3_hints(url: str) -> Hints:
    """What to do about a file in S3."""
    login = (
        "log in: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; a public bucket is read without a login "
        """by FSSPEC_S3='{"anon": true}'"""
    )
    return {"NoCredentialsError": login, 403: login, 404: "no such bucket or key; is the address right?"}


def file_hints(url: str) -> Hints:
    """What to do about a file of this repo."""
    right = "is the path right, seen from the repository's root?"
    return {"FileNotFoundError": f"no such file here; {right}", "IsADirectoryError": "a source is one file; name it"}


def web_hints(url: str) -> Hints:
    """What to do about any other address."""
    return {
        401: "it asks for a login: put it into ~/.netrc (machine … login … password …)",
        403: "access is refused: does its page ask for a login, or for a click on a licence? A signed link ages",
        404: "nothing is there; is the address right, and still published?",
        "ValueError": "is the address right? Known: a path, https://, hf://, kaggle://, s3:// and what fsspec opens",
    }


def cause(error: BaseException) -> str:
    """The first of an error and its causes that says anything, on one line."""
    return next((plain(str(fault)) for fault in chain(error) if str(fault).strip()), type(error).__name__)
