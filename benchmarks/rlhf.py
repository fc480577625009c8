"""Every method of the rlhf stage on the default models: what it gains on held-out prompts and pairs, and its KL.

``python -m benchmarks.rlhf`` takes models and data from the current folder and prints rows of a table; words choose
methods and seeds (``rloo dpo:3``), and ``reward:2`` makes the reward model anew with that seed and tells how it does
on held-out pairs. One process, one thread, one after the other; nothing of the project is changed.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages import reward, rlhf
from stages.lib import paramfile, recipes

SEEDS = (1, 2, 3)
OFFLINE = {
    "kind": "offline", "accumulate": 1, "context": 256, "epochs": 1.0, "batch": 16, "lr": 0.001, "beta": 0.1,
}  # fmt: skip
# what differs from the default recipe's own rlhf section
METHODS: dict[str, dict[str, Any]] = {
    "rloo": {},
    "grpo": {"algorithm": "grpo", "beta": 0.5},
    "ppo": {"algorithm": "ppo", "lr": 0.0007},
    "dpo": {"algorithm": "dpo", **OFFLINE},
    "kto": {"algorithm": "kto", **OFFLINE, "lr": 0.0005},
    "orpo": {"algorithm": "orpo", **OFFLINE},
    "rloo, verifiable": {"rewards": "verifiable", "beta": 0.02},
    "rloo, both": {"rewards": "both"},
}
ONCE = ("kto", "orpo", "rloo, verifiable", "rloo, both")
SHOWN = "reward reward_gain preference_accuracy preference_margin right kl perplexity length ended distinct_2".split()


def main(wanted: list[str]) -> None:
    """Run what is wanted, or all."""
    tree, files = paramfile.read(Path("params.yaml"), Path("recipes"))
    compute = paramfile.validate(recipes.Compute, tree, "compute", files).model_copy(update={"threads": 1})
    print("| method | seed | " + " | ".join(SHOWN) + " | seconds |\n|---|---|" + "---|" * (len(SHOWN) + 1))
    for word in wanted or [f"{name}:{seed}" for seed in SEEDS for name in METHODS if seed == 1 or name not in ONCE]:
        name, _, seed = word.partition(":")
        if name == "reward":
            told = judge(paramfile.validate(recipes.Reward, tree, "reward", files), int(seed or 1), compute)
            print(f"reward, seed {seed or 1}: {told}", flush=True)
            continue
        section = settings(tree["rlhf"], METHODS[name])
        started = time.monotonic()
        last = run(section, int(seed or 1), compute)
        shown = [change(last, figure) for figure in SHOWN]
        print(f"| {name} | {seed or 1} | " + " | ".join(shown) + f" | {time.monotonic() - started:.0f} |", flush=True)


def settings(section: dict[str, Any], changes: dict[str, Any]) -> recipes.Online | recipes.Offline:
    """A recipe's section with some changes, without the words that its kind doesn't know."""
    kind: type[recipes.Online | recipes.Offline] = (
        recipes.Offline if changes.get("kind") == "offline" else recipes.Online
    )
    return kind.model_validate({key: value for key, value in (section | changes).items() if key in kind.model_fields})


def run(section: recipes.Online | recipes.Offline, seed: int, compute: recipes.Compute) -> dict[str, float]:
    """The last point of the history of one run."""
    names = ["prompts.train", "prompts.validation", "sft.train", "sft.validation"]
    names += ["preferences.train", "preferences.validation"]
    asked, held_out, answered, sft, ranked, pairs = (Path(f"data/split/{name}.parquet") for name in names)
    with tempfile.TemporaryDirectory() as scratch:
        model, history = Path(scratch, "model"), Path(scratch, "history.json")
        model.mkdir()
        rlhf.main(
            Path("models/sft"), Path("models/reward"), asked, held_out, answered, sft, ranked, pairs, model, history,
            seed=seed, compute=compute, rlhf=section,
        )  # fmt: skip
        return dict(json.loads(history.read_text(encoding="utf-8"))[-1])


def judge(section: recipes.Reward, seed: int, compute: recipes.Compute) -> str:
    """How often a reward model that is made anew prefers the better answer of a held-out pair, and by how much."""
    ranked, pairs = (Path(f"data/split/preferences.{side}.parquet") for side in ("train", "validation"))
    with tempfile.TemporaryDirectory() as scratch:
        model, history = Path(scratch, "model"), Path(scratch, "history.json")
        model.mkdir()
        reward.main(Path("models/sft"), ranked, pairs, model, history, seed=seed, compute=compute, reward=section)
        points = json.loads(history.read_text(encoding="utf-8"))
    last = next(point for point in reversed(points) if "eval_accuracy" in point)
    return (
        f"accuracy {last['eval_accuracy']:.3f}, margin {last['eval_margin']:.2f}, {points[0]['held_out_pairs']} pairs"
    )


def change(last: dict[str, float], figure: str) -> str:
    """A figure before and after, or what there is of it."""
    if figure == "reward_gain":
        return f"{last[figure]:+.3f} ± {last['reward_gain_stderr']:.3f}"
    if f"{figure}_before" in last:
        return f"{last[f'{figure}_before']:.3f} → {last[f'{figure}_after']:.3f}"
    return f"{last[f'{figure}_after']:.3f}"


if __name__ == "__main__":
    main(sys.argv[1:])
