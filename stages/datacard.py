"""What is in the data, at a look.

Counts by source, language (before and after translation), kind, licence (and whether that allows a commercial use),
teacher and topic, the lengths of what is asked and answered, what cleaning changed, and for every stage what it
dropped and why, with ten of each reason drawn at random. Topics are told twice: by a lexicon of broad names, and by
clusters that name themselves. Everything is counted from the tables; memory does not grow with them. Not covered:
how many tokens a model makes of it (``stages/tokens.py``), and whether the data is any good.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.lib import contract, licences, params, records
from stages.lib.clean import pii
from stages.lib.contract import Dep, Out
from stages.lib.records import Record
from stages.lib.report import losses, subjects, topics
from stages.lib.report.losses import Losses
from stages.lib.report.subjects import Lexicon
from stages.lib.text import vietnamese

BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # where a bar of the lengths begins, in syllables
TURN_BINS = (*range(11), 16, 32)  # and in turns
PARTS = {"user": "prompt", "assistant": "answer", "chosen": "answer", "rejected": "answer", "text": "text"}
TURNS = ("user", "assistant", "chosen")  # two ranked answers are one turn
STAGES = ("parse", "generate", "translate", "clean", "dedup", "decontaminate", "split")
MASKED = "personal data: "  # notes of the clean stage
SHOWN = 200  # characters of a record of each cluster
# stands for personal data and tells no topic
MASK = re.compile("|".join(re.escape(f"[{name}]") for name in sorted({name for name, *_ in pii.RULES})))


@dataclass
class Seen:
    """What was counted in the records that are left."""

    sources: Counter[str] = field(default_factory=Counter)
    terms: dict[str, str] = field(default_factory=dict)  # the licence of each source
    translated: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    originals: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    teachers: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    briefs: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # of invented tasks
    masked: Counter[str] = field(default_factory=Counter)
    broad: Counter[str] = field(default_factory=Counter)
    clusters: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by broad topic
    first: dict[int, tuple[str, str]] = field(default_factory=dict)  # of each cluster, the record with the least id
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def main(card: Out, lexicon: Dep, stopwords: Dep, sought: Dep, *tables: Dep, sources: dict[str, params.Source]) -> None:
    """Count ``*.refused.jsonl`` and ``*.dropped.parquet`` as losses, every other table as what is left."""
    lost = losses.count(path for path in tables if path.name.endswith(losses.ENDS))
    sets = {path.stem: records.count(path) for path in tables if not path.name.endswith(losses.ENDS)}
    # what the prompts ask stands in the answered records too
    kept = [path for path in tables if path.stem in sets and not path.stem.startswith("prompts")]
    found = topics.fit(sample(kept), frozenset(listed(stopwords)))
    seen = tally(kept, subjects.read(lexicon), found)
    report = {
        "records": seen.sources.total(),
        "sets": sets,
        "sources": {name: tell_source(name, sources, seen, lost) for name in sorted(known(sources, seen, lost))},
        "languages": {"kept": seen.languages, "original": seen.originals},
        "kinds": seen.kinds,
        "licences": {name: licences.terms(name)._asdict() | {"records": n} for name, n in seen.licences.items()},
        "teachers": seen.teachers,
        "changes": seen.changes,
        "briefs": seen.briefs,
        "masked": seen.masked,
        "lengths": {
            part: spread(counts, TURN_BINS if part == "turns" else BINS) for part, counts in seen.lengths.items()
        },
        "topics": {"broad": seen.broad, "clusters": tell_clusters(seen, found)},
        "flow": flow(seen, lost, set(sources)),
        "benchmarks": json.loads(sought.read_text(encoding="utf-8")),
        "dropped": lost.dropped(),
        "examples": lost.examples(),
    }
    card.write_text(json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def listed(path: Path) -> list[str]:
    """The words of a list; ``#`` begins a comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [word for line in lines for word in line.split("#")[0].split()]


def sample(paths: list[Path]) -> Iterator[list[str]]:
    """The syllables of the records that the clusters are found in; of all tables, only the drawn rows are unpacked."""
    wanted = iter(topics.rows(sum(map(records.count, paths))))
    row, start = next(wanted, -1), 0
    for path in paths:
        for batch in records.batches(path, ["messages"]):
            while start <= row < start + len(batch):
                yield in_small_letters(batch["messages"][row - start].as_py())
                row = next(wanted, -1)
            start += len(batch)


def in_small_letters(messages: list[records.Message]) -> list[str]:
    """The syllables of all messages."""
    texts = (MASK.sub(" ", message["content"].lower()) for message in messages)
    return [syllable for text in texts for syllable in vietnamese.syllables(text)]


def tally(paths: list[Path], lexicon: Lexicon, found: topics.Topics) -> Seen:
    """Count records by all that the card shows."""
    seen = Seen()
    rows, count = records.read(*paths), sum(map(records.count, paths))
    with tqdm(total=count, desc="datacard", unit="record", mininterval=1, leave=False) as bar:
        while batch := list(islice(rows, records.BATCH)):
            texts = [add(record, seen) for record in batch]
            for record, text, cluster in zip(batch, texts, topics.assign(found, texts), strict=True):
                topic = subjects.broad(text, lexicon)
                seen.broad[topic] += 1
                seen.clusters[cluster][topic] += 1
                mine = record["id"], records.plain(record)[:SHOWN]
                seen.first[cluster] = min(seen.first.get(cluster, mine), mine)
            bar.update(len(batch))
    return seen


