"""What is in the data, at a look.

Counts by source, kind, licence (and whether that allows a commercial use) and topic, the lengths, and for
every stage what it dropped and why, with examples. Everything is counted from the tables themselves. Not
covered: clusters that nobody named.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.lib import contract, licences, pii, records, vietnamese
from stages.lib.contract import Dep, Out
from stages.lib.records import Record

EXAMPLES = 10  # of each reason
BIN = 20  # syllables


def main(card: Out, lexicon: Dep, *tables: Dep) -> None:
    """Count ``*.refused.jsonl`` and ``*.dropped.parquet`` as losses, every other table as what is left."""
    topics = read_topics(lexicon)
    losses = [path for path in tables if path.name.endswith((".refused.jsonl", ".dropped.parquet"))]
    kept = [path for path in tables if path not in losses]
    seen: dict[str, Any] = {
        "sources": defaultdict(Counter), "sets": {}, "kinds": Counter(), "licences": Counter(), "topics": Counter(),
        "lengths": Counter(), "teachers": Counter(),
    }  # fmt: skip
    for path in kept:
        seen["sets"][path.stem] = records.count(path)
        if not path.stem.startswith("prompts"):
            tally(records.read(path), topics, seen)
    lost, examples = count_losses(losses)
    for stage in lost.values():
        for source, reasons in stage["sources"].items():
            seen["sources"][source]["dropped"] += sum(reasons.values())
    may = {name: licences.terms(name)._asdict() | {"records": count} for name, count in seen["licences"].items()}
    lengths = {str(length): seen["lengths"][length] for length in sorted(seen["lengths"])}
    report = {**seen, "licences": may, "lengths": lengths, "dropped": lost, "examples": examples}
    card.write_text(json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_topics(path: Path) -> dict[str, re.Pattern[str]]:
    """``name: word, phrase, …`` a line, as whole words."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    pairs = (line.split(":", 1) for line in lines)
    return {
        name: re.compile(rf"\b(?:{'|'.join(re.escape(w.strip()) for w in words.split(','))})\b")
        for name, words in pairs
    }


def topic(text: str, topics: dict[str, re.Pattern[str]]) -> str:
    """The topic with the most hits, of equals the first in the lexicon."""
    hits = {name: len(pattern.findall(text.lower())) for name, pattern in topics.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] else "khác"


def tally(rows: Iterable[Record], topics: dict[str, re.Pattern[str]], seen: dict[str, Any]) -> None:
    """Count records by all that the card shows."""
    for record in rows:
        text = records.plain(record)
        seen["sources"][record["source"]]["kept"] += 1
        seen["kinds"][record["kind"]] += 1
        seen["licences"][record["licence"]] += 1
        seen["topics"][topic(text, topics)] += 1
        seen["lengths"][len(vietnamese.syllables(text)) // BIN * BIN] += 1
        if record["teacher"]:
            seen["teachers"][record["teacher"]] += 1


def count_losses(paths: list[Path]) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    """Drops by stage, reason and source; and the first examples of each stage's reasons."""
    stages: dict[str, Any] = defaultdict(lambda: {"reasons": Counter(), "sources": defaultdict(Counter)})
    examples: dict[str, list[dict[str, str]]] = defaultdict(list)
    for path in paths:
        for stage, source, reason, detail, text in read_losses(path):
            stages[stage]["reasons"][reason] += 1
            stages[stage]["sources"][source][reason] += 1
            if len(shown := examples[f"{stage}: {reason}"]) < EXAMPLES:
                # what is dropped before the clean stage has not been masked yet, and the report shows it
                shown.append({"source": source, "detail": pii.mask(detail)[0], "text": pii.mask(text)[0][:300]})
    return dict(stages), dict(examples)


def read_losses(path: Path) -> Iterable[tuple[str, str, str, str, str]]:
    """(stage, source, reason, detail, text) of each row that a stage did not pass on."""
    if path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
            row = json.loads(line)
            if "reason" in row:  # the last line is the tally
                detail = f"row {row['upstream']} {row['detail']}".strip()
                yield "parse", path.name.split(".")[0], row["reason"], detail, row["raw"]
        return
    stage = "translate" if path.parent.name == "vi" else path.name.split(".")[0]
    for record in records.read(path):
        dropped: Any = record
        yield stage, record["source"], dropped["reason"], dropped["detail"], records.plain(record)


if __name__ == "__main__":
    contract.run(main)
