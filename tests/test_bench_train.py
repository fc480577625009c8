from typing import Any

import pytest

from benchmarks import train
from benchmarks.racers import Race
from stages.lib.contract import Refusal
from tools.planning import cards


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, width) of each tile of logits that trl's head makes; its settings are put back."""
    from trl.trainer import utils

    found: list[tuple[int, int]] = []
    kernel = utils._ChunkedLogProbFunction

    class Counted:
        @staticmethod
        def apply(hidden: Any, *words: Any) -> Any:
            found.append((len(hidden), words[4]))
            return kernel.apply(hidden, *words)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Counted)
    for name in ("_use_triton", "_CHUNKED_LOGPROB_CHUNK_SIZE"):
        monkeypatch.setattr(utils, name, getattr(utils, name))
    return found


def test_the_head_reads_what_is_learned_from_and_no_more(scored: list[tuple[int, int]]) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from stages.lib.train import training

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=48, **sizes))
    ids = torch.randint(48, (3, 10))
    labels = torch.where(torch.arange(10) < 6, -100, ids)
    model(input_ids=ids, labels=labels).loss.backward()
    wanted = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    training.lean(model)
    add_fused_lm_head(model)
    model(input_ids=ids, labels=labels, fused_lm_head=True).loss.backward()
    assert scored == [(12, 48)]
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, wanted[name])


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("NVIDIA H200, 143771", "h200"),
        ("NVIDIA A100-SXM4-80GB, 81920", "a100-80"),
        ("NVIDIA GeForce RTX 4060 Ti, 16380", "rtx-4060-ti-16"),
        ("NVIDIA GeForce RTX 4060 Ti, 8188", ""),
    ],
)
def test_a_card_is_known_by_its_driver_name(said: str, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    done = subprocess.CompletedProcess([], 0, f"{said}\n")
    monkeypatch.setattr("shutil.which", lambda _: "/bin/nvidia-smi")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    if not known:
        with pytest.raises(Refusal, match="4060 Ti of 8188 MiB is not in"):
            train.gpu()
        return
    card = train.gpu()
    assert card is not None and card.name == known


def test_utilisation_counts_what_the_result_needs() -> None:
    race = Race(train.SHAPES["1b"], "full", False, 2048, 8, 30, True, "adamw", "cuda", True)
    run = {"tokens": 1e6, "room": 1e6, "wall": 16.0, "cpu": 16.0, "begun": 9.0, "loss": 2.0}
    run |= {"allocated": 2.0**34, "reserved": 2.0**35}
    card = cards.Card("h200", 139.8, bf16=989.0)
    cells = train.on_gpu(race, [run], [run], card)
    # 62,500 tokens/s; 6·1.236e9 for the matrices, the tied one once, and 12·16·2048·2048 for attention
    assert cells[:5] == [
        "62,500 (62,500–62,500)",
        "100.0%",
        f"{62500 * (6 * 1.2358e9 + 8.053e8) / 989e12:.1%}",
        "16.0",
        "32.0",
    ]