def add(record: Record, seen: Seen) -> list[str]:
    """Count one record; its syllables in small letters."""
    seen.sources[record["source"]] += 1
    seen.terms[record["source"]] = record["licence"]
    seen.translated[record["source"]] += bool(record["original"])
    seen.languages[record["lang"]] += 1
    seen.originals["en" if record["original"] else record["lang"]] += 1  # nothing but English is translated
    seen.kinds[record["kind"]] += 1
    seen.licences[record["licence"]] += 1
    seen.teachers[record["teacher"] or "–"] += 1
    for note in record["notes"]:
        name, cleaned, times = note.rpartition("×")
        if cleaned and times.isdecimal():
            counts = seen.masked if name.startswith(MASKED) else seen.changes
            counts[name.removeprefix(MASKED)] += int(times)
        else:
            asked, _, value = note.partition(": ")
            seen.briefs[asked][value] += 1
    texts = [vietnamese.syllables(MASK.sub(" ", message["content"].lower())) for message in record["messages"]]
    for message, text in zip(record["messages"], texts, strict=True):
        if message["role"] in PARTS:
            seen.lengths[PARTS[message["role"]]][len(text)] += 1
    if record["kind"] != "text":
        seen.lengths["turns"][sum(message["role"] in TURNS for message in record["messages"])] += 1
    whole = list(chain.from_iterable(texts))
    seen.lengths["record"][len(whole)] += 1
    return whole


def spread(lengths: Counter[int], starts: Sequence[int]) -> dict[str, Any]:
    """Lengths as a median, a 95th percentile, the longest, their sum, and how many are of about which length."""
    ordered, count = sorted(lengths), lengths.total()

    def least(share: float) -> int:
        """The length that this share of the texts doesn't pass."""
        below = 0
        for length in ordered:
            below += lengths[length]
            if below >= share * count:
                break
        return length

    bins = dict.fromkeys(starts, 0)
    for length, times in lengths.items():
        bins[max(start for start in starts if start <= length)] += times
    return {
        "count": count, "sum": sum(length * times for length, times in lengths.items()), "median": least(0.5),
        "p95": least(0.95), "longest": ordered[-1], "bins": {str(start): bins[start] for start in starts},
    }  # fmt: skip


def known(sources: dict[str, params.Source], seen: Seen, lost: Losses) -> set[str]:
    """All sources, also those of which nothing is left."""
    return {*sources, *seen.sources, *chain.from_iterable(lost.sources.values())}


def tell_source(name: str, sources: dict[str, params.Source], seen: Seen, lost: Losses) -> dict[str, Any]:
    """What params.yaml says of a source, and what came of it; what the teacher wrote is not in params.yaml."""
    said = sources.get(name)
    gone = sum(by_source[name].total() for by_source in lost.sources.values() if name in by_source)
    return {
        "url": said.url if said else "",
        "sha256": said.sha256 if said else "",
        "format": said.format if said else "",
        "licence": said.licence if said else seen.terms.get(name, ""),
        "lang": said.lang if said else "vi",
        "kept": seen.sources[name],
        "translated": seen.translated[name],
        "dropped": gone,
    }


def tell_clusters(seen: Seen, found: topics.Topics) -> list[dict[str, Any]]:
    """The clusters, the largest first: their words, their broad topic, and one of their records."""
    told: list[dict[str, Any]] = [
        {
            "words": found.names[place] if place >= 0 else [],
            "records": counts.total(),
            "broad": leading(counts),
            "example": seen.first[place][1],
        }
        for place, counts in seen.clusters.items()
    ]
    return sorted(told, key=lambda cluster: (not cluster["words"], -cluster["records"], cluster["words"]))


def leading(counts: Counter[str]) -> str:
    """The broad topic that most of a cluster's records have, if at least a quarter of them have any."""
    named = Counter({name: count for name, count in counts.items() if name != subjects.ELSE})
    if 4 * named.total() < counts.total():
        return subjects.ELSE
    return min(named, key=lambda name: (-named[name], name))


def flow(seen: Seen, lost: Losses, upstream: set[str]) -> list[dict[str, Any]]:
    """What went into each stage and what it dropped; counted back from what is left, so nothing can vanish."""
    gone = {stage: lost.reasons[stage].total() if stage in lost.reasons else 0 for stage in STAGES}
    later = [stage for stage in STAGES[3:] if stage != "split" or gone[stage]]
    steps, left = [], seen.sources.total()
    for stage in reversed(later):
        steps.append({"stage": stage, "unit": "records", "entered": left + gone[stage], "dropped": gone[stage]})
        left += gone[stage]
    made = sum(count for name, count in seen.sources.items() if name not in upstream)
    made += sum(
        reasons.total()
        for stage in later
        for name, reasons in lost.sources.get(stage, {}).items()
        if name not in upstream
    )
    for stage, count, unit in (("translate", left - made, "records"), ("generate", made, "records")):
        steps.append({"stage": stage, "unit": unit, "entered": count + gone[stage], "dropped": gone[stage]})
    steps.append({"stage": "parse", "unit": "rows", "entered": lost.rows, "dropped": gone["parse"]})
    return steps[::-1]


if __name__ == "__main__":
    contract.run(main)
