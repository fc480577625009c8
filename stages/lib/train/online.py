"""Learning from rewards for the policy's own answers.

``rloo`` takes the other answers to the same prompt as the baseline (Ahmadian et al. 2024), ``grpo`` their mean and
spread (Shao et al. 2024), both by trl's trainers; ``ppo`` a value head (``ppo.py``). GRPO's loss is DAPO's
(Yu et al. 2025), in which every token weighs the same: the original's mean over each answer punishes a long bad one
less than a short one, which teaches a short run to ramble. An answer that has not ended loses a constant in all three.
``kl_answer`` is the mean log-ratio of what was said with RLOO and PPO, and Schulman's k3 with GRPO, which scatters
more and is never negative; ``eval_kl_answer`` means the same everywhere, and by it a run is stopped. Not covered:
rewards from code that is run, and several turns.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import models, recipes, weights
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import adapters, checkpoints, drift, fitting, launch, ppo, rewards, rollouts, trackers, training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback


def check(rlhf: recipes.Online, compute: recipes.Compute) -> None:
    """Refuse settings that can't be followed, before anything is loaded; what ``auto`` means is known only here."""
    known = compute.model_copy(update={"precision": weights.precision(compute)})
    if found := list(recipes.undrawable(known, rlhf)):
        raise Refusal("\n".join(found))


def rewarded(
    asked: list[list[Message]], known: rewards.Checkable, rlhf: recipes.Online, table: Path
) -> tuple[list[list[Message]], int]:
    """(prompts whose answers a recipe's rewards can tell apart, how many of them can be checked by rule)."""
    checkable = [turns for turns in asked if rewards.key(turns) in known]
    if rlhf.rewards != "model" and not checkable:
        raise Refusal(
            f"{table} holds no answer to a training prompt that ends in a value by which others could be checked;"
            " set rlhf.rewards to model"
        )
    return checkable if rlhf.rewards == "verifiable" else asked, len(checkable)


def enough(asked: Sequence[Any], rlhf: recipes.Online, table: Path) -> None:
    """Refuse fewer prompts than trl's trainers ask in a step: they would leave them all out."""
    wanted = rlhf.batch * rlhf.accumulate * launch.processes() // rlhf.generations
    if rlhf.algorithm != "ppo" and len(asked) < wanted:
        raise Refusal(
            f"{table}: found {len(asked)} prompts to learn from, and a step of {rlhf.algorithm} asks {wanted}; lower"
            " rlhf.batch or rlhf.accumulate, raise rlhf.generations or rlhf.context, or add prompts"
        )


def train(
    learner: Any,
    load: Callable[..., Any],
    start: Callable[[], Any | None],
    scorer: Any,
    tokenizer: "PreTrainedTokenizerBase",
    asked: Sequence[list[Message]],
    known: rewards.Checkable,
    look: drift.Look,
    compute: recipes.Compute,
    seed: int,
    rlhf: recipes.Online,
    points: list[training.Point],
    where: checkpoints.Place,
) -> Any:
    """The policy, its adapter on it, or None in a process that has nothing to write; every step adds a point.

    ``load`` loads the policy as it was; ``start`` does, unless an adapter that is switched off tells the same.
    """
    arguments = training.arguments(compute, seed, str(where.scratch), rlhf)
    if rlhf.algorithm != "ppo":
        return by_trl(learner, load, scorer, tokenizer, asked, known, look, arguments, rlhf, points, where)
    config = adapters.config(rlhf, learner)
    if config is not None:
        from peft import get_peft_model

        learner = get_peft_model(learner, config)
        adapters.precise(learner)

    def judge(places: Sequence[int], answers: Sequence[rollouts.Answer]) -> list[float]:
        texts = [tokenizer.decode(answer.said, skip_special_tokens=True) for answer in answers]
        total = [0.0] * len(answers)
        if rlhf.rewards != "verifiable":
            rows = [
                [*asked[place], Message(role="assistant", content=text)]
                for place, text in zip(places, texts, strict=True)
            ]
            total = rewards.score(scorer, tokenizer, rows, rlhf.batch)
        if rlhf.rewards != "model":
            for row, (place, text) in enumerate(zip(places, texts, strict=True)):
                if (reference := known.get(rewards.key(asked[place]))) is not None:
                    total[row] += rewards.verifiable(asked[place], text, reference)
        return [number - rewards.UNENDED * (not answer.ended) for number, answer in zip(total, answers, strict=True)]

    prompts = [models.encode_prompt(tokenizer, turns) for turns in asked]
    with fitting.explained(where):
        ppo.train(learner, start(), tokenizer, prompts, judge, look, arguments, rlhf, seed, points, where)
    return learner


