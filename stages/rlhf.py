"""Reinforcement learning from the reward model's word on the policy's own answers.

``rloo`` takes the other answers to the same prompt as the baseline (Ahmadian et al. 2024), ``grpo`` their mean
and spread (Shao et al. 2024); ``beta`` holds the policy near where it started. What the training prompts show
proves nothing, so policy and start then both answer held-out prompts, judged by the same reward model, and
their perplexity on held-out conversations tells what the reward has cost. Not covered: rewards from code.
"""

import math
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stages.lib import contract, determinism, launch, models, perplexity, recipes, records, trackers, training
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def main(
    policy: Dep,
    judge: Dep,
    prompts: Dep,
    validation: Dep,
    sft_validation: Dep,
    model: Out,
    history: Out,
    config: Dep = launch.CONFIG,
    *,
    seed: int,
    compute: recipes.Compute,
    rlhf: recipes.Rlhf,
) -> None:
    launch.enter(compute, rlhf, config)
    determinism.pin(seed, compute.device, compute.threads)
    if isinstance(rlhf, recipes.Offline):
        raise Refusal("rlhf.kind: offline is not there yet")
    tokenizer = models.load_tokenizer(policy)
    learner = models.load(policy, compute)
    room = learner.config.max_position_embeddings - rlhf.max_new_tokens
    asked, too_long = fitting(records.read(prompts), tokenizer, room)
    held_out, _ = fitting(records.read(validation), tokenizer, room)
    if not asked or not held_out:
        raise Refusal(
            f"{prompts if not asked else validation} holds no prompt that leaves room for rlhf.max_new_tokens"
            f" ({rlhf.max_new_tokens}) answer tokens; lower rlhf.max_new_tokens or raise split.validation"
        )
    scorer = models.load_judge(judge, compute).eval()
    conversations = list(records.read(sft_validation))

    def measured(which: "PreTrainedModel") -> tuple[dict[str, float], list[float]]:
        found, rewards = judged(which, scorer, tokenizer, held_out, rlhf)
        return found | {
            "perplexity": perplexity.assistant(
                which,
                tokenizer,
                conversations,
                batch=rlhf.batch,
                context=learner.config.max_position_embeddings,
            )["perplexity"]
        }, rewards

    before, rewards_before = measured(learner.eval())
    learner, points = trained(learner, scorer, tokenizer, asked, compute, seed, rlhf)
    if not launch.leads():
        return
    after, rewards_after = measured(learner.eval())
    gain, error = mean(after - before for before, after in zip(rewards_before, rewards_after, strict=True))
    learner.config.use_cache = True
    models.save(learner, tokenizer, model)
    first = {"step": 0, "prompts": len(asked), "prompts_too_long": too_long}
    summary = {f"{name}_before": value for name, value in before.items()} | {
        f"{name}_after": value for name, value in after.items()
    }
    # prompt by prompt: how hard the prompts are is the same on both sides
    summary |= {"reward_gain": round(gain, 6), "reward_gain_stderr": round(error, 6)}
    training.write_history(history, [first | points[0] | {"step": 0}, *points, {"step": rlhf.steps, **summary}])


def fitting(rows: Any, tokenizer: "PreTrainedTokenizerBase", room: int) -> tuple[list[list[Message]], int]:
    """(turns of the prompts of at most ``room`` tokens, how many are longer)."""
    turns = [row["messages"] for row in rows]
    kept = [messages for messages in turns if len(models.encode_prompt(tokenizer, messages)) <= room]
    return kept, len(turns) - len(kept)


def trained(
    learner: "PreTrainedModel",
    scorer: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    asked: list[list[Message]],
    compute: recipes.Compute,
    seed: int,
    rlhf: recipes.Online,
) -> tuple["PreTrainedModel", list[training.Point]]:
    """(the policy with its adapter merged, the history)."""
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    make, configure = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}[rlhf.algorithm]
    points: list[training.Point] = []
    with tempfile.TemporaryDirectory() as scratch:
        trainer: Any = make(
            model=learner,
            reward_funcs=scorer,
            reward_processing_classes=tokenizer,
            args=configure(
                **training.arguments(compute, seed, scratch, rlhf),
                max_steps=rlhf.steps,
                per_device_train_batch_size=rlhf.batch,
                num_generations=rlhf.generations,
                max_completion_length=rlhf.max_new_tokens,
                temperature=rlhf.temperature,
                top_k=0,
                top_p=1.0,
                beta=rlhf.beta,
                logging_steps=1,
            ),
            train_dataset=training.dataset([{"prompt": messages} for messages in asked]),
            processing_class=tokenizer,
            peft_config=training.lora_config(rlhf.lora),
            callbacks=[training.recorder(points), trackers.live(rlhf)],
        )
        trainer.train()
        finished = launch.whole(trainer, lambda: learner)
    return finished.merge_and_unload() if launch.leads() else learner, points


def judged(
    which: "PreTrainedModel",
    scorer: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[list[Message]],
    rlhf: recipes.Online,
) -> tuple[dict[str, float], list[float]]:
    """Of greedy answers to held-out prompts: mean reward and its standard error, mean length in tokens, share ended.

    Also each prompt's reward.
    """
    batch = rlhf.batch
    answers = models.answer(which, tokenizer, prompts, new_tokens=rlhf.max_new_tokens, batch=batch)
    rewards = score(
        scorer,
        tokenizer,
        [
            [*turns, Message(role="assistant", content=text)]
            for turns, (text, _, _) in zip(prompts, answers, strict=True)
        ],
        batch,
    )
    reward, error = mean(rewards)
    found = {
        "reward": reward,
        "reward_stderr": error,
        "length": sum(length for _, length, _ in answers) / len(answers),
        "ended": sum(ended for *_, ended in answers) / len(answers),
    }
    return {name: round(value, 6) for name, value in found.items()}, rewards


def mean(values: Iterable[float]) -> tuple[float, float]:
    """(mean, its standard error)."""
    found = list(values)
    center = sum(found) / len(found)
    variance = sum((value - center) ** 2 for value in found) / max(1, len(found) - 1)
    return center, math.sqrt(variance / len(found))


def score(
    scorer: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]], batch: int
) -> list[float]:
    """The judge's number for each conversation."""
    import torch

    encoded = [models.encode(tokenizer, row)[0][: scorer.config.max_position_embeddings] for row in rows]
    rewards = [0.0] * len(rows)
    for indices in models.by_length(encoded, batch):
        ids, mask = models.padded([encoded[i] for i in indices], tokenizer.pad_token_id, "right", str(scorer.device))
        with torch.inference_mode():
            found = scorer(input_ids=ids, attention_mask=mask).logits[:, 0].tolist()
        for index, value in zip(indices, found, strict=True):
            rewards[index] = value
    return rewards


if __name__ == "__main__":
    contract.run(main)
