"""What the next run would cost, before anybody is asked: ``python -m tools.price`` (``make price``).

For each stage that asks the teacher of the params: its requests, those that the journal answers, and the tokens,
money and time that the others would take, against the cap and what was spent. It asks nobody and changes nothing. The
requests of ``translate`` are those that the stage would make; those of ``generate`` depend on the answers, so their
number comes from the params and their size from the seed tasks. Not covered: a fallback's own price.
"""

import json
import math
import random
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from tqdm import tqdm

from stages import generate, translate
from stages.lib import account, costs, paramfile, prices, records, spend, translation
from stages.lib.contract import Refusal
from stages.lib.journal import Journal, entries, home
from stages.lib.journal_index import Entry, slot
from stages.lib.licences import allowed
from stages.lib.params import Params
from stages.lib.requests import Prompt, key
from tools import estimate
from tools.summary import line, widths

SHIPPED = Path("data/sample/teacher.jsonl")
SEEDS = Path("data/sample/seed_tasks.jsonl")
PROMPTS = Path("stages/prompts")
LOOKED_AT = 20_000  # new requests of a stage whose tokens are estimated one by one; the others by their length
WIDTH = 92  # characters of a terminal
SHOWN = 1.0  # seconds after which a progress bar appears


@dataclass
class Stage:
    """What one stage would ask for."""

    name: str
    requests: int = 0
    known: int = 0
    prompt: float = 0.0  # tokens of what is new, retries among them
    completion: float = 0.0
    rounds: int = 1  # one after the other
    answers: int = 0  # that the estimate is calibrated by

    @property
    def new(self) -> int:
        """Requests that somebody would have to answer."""
        return self.requests - self.known


def main() -> int:
    """Print the table."""
    try:
        dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
        print(page(dials, Journal(SHIPPED, own=home())))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    return 0


def page(dials: Params, journal: Journal) -> str:
    """All that is known beforehand."""
    teacher, money = dials.teacher, dials.spend
    price = prices.price(money, teacher.model, teacher.engine)
    seen: set[int] = set()
    stages, missing = [invented(dials, journal)], []
    for name, source in dials.sources.items():
        table = Path(f"data/records/{name}.parquet")
        if source.lang == "vi" or not allowed(source.licence, dials.licences):
            continue
        if table.exists():
            stages.append(foreign(dials, journal, name, table, seen))
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


def foreign(dials: Params, journal: Journal, name: str, table: Path, seen: set[int]) -> Stage:
    """The requests of translate@<name>; one that was made before, there or in another stage, is known by then."""
    teacher, prompt = dials.teacher, Prompt.load(PROMPTS / "translate.yaml")
    stage = Stage(f"translate@{name}")
    texts = looked_at = 0
    with tqdm(total=records.count(table), desc=stage.name, unit="record", delay=SHOWN) as bar:
        for record in records.read(table):
            bar.update()
            if not translate.asks(record, dials.licences):
                continue
            text = translation.request(record["messages"])
            wanted = key(teacher, prompt, text)
            stage.requests += 1
            if slot(wanted) in seen or wanted in journal.answers:
                stage.known += 1
                continue
            seen.add(slot(wanted))
            texts += len(text)
            if stage.new <= LOOKED_AT:
                looked_at += len(text)
                stage.prompt += estimate.asked(prompt, teacher.json_schema, text)
                stage.completion += estimate.translated(text)
    more = (texts / looked_at if looked_at else 1.0) * (1 + retried(dials))
    return scaled(dials, journal, stage, prompt, estimate.translated, more)


def retried(dials: Params) -> float:
    """The share of translations that are asked for again: of the last runs with this teacher, or what is usual."""
    uses = first = 0
    for bill in sorted(Path("data/vi").glob(f"*{costs.SUFFIX}")):
        table = Path(f"data/records/{bill.name.removesuffix(costs.SUFFIX)}.parquet")
        if not table.exists():
            continue
        models = pq.read_table(bill, columns=["model"])["model"].to_pylist()
        foreign = sum(lang != "vi" for lang in pq.read_table(table, columns=["lang"])["lang"].to_pylist())
        # records that are others by now tell nothing
        if dials.teacher.model in models and foreign <= len(models) <= 2 * foreign:
            uses, first = uses + len(models), first + foreign
    return uses / first - 1 if first else estimate.RETRIED


def invented(dials: Params, journal: Journal) -> Stage:
    """The requests of generate: their number by the params, their size by examples drawn from the seed tasks alone."""
    teacher, dial, prompt = dials.teacher, dials.generate, Prompt.load(PROMPTS / "generate.yaml")
    if not allowed(dial.licence, dials.licences):
        return Stage("generate")
    stage = Stage("generate", requests=generate.planned(dial), rounds=dial.rounds)
    pool = generate.Pool(generate.seed_tasks(SEEDS), dial.novelty)
    rng = random.Random(dial.seed)
    first = [generate.request(pool, dial, rng) for _ in range(dial.requests)]
    if all(key(teacher, prompt, text) in journal.answers for text in first):
        found = {entry["key"] for path in (SHIPPED, journal.own) for entry in of_prompt(dials, path, prompt)}
        stage.known = min(stage.requests, len(found))
    for task in pool.seeds:
        pool.add(task)  # as if they had been invented, so that requests are as long as they will be
    later = [generate.request(pool, dial, rng) for _ in range(min(200, stage.requests))]
    answer = dial.tasks * estimate.tokens(json.dumps(pool.seeds, ensure_ascii=False)) / len(pool.seeds)

    def answered(_: str) -> float:
        return estimate.REPLY + answer

    stage.prompt = sum(estimate.asked(prompt, teacher.json_schema, text) for text in later) / len(later) * stage.new
    stage.completion = answered("") * stage.new
    return scaled(dials, journal, stage, prompt, answered, 1.0)


def of_prompt(dials: Params, path: Path, prompt: Prompt) -> Iterator[Entry]:
    """The entries of a journal that are answers to this prompt as it is now, by this teacher as it is now."""
    for entry in tqdm(entries(path), desc=f"{prompt.name}: answers", unit="answer", delay=SHOWN):
        if entry["prompt"] == prompt.name and entry["key"] == key(dials.teacher, prompt, entry["input"]):
            yield entry


def scaled(
    dials: Params, journal: Journal, stage: Stage, prompt: Prompt, answered: estimate.Answered, more: float
) -> Stage:
    """A stage whose tokens are calibrated, and extended to what was not looked at one by one."""
    teacher = dials.teacher
    found = estimate.calibrate([SHIPPED, journal.own], teacher.model, prompt, teacher.json_schema, answered)
    stage.prompt *= found.prompt * more
    stage.completion = min(stage.completion * found.completion * more, stage.new * more * teacher.max_tokens)
    stage.answers = found.answers
    return stage


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
    pending = [loss for batch in (False, True) if (loss := account.under_way(own, batch))]
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
        lines.append(f"{retried(dials):.0%} of the translations are taken to be asked for again.")
    if warm := [f"{each.name} ({each.answers:,})" for each in new if each.answers]:
        lines.append(f"Tokens are by the usage of this model's own answers: {', '.join(warm)}.")
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
