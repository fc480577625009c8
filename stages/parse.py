"""Six upstream formats, one record schema.

Every upstream row becomes one or more records, or a line in the refused file with its position, the reason
and the raw text. Not covered: whether a record is any good (``stages/clean.py``).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TextIO

from stages.lib import contract, formats, records
from stages.lib.contract import Dep, Key, Out, Refusal, Word
from stages.lib.formats import Parsed, Refused
from stages.lib.records import Record

RAW_BOUND = 2000  # characters of a refused row that are kept


def main(
    name: Word,
    raw: Dep,
    parsed: Out,
    refused: Out,
    *,
    format: Annotated[str, Key("sources.{name}.format")],
    licence: Annotated[str, Key("sources.{name}.licence")],
    lang: Annotated[str, Key("sources.{name}.lang")],
) -> None:
    """Read ``raw`` as the source's format says; ``lang`` is the language of rows that don't tell their own."""
    with refused.open("w", encoding="utf-8") as log:
        rows = sort_out(read(formats.READERS[format], raw), log)
        count = records.write(parsed, (to_record(row, name, licence, lang) for row in rows))
    if not count:
        first = refused.read_text(encoding="utf-8").splitlines()[0][:300]
        raise Refusal(
            f"params.yaml: sources.{name}.format: no row of {raw} could be read as {format}; the first: {first}"
        )


def read(reader: formats.Reader, raw: Path) -> Iterator[Parsed | Refused]:
    """The rows of a file; a file that can't be read as its format at all is refused as a whole."""
    try:
        yield from reader(raw)
    except formats.Unreadable as error:
        raise Refusal(f"{raw}: {error}; is `format` right, and the file whole?") from None


def sort_out(rows: Iterable[Parsed | Refused], log: TextIO) -> Iterator[Parsed]:
    """Pass on what was parsed, write down what was refused, and close with the tally of upstream rows."""
    good, bad = set[str](), 0
    for row in rows:
        if isinstance(row, Parsed):
            good.add(row.upstream)
            yield row
        else:
            bad += row.unit == "row"
            line = {"upstream": row.upstream, "unit": row.unit, "reason": row.reason, "detail": row.detail}
            log.write(json.dumps({**line, "raw": row.raw[:RAW_BOUND]}, ensure_ascii=False) + "\n")
    log.write(json.dumps({"rows": len(good) + bad, "parsed": len(good), "refused": bad}) + "\n")


def to_record(row: Parsed, source: str, licence: str, lang: str) -> Record:
    """A parsed row as a record of its source; groups are told apart by source."""
    group = f"{source}/{row.group}" if row.group else ""
    return records.make(
        row.kind,
        row.messages,
        source=source,
        licence=licence,
        lang=row.lang or lang,
        upstream=row.upstream,
        group=group,
    )


if __name__ == "__main__":
    contract.run(main)
