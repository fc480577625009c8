"""The data card as people read it: the counts in order, the charts of the report, and the sheet for a data hub.

The sheet follows the form of Hugging Face's dataset cards (https://huggingface.co/docs/hub/datasets-cards): a head in
YAML that the hub reads, then prose and tables. It holds no date and no text of a record. Not covered: the counting
(``stages/datacard.py``).
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.report import charts
from stages.lib.report.treemap import Cell, treemap

LENGTHS = {  # parts of a record and what they are measured in
    "prompt": ("Questions", "syllables"),
    "answer": ("Answers", "syllables"),
    "text": ("Texts", "syllables"),
    "turns": ("Conversations", "turns"),
}
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000)
HUB_LICENCES = {  # where the hub's name is not the SPDX name in small letters
    "PDDL-1.0": "pddl",
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "GPL-3.0-only": "gpl-3.0",
    "unknown": "unknown",
}
MARKUP = re.compile(r"[\\`*_\[\]|~$]|^[#>+-]")  # what Markdown, or who shows it, reads as more than a sign
PLAIN = re.compile(r"[A-Za-z][\w.-]*|\d*[KMBT]?n?<[\w<]+")
AMBIGUOUS = frozenset("y n yes no on off true false null".split())


def to_counts(card: dict[str, Any], tokens: dict[str, Any]) -> dict[str, Any]:
    """The data card's counts as the page, the sheet and the metrics show them, most first."""
    reasons = {
        f"{stage}: {reason}": count
        for stage, lost in card["dropped"].items()
        for reason, count in lost["reasons"].items()
    }
    sources = card["sources"]
    return {
        "kept": card["records"],
        "dropped": sum(reasons.values()),
        "sources": most_first({name: source["kept"] for name, source in sources.items()}),
        "reasons": most_first(reasons),
        "origins": {name: sources[name] for name in most_first({name: sources[name]["kept"] for name in sources})},
        "sets": card["sets"],
        "licences": card["licences"],
        "kinds": most_first(card["kinds"]),
        "teachers": most_first(card["teachers"]),
        "languages": most_first(card["languages"]["kept"]),
        "originals": most_first(card["languages"]["original"]),
        "translated": sum(source["translated"] for source in sources.values()),
        "masked": most_first(card["masked"]),
        "changes": most_first(card["changes"]),
        "briefs": {name: most_first(counts) for name, counts in sorted(card["briefs"].items())},
        "broad": most_first(card["topics"]["broad"]),
        "clusters": card["topics"]["clusters"],
        "lengths": card["lengths"],
        "flow": card["flow"],
        "benchmarks": card["benchmarks"],
        "tokens": tokens,
        "dearest": dict(sorted(dearest(tokens).items(), key=lambda item: (-item[1], item[0]))),
    }


def most_first(counts: Mapping[str, int]) -> dict[str, int]:
    """By count, then by name."""
    return dict(sorted(Counter(counts).items(), key=lambda item: (-item[1], item[0])))


def dearest(tokens: dict[str, Any]) -> dict[str, float]:
    """Tokens per syllable by source."""
    return {name: found["tokens_per_syllable"] for name, found in tokens["sources"].items()}


def draw(counts: dict[str, Any]) -> dict[str, Any]:
    """The charts of the report's data section."""
    steps = [(step["stage"], step["entered"], step["dropped"], step["unit"]) for step in counts["flow"]]
    return {
        "flow": charts.flow([*steps, ("kept", counts["kept"], 0, "records")]),
        "topics": topics_chart(counts["clusters"], counts["kept"]),
        "lengths": {
            f"{title}: {measured(counts['lengths'][part], unit)}": histogram(counts["lengths"][part], unit)
            for part, (title, unit) in LENGTHS.items()
            if part in counts["lengths"]
        },
        "tokens": {
            f"{name}: {found['longer']:,} of {found['records']:,} are longer than the context": histogram(
                found, "tokens", ("context", found["context"])
            )
            for name, found in counts["tokens"]["sets"].items()
            if name.endswith(".train")
        },
    }


def measured(lengths: dict[str, Any], unit: str) -> str:
    """Lengths in a line."""
    return f"median {lengths['median']:,}, 95% up to {lengths['p95']:,}, longest {lengths['longest']:,} {unit}"


def histogram(lengths: dict[str, Any], unit: str, mark: tuple[str, int] | None = None) -> str:
    """The bars of the lengths."""
    return charts.histogram({int(start): count for start, count in lengths["bins"].items()}, unit, mark)


def topics_chart(clusters: list[dict[str, Any]], kept: int) -> str:
    """The clusters, each within its broad topic."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cluster in clusters:
        share = f"{cluster['records']:,} records, {cluster['records'] / kept:.1%}"
        groups[cluster["broad"]].append(
            Cell(title(cluster), cluster["records"], f"{title(cluster)} ({cluster['broad']}): {share}")
        )
    return treemap(sorted(groups.items()), "clusters of records by their words, within broad topics")


def title(cluster: dict[str, Any]) -> str:
    """The words of a cluster in a line; what is in none has none."""
    return " · ".join(cluster["words"]) or "no telling word"


def sheet(template: Path, recipe: str, counts: dict[str, Any]) -> str:
    """The sheet in the language of its template."""
    from jinja2 import Environment, StrictUndefined

    forms = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    forms.filters.update(cell=cell, code=code, scalar=scalar, count="{:,}".format, share="{:.1%}".format, title=title)
    head = {
        "license": sorted({hub_licence(name) for name in counts["licences"]}),
        "language": sorted(counts["languages"]),
        "size_categories": [size(counts["kept"])],
        "task_categories": ["text-generation"],
        "tags": sorted(counts["kinds"]),
    }
    page = forms.from_string(template.read_text(encoding="utf-8"))
    return page.render(counts, head=head, recipe=recipe).rstrip("\n") + "\n"


def cell(value: object) -> str:
    """A text in a line or a table of Markdown, where it reads as it is written."""
    line = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return MARKUP.sub(r"\\\g<0>", line)


def code(value: object) -> str:
    """A text as code in a line of Markdown; a table would still need its bars escaped."""
    line = " ".join(str(value).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def scalar(value: str) -> str:
    """A text in YAML: as it is where no reader can take it for something else."""
    plain = PLAIN.fullmatch(value) and value.lower() not in AMBIGUOUS
    return value if plain else json.dumps(value, ensure_ascii=False)


def hub_licence(name: str) -> str:
    """The hub's name of a licence."""
    return HUB_LICENCES.get(name, "other" if name.startswith("LicenseRef-") else name.lower())


def size(count: int) -> str:
    """The hub's name of a size, such as ``1K<n<10K``."""
    names = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B"]
    above = next((place for place, limit in enumerate(SIZES) if count < limit), None)
    if above is None:
        return "n>1T"
    return "n<1K" if above == 0 else f"{names[above - 1]}<n<{names[above]}"
