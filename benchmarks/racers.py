"""Three ways to train the same model on the same rows, each timed from inside by the same clock.

``stage`` is the sft stage, ``trl`` trl's own script with its command line, ``bare`` a loop of plain PyTorch over the
very batches that the stage has seen; ``model`` makes what they start from. A run is a process of its own:
``python -m benchmarks.racers WHO`` reads ``race.json`` in the current folder and writes ``WHO.json``. Nothing
is saved at the end. Not covered: several processes.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clock import Clock, watched
from stages.lib import determinism, recipes
from stages.lib.train import adapters
from stages.lib.train.training import OPTIMIZERS
from tools.planning.shapes import Shape

MODEL, BATCHES = Path("model"), Path("batches.pt")


@dataclass(frozen=True)
class Race:
    """What all three are told."""

    shape: Shape
    method: recipes.Method
    packing: bool
    context: int
    batch: int
    steps: int
    checkpoint: bool  # activations are computed anew
    optimizer: recipes.Optimizer
    device: str
    half: bool  # it calculates in bf16
    seed: int = 1
    lr: float = 0.001
    warmup: float = 0.05
    rank: int = 64

    @property
    def every(self) -> int:
        """Steps from one log to the next, as the stage has it."""
        return max(1, self.steps // 50)

    def compute(self) -> recipes.Compute:
        """Where the stage runs."""
        return recipes.Compute(
            device="cpu" if self.device == "cpu" else "auto", threads=1 if self.device == "cpu" else 8,
            precision="bf16" if self.half else "fp32", launch="single",
        )  # fmt: skip

    def sft(self) -> recipes.Sft:
        """The stage's part of a recipe."""
        return recipes.Sft(
            mode="chat", method=self.method, lr=self.lr, schedule="linear", epochs=1.0, batch=self.batch, accumulate=1,
            context=self.context, warmup=self.warmup, packing=self.packing, neftune=0.0, keep="last", save=0,
            optimizer=self.optimizer, gradient_checkpointing=self.checkpoint,
            lora=recipes.Lora(r=self.rank, alpha=self.rank, dropout=0.0),
        )  # fmt: skip


def stage(race: Race, clock: Clock) -> None:
    """The sft stage, from its files to its history."""
    import torch

    compute = race.compute()
    determinism.pin(race.seed, compute.device, compute.threads)
    watched(clock)
    from stages import sft
    from stages.lib import models

    models.save = lambda *_: None
    adapters.merge = lambda model: model
    if race.method != "full":
        import peft

        peft.PeftModel.save_pretrained = lambda *_, **__: None
    train, validation = Path("train.parquet"), Path("validation.parquet")
    sft.main(
        MODEL, train, validation, train, validation, Path("made"), Path("history.json"),
        seed=race.seed, lr="auto", compute=compute, sft=race.sft(),
    )  # fmt: skip
    batches = [{key: value.cpu() for key, value in batch.items()} for batch in clock.batches]
    torch.save(batches, BATCHES)


def trl(race: Race, clock: Clock) -> None:
    """``trl sft`` with the words that give the same work."""
    watched(clock)
    from trl.scripts import sft

    words: dict[str, Any] = {
        "model_name_or_path": MODEL, "dataset_name": "rows", "output_dir": "trl", "optim": optimizer(race),
        "max_steps": race.steps, "per_device_train_batch_size": race.batch, "max_length": race.context,
        "learning_rate": race.lr, "warmup_steps": round(race.steps * race.warmup), "adam_beta2": 0.95,
        "lr_scheduler_type": "linear", "logging_steps": race.every, "seed": race.seed, "assistant_only_loss": True,
        "gradient_checkpointing": race.checkpoint, "save_strategy": "no", "report_to": "none", "packing": race.packing,
        "bf16": race.half, "use_cpu": race.device == "cpu", "dtype": "float32" if race.method == "full" or not race.half
        else "bfloat16", "train_sampling_strategy": "random" if race.packing else "group_by_length",
    }  # fmt: skip
    if race.method != "full":
        words |= {"use_peft": True, "lora_r": race.rank, "lora_alpha": race.rank, "lora_dropout": 0.0}
        words |= {"lora_target_modules": "all-linear"}
    if race.method == "qlora":
        words |= {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}
    told = [part for key, value in words.items() for part in (f"--{key}", str(value))]
    sft.main(*sft.make_parser().parse_args_and_config(told, fail_with_unknown_args=False))


