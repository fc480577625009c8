"""Where weights go, and in which precision."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stages import check
from stages.lib import paramfile, recipes, weights
from stages.lib.contract import Refusal
from tests import families

COMPUTE = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")


@pytest.mark.parametrize(
    ("asked", "cuda", "bf16", "found"),
    [
        ("auto", False, False, "fp32"),
        ("auto", True, True, "bf16"),
        ("auto", True, False, "fp16"),
        ("fp32", True, True, "fp32"),
        ("bf16", False, False, "bf16"),
    ],
)
def test_precision_goes_by_the_hardware(
    asked: Any, cuda: bool, bf16: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    compute = recipes.Compute(device="auto", threads=1, precision=asked, launch="single")
    assert weights.precision(compute) == found
    assert weights.dtype(compute) == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[found]


NEW = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100", "sm_120"]  # what torch is built for, as it tells it
OLD = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((6, 1), NEW, False),
        ((7, 0), NEW, False),
        ((7, 5), NEW, True),
        ((8, 9), NEW, True),
        ((12, 1), NEW, True),
        ((11, 0), NEW, False),
        ((6, 1), OLD, True),
        ((7, 0), OLD, True),
        ((12, 0), OLD, False),
        ((13, 0), [*NEW, "compute_120"], True),
        ((9, 0), ["compute_120"], False),
    ],
)
def test_kernels_run_on_newer_cards_of_their_generation(
    capability: tuple[int, int], kernels: list[str], runs: bool
) -> None:
    assert weights.runs_on(capability, kernels) == runs


def test_a_gpu_that_torch_was_not_built_for_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    any_device = COMPUTE.model_copy(update={"device": "auto"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: NEW)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla P100-PCIE-16GB")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(Refusal, match=r"no kernels for this GPU, Tesla P100-PCIE-16GB \(compute capability 6\.0\)"):
        weights.device(any_device)
    assert weights.device(COMPUTE) == "cpu"
    named = recipes.Recipe.model_validate(paramfile.load(Path("recipes/qwen3-0.6b-lora.yaml")))
    (told,) = check.untrainable_here(named)
    assert told.startswith("training can't run on this machine: compute.device: found auto, and torch ")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: OLD)
    assert weights.device(any_device) == "cuda"
    monkeypatch.setattr(torch.version, "cuda", None)  # ROCm's build, whose kernels have other names
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx90a"])
    assert weights.device(any_device) == "cuda"


@pytest.mark.parametrize(("free", "where"), [(10**9, "cuda"), (10**4, "auto")])
def test_a_model_that_only_answers_may_lie_partly_in_the_cpus_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int, where: str
) -> None:
    families.build("llama", tmp_path)
    assert weights.room(tmp_path, COMPUTE) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))
    assert weights.room(tmp_path, COMPUTE.model_copy(update={"device": "auto"})) == where
    assert ("the GPU has" in capsys.readouterr().err) == (where == "auto")
