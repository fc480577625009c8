"""What ``clean`` drops of real sets, by reason, with a seeded sample of each reason to read by eye.

    python -m benchmarks.reading vi_alpaca/*.jsonl vi_lima/*.json ViCTSD_valid.csv --read out.txt

Each file goes through ``parse`` and ``clean`` as the stages themselves do. The counts are printed as a table; the
sample (drops of every reason, and records that were kept) goes into a file, since the texts are other people's and
stay out of the repository. Whether a drop was right only a reader can say: ``reading.md`` says what was found.
"""

import argparse
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from stages import clean, parse
from stages.lib import paramfile, records
from stages.lib.params import Parse, Source

FORMATS: dict[str, Literal["alpaca", "text"]] = {".csv": "text"}  # of comments; other files are instructions
COLUMNS = {".csv": {"text": "Comment"}}


def parsed(path: Path, folder: Path) -> Path:
    """A file's records as a table."""
    table = folder / f"{path.stem}.parquet"
    form = FORMATS.get(path.suffix, "alpaca")
    source = Source(
        url=f"x{path.suffix}", sha256="0" * 64, format=form, licence="CC0-1.0", lang="vi",
        columns=COLUMNS.get(path.suffix),
    )  # fmt: skip
    refused = folder / f"{path.stem}.refused.jsonl"
    parse.main(path.parent.name, path, table, refused, source=source, parse=Parse(max_refused=1.0))
    return table


def show(row: dict[str, Any]) -> Iterator[str]:
    """A record as lines to read."""
    yield f"=== {row['source']} {row['upstream']} | {row.get('reason', 'kept')} | {row.get('detail', '')!r}"
    for message in row["messages"]:
        yield f"[{message['role']}] {message['content'][:900]}" + (
            f" …… {message['content'][-200:]}" if len(message["content"]) > 900 else ""
        )


def main() -> None:
    """Print the counts, and write the sample."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", nargs="+", type=Path)
    arguments.add_argument("--read", type=Path, help="where the sample goes")
    arguments.add_argument("--drops", type=int, default=30, help="read of each reason and source")
    arguments.add_argument("--kept", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    dials = paramfile.check(Path("params.yaml"), Path("recipes"))[0].clean
    lexicons = Path("stages/lexicons")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = [parsed(path, folder) for path in sorted(chosen.files)]
        kept, dropped = folder / "kept", folder / "dropped"
        clean.main(kept, dropped, lexicons / "toxic.txt", lexicons / "spam.txt", *tables, engine="local", clean=dials)
        lost: dict[str, list[Any]] = defaultdict(list)
        for row in records.read(dropped):
            lost[str(dict(row)["reason"])].append(row)
        stay = list(records.read(kept))
    sources = sorted({row["source"] for rows in [stay, *lost.values()] for row in rows})
    print("| reason |", " | ".join(sources), "|\n|---|" + "--:|" * len(sources))
    for reason, rows in [*sorted(lost.items(), key=lambda item: -len(item[1])), ("kept", stay)]:
        counts = Counter(row["source"] for row in rows)
        print(f"| {reason} |", " | ".join(f"{counts[source]:,}" for source in sources), "|")
    changes = Counter[str]()
    for row in (row for rows in [stay, *lost.values()] for row in rows):
        changes.update({note.rpartition("×")[0]: 1 for note in row["notes"]})
    print("\nchanged records:", ", ".join(f"{name} {count:,}" for name, count in changes.most_common()))
    if chosen.read:
        rng, picked = random.Random(chosen.seed), []
        for reason, rows in [*sorted(lost.items()), ("", stay)]:
            for source in sources:
                some = [row for row in rows if row["source"] == source]
                picked += rng.sample(some, min(chosen.drops if reason else chosen.kept // len(sources), len(some)))
        chosen.read.write_text("\n".join(line for row in picked for line in show(row)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