def by_trl(
    learner: Any,
    load: Callable[..., Any],
    scorer: Any,
    tokenizer: "PreTrainedTokenizerBase",
    asked: Sequence[list[Message]],
    known: rewards.Checkable,
    look: drift.Look,
    arguments: dict[str, Any],
    rlhf: recipes.Online,
    points: list[training.Point],
    where: checkpoints.Place,
) -> Any:
    """RLOO and GRPO."""
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    make, configure = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}[rlhf.algorithm]
    judges: list[Any] = [scorer] if rlhf.rewards != "verifiable" else []
    if rlhf.rewards != "model":
        judges.append(rewards.of_trl(known))
    judges.append(rewards.ending(models.ends(learner, tokenizer)))
    trainer: Any = make(
        model=learner,
        reward_funcs=[*judges, rewards.distinct_2],
        reward_processing_classes=[tokenizer if judge is scorer else None for judge in [*judges, None]],
        args=configure(
            **arguments | where.rhythm(1),
            max_steps=rlhf.steps,
            per_device_train_batch_size=rlhf.batch,
            gradient_accumulation_steps=rlhf.accumulate,
            num_generations=rlhf.generations,
            max_completion_length=rlhf.max_new_tokens,
            temperature=rlhf.temperature,
            generation_kwargs=rollouts.PLAIN,
            disable_dropout=True,  # else the likelihoods of the same answer differ between two readings
            beta=rlhf.beta or sys.float_info.min,  # at zero trl measures no KL
            reward_weights=[*(1.0 for _ in judges), 0.0],
            **({"loss_type": "dapo"} if rlhf.algorithm == "grpo" else {}),
        ),
        train_dataset=training.dataset([{"prompt": list(messages)} for messages in asked]),
        processing_class=tokenizer,
        peft_config=adapters.config(rlhf, learner),
        callbacks=[trackers.live(rlhf)],
    )
    frozen = trainer.ref_model  # None where there are adapters, which can be switched off
    # before those that report to trackers
    trainer.callback_handler.callbacks.insert(0, namer(look, frozen, rlhf.max_kl))
    trainer.add_callback(drift.watcher(trainer, look, frozen, rlhf.max_kl, "eval_"))
    adapters.precise(trainer.model)
    fitting.fit(trainer, points, where, name="rlhf")
    return launch.whole(trainer, lambda: load(device_map="cpu"))


def namer(look: drift.Look, frozen: Any | None, most: float) -> "TrainerCallback":
    """A callback that gives trl's figures the names that all methods share, and stops a policy that drifts away.

    trl's estimate of the KL is not enough for that: one odd token moves it by thousands, so a look has the last word.
    """
    from transformers import TrainerCallback

    class Namer(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **_: Any) -> None:
            if not logs or "rewards/distinct_2/mean" not in logs:
                return
            # one value for a whole batch of answers
            logs["distinct_2"] = logs.pop("rewards/distinct_2/mean")
            del logs["rewards/distinct_2/std"]
            logs["length"] = logs["completions/mean_length"]
            logs["ended"] = 1 - logs["completions/clipped_ratio"]
            logs["kl_answer"] = logs["kl"] * logs["completions/mean_length"]  # trl's is for a token
            if not logs["kl_answer"] <= most:
                drift.check(drift.glance(look, model, frozen)["kl_answer"], state.global_step, most)

    return Namer()
