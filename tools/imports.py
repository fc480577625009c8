"""Which files of the repo a module runs: its imports, theirs, and so on.

Imports inside functions count, those for the type checker alone don't. Not covered: imports by computed names.
"""

import ast
from pathlib import Path

# They hand words and values on, or raise, or tell people: a change in them can reach no output.
EXEMPT = frozenset(
    f"stages/lib/{name}.py"
    for name in ("contract", "paramfile", "params", "recipes", "train/progress", "train/trackers")
)


def imported(source: str, package: str = "") -> set[str]:
    """Dotted names that the code may import when it runs, in functions too; not those for the type checker only."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update([base, *(f"{base}.{name.name}" for name in node.names)])
        waiting += ast.iter_child_nodes(node)
    return found


def closure(root: Path, start: str) -> frozenset[str]:
    """A file and all files of the repo that it imports, directly or not; not those that can reach no output."""
    found, waiting = set[str](), [start]
    while waiting:
        path = waiting.pop()
        if path in found or path in EXEMPT:
            continue
        found.add(path)
        package = ".".join(Path(path).parent.parts)
        for name in imported((root / path).read_text(encoding="utf-8"), package):
            waiting += module_files(root, name)
    return frozenset(found)


def module_files(root: Path, name: str) -> list[str]:
    """The files of the repo that run when a dotted name is imported."""
    parts = name.split(".")
    packages = ["/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts) + 1)]
    return [path for path in ["/".join(parts) + ".py", *packages] if (root / path).is_file()]
