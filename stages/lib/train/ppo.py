"""Proximal policy optimisation with a value baseline, the classic of RLHF (Schulman et al. 2017, Ouyang et al. 2022).

Why it is here: trl 1.16 has no PPO any more, pinning an old trl pins old transformers with it, and the algorithm is a
page. Each step asks some prompts and draws answers; every token pays ``beta`` times the log-ratio by which the
policy prefers it to the frozen start, and the last one earns the answer's reward. A value head on the policy's own
trunk says what was to be expected (generalised advantage estimation), advantages are whitened, and the batch is
learned from several times under the clipped surrogate and the clipped value loss. With an adapter the start is the
policy without it. A run that was killed goes on at its last checkpoint, to the same bytes (``snapshots.py``). Not
covered: more than one process, fp16 (its gradients need scaling), and trackers of services, which are told nothing;
``live/rlhf`` holds everything.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.lib import recipes
from stages.lib.train import checkpoints, drift, rollouts, snapshots, trackers, training
from stages.lib.train.rollouts import Answer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

EPOCHS = 4  # passes over each batch of answers
CLIP = 0.2  # of the probability ratio, and of the value beside the one at the time of the answer
VALUE_WEIGHT = 0.1
DECAY, LAMBDA = 1.0, 0.95  # of rewards to come: an answer is short, so nothing is discounted
GRADIENT = 1.0  # longest gradient

Judge = Callable[[Sequence[int], Sequence[Answer]], list[float]]  # (places of the prompts, answers) → rewards


class Batch(NamedTuple):
    """Answers as they were drawn; ``old`` and ``values`` [answers, longest] are the policy's own at that time."""

    ids: "torch.Tensor"
    mask: "torch.Tensor"
    spoken: "torch.Tensor"
    old: "torch.Tensor"
    values: "torch.Tensor"
    advantages: "torch.Tensor"
    returns: "torch.Tensor"


def train(
    policy: Any,
    frozen: Any | None,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[list[int]],
    judge: Judge,
    look: drift.Look,
    arguments: dict[str, Any],
    rlhf: recipes.Online,
    seed: int,
    points: list[training.Point],
    where: checkpoints.Place,
) -> None:
    """Move the policy in place. ``arguments`` are those of the other trainers; every step adds a point."""
    import torch
    from tqdm import tqdm
    from transformers import Trainer, TrainingArguments

    args = TrainingArguments(**arguments | {"report_to": "none"})
    if services := trackers.named():
        print(f"ppo tells {' and '.join(services)} nothing; its numbers are in {trackers.LIVE}/rlhf", file=sys.stderr)
    for module in policy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # else the likelihoods of the same answer differ between two readings
    half = torch.autocast(policy.device.type, torch.bfloat16, enabled=args.bf16)
    head = torch.nn.Linear(policy.config.get_text_config().hidden_size, 1, device=policy.device)
    torch.nn.init.zeros_(head.weight)  # nothing is expected at first
    torch.nn.init.zeros_(head.bias)
    if args.gradient_checkpointing:
        policy.activation_checkpointing_enable()
        policy.enable_input_require_grads()
    both = torch.nn.ModuleDict({"policy": policy, "head": head})
    learned = [weight for _, weight in checkpoints.trained(both)]
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(args, policy)
    optimizer = kind(learned, **settings)
    begun = snapshots.take_up(where, both, optimizer, points)
    asked = rlhf.batch * rlhf.accumulate // rlhf.generations
    order = islice(shuffled(len(prompts), seed), begun * asked, None)
    watched = trackers.writer("rlhf", resume=begun > 0)
    if watched is not None:
        trackers.forget(trackers.LIVE / "rlhf", begun)
    bar = tqdm(
        range(begun + 1, rlhf.steps + 1), initial=begun, total=rlhf.steps, desc="rlhf", unit="step", mininterval=1
    )
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * (1 - (step - 1) / rlhf.steps)
        places = [place for _ in range(asked) for place in [next(order)] * rlhf.generations]
        policy.eval()
        with half:
            answers = rollouts.sample(
                policy, tokenizer, [prompts[place] for place in places], new_tokens=rlhf.max_new_tokens,
                temperature=rlhf.temperature, batch=rlhf.batch,
            )  # fmt: skip
        rewards = judge(places, answers)
        batch, kl = taken(policy, frozen, head, answers, rewards, tokenizer.pad_token_id, half, rlhf)
        policy.train()
        told = [learn(policy, head, batch, learned, optimizer, half, rlhf) for _ in range(EPOCHS)]
        found = {name: sum(each[name] for each in told) / EPOCHS for name in told[0]}
        drift.sound(policy, step)
        texts = [tokenizer.decode(answer.said, skip_special_tokens=True) for answer in answers]
        found |= rollouts.shape(answers, texts)
        found |= {
            "reward": sum(rewards) / len(rewards),
            "kl": kl / found["length"],
            "kl_answer": kl,
            "learning_rate": optimizer.param_groups[0]["lr"],
        }
        seen = drift.glance(look, policy, frozen) if drift.due(step, rlhf.steps) or not kl <= rlhf.max_kl else {}
        found |= {f"eval_{name}": value for name, value in seen.items()}
        points.append({"step": step, **training.rounded(found)})
        if watched is not None:
            trackers.log(watched, step, training.rounded(found))
        bar.set_postfix_str(f"reward {found['reward']:.3f}, KL {kl:.2f}", refresh=False)
        drift.check(seen.get("kl_answer", kl), step, rlhf.max_kl)  # what is seen has the last word
        if where.due(step, rlhf.steps):
            snapshots.keep(where, both, optimizer, points)
    if watched is not None:
        watched.end()
    policy.eval()


