"""Learning what people prefer: from rewards for the policy's own answers, or from ranked answers themselves.

``rlhf.kind: online`` draws answers and learns from a reward model's word on them, from rules that check their values,
or from both (``stages/lib/train/online.py``); ``offline`` learns from pairs and verdicts
(``stages/lib/train/offline.py``). ``beta`` holds the policy near where it started, and one that moves beyond ``max_kl``
is refused. What the training data show proves nothing, so policy and start then both answer held-out prompts, judged by
the same reward model and, where they can be checked, by rule; held-out pairs tell which answers it has come to like,
and held-out conversations what that has cost. With ``save`` a run that was killed goes on at its last checkpoint, to
the same bytes. Not covered: how that is done (``stages/lib/train/checkpoints.py``).
"""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stages.lib import contract, determinism, models, recipes, records, weights
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.records import Message
from stages.lib.train import (
    adapters,
    checkpoints,
    drift,
    fitting,
    launch,
    offline,
    online,
    perplexity,
    rewards,
    rollouts,
    training,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ANSWERED = 8  # prompts at once, at least


@fitting.enough_memory()
def main(
    policy: Dep,
    judge: Dep,
    prompts: Dep,
    validation: Dep,
    sft_train: Dep,
    sft_validation: Dep,
    preferences_train: Dep,
    preferences_validation: Dep,
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
    if isinstance(rlhf, recipes.Online):
        online.check(rlhf, compute)
    tokenizer = models.load_tokenizer(policy)
    if not alike(tokenizer, models.load_tokenizer(judge)):
        raise Refusal(
            f"{judge} reads other tokens, or another chat template, than {policy}: `dvc repro reward` makes a reward"
            " model of this policy's family"
        )

    def load(**more: Any) -> Any:
        return models.load(policy, compute, **adapters.learning(compute, rlhf.method) | more)

    learner = load()
    models.check_context(learner, rlhf.context, "rlhf.context")
    most = rlhf.context
    asked, too_long = short_enough(records.read(prompts), tokenizer, most - rlhf.max_new_tokens)
    held_out, unmeasured = short_enough(records.read(validation), tokenizer, most - rlhf.max_new_tokens)
    if not asked or not held_out:
        raise Refusal(
            f"{prompts if not asked else validation} holds no prompt that leaves room for rlhf.max_new_tokens"
            f" ({rlhf.max_new_tokens}) answer tokens in a context of {most}; lower rlhf.max_new_tokens, or raise"
            " rlhf.context or split.validation"
        )
    pairs, unranked = drift.pairs(records.read(preferences_validation), tokenizer, most)
    if not pairs:
        raise Refusal(
            f"{preferences_validation} holds no ranked pair of at most {most} tokens; raise rlhf.context or"
            " split.preferences"
        )
    first = {"prompts": len(asked), "held_out": len(held_out), "pairs": len(pairs)}
    first |= {"prompts_too_long": too_long, "held_out_too_long": unmeasured, "pairs_too_long": unranked}
    # where 4 bits are all that the policy has room for, they are all that its judge has
    held = adapters.learning(compute, "qlora", adapters.HEAD) if rlhf.method == "qlora" else {}
    scorer = models.load_judge(judge, compute, **held).eval()
    measure = measures(scorer, tokenizer, held_out, list(records.read(sft_validation)), rlhf, most)
    told_apart = drift.told_apart(tokenizer, pairs, rlhf.batch, learner.eval())
    before, rewards_before = measure(learner)
    before |= told_apart(learner)
    probed = held_out[:: max(1, -(-len(held_out) // drift.PROBED))]
    encoded = [models.encode_prompt(tokenizer, turns) for turns in probed]

    def start() -> Any:
        return load().eval() if rlhf.method == "full" else None

    def look(which: Any, frozen: Any) -> dict[str, float]:
        answers = drift.probe(
            which, tokenizer, encoded, new_tokens=rlhf.max_new_tokens, batch=speakers(rlhf), seed=seed
        )
        texts = [tokenizer.decode(answer.said, skip_special_tokens=True) for answer in answers]
        given = rewards.score(scorer, tokenizer, spoken(probed, texts), rlhf.batch)
        return {
            "kl_answer": drift.divergence(which, frozen, answers, tokenizer.pad_token_id, rlhf.batch),
            "reward": sum(given) / len(given),
            **rollouts.shape(answers, texts),
            **told_apart(which),
        }

    points: list[training.Point] = []
    tables = (prompts, validation, sft_train, sft_validation, preferences_train, preferences_validation)
    settings = (seed, compute, rlhf, weights.device(compute), weights.precision(compute))
    with checkpoints.place("rlhf", rlhf.save, (policy, judge, *tables, config), settings) as where:
        try:
            if isinstance(rlhf, recipes.Online):
                known = rewards.references(records.read(sft_train))
                asked, checkable = online.rewarded(asked, known, rlhf, sft_train)
                online.enough(asked, rlhf, prompts)
                first |= {"asked": len(asked), "checkable": checkable}
                told(first)
                seen = {f"eval_{name}": value for name, value in look(learner.eval(), learner).items()}
                points.append({"step": 0} | first | training.rounded(seen))
                learner = online.train(
                    learner, load, start, scorer, tokenizer, asked, known, look, compute, seed, rlhf, points, where
                )
                frozen = start() if launch.leads() else None
            else:
                ranked, left_out = offline.rows(preferences_train, tokenizer, rlhf)
                first |= {"ranked": len(ranked), "ranked_too_long": left_out}
                told(first)
                points.append({"step": 0} | first | training.rounded(look(learner.eval(), learner)))
                frozen = start()
                learner = offline.train(
                    learner, load, frozen, tokenizer, ranked, look, compute, seed, rlhf, points, where
                )
            if not launch.leads():
                return
            steps = points[-1]["step"]
            seen = look(learner.eval(), frozen)
            drift.check(seen["kl_answer"], int(steps), rlhf.max_kl)
        except Refusal:
            if points and points[-1]["step"] > 0 and launch.leads():  # how it came to that
                training.write_history(history, points)
                print(f"{history} holds the run as far as it went", file=sys.stderr)
            raise
        after, rewards_after = measure(learner)
        after |= {"kl": seen["kl_answer"]} | {name: seen[name] for name in before if name not in after}
        gain, error = mean(after - before for before, after in zip(rewards_before, rewards_after, strict=True))
        summary = {f"{name}_before": value for name, value in before.items()} | {
            f"{name}_after": value for name, value in after.items()
        }
        # prompt by prompt: how hard the prompts are is the same on both sides
        summary |= {"reward_gain": gain, "reward_gain_stderr": error}
        summary = {name: round(value, 6) for name, value in summary.items()}
        with fitting.all_or_none(model, history):
            if rlhf.method != "full":
                learner = adapters.merge(learner)  # last of all, since the whole of it may have no room on the GPU
            learner.config.use_cache = True
            models.save(learner.to(weights.dtype(compute)), tokenizer, model)  # full ones were kept in fp32 to learn
            training.write_history(history, [*points, {"step": steps, **summary}])


def told(counts: dict[str, int]) -> None:
    """Say what is left out, and of how much."""
    if longer := {name: count for name, count in counts.items() if name.endswith("_too_long") and count}:
        kept = {name: counts[name.removesuffix("_too_long")] for name in longer}
        said = ", ".join(f"{name.removesuffix('_too_long')} {longer[name]} beside {kept[name]}" for name in longer)
        print(f"too long for rlhf.context and left out: {said}", file=sys.stderr)


def speakers(rlhf: recipes.Rlhf) -> int:
    """How many prompts are answered at once: that takes less memory than learning from them."""
    return max(rlhf.batch, ANSWERED)


def alike(first: "PreTrainedTokenizerBase", second: "PreTrainedTokenizerBase") -> bool:
    """Whether two tokenizers write a conversation as the same ids."""
    return first.get_vocab() == second.get_vocab() and first.chat_template == second.chat_template


def short_enough(
    rows: Iterable[records.Record], tokenizer: "PreTrainedTokenizerBase", room: int
) -> tuple[list[list[Message]], int]:
    """(turns of the prompts of at most ``room`` tokens, how many are longer)."""
    turns = [row["messages"] for row in rows]
    kept = [messages for messages in turns if len(models.encode_prompt(tokenizer, messages)) <= room]
    return kept, len(turns) - len(kept)


def spoken(prompts: Sequence[list[Message]], texts: Sequence[str]) -> list[list[Message]]:
    """Prompts with their answers."""
    return [[*turns, Message(role="assistant", content=text)] for turns, text in zip(prompts, texts, strict=True)]


def measures(
    scorer: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[list[Message]],
    conversations: Sequence[records.Record],
    rlhf: recipes.Rlhf,
    context: int,
) -> Callable[[Any], tuple[dict[str, float], list[float]]]:
    """A measure of a policy by its greedy answers to held-out prompts; it also gives each prompt's reward.

    Mean reward and its standard error, mean length in tokens, share ended, distinct-2, the share of right ones among
    those that the conversations' own answers can check, and perplexity on these conversations.
    """
    known = rewards.references(conversations)

    def measure(policy: Any) -> tuple[dict[str, float], list[float]]:
        answers = models.answer(policy, tokenizer, prompts, new_tokens=rlhf.max_new_tokens, batch=speakers(rlhf))
        texts = [text for text, _, _ in answers]
        each = rewards.score(scorer, tokenizer, spoken(prompts, texts), rlhf.batch)
        right = [
            rewards.right(turns, text, known[rewards.key(turns)])
            for turns, text in zip(prompts, texts, strict=True)
            if rewards.key(turns) in known
        ]
        reward, error = mean(each)
        found: dict[str, float] = {
            "reward": reward,
            "reward_stderr": error,
            "length": sum(length for _, length, _ in answers) / len(answers),
            "ended": sum(ended for *_, ended in answers) / len(answers),
            "distinct_2": rollouts.distinct(texts),
            "perplexity": perplexity.assistant(
                policy, tokenizer, conversations, batch=rlhf.batch, context=context
            )["perplexity"],
        }  # fmt: skip
        return found | ({"right": sum(right) / len(right)} if right else {}), each

    return measure


def mean(values: Iterable[float]) -> tuple[float, float]:
    """(mean, its standard error)."""
    found = list(values)
    center = sum(found) / len(found)
    variance = sum((value - center) ** 2 for value in found) / max(1, len(found) - 1)
    return center, math.sqrt(variance / len(found))


if __name__ == "__main__":
    contract.run(main)
