"""Everything that was measured, in one place: metrics in git, the data card, and one page that opens offline.

It measures nothing itself. The metrics are small JSON files that ``dvc metrics diff`` compares between
commits; the page holds the same numbers with curves, samples and drops. Not covered: run times, which
differ from run to run and would make the page differ too.
"""

import json
from pathlib import Path
from typing import Any

from stages.lib import contract
from stages.lib.contract import Dep, Out
from stages.lib.params import Lr, Spend
from stages.lib.recipes import Sft
from stages.lib.report import charts, datapage
from stages.lib.teachers import costs, prices

CHANCE = 0.25
WRITTEN = "_written"  # tasks that are answered freely, where guessing gets nothing
COMPARED = ("base", "sft", "rlhf")
ANSWERS = 5


def main(
    scores: Out,
    training: Out,
    data: Out,
    ledger: Out,
    page: Out,
    sheet: Out,
    sheet_vi: Out,
    template: Dep,
    sheet_template: Dep,
    sheet_vi_template: Dep,
    card: Dep,
    tokens: Dep,
    *measured: Dep,
    recipe: str,
    seed: int,
    lr: Lr,
    spend: Spend,
    sft: Sft,
) -> None:
    """Gather ``history/<stage>.json``, ``benchmark/<model>.json`` and ``.samples.jsonl``, and each stage's bill."""
    histories = {path.stem: read(path) for path in measured if path.parent.name == "history"}
    results = {path.stem: read(path) for path in measured if path.parent.name == "benchmark" and path.suffix == ".json"}
    samples = {path.name.split(".")[0]: read_lines(path) for path in measured if path.suffix == ".jsonl"}
    models = {name: to_scores(result) for name, result in results.items()}
    trained = summarise(histories) | {"seed": seed}
    trained["sft"]["lr"] = sft.lr if lr == "auto" else lr
    counts = datapage.to_counts(read(card), read(tokens))
    spent = costs.gather([path for path in measured if path.name.endswith(costs.SUFFIX)], spend)
    write(scores, {"models": models})
    write(training, trained)
    write(ledger, spent)
    whole = counts["tokens"]["all"]
    told = {name: counts[name] for name in ("kept", "dropped", "sources", "reasons")}
    write(data, {**told, "tokens": {name: whole[name] for name in ("tokens", "syllables", "tokens_per_syllable")}})
    for path, form in ((sheet, sheet_template), (sheet_vi, sheet_vi_template)):
        path.write_text(datapage.sheet(form, recipe, counts), encoding="utf-8")
    page.write_text(
        render(
            template,
            recipe=recipe,
            seed=seed,
            training=trained,
            chance=CHANCE,
            written=[name for name in models["sft"]["families"] if name.endswith(WRITTEN)],
            models=models,
            tiles=tiles(models, trained, counts),
            compared=[name for name in COMPARED if name in models],
            charts={
                "accuracy": accuracy_chart(models),
                "training": training_charts(histories),
                "data": datapage.draw(counts),
            },
            answered=[name for name in COMPARED if name in samples],
            answers=side_by_side(samples),
            data=counts,
            bills=bill_rows(spent, spend),
            unmetered=spent["total"]["unmetered"],
            examples=read(card)["examples"],
        ),
        encoding="utf-8",
    )


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")]


