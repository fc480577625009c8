"""How far a policy has moved from where it started, and where to: KL for an answer, and pairs told apart.

The divergence is summed over the words that the policy might have said at each place of its own answers, which
scatters less than the log-ratio of those that it said and is never negative. A pair counts as told apart when the
policy has raised the better answer more than the worse one: DPO's implicit reward (Rafailov et al. 2023), which
every policy has, however it was trained. A run looks at both a few times, on held-out prompts and pairs. Not covered:
the divergence the other way round.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.lib import models, records, weights
from stages.lib.contract import Refusal
from stages.lib.train import rollouts, training
from stages.lib.train.rollouts import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback

Look = Callable[[Any, Any], dict[str, float]]  # (policy, its start) → what is seen of it on held-out prompts and pairs
LOOKS = 4  # in a run
PROBED = 128  # held-out prompts at most that are answered to tell the divergence


class Pair(NamedTuple):
    """A better and a worse answer to the same prompt."""

    chosen: Answer
    rejected: Answer


@contextmanager
def start(policy: Any, frozen: Any | None) -> Iterator[Any]:
    """The model that the policy was: a frozen copy, or itself with its adapter switched off."""
    if frozen is not None:
        yield frozen
    else:
        with policy.disable_adapter():
            yield policy


def check(kl: float, step: int, most: float) -> None:
    """Refuse a policy that has left where it came from."""
    if not kl <= most:  # a KL that is no number is refused, too
        raise Refusal(
            f"at step {step} the policy is {kl:.3g} nats an answer away from its start, and rlhf.max_kl is {most:g}: it"
            " games the reward or forgets; lower rlhf.lr, or the number of steps or epochs, or raise rlhf.beta"
        )


def sound(policy: Any, step: int) -> None:
    """Refuse weights that are no numbers, from which nothing could be drawn."""
    if not all(bool(weight.isfinite().all()) for weight in policy.parameters() if weight.requires_grad):
        raise Refusal(f"weights are no numbers after step {step}: the learning rate is too high; lower rlhf.lr")


def due(step: int, steps: int) -> bool:
    """Whether it is time for a look."""
    return step % -(-steps // LOOKS) == 0 or step == steps


def glance(look: Look, policy: Any, frozen: Any | None) -> dict[str, float]:
    """A look at a policy that is learning."""
    policy.eval()
    try:
        return look(policy, frozen)
    finally:
        policy.train()


def watcher(trainer: Any, look: Look, frozen: Any | None, most: float, prefix: str = "") -> "TrainerCallback":
    """A callback that looks at a trainer's policy now and then, logs what it sees, and stops one that drifts away."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            sound(model, state.global_step)
            if due(state.global_step, state.max_steps):
                found = glance(look, model, frozen)
                model.eval()  # or trl would take this for the step's own log
                told = control.should_log
                trainer.log(dict(training.rounded({prefix + name: value for name, value in found.items()})))
                control.should_log = told  # which any log takes back
                model.train()
                check(found["kl_answer"], state.global_step, most)

    return Watcher()


def probe(
    policy: Any,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[list[int]],
    *,
    new_tokens: int,
    batch: int,
    seed: int,
) -> list[Answer]:
    """The policy's answers to some prompts, as it is now. Chance is afterwards what it was."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return rollouts.sample(policy, tokenizer, prompts, new_tokens=new_tokens, temperature=1.0, batch=batch)


def divergence(policy: Any, frozen: Any | None, answers: Sequence[Answer], pad: int, batch: int) -> float:
    """KL(policy ‖ start) in nats for an answer, on the policy's own answers."""
    import torch

    total = 0.0
    for indices in weights.by_length([answer.prompt + answer.said for answer in answers], batch, policy):
        ids, mask, spoken = rollouts.laid_out([answers[index] for index in indices], pad, str(policy.device))
        words = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        with torch.no_grad():
            now = policy(**words).logits
            with start(policy, frozen) as before:
                then = before(**words).logits
            for row in range(len(indices)):  # one answer at a time: a distribution is as wide as the vocabulary
                said = spoken[row].bool()
                p, q = now[row][said].float().log_softmax(-1), then[row][said].float().log_softmax(-1)
                total += float((p.exp() * (p - q)).sum())
    return total / len(answers)


def pairs(rows: Iterable[records.Record], tokenizer: "PreTrainedTokenizerBase", context: int) -> tuple[list[Pair], int]:
    """(ranked pairs whose answers fit, how many don't)."""
    kept, longer = [], 0
    for row in rows:
        if row["kind"] == "preference":
            both = Pair(answered(row, "chosen", tokenizer), answered(row, "rejected", tokenizer))
            if max(len(answer.prompt) + len(answer.said) for answer in both) <= context:
                kept.append(both)
            else:
                longer += 1
    return kept, longer


def answered(row: records.Record, role: str, tokenizer: "PreTrainedTokenizerBase") -> Answer:
    """What was said to a record's prompt, as its assistant would have said it."""
    turns = records.prompt(row)
    ids, mask = models.encode(tokenizer, [*turns, {"role": "assistant", "content": records.content(row, role)}])
    last = len(mask) - mask[::-1].index(1)
    first = next((place + 1 for place in range(last - 1, -1, -1) if not mask[place]), 0)
    return Answer(ids[:first], ids[first:last], True)


def told_apart(
    tokenizer: "PreTrainedTokenizerBase", held_out: Sequence[Pair], batch: int, start: Any
) -> Callable[[Any], dict[str, float]]:
    """A measure of policies that all began as ``start``, which is read once.

    ``preference_accuracy``: the share of pairs whose better answer was raised more, half of it for a tie, so a model
    beside itself has 0.5; ``preference_margin``: by how many nats more; ``ranking_accuracy``: the share of pairs
    whose better answer is the likelier one, token for token.
    """
    answers = [answer for pair in held_out for answer in pair]
    before = rollouts.read(start, answers, tokenizer.pad_token_id, batch)

    def measure(policy: Any) -> dict[str, float]:
        after = rollouts.read(policy, answers, tokenizer.pad_token_id, batch)
        raised = [now - then for now, then in zip(after, before, strict=True)]
        each = [now / len(answer.said) for now, answer in zip(after, answers, strict=True)]
        margins = [better - worse for better, worse in zip(raised[::2], raised[1::2], strict=True)]
        likelier = [better > worse for better, worse in zip(each[::2], each[1::2], strict=True)]
        return {
            "preference_accuracy": sum((margin > 0) + (margin == 0) / 2 for margin in margins) / len(margins),
            "preference_margin": sum(margins) / len(margins),
            "ranking_accuracy": sum(likelier) / len(likelier),
        }

    return measure
