"""How good a model is: lm-evaluation-harness on local tasks, perplexity, size, and a few answers to read.

Runs in this process and offline. Every model is asked through its chat template but a base model that was published
without one: it reads the bare question. Not covered: speed, which no file of this project holds.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stages.lib import contract, determinism, models, paramfile, recipes, records, weights
from stages.lib.contract import Dep, Out, Refusal, Word
from stages.lib.train import perplexity

ANSWERS = 48  # prompts answered for a reader, and to see whether answers end


def main(
    name: Word,
    model: Dep,
    validation: Dep,
    prompts: Dep,
    tasks: Dep,
    scores: Out,
    samples: Out,
    *items: Dep,
    seed: int,
    compute: recipes.Compute,
    benchmark: recipes.Benchmark,
) -> None:
    determinism.pin(seed, compute.device, compute.threads)
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    tokenizer = models.load_tokenizer(model)
    loaded = models.load(model, compute, device_map=weights.room(model, compute)).eval()
    models.check_context(loaded, benchmark.context, "benchmark.context")
    read = perplexity.assistant(
        loaded, tokenizer, records.read(validation), batch=benchmark.batch, context=benchmark.context
    )
    found = harness(loaded, tokenizer, tasks, items, seed, benchmark, chat=talks(name, model))
    held_out = [record["messages"] for record in records.read(prompts)]
    asked = held_out[:: max(1, -(-len(held_out) // ANSWERS))]  # spread, since prompts stand by source
    said = models.answer(loaded, tokenizer, asked, new_tokens=benchmark.max_new_tokens, batch=benchmark.batch)
    card = {
        "model": name,
        "tasks": task_scores(found["results"]),
        "validation": read,
        "ended": round(sum(ended for *_, ended in said) / len(said), 6),  # share of the answers
        "bytes": sum(path.stat().st_size for path in model.glob("*.safetensors")),
        "parameters": loaded.num_parameters(),
    }
    scores.write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    answers = (
        {"task": "answers", "messages": turns, "answer": text, "ended": ended}
        for turns, (text, _, ended) in zip(asked, said, strict=True)
    )
    with samples.open("w", encoding="utf-8", newline="\n") as file:
        for row in (*task_samples(found["samples"]), *answers):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def talks(name: str, model: Path) -> bool:
    """Whether a model has learned its chat template: all but a base model that was given one here."""
    return name != "base" or models.read_origin(model).get("template") == "published"


def harness(
    model: Any,
    tokenizer: Any,
    tasks: Path,
    items: Iterable[Path],
    seed: int,
    benchmark: recipes.Benchmark,
    *,
    chat: bool,
) -> dict[str, Any]:
    """lm-eval's results and samples for the tasks of a folder."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval.models.huggingface").setLevel(logging.ERROR)  # that a model is loaded already is meant
    evaluated = simple_evaluate(
        model=HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=benchmark.batch,
            max_length=benchmark.context,
            device=str(model.device),
        ),
        tasks=task_names(tasks, items),
        task_manager=TaskManager(include_path=str(tasks.parent), include_defaults=False),
        apply_chat_template=chat,
        bootstrap_iters=100,  # only for metrics that are no means
        log_samples=True,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    if evaluated is None:
        raise Refusal(f"{tasks}: lm-eval ran none of its tasks")
    return dict(evaluated)


def task_names(group: Path, items: Iterable[Path]) -> list[str]:
    """The group, and every task among the items that the group does not hold."""
    tree = paramfile.load(group)
    if "group" not in tree or "task" not in tree:
        raise Refusal(f"{group}: it must be an lm-eval group file, with the keys group and task")
    files = sorted(path for path in items if path.suffix == ".yaml" and path != group)
    alone = [str(paramfile.load(path)["task"]) for path in files]
    return [str(tree["group"]), *(name for name in alone if name not in tree["task"])]


def task_scores(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """``{task: {metric: value, metric_stderr: value}}``, without the filters' names."""
    found = {}
    for task, metrics in sorted(results.items()):
        found[task] = {
            key.split(",")[0]: round(float(value), 6)
            for key, value in sorted(metrics.items())
            if "," in key and isinstance(value, int | float)
        }
    return found


def task_samples(samples: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Each item with what the model chose or wrote."""
    for task, rows in sorted(samples.items()):
        for row in sorted(rows, key=lambda row: row["doc_id"]):
            doc = row["doc"]
            shown = {"task": task, "item": row["doc_id"], "question": doc["question"]}
            if "exact_match" in row:
                wrote = row["resps"][0][0]
                yield shown | {"right": doc["value"], "answer": wrote, "correct": bool(row["exact_match"])}
            else:
                likelihoods = [float(response[0]) for response in row["filtered_resps"]]
                chosen = likelihoods.index(max(likelihoods))
                right = doc["choices"][doc["answer"]]
                yield shown | {"right": right, "answer": doc["choices"][chosen], "correct": bool(row["acc"])}


if __name__ == "__main__":
    contract.run(main)