def write(path: Path, tree: dict[str, Any]) -> None:
    """A JSON file that git shows line by line."""
    path.write_text(json.dumps(tree, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def to_scores(result: dict[str, Any]) -> dict[str, Any]:
    """A benchmark's result as the numbers that commits are compared by; ``families`` are the tasks by name."""
    tasks = {name.removeprefix("vi_"): task for name, task in result["tasks"].items()}
    whole = tasks.pop("skills")
    return {
        "accuracy": whole["acc"],
        "accuracy_stderr": whole["acc_stderr"],
        "perplexity": result["validation"]["perplexity"],
        "ended": result["ended"],
        "size_bytes": result["bytes"],
        "parameters": result["parameters"],
        "families": {name: to_family(task) for name, task in tasks.items()},
    }


def to_family(task: dict[str, float]) -> dict[str, float]:
    """Accuracy of a task of choices, or exact match of one that is answered in writing."""
    metric = "acc" if "acc" in task else "exact_match"
    return {"accuracy": task[metric], "accuracy_stderr": task[f"{metric}_stderr"]}


def summarise(histories: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The last value of every number that a training stage logged, by stage."""
    found: dict[str, Any] = {}
    for stage, points in histories.items():
        last: dict[str, Any] = {}
        for point in points:
            last |= {name: value for name, value in point.items() if name != "step"}
        found[stage] = last
    return found


def tiles(models: dict[str, Any], trained: dict[str, Any], counts: dict[str, Any]) -> list[dict[str, str]]:
    """What one wants to know first."""
    base, sft = models["base"], models["sft"]
    reward = trained["rlhf"]
    gain = f"{reward['reward_gain']:.2f} ± {reward['reward_gain_stderr']:.2f}"
    return [
        {
            "name": "Accuracy after sft",
            "value": f"{sft['accuracy']:.1%}",
            "note": f"base {base['accuracy']:.1%}, chance {CHANCE:.0%}",
        },
        {"name": "Perplexity after sft", "value": f"{sft['perplexity']:.2f}", "note": f"base {base['perplexity']:.1f}"},
        {
            "name": "Reward after rlhf",
            "value": f"{reward['reward_after']:+.2f}",
            "note": f"sft {reward['reward_before']:+.2f}; gain {gain}; ended {shift(reward, 'ended', '.0%')}; tokens"
            f" {shift(reward, 'length', '.1f')}",
        },
        {"name": "Records", "value": f"{counts['kept']:,}", "note": f"{counts['dropped']:,} left out"},
    ]


def shift(last: dict[str, float], name: str, form: str) -> str:
    """A figure before and after rlhf: a reward that answers pay for by running on is none."""
    return " → ".join(format(last[f"{name}_{side}"], form) for side in ("before", "after"))


def accuracy_chart(models: dict[str, Any]) -> str:
    """Accuracy by family of choices, one mark for each of the compared models; guessing among four gets a quarter."""
    compared = {name: models[name]["families"] for name in COMPARED if name in models}
    rows = {
        family: [
            (name, found[family]["accuracy"], found[family]["accuracy_stderr"]) for name, found in compared.items()
        ]
        for family in next(iter(compared.values()))
        if not family.endswith(WRITTEN)
    }
    return charts.intervals(rows, ("chance", CHANCE))


def training_charts(histories: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """The curves of each training stage."""

    def curve(stage: str, name: str) -> list[tuple[float, float]]:
        return [(point["step"], point[name]) for point in histories.get(stage, []) if name in point]

    def chart(stage: str, y: str, **names: str) -> str:
        return charts.lines({label: curve(stage, name) for label, name in names.items()}, "step", y)

    return {
        "base: loss": chart("base", "loss", train="loss", validation="validation_loss"),
        "sft: loss": chart("sft", "loss", train="loss", validation="eval_loss"),
        "reward: accuracy on held-out pairs": chart("reward", "accuracy", held_out="eval_accuracy"),
        "rlhf: reward": chart("rlhf", "reward", reward="reward", held_out="eval_reward"),
        "rlhf: KL to the sft model": chart("rlhf", "nats an answer", KL="kl_answer", held_out="eval_kl_answer"),
    }


def side_by_side(samples: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The same prompts with each model's answer."""
    rows: dict[str, dict[str, str]] = {}
    for name in COMPARED:
        for sample in samples.get(name, []):
            if sample["task"] == "answers":
                asked = "\n".join(message["content"] for message in sample["messages"])
                rows.setdefault(asked, {})[name] = sample["answer"]
    spread = list(rows.items())[:: max(1, len(rows) // ANSWERS)][:ANSWERS]
    return [{"prompt": prompt, "answers": answers} for prompt, answers in spread]


def bill_rows(spent: dict[str, Any], spend: Spend) -> list[list[str]]:
    """What the teacher's answers cost, a line for each stage and model, and one for all together."""
    lines = [(stage, model, found) for stage, models in spent["stages"].items() for model, found in models.items()]
    return [
        [
            stage,
            model,
            *(f"{found[name]:,}" for name in ("requests", "repeated", "prompt_tokens", "completion_tokens")),
            *(prices.money(found["dollars"]), prices.dong(found["dollars"], spend)),
        ]
        for stage, model, found in [*lines, ("all together", "", spent["total"])]
    ]


def render(template: Path, **values: Any) -> str:
    """The page; every text in it is escaped but for the charts, which are ours."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def marked(drawn: Any) -> Any:
        return {name: marked(part) for name, part in drawn.items()} if isinstance(drawn, dict) else Markup(drawn)

    values["charts"] = marked(values["charts"])
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(template.read_text(encoding="utf-8")).render(values)


if __name__ == "__main__":
    contract.run(main)
