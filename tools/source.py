"""Add a data set to the graph, or take one out.

    python -m tools.source                        # the public ones that are known, and the project's own
    python -m tools.source add dolly oasst1
    python -m tools.source add ours --url data/ours.csv --format alpaca --licence MIT --lang vi
    python -m tools.source pin ours               # its file was changed on purpose
    python -m tools.source remove facts

A source is a few lines of params.yaml, and its files are words of the stages that read all sources: dvc.yaml
lists them, since DVC can't make a list from a mapping, and this writes both. What has no SHA-256 yet is fetched
once and pinned by what came; the stage `pull` then finds the bytes there. Not covered: judging a data set.
"""

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from stages import pull
from stages.lib import licences, paramfile, params
from stages.lib.contract import Refusal, suggest

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
SAMPLE = "data/sample/"
LISTS = {  # which files of each source a stage lists, in the order of its command
    "clean": ["data/vi/{}.parquet"],
    "datacard": ["data/records/{}.refused.jsonl", "data/vi/{}.dropped.parquet"],
    "report": ["data/vi/{}.spend.parquet"],
}
PER_SOURCE = re.compile(r"data/(vi|records)/")
WIDTH = 118


def main(argv: list[str] | None = None) -> int:
    """List, add, pin or remove; everything is checked before anything is written."""
    chosen = arguments(argv)
    dials, graph = Path("params.yaml"), Path("dvc.yaml")
    try:
        known = {name: {**entry} for name, entry in paramfile.load(CATALOGUE).items()}
        text = dials.read_text(encoding="utf-8")
        present: dict[str, Any] = dict(paramfile.load(dials).get("sources") or {})
        if chosen.command is None:
            print(listing(known, present))
            return 0
        for name in chosen.names:
            if chosen.command == "add":
                text = without(text, name) if name in present else text
                present[name] = wanted(name, chosen, known, present)
                text = with_source(text, name, present[name])
            elif name not in present:
                raise Refusal(f"no source is called {name!r}; {suggest(name, list(present))}")
            elif chosen.command == "pin":
                old, new = present[name]["sha256"], pull.pin(name, present[name]["url"])
                text, present[name]["sha256"] = text.replace(old, new), new
            else:
                text = without(text, name)
                del present[name]
        listed = checked(text, present)
        written = relisted(graph.read_text(encoding="utf-8"), listed)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    dials.write_text(text, encoding="utf-8")
    graph.write_text(written, encoding="utf-8")
    print(f"sources: {', '.join(listed) or 'none'}. `dvc repro` makes what this changes")
    return 0


def checked(text: str, present: dict[str, Any]) -> list[str]:
    """The sources in the order of the text. Raises Refusal when it doesn't say what it should."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe").load(text)["sources"]
    except (YAMLError, KeyError, TypeError):
        found = None
    if found != present:
        raise Refusal("params.yaml is laid out in a way that this can't edit; write the lines of sources by hand")
    return list(found)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.source", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    add = commands.add_parser("add", help="put data sets into params.yaml and dvc.yaml")
    add.add_argument("names", nargs="+", metavar="name")
    for key, help in (
        (
            "url",
            "a path, https://…, s3://…, hf://<owner>/<name>@<revision>/<path>, kaggle://<owner>/<name>@<version>/<path>",
        ),
        ("format", "how to read it"),
        ("licence", "an SPDX name"),
        ("lang", "en or vi"),
        ("sha256", "its pin, if it is known"),
        ("files", "which files of an archive, such as '*.jsonl'"),
    ):
        add.add_argument(f"--{key}", help=help)
    add.add_argument("--limit", type=int, help="so many rows from the top")
    add.add_argument("--max-refused", type=float, help="share of its rows, instead of parse.max_refused")
    add.add_argument("--columns", nargs="+", metavar="ours=theirs", help="such as 'instruction=Câu hỏi'")
    commands.add_parser("pin", help="pin anew what has changed").add_argument("names", nargs="+", metavar="name")
    commands.add_parser("remove", help="take data sets out").add_argument("names", nargs="+", metavar="name")
    return parser.parse_args(argv)


def listing(known: dict[str, Any], present: dict[str, Any]) -> str:
    """The catalogue with what each licence allows, and what is in use."""
    lines = ["known, `add` takes them by name:"]
    for name, entry in known.items():
        commercial = licences.terms(entry["licence"]).commercial
        lines.append(f"  {name:16}{entry['licence']:17} commercial: {commercial:8} {entry['note']}")
    lines.append("in params.yaml:")
    lines += [f"  {name:16}{entry.get('licence', ''):17} {entry.get('url', '')}" for name, entry in present.items()]
    return "\n".join(lines)


def wanted(name: str, chosen: argparse.Namespace, known: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    """The lines of a new source, checked and pinned."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or scalar(name) != name:
        raise Refusal(f"{name!r} can't be a source's name: small letters, digits, - and _, and no word of YAML's own")
    if name in present and not str(present[name].get("url", "")).startswith(SAMPLE):
        raise Refusal(f"sources.{name} is in params.yaml; remove it first, or take another name")
    # another address is another data set, whatever it is called
    entry = {} if chosen.url else {key: value for key, value in known.get(name, {}).items() if key != "note"}
    keys = ("url", "sha256", "format", "licence", "lang", "limit", "files", "max_refused")
    entry |= {key: getattr(chosen, key) for key in keys if getattr(chosen, key) is not None}
    if chosen.columns:
        if unclear := [pair for pair in chosen.columns if "=" not in pair]:
            raise Refusal(f"--columns: found {unclear[0]!r}; say ours=theirs, such as 'instruction=Câu hỏi'")
        entry["columns"] = dict(pair.split("=", 1) for pair in chosen.columns)
    if "url" not in entry:
        raise Refusal(f"no public data set is called {name!r}; {suggest(name, list(known))}. For your own say --url")
    entry.setdefault("sha256", "unknown")
    if missing := [f"--{key}" for key in ("format", "licence", "lang") if key not in entry]:
        raise Refusal(f"{name}: {', '.join(missing)} is missing")
    pinned = entry["sha256"] != "unknown"
    paramfile.typed(params.Source, entry if pinned else {**entry, "sha256": "0" * 64}, "params.yaml", f"sources.{name}")
    if not pinned:
        entry["sha256"] = pull.pin(name, entry["url"])
        print(f"{name}: pinned what came, SHA-256 {entry['sha256']}")
    order = ("url", "sha256", "format", "licence", "lang")
    return {key: entry[key] for key in order} | {key: value for key, value in entry.items() if key not in order}


