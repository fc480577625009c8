"""A reward model: what people ranked higher gets the higher number.

Starts from the fine-tuned model with a new head of one number and learns from pairs (Bradley and Terry 1952;
Ouyang et al. 2022). ``full`` moves every weight; ``lora`` and ``qlora`` train adapters, which are merged, and the head.
Not covered: ties, and more than one number an answer.
"""

import sys
from collections.abc import Iterable
from typing import Any

from stages.lib import contract, determinism, models, recipes, records, weights
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.train import adapters, checkpoints, fitting, launch, trackers, training


@fitting.enough_memory()
def main(
    start: Dep,
    train: Dep,
    validation: Dep,
    model: Out,
    history: Out,
    config: Dep = launch.CONFIG,
    *,
    seed: int,
    compute: recipes.Compute,
    reward: recipes.Reward,
) -> None:
    launch.enter(compute, reward, config)
    determinism.pin(seed, compute.device, compute.threads)
    from trl import RewardConfig, RewardTrainer

    tokenizer = models.load_tokenizer(start)
    rows, left_out = pairs(records.read(train), tokenizer, reward.context)
    held_out, unmeasured = pairs(records.read(validation), tokenizer, reward.context)
    if not rows or not held_out:
        raise Refusal(
            f"{train if not rows else validation} holds no ranked pair of at most reward.context ({reward.context})"
            " tokens; raise split.preferences or reward.context"
        )
    if (left_out or unmeasured) and launch.leads():
        print(
            f"longer than reward.context ({reward.context}) and left out: pairs {left_out} beside {len(rows)},"
            f" held_out_pairs {unmeasured} beside {len(held_out)}",
            file=sys.stderr,
        )
    held_out.sort(key=lambda row: len(row["chosen_ids"]))  # batches of like length are faster to read

    def load(**more: Any) -> Any:
        return models.load_judge(start, compute, **adapters.learning(compute, reward.method, adapters.HEAD) | more)

    judge = load(**launch.placement(compute))
    models.check_context(judge, reward.context, "reward.context")
    judge.config.pad_token_id = tokenizer.pad_token_id
    points: list[training.Point] = []
    batch = launch.rows(reward)
    steps = launch.steps(len(rows), reward)
    settings = (seed, compute, reward, weights.device(compute), weights.precision(compute))
    with checkpoints.place("reward", reward.save, (start, train, validation, config), settings) as where:
        trainer = by_pair(launch.together(RewardTrainer))(
            model=judge,
            args=RewardConfig(
                **training.arguments(compute, seed, str(where.scratch), reward) | where.arguments(steps),
                max_steps=steps,
                per_device_train_batch_size=reward.batch,
                gradient_accumulation_steps=reward.accumulate,
                per_device_eval_batch_size=reward.batch,
                max_length=reward.context,
                warmup_steps=steps // 10,
                eval_strategy="steps",
                eval_steps=max(1, -(-steps // 4)),
            ),
            train_dataset=training.dataset(rows),
            eval_dataset=training.dataset(held_out),
            processing_class=tokenizer,
            peft_config=adapters.config(reward, judge, adapters.HEAD),
            callbacks=[trackers.live(reward)],
        )
        adapters.precise(trainer.model)
        tokens = sum(len(ids) for row in rows for ids in row.values()) / len(rows) * batch
        fitting.fit(trainer, points, where, name="reward", tokens=tokens)
        finished = launch.whole(trainer, lambda: load(device_map="cpu"))
        if not launch.leads():
            return
        with fitting.all_or_none(model, history):
            if reward.method != "full":
                finished = adapters.merge(finished)
            models.save(finished.to(weights.dtype(compute)), tokenizer, model)  # full ones were kept in fp32 to learn
            counts = {"pairs": len(rows), "left_out": left_out}
            counts |= {"held_out_pairs": len(held_out), "held_out_left_out": unmeasured}
            training.write_history(history, [{**points[0], **counts}, *points[1:]])


def pairs(rows: Iterable[records.Record], tokenizer: Any, context: int) -> tuple[list[dict[str, list[int]]], int]:
    """(token ids of both answers after the same turns, how many pairs are longer than the context and left out)."""
    kept, longer = [], 0
    for row in rows:
        if row["kind"] != "preference":  # a single verdict has no other answer beside it
            continue
        turns = records.prompt(row)
        both = {
            f"{role}_ids": models.encode(
                tokenizer, [*turns, {"role": "assistant", "content": records.content(row, role)}]
            )[0]
            for role in ("chosen", "rejected")
        }
        if max(map(len, both.values())) > context:
            longer += 1
        else:
            kept.append(both)
    return kept, longer


def by_pair(trainer: Any) -> Any:
    """A class of trainers whose held-out accuracy and margin are means of all pairs: trl's are means of batches' means.

    On several processes the last batch is filled up with pairs that then count twice.
    """

    class ByPair(trainer):
        def compute_loss(self, model: Any, inputs: Any, *words: Any, **more: Any) -> Any:
            found = super().compute_loss(model, inputs, *words, **more)
            if not model.training:
                for means in self._metrics["eval"].values():
                    means += means[-1:] * (len(inputs["input_ids"]) // 2 - 1)  # once for each pair of the batch
            return found

    return ByPair


if __name__ == "__main__":
    contract.run(main)
