"""A folder by its bytes, for tests of runs that must give the same ones."""

import hashlib
from pathlib import Path


def digests(folder: Path) -> dict[str, str]:
    """The digest of each file by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
