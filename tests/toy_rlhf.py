"""A home for runs of the rlhf stage: a policy of a few thousand weights, its reward model, and tables of rows."""

import json
from pathlib import Path
from typing import Any

import torch

from stages import rlhf
from stages.lib import determinism, models, recipes, records
from stages.lib.records import Message

determinism.pin(1, "cpu", 1)

COMPUTE = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")

LORA = recipes.Lora(r=4, alpha=8, dropout=0.0)

DROPPING = recipes.Lora(r=4, alpha=8, dropout=0.9)

TUNING: dict[str, Any] = {
    "method": "lora",
    "lr": 0.01,
    "batch": 4,
    "optimizer": "adamw",
    "gradient_checkpointing": False,
    "accumulate": 1,
}

ONLINE = recipes.Online(
    kind="online", algorithm="rloo", rewards="model", steps=2, generations=2, context=96, max_new_tokens=6,
    temperature=1.0, beta=0.05, max_kl=100.0, save=0, lora=LORA, **TUNING,
)  # fmt: skip

OFFLINE = recipes.Offline(
    kind="offline", algorithm="dpo", epochs=1.0, context=96, max_new_tokens=6, beta=0.1, max_kl=100.0, save=0,
    lora=LORA, **TUNING,
)  # fmt: skip


class Home:
    """A folder with a policy, its reward model and tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        asked = [f"Sau {n} là gì?" for n in range(8)]
        self.chat = self.table("chat", [("instruction", [("user", q), ("assistant", f"Là {n + 1}.")])
                                        for n, q in enumerate(asked)])  # fmt: skip
        self.prompts = self.table("prompts", [("prompt", [("user", q)]) for q in asked])
        self.ranked = self.table("ranked", [("preference", [("user", q), ("chosen", f"Là {n + 1}."), ("rejected", "?")])
                                            for n, q in enumerate(asked)])  # fmt: skip
        self.verdicts = self.table("verdicts", [
            ("verdict", [("user", q), ("chosen", f"Là {n + 1}.") if n % 3 else ("rejected", "Không.")])
            for n, q in enumerate(asked)
        ])  # fmt: skip
        self.tokenizer = models.train_tokenizer(["Sau 3 là gì? Là 4.\nuser assistant"] * 9, 300, 128)
        self.policy, self.judge = folder / "policy", folder / "judge"
        shape = recipes.Scratch(
            source="scratch", vocabulary=300, hidden=64, layers=1, heads=2, context=128, block=16, batch=2, steps=1,
            lr=0.1, warmup=0.1,
        )  # fmt: skip
        torch.manual_seed(1)
        models.save(models.new_llama(shape, self.tokenizer), self.tokenizer, self.policy)
        scorer = models.load_judge(self.policy, COMPUTE)
        scorer.config.pad_token_id = self.tokenizer.pad_token_id
        models.save(scorer, self.tokenizer, self.judge)

    def table(self, name: str, rows: list[tuple[str, list[tuple[str, str]]]]) -> Path:
        path = self.folder / f"{name}.parquet"
        records.write(path, [
            records.make(kind, [Message(role=role, content=text) for role, text in messages], source="s", licence="l",
                         lang="vi", upstream=str(place))
            for place, (kind, messages) in enumerate(rows)
        ])  # fmt: skip
        return path

    def run(
        self, section: recipes.Rlhf, out: Path, other: dict[str, Path] | None = None, seed: int = 1
    ) -> list[dict[str, float]]:
        """The history of the stage."""
        words = {
            "policy": self.policy, "judge": self.judge, "prompts": self.prompts, "validation": self.prompts,
            "sft_train": self.chat, "sft_validation": self.chat, "preferences_train": self.ranked,
            "preferences_validation": self.ranked,
        } | (other or {})  # fmt: skip
        rlhf.main(**words, model=out / "model", history=out / "h.json", seed=seed, compute=COMPUTE, rlhf=section)
        return list(json.loads((out / "h.json").read_text(encoding="utf-8")))
