"""Supervised fine-tuning: from a model that goes on with a text to one that answers.

Only what the assistant says is learned, its end of turn included. ``full`` moves every weight; ``lora`` and
``qlora`` train adapters, which are merged into the model and kept beside it in ``adapter/``. Not covered:
packing several conversations into one row, which on a CPU lets them see each other.
"""

import tempfile
from collections.abc import Iterable
from typing import Any

from stages.lib import contract, determinism, launch, models, params, recipes, records, trackers, training
from stages.lib.contract import Dep, Out, Refusal

IGNORED = -100  # the label that cross-entropy leaves out


def main(
    start: Dep,
    train: Dep,
    validation: Dep,
    model: Out,
    history: Out,
    config: Dep = launch.CONFIG,
    *,
    seed: int,
    lr: params.Lr,
    compute: recipes.Compute,
    sft: recipes.Sft,
) -> None:
    launch.enter(compute, sft, config)
    determinism.pin(seed, compute.device, compute.threads)
    from trl import SFTConfig, SFTTrainer

    tokenizer = models.load_tokenizer(start)
    learner = models.load(start, compute, **quantized(sft), **launch.placement(compute))
    models.check_context(learner, sft.context, "sft.context")
    rows, truncated = conversations(records.read(train), tokenizer, sft.context)
    held_out, _ = conversations(records.read(validation), tokenizer, sft.context)
    if not rows or not held_out:
        raise Refusal(f"{train if not rows else validation} holds no conversation; look at the split stage's counts")
    held_out.sort(key=lambda row: len(row["input_ids"]))  # batches of like length are faster to read
    points: list[training.Point] = []
    steps = training.steps(len(rows), launch.rows(sft), sft.epochs)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = launch.together(SFTTrainer)(
            model=learner,
            args=SFTConfig(
                **training.arguments(compute, seed, scratch, sft, lr=lr),
                max_steps=steps,
                per_device_train_batch_size=sft.batch,
                per_device_eval_batch_size=sft.batch,
                gradient_accumulation_steps=sft.accumulate,
                max_length=sft.context,
                warmup_steps=round(steps * sft.warmup),
                train_sampling_strategy="group_by_length",
                logging_steps=max(1, steps // 50),
                eval_strategy="steps",
                eval_steps=max(1, -(-steps // 2)),
                eval_on_start=True,
            ),
            train_dataset=training.dataset(rows),
            eval_dataset=training.dataset(held_out),
            processing_class=tokenizer,
            peft_config=None if sft.method == "full" else training.lora_config(sft.lora),
            callbacks=[training.recorder(points), trackers.live(sft)],
        )
        trainer.train()
        training.evaluated(trainer, points)
        finished = launch.whole(trainer, lambda: models.load(start, compute, device_map="cpu"))
    if not launch.leads():
        return
    if sft.method != "full":
        # relative to the repository's root, where stages run; the card is a form that nobody has filled in
        finished.peft_config["default"].base_model_name_or_path = start.name if start.is_absolute() else str(start)
        finished.save_pretrained(str(model / "adapter"))
        (model / "adapter" / "README.md").unlink(missing_ok=True)
        finished = finished.merge_and_unload()
    finished.config.use_cache = True  # the trainer turns it off, and a model that answers needs it
    models.save(finished, tokenizer, model)
    training.write_history(history, [{**points[0], "truncated": truncated}, *points[1:]])


def conversations(rows: Iterable[records.Record], tokenizer: Any, context: int) -> tuple[list[dict[str, Any]], int]:
    """(token ids and labels of each conversation, how many of them are longer than the context).

    One whose assistant speaks only beyond the context teaches nothing and is left out; it counts as longer.
    """
    kept, truncated = [], 0
    for row in rows:
        ids, mask = models.encode(tokenizer, row["messages"])
        truncated += len(ids) > context
        if any(mask[:context]):
            labels = [token if said else IGNORED for token, said in zip(ids, mask, strict=True)]
            kept.append({"input_ids": ids[:context], "labels": labels[:context]})
    return kept, truncated


def quantized(sft: recipes.Sft) -> dict[str, Any]:
    """Loading arguments: 4-bit weights for QLoRA (Dettmers et al. 2023)."""
    if sft.method != "qlora":
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    }


if __name__ == "__main__":
    contract.run(main)
