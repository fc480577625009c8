"""What the next run would cost, before anybody is asked: ``python -m tools.price`` (``make price``).

For each stage that asks the teacher of the params: its requests, those that the journal answers, and the tokens,
money and time that the others would take, against the cap and what was spent. It asks nobody and changes nothing. Not
covered: how requests are foreseen (``tools/foresee.py``) and tokens estimated (``tools/estimate.py``).
"""

import math
import sys
import textwrap
from pathlib import Path

from stages.lib import paramfile
from stages.lib.contract import Refusal
from stages.lib.licences import allowed
from stages.lib.params import Params
from stages.lib.teachers import account, prices, spend
from stages.lib.teachers.journal import Journal, home
from tools import estimate, foresee
from tools.foresee import Stage
from tools.summary import line, widths

WIDTH = 92  # characters of a terminal


def main() -> int:
    """Print the table."""
    try:
        dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
        print(page(dials, Journal(foresee.SHIPPED, own=home())))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    return 0


def page(dials: Params, journal: Journal) -> str:
    """All that is known beforehand."""
    teacher, money = dials.teacher, dials.spend
    price = prices.price(money, teacher.model, teacher.engine)
    seen: set[int] = set()
    stages, missing = [foresee.invented(dials, journal)], []
    for name, source in dials.sources.items():
        table = Path(f"data/records/{name}.parquet")
        if source.lang == "vi" or not allowed(source.licence, dials.licences):
            continue
        if table.exists():
            stages.append(foresee.foreign(dials, journal, name, table, seen))
        else:
            missing.append(f"parse@{name}")
    share = money.batch if teacher.engine == "batch" else 1.0
    lines = [f"What the next run would ask of {teacher.model} (engine {teacher.engine}):", ""]
    lines += table_of(dials, stages, share)
    cost = sum(prices.dollars(price, round(each.prompt), round(each.completion), share) for each in stages)
    notes = [*against(dials, journal.own, cost, share), *remarks(dials, stages)]
    if missing:
        notes.append(f"Not read yet, and not counted: `dvc repro {' '.join(missing)}` makes the records, for nothing.")
    lines += ["", *(part for note in notes for part in textwrap.wrap(note, WIDTH, break_on_hyphens=False))]
    return "\n".join(lines)


def table_of(dials: Params, stages: list[Stage], share: float) -> list[str]:
    """A line for each stage, and one for all."""
    price = prices.price(dials.spend, dials.teacher.model, dials.teacher.engine)
    rows = [("stage", "requests", "known", "new", "tokens in", "out", "dollars", "đồng", "time")]
    whole = Stage("all together")
    times = [duration(dials, each) for each in stages]
    for each in stages:
        whole.requests, whole.known = whole.requests + each.requests, whole.known + each.known
        whole.prompt, whole.completion = whole.prompt + each.prompt, whole.completion + each.completion
    for each, time in zip([*stages, whole], [*times, sum(times)], strict=True):
        dollars = prices.dollars(price, round(each.prompt), round(each.completion), share)
        rows.append(
            (
                each.name, f"{each.requests:,}", f"{each.known:,}", f"{each.new:,}", short(each.prompt),
                short(each.completion), prices.money(dollars), prices.dong(dollars, dials.spend),
                words(time) if dials.teacher.engine in ("openai", "journal") else "–",
            )
        )  # fmt: skip
    return [line(row, widths(rows)).rstrip() for row in rows]


def duration(dials: Params, stage: Stage) -> float:
    """Seconds: by how long answers take, and by the limits; rounds wait for each other."""
    if not stage.new:
        return 0.0
    teacher = dials.teacher
    each, _ = estimate.seconds(home(), {teacher.model}, stage.completion / stage.new)
    rounds = max(1, math.ceil(stage.rounds * stage.new / stage.requests))
    found = [rounds * math.ceil(stage.new / rounds / teacher.concurrency) * each]
    if teacher.requests_per_minute:
        found.append(60 * stage.new / teacher.requests_per_minute)
    if teacher.tokens_per_minute:
        found.append(60 * (stage.prompt + stage.completion) / teacher.tokens_per_minute)
    return max(found)


def against(dials: Params, own: Path, cost: float, share: float) -> list[str]:
    """What that means for the cap, and what was paid so far."""
    money = dials.spend
    killed = account.under_way(own)
    pending = [*account.pending(own).values(), *([killed] if killed else [])]
    lost = spend.lost(money, account.losses(own) + pending)
    spent = spend.cost(money, account.total(own)) + lost
    lines = [f"Spent so far: {prices.both(spent, money)} of spend.cap {prices.both(money.cap, money)}"]
    if lost:
        lines[0] += f"; of that {prices.money(lost)} may have been billed without an answer"
    if spent + cost > money.cap and cost:
        lines.append(
            f"This would pass the cap and be stopped: it needs spend.cap {spent + cost:,.2f} or a little more."
        )
    if share == 1 and cost and money.batch < 1:
        batch = cost * money.batch
        lines.append(f"In batch files (teacher.engine: batch): {prices.both(batch, money)}, within 24 hours.")
    paid: dict[str, list[float]] = {}
    for row in account.rows(own.with_name(account.LEDGER)):
        sums = paid.setdefault(str(row["stage"]), [0.0, 0.0, 0.0])
        sums[0], sums[1], sums[2] = sums[0] + row["bought"], sums[1] + row["spent"], sums[2] + row["saved"]
    lines += [
        f"  {stage}: {round(bought):,} answers bought by this clone for {prices.money(dollars)}, "
        f"{prices.money(saved)} saved by the journal"
        for stage, (bought, dollars, saved) in paid.items()
    ]
    return lines


def remarks(dials: Params, stages: list[Stage]) -> list[str]:
    """How the numbers came about."""
    lines = []
    new = [each for each in stages if each.new]
    if new and dials.teacher.engine == "journal":
        lines.append("teacher.engine is journal, which asks nobody: a run as it is would lack these answers.")
    if cold := [each.name for each in new if not each.answers]:
        lines.append(f"Tokens of {', '.join(cold)} are by rule of thumb: the journal has too few answers to go by.")
    if any(each.name != "generate" for each in new):
        lines.append(f"{foresee.retried(dials):.0%} of the translations are taken to be asked for again.")
    if warm := [f"{each.name} ({each.answers:,})" for each in new if each.answers]:
        lines.append(f"Tokens are by the usage of this model's own answers: {', '.join(warm)}.")
    if dials.teacher.fallback:
        lines.append(f"What {dials.teacher.fallback.model} is asked for in the end (teacher.fallback) is not counted.")
    if dials.translate.meaning == "judge":
        lines.append("translate.meaning: judge asks once more about each translation, which is not counted.")
    if new and dials.teacher.engine in ("openai", "journal"):
        known = estimate.seconds(home(), {dials.teacher.model}, 0.0)[1]
        how = "as long as in this clone's runs" if known else "1 s and 60 tokens a second, which is a guess"
        lines.append(f"Time: {dials.teacher.concurrency} requests at once, an answer {how}.")
    return lines


def short(number: float) -> str:
    """A number of tokens, in thousands or millions."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:,.1f} {sign}"
    return f"{number:,.0f}"


def words(seconds: float) -> str:
    """A time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