def without(text: str, name: str) -> str:
    """params.yaml without a source; comments between sources stay."""
    text = re.sub(rf"(?m)^  {re.escape(name)}:\n(?:    .*(?:\n|\Z))+", "", text)
    return re.sub(r"(?m)^sources:(?=\n(?:\S|\s*\n|\Z))", "sources: {}", text)


def with_source(text: str, name: str, entry: dict[str, Any]) -> str:
    """params.yaml with a source behind the last one."""
    lines = [f"  {name}:\n", *(f"    {key}: {scalar(value)}\n" for key, value in entry.items())]
    match = re.search(r"(?m)^sources:.*\n(?:(?:  .*)?\n)*?(?=\S|\n\S|\Z)", text.rstrip("\n") + "\n")
    if match is None:
        raise Refusal("params.yaml has no section sources")
    head = text[: match.end()].rstrip("\n").removesuffix(" {}")
    return head + "\n" + "".join(lines) + "\n" + text[match.end() :].lstrip("\n")


def scalar(value: Any) -> str:
    """A value as YAML, in quotes where a plain one would be something else."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(item)}" for key, item in value.items()) + "}"
    try:
        same = YAML(typ="safe").load(f"[{value}]") == [value]
    except YAMLError:
        same = False
    return str(value) if same else json.dumps(value, ensure_ascii=False)


def relisted(graph: str, sources: list[str]) -> str:
    """dvc.yaml with the commands and the deps of :data:`LISTS` written anew for some sources."""
    for stage, patterns in LISTS.items():
        files = [pattern.format(source) for pattern in patterns for source in sources]
        block = re.search(rf"(?ms)^  {stage}:\n.*?(?=^  \S|^\S|\Z)", graph)
        if block is None:
            raise Refusal(f"dvc.yaml has no stage {stage}")
        lines = re.search(r"(?m)(?<=^    cmd: >-\n)(?:      .*\n)+", block[0])
        listed = re.search(r"(?m)(?<=^    deps:\n)(?:      - .*\n)+", block[0])
        if lines is None or listed is None:
            raise Refusal(f"dvc.yaml: {stage} needs a folded cmd (>-) and a list of deps")
        new = block[0].replace(lines[0], command(lines[0], files)).replace(listed[0], deps(listed[0], files))
        graph = graph[: block.start()] + new + graph[block.end() :]
    return graph


def command(lines: str, files: list[str]) -> str:
    """A folded command with its per-source words replaced."""
    words = " ".join(replaced(lines.split(), files))
    return (
        textwrap.fill(words, WIDTH, initial_indent="      ", subsequent_indent="      ", break_on_hyphens=False) + "\n"
    )


def deps(lines: str, files: list[str]) -> str:
    """A list of deps with its per-source entries replaced."""
    listed = [line.removeprefix("      - ") for line in lines.splitlines()]
    return "".join(f"      - {word}\n" for word in replaced(listed, files))


def replaced(words: list[str], files: list[str]) -> list[str]:
    """Words with those of :data:`PER_SOURCE` replaced, where the first of them stood."""
    first = next((place for place, word in enumerate(words) if PER_SOURCE.match(word)), len(words))
    return [*words[:first], *files, *(word for word in words[first:] if not PER_SOURCE.match(word))]


if __name__ == "__main__":
    sys.exit(main())
