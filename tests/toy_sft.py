"""A home for runs of the sft stage: a model of a few thousand weights and tables of rows of unequal length."""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

from stages import sft
from stages.lib import determinism, models, recipes, records
from stages.lib.records import Message
from stages.lib.train import lessons
from stages.lib.train.packing import IGNORED
from tests import families

determinism.pin(1, "cpu", 1)

COMPUTE = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
PLAIN = recipes.Sft(
    mode="chat", method="full", lr=0.01, schedule="linear", epochs=2.0, batch=4, accumulate=1, context=128, warmup=0.0,
    packing=False, neftune=0.0, keep="last", optimizer="adamw", gradient_checkpointing=False, save=0,
    lora=recipes.Lora(r=4, alpha=8, dropout=0.0),
)  # fmt: skip
SHAPE = recipes.Scratch(
    source="scratch", vocabulary=300, hidden=32, layers=2, heads=2, context=128, block=16, batch=4, steps=4, lr=0.01,
    warmup=0.1,
)  # fmt: skip


class Run(NamedTuple):
    """What a run left behind."""

    points: list[dict[str, float]]
    weights: dict[str, torch.Tensor]
    model: Path

    def losses(self) -> dict[int, float]:
        """Validation loss by step."""
        return {int(point["step"]): point["eval_loss"] for point in self.points if "eval_loss" in point}


class Home:
    """A folder with a model that knows nothing, and tables of rows of unequal length."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        said = [
            [("user", f"Sau {n} là gì?"), ("assistant", f"Sau {n} là {n + 1}, rồi " + "2347891"[: n % 7])]
            for n in range(23)
        ]
        self.chat = families.table(folder / "chat", "instruction", said[:16])
        self.other = families.table(folder / "other", "instruction", said[16:])
        self.text = families.table(folder / "text", "text", [[("text", turns[1][1])] for turns in said])
        self.long = families.table(folder / "long", "instruction", [[("user", "0" * 140), ("assistant", "1")]])
        self.none = families.table(folder / "none", "instruction", [])
        self.tokenizer = models.train_tokenizer([text for turns in said for _, text in turns], 300, 128)
        self.base = folder / "base"
        torch.manual_seed(1)
        models.save(models.new_llama(SHAPE, self.tokenizer), self.tokenizer, self.base)

    def family(self, name: str) -> Path:
        """A model of a family that speaks as the base does."""
        found, ends = families.FAMILIES[name], self.tokenizer
        size = {"vocab_size": len(ends), "pad_token_id": ends.pad_token_id, "eos_token_id": ends.eos_token_id}
        config = getattr(transformers, found.config)(**found.sizes | size | {"bos_token_id": None})
        torch.manual_seed(1)
        models.save(transformers.AutoModelForCausalLM.from_config(config), ends, self.folder / name)
        return Path(name)

    def mute(self) -> Path:
        """A model without a chat template."""
        spoken = models.load_tokenizer(self.base)
        spoken.chat_template = None
        models.save(models.load(self.base, COMPUTE), spoken, self.folder / "mute")
        return Path("mute")

    def run(self, out: Path, *, lr: Any = "auto", start: Path | None = None, **changes: Any) -> Run:
        """The stage with some words changed; a name of a table gives another file for it."""
        tables = {"train": self.chat, "validation": self.other, "text": self.text, "text_validation": self.text}
        tables |= {name: changes.pop(name) for name in tables if name in changes}
        out.mkdir(exist_ok=True)
        model, history = out / "model", out / "h.json"
        with contextlib.chdir(self.folder):  # stages run where the base model is a relative path
            sft.main(
                start or Path("base"), **tables, model=model, history=history, seed=1, lr=lr, compute=COMPUTE,
                sft=PLAIN.model_copy(update=changes),
            )  # fmt: skip
        return Run(json.loads(history.read_text(encoding="utf-8")), self.weights(model), model)

    def weights(self, model: Path) -> dict[str, torch.Tensor]:
        return dict(models.load(model, COMPUTE).state_dict())

    def started(self) -> int:
        """How many tokens stand before the answer to a question of one."""
        return len(models.encode_prompt(self.tokenizer, [Message(role="user", content="0")]))

    def loss(self, model: Path, table: Path) -> float:
        """By hand: minus the mean log-likelihood of what the assistant says, row by row."""
        judge = models.load(model, COMPUTE).eval()
        total, count = 0.0, 0
        for row in lessons.conversations(records.read(table), self.tokenizer, PLAIN.context)[0]:
            with torch.no_grad():
                each = judge(input_ids=torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
            for place, label in enumerate(row["labels"][1:]):
                if label != IGNORED:
                    total -= float(each[place, label])
                    count += 1
        return total / count


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of any weight."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
