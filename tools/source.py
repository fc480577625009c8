"""Add a data set to the graph, or take one out.

    python -m tools.source                        # the public ones that are known, and the project's own
    python -m tools.source add dolly oasst1
    python -m tools.source add ours --url data/ours.csv --format alpaca --licence MIT --lang vi
    python -m tools.source remove facts

A source is a few lines of params.yaml, and its files are words of the stages that read all sources: dvc.yaml
lists them, since DVC can't make a list from a mapping, and this writes both. What has no SHA-256 yet is fetched
once and pinned by what came; the stage `pull` then finds the bytes there. Not covered: judging a data set.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages import pull
from stages.lib import licences, params
from stages.lib.contract import Refusal, suggest

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
SAMPLE = "data/sample/"
LISTS = {  # which files of each source a stage lists, in the order of its command
    "clean": ["data/vi/{}.parquet"],
    "datacard": ["data/records/{}.refused.jsonl", "data/vi/{}.dropped.parquet"],
}
PER_SOURCE = re.compile(r"data/(vi|records)/")
WIDTH = 118


def main(argv: list[str] | None = None) -> int:
    """List, add or remove; everything is checked before anything is written."""
    chosen = arguments(argv)
    dials, graph = Path("params.yaml"), Path("dvc.yaml")
    try:
        known = {name: {**entry} for name, entry in params.load(CATALOGUE).items()}
        present = dict(params.load(dials)["sources"])
        if chosen.command is None:
            print(listing(known, present))
            return 0
        if chosen.command == "add":
            for name in chosen.names:
                present = {**present, name: wanted(name, chosen, known, present)}
        else:
            for name in chosen.names:
                if name not in present:
                    raise Refusal(f"no source is called {name!r}; {suggest(name, list(present))}")
                del present[name]
        text = dials.read_text(encoding="utf-8")
        for name in chosen.names:
            text = without(text, name)
            if name in present:
                text = with_source(text, name, present[name])
        written = relisted(graph.read_text(encoding="utf-8"), sorted_as(text, present))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    dials.write_text(text, encoding="utf-8")
    graph.write_text(written, encoding="utf-8")
    print(f"sources: {', '.join(sorted_as(text, present))}. `dvc repro` makes what this changes")
    return 0


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
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise Refusal(f"{name!r} can't be a source's name: small letters, digits, - and _")
    if name in present and not str(present[name].get("url", "")).startswith(SAMPLE):
        raise Refusal(f"sources.{name} is in params.yaml; remove it first, or take another name")
    entry = {key: value for key, value in known.get(name, {}).items() if key != "note"}
    keys = ("url", "sha256", "format", "licence", "lang", "limit", "files")
    entry |= {key: getattr(chosen, key) for key in keys if getattr(chosen, key) is not None}
    if "url" not in entry:
        raise Refusal(f"no public data set is called {name!r}; {suggest(name, list(known))}. For your own say --url")
    entry.setdefault("sha256", "unknown")
    if missing := [f"--{key}" for key in ("format", "licence", "lang") if key not in entry]:
        raise Refusal(f"{name}: {', '.join(missing)} is missing")
    pinned = entry["sha256"] != "unknown"
    params.typed(params.Source, entry if pinned else {**entry, "sha256": "0" * 64}, "params.yaml", f"sources.{name}")
    if not pinned:
        entry["sha256"] = pull.pin(name, entry["url"])
        print(f"{name}: pinned what came, SHA-256 {entry['sha256']}")
    order = ("url", "sha256", "format", "licence", "lang")
    return {key: entry[key] for key in order} | {key: value for key, value in entry.items() if key not in order}


def without(text: str, name: str) -> str:
    """params.yaml without a source; comments between sources stay."""
    return re.sub(rf"(?m)^  {re.escape(name)}:\n(?:    .*\n)+", "", text)


def with_source(text: str, name: str, entry: dict[str, Any]) -> str:
    """params.yaml with a source behind the last one."""
    lines = [f"  {name}:\n", *(f"    {key}: {scalar(value)}\n" for key, value in entry.items())]
    match = re.search(r"(?m)^sources:.*\n(?:(?:  .*)?\n)*?(?=\S|\n\S|\Z)", text)
    if match is None:
        raise Refusal("params.yaml has no section sources")
    head = text[: match.end()].rstrip("\n").removesuffix(" {}")
    return head + "\n" + "".join(lines) + "\n" + text[match.end() :].lstrip("\n")


def scalar(value: Any) -> str:
    """A value as YAML, in quotes where a plain one would be something else."""
    text = str(value)
    return (
        f"'{text}'"
        if isinstance(value, str) and re.match(r"[\d*&!%@`{\[>|]|.*(: | #)", text) and len(text) < 64
        else text
    )


def sorted_as(text: str, present: Iterable[str]) -> list[str]:
    """The sources in the order in which params.yaml has them."""
    return sorted(present, key=lambda name: text.index(f"\n  {name}:\n"))


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
