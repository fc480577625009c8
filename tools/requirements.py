"""Print what pip is to install, from pyproject.toml and constraints.txt: ``python -m tools.requirements [extra…]``.

A hash of the pins ends the list, so that the Makefile can tell by comparing lists whether pip has anything to do.
Not covered: building a package, since the project runs from its root.
"""

import hashlib
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """The dependencies of a [project] table, with those for development and of some extras."""
    known = project["optional-dependencies"]
    if unknown := [name for name in extras if name not in known]:
        raise SystemExit(f"error: EXTRAS: found {' '.join(unknown)}; known: {', '.join(known)}")
    return [*project["dependencies"], *(need for name in ["dev", *extras] for need in known[name])]


def main() -> None:
    """Print one requirement a line."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print(*requirements(project, sys.argv[1:]), sep="\n")
    print(f"# pins {hashlib.sha256(Path('constraints.txt').read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
