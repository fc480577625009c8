"""The upstream formats: what each row says, as one schema of messages.

A format is a function from rows to what could be made of them (:class:`Parsed`) and what had to be refused
(:class:`Refused`). The same shapes serve a team's own files: ``columns`` in a source names theirs. Not covered:
how rows lie in files (``rows.py``), and whether a record is any good (``stages/clean.py``).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from stages.lib.records import Message
from stages.lib.sources import datafile, markup, preferences, rows, trees, turns
from stages.lib.sources.containers import Member, Unreadable
from stages.lib.sources.fields import ANSWER, Fault, Found, Parsed, asked, before, needed, refused, text
from stages.lib.sources.rows import RAW_BOUND, Refused, Row

Parser = Callable[[str, dict[str, Any]], Found]
TITLE, SUMMARY, BODY = ("title",), ("sapo", "summary", "description"), ("text", "body", "content", "article")


def read(
    format: str, member: Member, suffix: str = "", columns: dict[str, str] | None = None
) -> Iterator[Parsed | Refused]:
    """What a data file holds, read as ``format``; ``columns`` gives our name for a column the upstream's.

    Raises Unreadable when the file as a whole is not what the format says.
    """
    if format == "prohow":
        yield from how_tos(member)
    elif format == "lines" or (format == "text" and is_plain(member, suffix)):
        yield from prose(member)
    else:
        found = datafile.rows(member, suffix)
        yield from ROW_FORMATS[format](renamed(found, columns) if columns else found)


def renamed(found: Iterable[Row | Refused], columns: dict[str, str]) -> Iterator[Row | Refused]:
    """Rows with the upstream's columns under our names too."""
    for item in found:
        if isinstance(item, Refused) or not isinstance(item[1], dict):
            yield item
        else:
            ours = {name: item[1][column] for name, column in columns.items() if column in item[1]}
            yield item[0], {**item[1], **ours}


def each(parser: Parser) -> Callable[[Iterable[Row | Refused]], Iterator[Parsed | Refused]]:
    """A format whose rows have nothing to do with each other."""

    def parse(found: Iterable[Row | Refused]) -> Iterator[Parsed | Refused]:
        for item in found:
            if isinstance(item, Refused):
                yield item
                continue
            number, row = item
            row = {BODY[0]: row} if parser is article and isinstance(row, str) else row
            if not isinstance(row, dict):
                yield refused(number, f"not an object but {type(row).__name__}", row)
                continue
            try:
                yield from parser(number, row)
            except Fault as fault:
                yield refused(number, str(fault), row)

    return parse


def alpaca(number: str, row: dict[str, Any]) -> Found:
    """Stanford Alpaca, Dolly, GPTeacher and all that ask under one of :data:`INSTRUCTION`; a seed task's instances."""
    instances = row.get("instances")
    if isinstance(instances, list) and instances:
        yield from told(number, row, instances)
        return
    earlier = before(row)
    turns = [*earlier, *exchange(asked(row), needed(row, ANSWER))]
    yield Parsed("conversation" if earlier else "instruction", turns, number)


def told(number: str, row: dict[str, Any], instances: list[Any]) -> Found:
    """A record of each instance of a seed task; the row is refused when none is good."""
    good, bad = list[Parsed](), list[Refused]()
    for place, instance in enumerate(instances, 1):
        try:
            if not isinstance(instance, dict):
                raise Fault("an instance is not an object")
            for found in alpaca(number, {**row, "instances": None, **instance}):
                if isinstance(found, Parsed):
                    good.append(found._replace(part=str(place) if place > 1 else ""))
        except Fault as fault:
            bad.append(refused(number, str(fault), instance, part=str(place)))
    if not good:
        raise Fault(bad[0].reason)
    yield from good
    yield from bad


def exchange(question: str, answer: str) -> list[Message]:
    """A question and its answer as turns."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def article(number: str, row: dict[str, Any]) -> Found:
    """Prose with or without a title and a summary; HTML becomes paragraphs."""
    parts = [text(row, TITLE), *markup.paragraphs(text(row, SUMMARY))]
    body = markup.paragraphs(needed(row, BODY))
    whole = "\n\n".join(dict.fromkeys(filter(None, [markup.unescape(parts[0]), *parts[1:], *body])))
    if not body or not whole:
        raise Fault("no text in it")
    yield Parsed("text", [{"role": "text", "content": whole}], number)


def is_plain(member: Member, suffix: str) -> bool:
    """Whether a file is text without any rows of a table or of JSON."""
    tabular = (datafile.suffix_of(member.name) or suffix) in (".csv", ".tsv")
    if tabular or datafile.peek(member).startswith(b"PAR1"):
        return False
    return not datafile.is_json(datafile.beginning(member))


def prose(member: Member) -> Iterator[Parsed | Refused]:
    """Plain text, one paragraph a line, as in binhvq/news-corpus. Blank lines are no rows."""
    prefix = f"{member.name}:" if member.name else ""
    datafile.beginning(member)  # says so if it is no UTF-8
    for item in rows.lines(member.file):
        if isinstance(item, Refused):
            yield replace(item, upstream=prefix + item.upstream)
        else:
            content = markup.unescape(item[1]) if "&" in item[1] else item[1]
            yield Parsed("text", [{"role": "text", "content": content}], prefix + item[0])


def how_tos(member: Member) -> Iterator[Parsed | Refused]:
    """wikiHow as PROHOW Turtle; see :mod:`stages.lib.sources.prohow`."""
    from stages.lib.sources import prohow, turtle

    try:
        for found in prohow.how_tos(member.file):
            if isinstance(found, turtle.Fault):
                yield Refused(found.where, found.reason, found.raw[:RAW_BOUND], found.detail)
            elif isinstance(found, prohow.Summary):
                if found.triples and not found.how_tos:
                    raise Unreadable(f"all {found.triples:,} triples were read, and none tells of a how-to")
            elif found.title and found.answer:
                ask = f"Làm thế nào để {found.title[:1].lower()}{found.title[1:]}?"
                yield Parsed("instruction", exchange(ask, found.answer), found.name)
            else:
                yield Refused(found.name, "no steps" if found.title else "no title", found.title or found.answer)
    except ValueError as error:
        raise Unreadable(str(error)) from None


ROW_FORMATS: dict[str, Callable[[Iterable[Row | Refused]], Iterator[Parsed | Refused]]] = {
    "alpaca": each(alpaca),
    "dolly": each(alpaca),
    "sharegpt": each(turns.sharegpt),
    "oasst": trees.oasst,
    "preferences": each(preferences.preference),
    "text": each(article),
}