def shuffled(count: int, seed: int) -> Iterator[int]:
    """Places in an order of chance, and in another one when all had their turn."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=chance).tolist()


def read(
    policy: Any, head: Any, ids: "torch.Tensor", mask: "torch.Tensor", half: "torch.autocast", temperature: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(log-likelihood of each next token, what is expected from there on), both [answers, longest]."""
    with half:
        output = policy(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    values = head(output.hidden_states[-1].float())[..., 0]
    return rollouts.log_likelihoods(output.logits, ids, temperature), values


def taken(
    policy: Any, frozen: Any | None, head: Any, answers: Sequence[Answer], rewards: Sequence[float], pad: int,
    half: "torch.autocast", rlhf: recipes.Online,
) -> tuple[Batch, float]:  # fmt: skip
    """(answers with what is to be learned from them, KL to the start in nats for an answer)."""
    import torch

    ids, mask, spoken = rollouts.laid_out(answers, pad, str(policy.device))
    with torch.no_grad():
        found = [read(policy, head, some, seen, half, rlhf.temperature) for some, seen in parts(rlhf.batch, ids, mask)]
        old, values = (torch.cat(each) for each in zip(*found, strict=True))
        with drift.start(policy, frozen) as before, half:
            first = torch.cat([
                rollouts.log_likelihoods(
                    before(input_ids=some, attention_mask=seen, use_cache=False).logits, some, rlhf.temperature
                )
                for some, seen in parts(rlhf.batch, ids, mask)
            ])  # fmt: skip
        ratio = (old - first) * spoken
        earned = -rlhf.beta * ratio
        last = [len(answer.prompt) + len(answer.said) - 2 for answer in answers]
        earned[range(len(answers)), last] += torch.tensor(rewards, device=earned.device)
        advantages = estimate(earned, values, spoken)
        batch = Batch(ids, mask, spoken, old, values, whitened(advantages, spoken), advantages + values)
    return batch, float(ratio.sum()) / len(answers)


def estimate(earned: "torch.Tensor", values: "torch.Tensor", spoken: "torch.Tensor") -> "torch.Tensor":
    """Generalised advantages (Schulman et al. 2016) of tokens that stand side by side in each row."""
    import torch

    found, ahead = torch.zeros_like(earned), torch.zeros_like(earned[:, 0])
    following = torch.zeros_like(ahead)  # nothing is expected after the end
    for place in range(earned.shape[1] - 1, -1, -1):
        here = spoken[:, place].to(earned.dtype)
        surprise = earned[:, place] + DECAY * following - values[:, place]
        ahead = here * (surprise + DECAY * LAMBDA * ahead)
        following = here * values[:, place]
        found[:, place] = ahead
    return found


def whitened(values: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """Values with mean 0 and variance 1 under a mask, and 0 elsewhere."""
    mean = (values * mask).sum() / mask.sum()
    variance = ((values - mean) ** 2 * mask).sum() / mask.sum()
    return (values - mean) / (variance + 1e-8).sqrt() * mask


def parts(size: int, *rows: "torch.Tensor") -> Iterator[tuple["torch.Tensor", ...]]:
    """As many rows of each at once as fit into memory together."""
    return zip(*(each.split(size) for each in rows), strict=True)


def losses(
    now: "torch.Tensor", values: "torch.Tensor", batch: Batch, count: "torch.Tensor"
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """(clipped surrogate, clipped value loss, share of tokens whose ratio is clipped), as sums over ``count``."""
    import torch

    ratio = ((now - batch.old) * batch.spoken).exp()
    bounded = ratio.clamp(1 - CLIP, 1 + CLIP)
    surrogate = -torch.minimum(ratio * batch.advantages, bounded * batch.advantages)
    near = batch.values + (values - batch.values).clamp(-CLIP, CLIP)
    missed = torch.maximum((values - batch.returns) ** 2, (near - batch.returns) ** 2) / 2
    clipped = ((ratio - 1).abs() > CLIP).float()
    first, second, third = ((part * batch.spoken).sum() / count for part in (surrogate, missed, clipped))
    return first, second, third


def learn(
    policy: Any, head: Any, batch: Batch, learned: Sequence[Any], optimizer: Any, half: "torch.autocast",
    rlhf: recipes.Online,
) -> dict[str, float]:  # fmt: skip
    """One step of the optimiser over a batch; what it found."""
    import torch

    told = dict.fromkeys(("loss", "value_loss", "clip_ratio"), 0.0)
    for some in map(Batch._make, parts(rlhf.batch, *batch)):
        now, values = read(policy, head, some.ids, some.mask, half, rlhf.temperature)
        surrogate, missed, clipped = losses(now, values, some, batch.spoken.sum())
        loss = surrogate + VALUE_WEIGHT * missed
        loss.backward()
        for name, part in zip(told, (loss, missed, clipped), strict=True):
            told[name] += part.item()
    told["grad_norm"] = torch.nn.utils.clip_grad_norm_(learned, GRADIENT).item()
    optimizer.step()
    optimizer.zero_grad()
    return told
