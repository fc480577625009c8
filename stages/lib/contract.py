"""A stage's signature is its contract with dvc.yaml.

Positional parameters are the words of the stage's ``cmd``, in order: each is a :data:`Dep` (read), an
:data:`Out` (written) or a :data:`Word` (a plain word, such as the name of a source). Keyword-only
parameters are its ``params:``, found under the same name in ``params.yaml`` or in the recipe that
``params.yaml`` names, or under the path that a :class:`Key` spells out. ``tests/test_graph.py`` holds
dvc.yaml, the signatures and the imports to each other.

This module carries words and values to ``main``, or raises. It decides nothing that could reach an
output, so it is no dependency of any stage: a change here reruns nothing.
"""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

Dep = Annotated[Path, "dep"]
Out = Annotated[Path, "out"]
Word = Annotated[str, "word"]


@dataclass(frozen=True)
class Key:
    """Where a keyword is found when its path is not its name: ``Key("sources.{name}.url")``."""

    path: str


class Refusal(Exception):
    """Something the user gave is wrong. The text names the place, what was found and what to do."""


def run(main: Callable[..., None], argv: list[str] | None = None) -> None:
    """Call a stage with the words of its command line and its params; say plainly what is wrong with either."""
    main = importable(main)
    words = sys.argv[1:] if argv is None else argv
    if set(words) & {"-h", "--help"}:
        print(usage(main))
        return
    try:
        positional = bind_words(main, words)
        main(*positional, **bind_params(main, named_words(main, positional)))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        raise SystemExit(2) from None


def importable(main: Callable[..., None]) -> Callable[..., None]:
    """The same function under the name of its module: what is sent to other processes is found there by name."""
    spec = sys.modules["__main__"].__spec__
    if main.__module__ != "__main__" or spec is None or spec.origin != main.__code__.co_filename:
        return main
    return getattr(importlib.import_module(spec.name), main.__name__)


def usage(main: Callable[..., None]) -> str:
    """The stage's idea, the words it takes and the params it reads."""
    module = inspect.getmodule(main)
    lines = [(module.__doc__ or "").strip() if module else "", "", "words:"]
    for name, kind, many in word_parameters(main):
        lines.append(f"  {name}{'…' if many else ''}  ({kind})")
    lines += ["", "params:", *(f"  {path}" for path in param_paths(main).values())]
    return "\n".join(lines)


def word_parameters(main: Callable[..., None]) -> list[tuple[str, str, bool]]:
    """(name, "dep" | "out" | "word", takes many) of each positional parameter, in order."""
    hints = get_type_hints(main, include_extras=True)
    found = []
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        kind = getattr(hints[name], "__metadata__", ("",))[0]
        if kind not in ("dep", "out", "word"):
            raise TypeError(f"{main.__module__}.main: positional parameter {name!r} must be a Dep, an Out or a Word")
        found.append((name, kind, parameter.kind is parameter.VAR_POSITIONAL))
    return found


def param_paths(main: Callable[..., None]) -> dict[str, str]:
    """The dotted path in the params of each keyword-only parameter; ``{name}`` stands for a word of the command."""
    hints = get_type_hints(main, include_extras=True)
    paths = {}
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            keys = [extra.path for extra in getattr(hints[name], "__metadata__", ()) if isinstance(extra, Key)]
            paths[name] = keys[0] if keys else name
    return paths


def bind_words(main: Callable[..., None], words: list[str]) -> list[str | Path]:
    """The command line as typed positional arguments; parameters with a default may be left out at the end."""
    parameters = word_parameters(main)
    signature = inspect.signature(main).parameters
    required = sum(1 for name, _, many in parameters if not many and signature[name].default is inspect.Parameter.empty)
    if len(words) < required or (len(words) > len(parameters) and not any(many for *_, many in parameters)):
        names = " ".join(name + ("…" if many else "") for name, _, many in parameters)
        raise Refusal(f"{main.__module__} takes the words: {names}; found {len(words)}: {' '.join(words)}")
    bound: list[str | Path] = []
    for position, word in enumerate(words):
        name, kind, _ = parameters[min(position, len(parameters) - 1)]
        if kind == "dep" and not Path(word).exists():
            raise Refusal(f"{word} ({name} of {main.__module__}) does not exist; `dvc repro` or `dvc pull` makes it")
        if kind == "out":
            Path(word).parent.mkdir(parents=True, exist_ok=True)
        bound.append(word if kind == "word" else Path(word))
    return bound


def named_words(main: Callable[..., None], bound: list[str | Path]) -> dict[str, str]:
    """The plain words of a command by parameter name: what ``{name}`` in a :class:`Key` stands for."""
    pairs = zip(word_parameters(main), bound, strict=False)
    return {name: str(value) for (name, kind, _), value in pairs if kind == "word"}


def bind_params(main: Callable[..., None], words: Mapping[str, str]) -> dict[str, Any]:
    """Read and validate exactly the params that the stage declares."""
    from stages.lib import paramfile

    paths = param_paths(main)
    if not paths:
        return {}
    tree, files = paramfile.read(Path("params.yaml"), Path("recipes"))
    hints = get_type_hints(main, include_extras=True)
    return {name: paramfile.validate(hints[name], tree, path.format(**words), files) for name, path in paths.items()}


def suggest(found: str, known: list[str]) -> str:
    """``known: a, b, c`` with the nearest one named first."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(found.casefold(), folded, n=1)
    return (f"did you mean {folded[near[0]]!r}? " if near else "") + "known: " + ", ".join(known)
