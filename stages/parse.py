"""Six upstream formats, one record schema.

Every upstream row becomes one or more records, or a line in the refused file with its position, the reason
and the raw text; the file closes with the tally of rows. A source of which too much is refused fails. Memory
does not grow with the source. Not covered: whether a record is any good (``stages/clean.py``).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TextIO
from urllib.parse import urlsplit

from stages.lib import contract, records
from stages.lib.contract import Dep, Key, Out, Refusal, Word
from stages.lib.params import Parse, Source
from stages.lib.records import Record
from stages.lib.sources import containers, datafile, formats
from stages.lib.sources.containers import Unreadable
from stages.lib.sources.fields import Parsed
from stages.lib.sources.rows import Refused


@dataclass
class Tally:
    """Upstream rows by what became of them, and why."""

    rows: int = 0
    parsed: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: str = ""  # row that was refused


def main(
    name: Word,
    raw: Dep,
    parsed: Out,
    refused: Out,
    *,
    source: Annotated[Source, Key("sources.{name}")],
    parse: Parse,
) -> None:
    """Read ``raw`` as the source's format says; ``lang`` is the language of rows that don't tell their own."""
    tally = Tally()
    with records.whole(refused) as log_path, log_path.open("w", encoding="utf-8") as log:
        try:
            good = sort_out(read(name, raw, source), name, source.limit, log, tally)
            records.write(parsed, (to_record(row, name, source) for row in good))
        except (Unreadable, *containers.DAMAGE) as error:
            if getattr(error, "errno", None):  # the disk's fault, not the file's
                raise Refusal(f"{parsed}: {error}") from None
            place = f"after row {tally.rows}" if tally.rows else "at its beginning"
            cut = "" if isinstance(error, Unreadable) else f" ({type(error).__name__}): the file is cut or damaged"
            raise Refusal(f"{raw}, {place}: {error}{cut}; is sources.{name}.format right?") from None
        log.write(json.dumps({"rows": tally.rows, "parsed": tally.parsed, "refused": tally.refused}) + "\n")
    if fault := too_much(name, source, parse, tally):
        parsed.unlink()  # a stage that is run by hand would read it
        raise Refusal(fault.format(refused))


def read(name: str, raw: Path, source: Source) -> Iterator[Parsed | Refused]:
    """What the files of a source hold, with a bar over the bytes."""
    from tqdm import tqdm

    suffix = datafile.suffix_of(urlsplit(source.url).path)
    with tqdm(total=raw.stat().st_size, unit="B", unit_scale=True, desc=f"parse {name}", leave=False) as bar:
        for member in containers.members(raw, source.files, bar.update):
            yield from formats.read(source.format, member, suffix, source.columns)


def sort_out(
    found: Iterable[Parsed | Refused], name: str, limit: int | None, log: TextIO, tally: Tally
) -> Iterator[Parsed]:
    """Pass on what was parsed, write down what was refused, and count; all of a row stands together."""
    last, counted = None, False
    for row in found:
        if row.upstream != last:
            if tally.rows == limit:
                return
            last, counted = row.upstream, False
        if not counted and (isinstance(row, Parsed) or row.unit == "row"):
            counted = True
            tally.rows += 1
            tally.parsed += isinstance(row, Parsed)
            tally.refused += isinstance(row, Refused)
        if isinstance(row, Parsed):
            yield row
        else:
            if row.unit == "row":
                tally.first = tally.first or row.raw
                tally.reasons[row.reason] += 1
            where = {"source": name, "upstream": place(row), "unit": row.unit}
            line = {**where, "reason": row.reason, "detail": row.detail}
            log.write(json.dumps({**line, "raw": row.raw}, ensure_ascii=False) + "\n")


def place(row: Parsed | Refused) -> str:
    """Where it stood: the row, and the part of the row if it is one."""
    return f"{row.upstream}#{row.part}" if row.part else row.upstream


def too_much(name: str, source: Source, parse: Parse, tally: Tally) -> str:
    """What to say when so much was refused that the format is probably the wrong one, or an empty string."""
    where = f"params.yaml: sources.{name}"
    if not tally.rows:
        return f"{where}: the file holds no row of anything"
    most = parse.max_refused if source.max_refused is None else source.max_refused
    if tally.parsed and tally.refused <= most * tally.rows:
        return ""
    often = ", ".join(f"{reason} ({count:,})" for reason, count in tally.reasons.most_common(3))
    return (
        f"{where}.format: as {source.format}, {tally.refused:,} of {tally.rows:,} rows were refused: {often}. At most "
        f"{most:.0%} may be, and one must be left.{columns(name, tally)} If they are rightly refused, say "
        f"sources.{name}.max_refused. Each stands in {{}} with its reason"
    )


def columns(name: str, tally: Tally) -> str:
    """A word about columns when what is missing may be there under another name."""
    if not any(reason.endswith(" is missing") for reason in tally.reasons):
        return ""
    try:
        row = json.loads(tally.first)
    except json.JSONDecodeError:
        return ""
    found = ", ".join(row) if isinstance(row, dict) else ""
    return (
        f" The first has the columns {found}: sources.{name}.columns says which is which, {{{{ours: theirs}}}}."
        if found
        else ""
    )


def to_record(row: Parsed, source: str, said: Source) -> Record:
    """A parsed row as a record of its source; groups are told apart by source."""
    group = f"{source}/{row.group}" if row.group else ""
    return records.make(
        row.kind,
        row.messages,
        source=source,
        licence=said.licence,
        lang=row.lang or said.lang,
        upstream=place(row),
        group=group,
    )


if __name__ == "__main__":
    contract.run(main)