def bare(race: Race, clock: Clock) -> None:
    """A loop such as one writes it by hand, over the stage's batches."""
    compute = race.compute()
    import torch

    if "MKL_CBWR" in os.environ or race.device != "cpu":
        determinism.pin(race.seed, compute.device, compute.threads)
    else:
        torch.set_num_threads(compute.threads)
    from transformers import AutoModelForCausalLM

    keys = adapters.learning(compute, race.method)
    loaded = {"dtype": torch.bfloat16 if race.half else torch.float32, "device_map": race.device} | keys
    model: Any = AutoModelForCausalLM.from_pretrained(str(MODEL), **loaded)
    if found := adapters.config(race.sft(), model):
        from peft import get_peft_model

        model = get_peft_model(model, found)
    if race.checkpoint:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    moving = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = made_optimizer(race, moving)
    saved = torch.load(BATCHES, weights_only=True)
    steps, warmup = len(saved), round(len(saved) * race.warmup)

    def share(step: int) -> float:
        return step / max(1, warmup) if step < warmup else (steps - step) / max(1, steps - warmup)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    batches = [{key: value.tolist() for key, value in batch.items()} for batch in saved]
    clock.batches = saved
    clock.begun = time.monotonic()
    total = torch.zeros((), device=race.device)
    for step, rows in enumerate(batches, 1):
        batch = {key: torch.tensor(value).to(race.device, non_blocking=True) for key, value in rows.items()}
        with torch.autocast(race.device, torch.bfloat16, enabled=race.half):
            loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.detach()
        if step % race.every == 0:
            print(f"{step}: {loss.item():.4f}")
        clock.mark()
    clock.finish()
    clock.loss = float(total) / len(batches)


def optimizer(race: Race) -> str:
    """As the trainers call it."""
    return OPTIMIZERS.get(race.optimizer, "adamw_torch_fused")


def made_optimizer(race: Race, moving: list[Any]) -> Any:
    """As one makes it by hand."""
    import torch

    told: dict[str, Any] = {"lr": race.lr, "betas": (0.9, 0.95), "weight_decay": 0.0}
    if race.optimizer == "adamw":
        return torch.optim.AdamW(moving, **told, fused=True)
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

    return (PagedAdamW8bit if race.optimizer == "paged_adamw8bit" else AdamW8bit)(moving, **told)


def model(race: Race) -> None:
    """A random model of the shape, made on the device, and a tokenizer whose pieces are its first ones."""
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks import plan
    from stages.lib import models, records

    texts = [message["content"] for record in records.read(Path("train.parquet")) for message in record["messages"]]
    tokenizer = models.train_tokenizer(texts, 1024, race.shape.context)
    torch.manual_seed(race.seed)
    with torch.device(race.device):
        made = AutoModelForCausalLM.from_config(
            plan.config(race.shape), dtype=torch.bfloat16 if race.half else torch.float32
        )
    made.generation_config.eos_token_id = made.config.eos_token_id = tokenizer.eos_token_id
    made.save_pretrained(str(MODEL))
    tokenizer.save_pretrained(str(MODEL))


def read() -> Race:
    """The settings."""
    told = json.loads(Path("race.json").read_text(encoding="utf-8"))
    return Race(**told | {"shape": Shape(**told["shape"])})


def main(who: str) -> None:
    """Run one of them; write what the clock saw."""
    race, clock = read(), Clock()
    if who == "model":
        return model(race)
    {"stage": stage, "bare": bare, "trl": trl}[who](race, clock)
    Path(f"{who}.json").write_text(json.dumps(clock.told()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
