"""The ledger as a metric: what the answers that a commit uses have cost once, at the prices of its params.

A bill has a row for each use of an answer. An answer is counted by the first stage that uses it, in the order of the
report's command; further uses, in that stage or in a later one, are repeats that the journal answered for nothing.
The rows are few columns of numbers, so a million of them take a second; no journal is needed, and the numbers are the
same on every machine. Not covered: what a run really bought (``bill.py``).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.lib.params import Spend
from stages.lib.teachers import prices

SUFFIX = ".spend.parquet"
COUNTS = ("requests", "repeated", "prompt_tokens", "completion_tokens", "unmetered")


def stage(path: Path) -> str:
    """The stage that a bill belongs to: data/generate.spend.parquet, data/vi/<source>.spend.parquet."""
    name = path.name.removesuffix(SUFFIX)
    return f"translate@{name}" if path.parent.name == "vi" else name


def gather(bills: Iterable[Path], spend: Spend) -> dict[str, Any]:
    """Requests, repeats, tokens, dollars and đồng: by stage and model, by model, and of all together."""
    seen = np.empty(0, np.uint64)
    stages: dict[str, Any] = {}
    for path in bills:
        table = pq.read_table(path)
        if not table.num_rows:
            continue
        requests: NDArray[np.uint64] = table["request"].to_numpy()
        new = np.zeros(len(requests), bool)
        new[np.unique(requests, return_index=True)[1]] = True
        new &= ~np.isin(requests, seen)
        seen = np.concatenate([seen, requests[new]])
        models = np.array(table["model"].to_pylist(), object)
        columns = {name: table[name].to_numpy() for name in ("prompt_tokens", "completion_tokens", "metered", "batch")}
        stages[stage(path)] = {
            model: count(columns, models == model, new, model, spend) for model in sorted(set(models))
        }
    by_model: dict[str, Any] = {}
    for models in stages.values():
        for model, found in models.items():
            by_model[model] = add(by_model.get(model, {}), found)
    whole: dict[str, Any] = {}
    for found in by_model.values():
        whole = add(whole, found)
    nothing = dict.fromkeys(COUNTS, 0) | {"dollars": 0.0, "saved_dollars": 0.0}
    tree = {"total": add(nothing, whole), "models": by_model, "stages": stages}
    finish(tree, spend)
    return tree


def count(
    columns: Mapping[str, NDArray[Any]], ours: NDArray[Any], new: NDArray[Any], model: str, spend: Spend
) -> dict[str, Any]:
    """One model's answers of one stage; tokens are those that its server counted."""
    price = spend.prices.get(model, prices.NOTHING)

    def tokens(rows: NDArray[Any]) -> tuple[int, int]:
        return int(columns["prompt_tokens"][rows].sum()), int(columns["completion_tokens"][rows].sum())

    def dollars(rows: NDArray[Any]) -> float:
        once, batch = rows & ~columns["batch"], rows & columns["batch"]
        return prices.dollars(price, *tokens(once)) + prices.dollars(price, *tokens(batch), spend.batch)

    prompt, completion = tokens(ours & new & columns["metered"])
    return {
        "requests": int(ours.sum()),
        "repeated": int((ours & ~new).sum()),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "unmetered": int((ours & new & ~columns["metered"]).sum()),
        "dollars": dollars(ours & new),
        "saved_dollars": dollars(ours & ~new),
    }


def add(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Counts added up."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def finish(tree: Any, spend: Spend) -> None:
    """Round the dollars, and say the same in đồng, wherever there are some."""
    if "dollars" in tree:
        tree["dong"] = round(tree["dollars"] * spend.dong)
        tree["dollars"], tree["saved_dollars"] = round(tree["dollars"], 6), round(tree["saved_dollars"], 6)
    else:
        for inner in tree.values():
            finish(inner, spend)
