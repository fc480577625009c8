"""Hold dvc.yaml, the stages' signatures and their imports to each other: ``python -m tools.graph``.

dvc.yaml says which files a stage reads and writes; its signature and its imports say so too. Whatever one of
them knows and another doesn't is a fault, told in one line. Not covered: files that a stage opens without
taking them as a word, and values (``stages/check.py``).
"""

import importlib
import inspect
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from stages.lib import contract, paramfile, params, recipes
from tools.imports import closure

ORDER = "data/checked"  # read by nobody: the first stages wait for it, so that wrong dials cost nothing
FIRST = ("pull", "generate")
LOSSES = (".refused.jsonl", ".dropped.parquet")


@dataclass(frozen=True)
class Node:
    """A stage of dvc.yaml with its templates filled in."""

    name: str
    cmd: str
    desc: str = ""
    deps: frozenset[str] = frozenset()
    outs: frozenset[str] = frozenset()
    uncached: frozenset[str] = frozenset()
    params: frozenset[tuple[str, str]] = frozenset()  # (file, dotted key)
    frozen: bool = False

    @property
    def stage(self) -> str:
        """The name without what ``foreach`` appends."""
        return self.name.split("@")[0]


@dataclass(frozen=True)
class Signature:
    """What a stage's ``main`` says, and what its module imports inside the repo."""

    words: list[tuple[str, str, bool]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    imports: frozenset[str] = frozenset()


def node_faults(node: Node, signature: Signature, files: Mapping[str, str]) -> Iterator[str]:
    """Where one stage of dvc.yaml and its signature disagree; ``files`` tells where each top-level key stands."""
    module = f"stages/{node.stage}.py"
    if not node.desc:
        yield f"{node.name}: dvc.yaml gives it no desc"
    command = shlex.split(node.cmd)
    if command[:3] != ["python", "-m", f"stages.{node.stage}"]:
        yield f"{node.name}: its cmd must begin with `python -m stages.{node.stage}`, found: {node.cmd}"
        return
    try:
        bound = list(bind(signature, command[3:]))
    except ValueError as error:
        yield f"{node.name}: {module}: {error}"
        return
    deps = {word for _, kind, word in bound if kind == "dep"}
    outs = {word for _, kind, word in bound if kind == "out"}
    order = {ORDER} if node.stage in FIRST else set()
    for path in sorted(deps - node.deps):
        yield f"{node.name}: {module} reads {path}, which dvc.yaml doesn't list under deps"
    for path in sorted(signature.imports - node.deps):
        yield f"{node.name}: {module} imports {path}, which dvc.yaml doesn't list under deps"
    for path in sorted(node.deps - deps - signature.imports - order):
        yield f"{node.name}: dvc.yaml lists the dep {path}, which {module} neither takes as a word nor imports"
    for path in sorted(outs - node.outs):
        yield f"{node.name}: {module} writes {path}, which dvc.yaml doesn't list under outs, metrics or plots"
    for path in sorted(node.outs - outs):
        yield f"{node.name}: dvc.yaml lists the output {path}, which {module} doesn't take as a word"
    words = {name: word for name, kind, word in bound if kind == "word"}
    yield from param_faults(node, {path.format(**words) for path in signature.params.values()}, files)


def bind(signature: Signature, words: list[str]) -> Iterator[tuple[str, str, str]]:
    """(parameter, kind, word) of a command line; what is left out has its default."""
    known = signature.words
    if len(words) > len(known) and not any(many for *_, many in known):
        raise ValueError(f"takes {len(known)} words, and the cmd has {len(words)}")
    for position, (name, kind, many) in enumerate(known):
        if many:
            yield from ((name, kind, word) for word in words[position:])
        elif position < len(words):
            yield name, kind, words[position]
        elif name in signature.defaults:
            yield name, kind, signature.defaults[name]
        else:
            raise ValueError(f"takes the word {name!r}, and the cmd has only {len(words)} words")


def param_faults(node: Node, keys: set[str], files: Mapping[str, str]) -> Iterator[str]:
    """Where the params of dvc.yaml and the keyword-only parameters disagree."""
    wanted = {(files.get(key.split(".")[0], ""), key) for key in keys}
    for file, key in sorted(wanted - node.params):
        if not file:
            yield f"{node.name}: stages/{node.stage}.py reads the param {key}, which no schema in {params.__file__} has"
        else:
            yield f"{node.name}: stages/{node.stage}.py reads {key} of {file}, which dvc.yaml doesn't list under params"
    for file, key in sorted(node.params - wanted):
        yield f"{node.name}: dvc.yaml lists the param {key} of {file}, which stages/{node.stage}.py doesn't take"


def graph_faults(nodes: list[Node], modules: set[str], sources: Iterable[str]) -> Iterator[str]:
    """What must hold for the stages together; ``modules`` are the names of the files in stages/."""
    stages = {node.stage for node in nodes}
    yield from (f"stages/{name}.py is no stage of dvc.yaml" for name in sorted(modules - stages))
    yield from (
        f"{name}: dvc.yaml has this stage, and there is no stages/{name}.py" for name in sorted(stages - modules)
    )
    for node in nodes:
        if node.frozen != (node.stage == "chat"):
            yield f"{node.name}: chat and no other stage is frozen"
        if node.uncached and node.stage != "report":
            yield f"{node.name}: only report may have cache: false, found on {', '.join(sorted(node.uncached))}"
    by_name = {node.name: node for node in nodes}
    for source in sources:
        for origin, reader, lossy in (
            ("translate", "clean", False),
            ("parse", "datacard", True),
            ("translate", "datacard", True),
        ):
            made = by_name.get(f"{origin}@{source}")
            read = by_name.get(reader)
            if made is None or read is None:
                yield f"sources.{source}: dvc.yaml has no stage {reader if made else f'{origin}@{source}'}"
                continue
            for path in sorted(made.outs - read.deps):
                if path.endswith(LOSSES) == lossy:
                    yield f"{reader}: dvc.yaml doesn't list {path}, made by {made.name}; add it to the cmd and the deps"
    made_here = {out for node in nodes for out in node.outs}
    asked = {dep for node in nodes if node.stage == "benchmark" for dep in node.deps if dep.endswith(".jsonl")}
    known = {dep for node in nodes if node.stage == "decontaminate" for dep in node.deps}
    for path in sorted(asked - made_here - known):
        yield f"decontaminate: dvc.yaml doesn't list {path}, which benchmark asks; add it to the cmd and the deps"


def coverage_faults(signatures: Iterable[Signature], models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """Keys of the schemas that no stage reads. ``recipe`` is read by whoever reads params at all."""
    paths = {path for signature in signatures for path in signature.params.values()} | {"recipe"}
    for name, model in models.items():
        for key, info in model.model_fields.items():
            if key in paths:
                continue
            inner = [
                part for part in get_args(info.annotation) if get_origin(info.annotation) is dict and is_model(part)
            ]
            wanted = [f"{key}.{{name}}.{member}" for part in inner for member in part.model_fields] or [key]
            yield from (
                f"{name}: no stage reads {path}"
                for path in wanted
                if not any(path == whole or path.startswith(f"{whole}.") for whole in paths)
            )


def schema_faults(models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """Defaults, which would let a stage see a value that no file holds, and keys that two files may hold.

    That a key may be absent (None) is no such value.
    """
    for name, model in models.items():
        yield from (f"{name}: {path} has a default in its schema" for path in defaults(model))
    first, *others = models.values()
    twice = set(first.model_fields).intersection(*(model.model_fields for model in others))
    yield from (f"{key} is a key of {' and of '.join(models)}" for key in sorted(twice))


def defaults(annotation: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of all fields that have a default."""
    if not is_model(annotation):
        for part in get_args(annotation):
            yield from defaults(part, path)
        return
    for key, info in annotation.model_fields.items():
        inner = f"{path}.{key}".lstrip(".")
        if not info.is_required() and info.default is not None:
            yield inner
        yield from defaults(info.annotation, inner)


def is_model(annotation: Any) -> bool:
    """Whether an annotation is a schema."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def read_signature(root: Path, stage: str) -> Signature:
    """The contract of ``stages/<stage>.py``; the module is imported."""
    main = importlib.import_module(f"stages.{stage}").main
    values = {name: parameter.default for name, parameter in inspect.signature(main).parameters.items()}
    return Signature(
        words=contract.word_parameters(main),
        params=contract.param_paths(main),
        defaults={name: str(value) for name, value in values.items() if value is not inspect.Parameter.empty},
        imports=closure(root, f"stages/{stage}.py"),
    )


def read_nodes(root: Path) -> list[Node]:
    """The stages of dvc.yaml as DVC itself resolves them."""
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return [
            Node(
                name=stage.name,
                cmd=stage.cmd,
                desc=stage.desc or "",
                deps=frozenset(dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)),
                outs=frozenset(out.def_path for out in stage.outs),
                uncached=frozenset(out.def_path for out in stage.outs if not out.use_cache),
                params=frozenset(
                    (dep.def_path, key)
                    for dep in stage.deps
                    if isinstance(dep, ParamsDependency)
                    for key in dep.params or ["(the whole file)"]
                ),
                frozen=stage.frozen,
            )
            for stage in repo.index.stages
            if stage.path_in_repo == "dvc.yaml"
        ]


def faults(root: Path) -> list[str]:
    """All that is wrong with the graph of the repo in which this process runs, in plain words."""
    tree, _ = paramfile.read(root / "params.yaml", root / "recipes")
    models: dict[str, type[BaseModel]] = {
        "params.yaml": params.Params,
        f"recipes/{tree['recipe']}.yaml": recipes.Recipe,
    }
    files = {key: file for file, model in models.items() for key in model.model_fields}
    nodes = read_nodes(root)
    modules = {path.stem for path in (root / "stages").glob("*.py")} - {"__init__"}
    signatures = {stage: read_signature(root, stage) for stage in sorted(modules)}
    found = [
        fault
        for node in nodes
        if node.stage in signatures
        for fault in node_faults(node, signatures[node.stage], files)
    ]
    found += graph_faults(nodes, modules, tree["sources"])
    found += coverage_faults(signatures.values(), models)
    found += schema_faults(models)
    return list(dict.fromkeys(found))


def main() -> int:
    """Print the faults, or that there are none."""
    try:
        found = faults(Path.cwd())
    except contract.Refusal as refusal:
        found = [str(refusal)]
    print("\n".join(found) or "dvc.yaml, the stages' signatures and their imports agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
