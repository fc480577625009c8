"""params.yaml and the recipe that it names, read and checked, and plain words for what is wrong with them.

Files are read as YAML 1.2, because DVC writes ``5e-05``, which a YAML 1.1 parser takes for a string. This module can
do nothing but hand on what the files say or raise, so it is no dependency of any stage: a change here reruns nothing.
Not covered: which keys there are (``stages/lib/params.py``).
"""

import difflib
import json
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from stages.lib.contract import Refusal, suggest
from stages.lib.params import Params
from stages.lib.recipes import Recipe, kind_of


def read(dials: Path, recipes: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The params and the recipe that they name as one tree, and the file that each top-level key stands in."""
    tree = load(dials)
    name = validate(str, tree, "recipe", dict.fromkeys(tree, "params.yaml"))
    recipe = load(recipe_file(recipes, name, "params.yaml: recipe"))
    twice = sorted(set(tree) & set(recipe))
    if twice:
        raise Refusal(f"recipes/{name}.yaml: {twice[0]} stands in params.yaml too; keep one of them")
    files = dict.fromkeys(tree, "params.yaml") | dict.fromkeys(recipe, f"recipes/{name}.yaml")
    return tree | recipe, files


def recipe_file(recipes: Path, name: str, key: str) -> Path:
    """The file of a recipe; of dozens, a refusal names the one whose name is nearest, or says where they are."""
    known = {path.stem.casefold(): path for path in recipes.glob("*.yaml")}
    if (path := recipes / f"{name}.yaml") in known.values():
        return path
    near = difflib.get_close_matches(name.casefold(), known, n=1)
    told = f"did you mean {known[near[0]].stem!r}?" if near else "it has to be a file of recipes/, without .yaml"
    raise Refusal(f"{key}: found {name!r}; {told}")


def load(path: Path) -> dict[str, Any]:
    """One YAML 1.2 mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path.name} is missing in {path.parent.resolve().name}/") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise Refusal(f"{path.name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise Refusal(f"{path.name}: found {type(tree).__name__}; it must be a mapping of keys to values")
    return tree


def validate(annotation: Any, tree: dict[str, Any], path: str, files: dict[str, str]) -> Any:
    """The value at a dotted path as the type that a stage's signature gives it."""
    value: Any = tree
    place = files.get(path.split(".")[0]) or missing_place(path.split(".")[0])
    for depth, key in enumerate(keys := path.split(".")):
        if not isinstance(value, dict) or key not in value:
            known = list(value) if isinstance(value, dict) else []
            raise Refusal(f"{place}: {'.'.join(keys[: depth + 1])} is missing; {suggest(key, known)}")
        value = value[key]
    return typed(annotation, value, place, path)


def typed(annotation: Any, value: Any, place: str, path: str = "") -> Any:
    """The value as the annotated type, without any conversion, or a refusal that names every key that is wrong."""
    holder: Any = create_model("Holder", __config__=ConfigDict(strict=True), value=(annotation, ...))
    try:
        return holder.model_validate({"value": value}).value
    except ValidationError as error:
        raise Refusal(explain(error, annotation, value, place, path)) from None


def check(dials: Path, recipes: Path) -> tuple[Params, Recipe]:
    """Everything in params.yaml and in the recipe that it names, typed, with no key left over."""
    tree, files = read(dials, recipes)
    recipe_file = f"recipes/{tree['recipe']}.yaml"
    params = {key: value for key, value in tree.items() if files[key] == "params.yaml"}
    recipe = {key: value for key, value in tree.items() if files[key] == recipe_file}
    return typed(Params, params, "params.yaml"), typed(Recipe, recipe, recipe_file)


def missing_place(key: str) -> str:
    """The file in which an absent top-level key belongs."""
    return "the recipe" if key in Recipe.model_fields else "params.yaml"


def explain(error: ValidationError, annotation: Any, value: Any, place: str, path: str) -> str:
    """One line a wrong key: the place, its full path, what was found, what is allowed."""
    lines = []
    for fault in error.errors(include_url=False):
        where, found, expected = path, value, annotation
        for key in fault["loc"][1:]:
            inner = member(expected, key)
            if inner is None:  # pydantic also names the branch of a union that it tried
                if fault["type"] == "extra_forbidden" and isinstance(found, dict) and key in found:
                    where, found = f"{where}.{key}".lstrip("."), found[key]
                expected = tagged(expected, key) or expected
                continue
            where, expected = f"{where}.{key}".lstrip("."), inner
            found = found.get(key) if isinstance(found, dict) else None
        if fault["type"] == "extra_forbidden":
            lines.append(f"{place}: {where} is a key that no stage reads; remove it or correct its name")
        elif fault["type"] == "value_error" and not where:  # of several keys, which it names itself
            lines += [f"{place}: {line}" for line in str(fault["ctx"]["error"]).splitlines()]
        elif fault["type"] == "missing":
            lines.append(f"{place}: {where} is missing; allowed: {allowed(expected)}")
        else:
            shown = json.dumps(found, ensure_ascii=False, default=str)[:80]
            fits = allowed(expected) if fault["type"] != "value_error" else str(fault["ctx"]["error"])
            if where == "rlhf.algorithm" and (kind := kind_of(found)):
                fits += f"; {found} goes with kind: {kind}"
            lines.append(f"{place}: {where}: found {shown} ({type(found).__name__}); allowed: {fits}")
    return "\n".join(dict.fromkeys(lines))


def member(annotation: Any, key: Any) -> Any:
    """The annotation of a key inside an annotated mapping, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return field.rebuild_annotation() if field else None
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return next((inner for part in get_args(annotation) if (inner := member(part, key)) is not None), None)


def tagged(annotation: Any, tag: Any) -> Any:
    """The mapping of a union that has the tag among its values, such as ``kind: offline``, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        values = [get_args(field.annotation) for field in annotation.model_fields.values()]
        return annotation if any(tag in each for each in values) else None
    return next((found for part in get_args(annotation) if (found := tagged(part, tag)) is not None), None)


def allowed(annotation: Any) -> str:
    """The values that an annotation admits, in words."""
    return in_words(TypeAdapter(annotation).json_schema())


def in_words(schema: dict[str, Any]) -> str:
    """A JSON schema as a short phrase."""
    if "$ref" in schema or schema.get("type") == "object":
        return "a mapping; its keys are in stages/lib/params.py"
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(dict.fromkeys(in_words(part) for part in schema.get("anyOf") or schema["oneOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(repr(value) for value in schema.get("enum", [schema.get("const")]))
    names = {"integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false"}
    words = names.get(schema.get("type", ""), "a value")
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "pattern": "matching"}
    bounds["minLength"] = "of a length of at least"
    return " ".join([words, *(f"{phrase} {schema[name]}" for name, phrase in bounds.items() if name in schema)])
