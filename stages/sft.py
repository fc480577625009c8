"""Supervised fine-tuning: from a model that goes on with a text to one that answers.

Only what the assistant says is learned, its end of turn included; in ``text`` mode all of a plain text is, as in
pretraining. ``full`` moves every weight; ``lora`` and ``qlora`` train adapters, which are merged into the model and
kept beside it in ``adapter/``. With ``save`` a run that was killed goes on at its last checkpoint, to the same bytes.
Not covered, in ``stages/lib/train``: how rows are made (lessons), packed (packing) and resumed (checkpoints).
"""

import sys
from typing import Any

from stages.lib import contract, determinism, models, params, recipes, records, weights
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.train import adapters, checkpoints, fitting, launch, lessons, packing, trackers, training


@fitting.enough_memory()
def main(
    start: Dep,
    train: Dep,
    validation: Dep,
    text: Dep,
    text_validation: Dep,
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

    def load(**more: Any) -> Any:
        return models.load(start, compute, **adapters.learning(compute, sft.method) | more)

    learner = load(**launch.placement(compute))
    models.check_context(learner, sft.context, "sft.context")
    tables = (train, validation) if sft.mode == "chat" else (text, text_validation)
    (rows, counts), (held_out, _) = (lesson(table, tokenizer, sft) for table in tables)
    for table, found in zip(tables, (rows, held_out), strict=True):
        if not found:
            raise Refusal(
                f"{table} holds nothing to learn from in sft.mode {sft.mode} within sft.context ({sft.context}): raise"
                " it if its records are longer, else look at the split stage's counts"
            )
    if sft.mode == "chat":
        lessons.check_end(rows, models.ends(learner, tokenizer))
    held_out.sort(key=lambda row: len(row["input_ids"]))  # batches of like length are faster to read
    more: dict[str, Any] = {}
    if sft.packing:
        rows, filled = lessons.packed(rows, sft.context)
        counts |= filled
        held_out = [packing.joined([row]) for row in held_out]
        more["data_collator"] = packing.collator(tokenizer.pad_token_id, packing.bind(learner))
    if learner.device.type == "cpu":
        training.lean(learner)
    points: list[training.Point] = []
    batch = launch.rows(sft)
    steps = launch.steps(len(rows), sft)
    settings = (seed, lr, compute, sft, weights.device(compute), weights.precision(compute))
    with checkpoints.place("sft", sft.save, (start, *tables, config), settings) as where:
        trainer = lessons.by_token(launch.together(SFTTrainer), held_out)(
            model=learner,
            args=SFTConfig(
                **training.arguments(compute, seed, str(where.scratch), sft, lr=lr)
                | where.arguments(steps)
                | {"lr_scheduler_type": sft.schedule},
                max_steps=steps,
                per_device_train_batch_size=sft.batch,
                per_device_eval_batch_size=sft.batch,
                gradient_accumulation_steps=sft.accumulate,
                max_length=sft.context,
                warmup_steps=round(steps * sft.warmup),
                train_sampling_strategy="random" if sft.packing else "group_by_length",
                neftune_noise_alpha=sft.neftune or None,
                eval_strategy="steps",
                eval_steps=max(1, -(-steps // (10 if sft.keep == "best" else 2))),
            ),
            train_dataset=training.dataset(rows),
            eval_dataset=training.dataset(held_out),
            processing_class=tokenizer,
            peft_config=adapters.config(sft, learner),
            callbacks=[trackers.live(sft)],
            **more,
        )
        adapters.precise(trainer.model)
        tokens = sum(len(row["input_ids"]) for row in rows) / len(rows) * batch
        fitting.fit(trainer, points, where, name="sft", tokens=tokens, keep=sft.keep)
        finished = launch.whole(trainer, lambda: load(device_map="cpu"))
        if not launch.leads():
            return
        with fitting.all_or_none(model, history):
            if sft.method != "full":
                # relative to the repository's root, where stages run; the card is a form that nobody has filled in
                named = start.name if start.is_absolute() else str(start)
                finished.peft_config["default"].base_model_name_or_path = named
                finished.save_pretrained(str(model / "adapter"))
                (model / "adapter" / "README.md").unlink(missing_ok=True)
                finished = adapters.merge(finished)
            adapters.settled(finished, conversed=sft.mode == "chat")
            finished.config.use_cache = True  # the trainer turns it off, and a model that answers needs it
            models.save(finished.to(weights.dtype(compute)), tokenizer, model)  # full ones were kept in fp32 to learn
            training.write_history(history, [{**points[0], **counts}, *points[1:]])


def lesson(table: Any, tokenizer: Any, sft: recipes.Sft) -> tuple[list[lessons.Row], dict[str, float | int]]:
    """(rows of a table, counts for the history); says what does not fit."""
    found = records.read(table)
    if sft.mode == "text":
        texts = (records.content(record, "text") for record in found)
        rows, counts = lessons.texts(texts, tokenizer, sft.context, apart=sft.packing)
        return rows, dict(counts)
    rows, counts = lessons.conversations(found, tokenizer, sft.context)
    if counts["truncated"] and launch.leads():
        print(f"{table}: {lessons.told(counts, sft.context)}", file=sys.stderr)
    return rows, dict(counts)


if __name__ == "__main__":
    contract.run(main)
