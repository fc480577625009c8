"""Learning from ranked answers without a reward model.

``dpo`` raises the better answer of a pair beside the worse one, as measured from the start (Rafailov et al. 2023);
``kto`` needs no pairs, only answers with a verdict, and takes pairs as two of them (Ethayarajh et al. 2024): both by
trl's trainers. ``orpo`` learns the better answer as such and keeps the odds of the worse one down, and needs no
frozen start (Hong et al. 2024); trl has it only as an experiment that may go, and it is a page, so it is here.
What doesn't fit into the context is left out and counted. A reward model teaches nothing here and is wanted all the
same: its word on held-out prompts tells what was gained. Not covered: ties, and strengths of a preference.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from stages.lib import models, recipes, records
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import adapters, checkpoints, drift, fitting, launch, rollouts, trackers, training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rows(table: Path, tokenizer: "PreTrainedTokenizerBase", rlhf: recipes.Offline) -> tuple[list[dict[str, Any]], int]:
    """(rows as trl takes them: pairs, or for kto single answers with a label; how many answers don't fit)."""
    kept: list[dict[str, Any]] = []
    longer = 0
    for row in records.read(table):
        turns = records.prompt(row)
        found = {
            role: [Message(role="assistant", content=text)]
            for role in ("chosen", "rejected")
            if (text := records.content(row, role))
        }
        fits = {
            role: answer
            for role, answer in found.items()
            if len(models.encode(tokenizer, [*turns, *answer])[0]) <= rlhf.context
        }
        if rlhf.algorithm == "kto":
            longer += len(found) - len(fits)
            kept.extend(
                {"prompt": turns, "completion": answer, "label": role == "chosen"} for role, answer in fits.items()
            )
        elif len(found) == 2:  # a single verdict has no other answer beside it
            if len(fits) == 2:
                kept.append({"prompt": turns, **fits})
            else:
                longer += 1
    if not kept:
        wanted = "ranked answers" if rlhf.algorithm == "kto" else "ranked pairs"
        raise Refusal(
            f"{table} holds nothing that {rlhf.algorithm} learns from: {wanted} of at most rlhf.context"
            f" ({rlhf.context}) tokens; add a source of them, or raise rlhf.context"
        )
    return kept, longer


def train(
    learner: Any,
    load: Callable[..., Any],
    frozen: Any | None,
    tokenizer: "PreTrainedTokenizerBase",
    found: list[dict[str, Any]],
    look: drift.Look,
    compute: recipes.Compute,
    seed: int,
    rlhf: recipes.Offline,
    points: list[training.Point],
    where: checkpoints.Place,
) -> Any:
    """The policy, its adapter on it, or None in a process that has nothing to write; every log adds a point.

    So does what ``look`` sees in the policy and its start now and then; ``load`` loads that start.
    """
    launch.rows(rlhf)  # told, where there are several processes
    steps = launch.steps(len(found), rlhf)
    Random(seed).shuffle(found)  # kto takes them as they come: it compares each answer with its neighbour's prompt
    shared = {
        **training.arguments(compute, seed, str(where.scratch), rlhf),
        **where.rhythm(max(1, steps // 50)),
        "max_steps": steps,
        "per_device_train_batch_size": rlhf.batch,
        "gradient_accumulation_steps": rlhf.accumulate,
        "warmup_steps": steps // 10,
    }
    make = {"dpo": dpo, "kto": kto, "orpo": orpo}[rlhf.algorithm]
    trainer = make(learner, frozen, tokenizer, found, shared, rlhf)
    trainer.add_callback(drift.watcher(trainer, look, frozen, rlhf.max_kl))
    trainer.add_callback(trackers.live(rlhf))
    adapters.precise(trainer.model)
    fitting.fit(trainer, points, where, name="rlhf")
    return launch.whole(trainer, lambda: load(device_map="cpu"))


def dpo(
    learner: Any, frozen: Any | None, tokenizer: Any, found: list[dict[str, Any]], shared: dict[str, Any],
    rlhf: recipes.Offline,
) -> Any:  # fmt: skip
    """Direct preference optimisation."""
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer(
        model=learner, ref_model=frozen, args=DPOConfig(**shared, beta=rlhf.beta, max_length=rlhf.context),
        train_dataset=training.dataset(found), processing_class=tokenizer, peft_config=adapters.config(rlhf, learner),
    )  # fmt: skip


def kto(
    learner: Any, frozen: Any | None, tokenizer: Any, found: list[dict[str, Any]], shared: dict[str, Any],
    rlhf: recipes.Offline,
) -> Any:  # fmt: skip
    """Kahneman-Tversky optimisation; good and bad answers weigh the same however many there are of each."""
    from trl import KTOConfig, KTOTrainer

    good = sum(row["label"] for row in found)
    bad = len(found) - good
    if not good or not bad:
        raise Refusal(
            f"rlhf.algorithm: kto tells good answers from bad ones, and found {good} good and {bad} bad ones; give it"
            " some of both, or take dpo"
        )
    return KTOTrainer(
        model=learner,
        ref_model=frozen,
        args=KTOConfig(
            **shared, beta=rlhf.beta, max_length=rlhf.context, desirable_weight=max(1.0, bad / good),
            undesirable_weight=max(1.0, good / bad),
        ),
        train_dataset=training.dataset(found),
        processing_class=tokenizer,
        peft_config=adapters.config(rlhf, learner),
    )  # fmt: skip


def orpo(
    learner: Any, frozen: Any | None, tokenizer: Any, found: list[dict[str, Any]], shared: dict[str, Any],
    rlhf: recipes.Offline,
) -> Any:  # fmt: skip
    """Odds ratio preference optimisation: cross-entropy on the better answer, and β times the odds ratio's loss."""
    import torch
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    config = adapters.config(rlhf, learner)
    pad = tokenizer.pad_token_id

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        answers = [
            rollouts.Answer(row[role][0], row[role][1], True) for role in ("chosen", "rejected") for row in batch
        ]
        ids, mask, spoken = rollouts.laid_out(answers, pad, "cpu")
        return {"input_ids": ids, "attention_mask": mask, "spoken": spoken}

    class Orpo(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            ids, spoken = inputs["input_ids"], inputs["spoken"]
            logits = model(input_ids=ids, attention_mask=inputs["attention_mask"], use_cache=False).logits
            each = rollouts.log_likelihoods(logits, ids) * spoken
            return odds_ratio_loss(each.sum(-1), spoken.sum(-1), rlhf.beta)

    def encoded(row: dict[str, Any]) -> dict[str, list[list[int]]]:
        record: Any = {
            "messages": [
                *row["prompt"],
                *({"role": role, "content": row[role][0]["content"]} for role in ("chosen", "rejected")),
            ]
        }
        return {role: list(drift.answered(record, role, tokenizer)[:2]) for role in ("chosen", "rejected")}

    torch.manual_seed(shared["seed"])  # as trl does before it makes an adapter
    return Orpo(
        model=learner if config is None else get_peft_model(learner, config),
        args=TrainingArguments(**shared, remove_unused_columns=False),
        train_dataset=training.dataset([encoded(row) for row in found]),
        data_collator=collate,
        processing_class=tokenizer,
    )


def odds_ratio_loss(sums: Any, lengths: Any, beta: float) -> Any:
    """ORPO's loss of answers' log-likelihoods and lengths [2 × pairs], the better ones first.

    Likelihoods are for a token, as in the paper; odds are p / (1 − p).
    """
    import torch

    each = (sums / lengths).clamp(max=-1e-6)  # a certain answer has no odds
    better, worse = (each - torch.log(-torch.expm1(each))).chunk(2)
    learned = -sums.chunk(2)[0].sum() / lengths.chunk(2)[0].sum()
    return learned - beta * torch.nn.functional.logsigmoid(better - worse).mean()
