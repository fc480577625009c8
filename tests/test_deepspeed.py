"""DeepSpeed's ZeRO on two CPU processes learns what one process learns, and goes on where it was killed."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import toy_stage

pytestmark = [
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="not installed: make setup EXTRAS=deepspeed"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed builds its optimiser with g++"),
]
CASES: dict[str, dict[str, Any]] = {
    "single": {"accumulate": 2},
    "zero2": {"save": 2},
    "zero3": {"save": 2},
    "zero3 alone": {"accumulate": 2, "processes": 1},
    "single lora": {"accumulate": 2, "method": "lora"},
    "zero3 lora": {"method": "lora", "gradient_checkpointing": True},
    "single bf16": {"accumulate": 2, "precision": "bf16"},
    "zero3 bf16": {"precision": "bf16"},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    return toy_stage.made(tmp_path_factory.mktemp("deepspeed") / "start", root)


@pytest.fixture(scope="module")
def runs(start: Path, root: Path) -> dict[str, Path]:
    """Each case trained; the first of each kind of ZeRO compiles what it needs, where nobody did before."""
    folders = {}
    for name, changes in CASES.items():
        folders[name] = toy_stage.copied(start, start.parent / name, root, name.split()[0], **changes)
        process = toy_stage.trained(folders[name], root)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, f"{name}: {output[-3000:]}"
        assert "Warning" not in output, output
    return folders


@pytest.mark.parametrize(
    ("one", "many", "apart", "weights_apart"),
    [
        ("single", "zero2", 2e-5, 1e-5),
        ("single", "zero3", 2e-5, 1e-5),
        ("single", "zero3 alone", 2e-5, 1e-5),
        ("single lora", "zero3 lora", 2e-5, 1e-5),
        ("single bf16", "zero3 bf16", 2e-3, 1e-2),
    ],
)
def test_shards_learn_what_one_process_learns(
    runs: dict[str, Path], one: str, many: str, apart: float, weights_apart: float
) -> None:
    toy_stage.alike(runs[one], runs[many], apart, weights_apart)


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_shards_that_were_killed_go_on_to_the_same_bytes(
    runs: dict[str, Path], start: Path, root: Path, name: str
) -> None:
    folder = toy_stage.copied(start, start.parent / f"{name} killed", root, name, **CASES[name])
    toy_stage.broken_and_resumed(folder, runs[name], root)
