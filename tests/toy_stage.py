"""A folder in which ``python -m stages.sft`` has all it needs: a toy model, a few conversations, dials and a recipe.

And what several processes are held to there.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = ["base", "chat", "chat", "chat", "chat", "model", "history.json", "data/launch.yaml"]
MAKE = """
from pathlib import Path
from stages.lib import determinism
determinism.pin(3, "cpu", 1)
from stages.lib import models, recipes, records

chat = [[("user", f"Sau {n} là gì?"), ("assistant", f"Dạ, sau {n} là {n + 1}, rồi " + " ".join("2347891"[:n % 7]))]
        for n in range(32)]
records.write(Path("chat"), [
    records.make("instruction", [{"role": r, "content": c} for r, c in turns],
                 source="s", licence="CC0-1.0", lang="vi", upstream=str(n))
    for n, turns in enumerate(chat)])
texts = [c for turns in chat for _, c in turns] + ["system\\nuser\\nassistant\\n"] * 90
tokenizer = models.train_tokenizer(texts, 400, 128)
shape = recipes.Scratch(source="scratch", vocabulary=400, hidden=32, layers=2, heads=2, context=128, block=32, batch=4,
                        steps=4, lr=0.01, warmup=0.1)
models.save(models.new_llama(shape, tokenizer), tokenizer, Path("base"))
"""


def started(*words: str, folder: Path, root: Path, **variables: str) -> "subprocess.Popen[str]":
    """Python in the folder, with this repository's modules; it leads a group of processes."""
    env = os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"} | variables
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def made(folder: Path, root: Path) -> Path:
    """The model and the conversations."""
    folder.mkdir()
    process = started("-c", MAKE, folder=folder, root=root)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return folder


def copied(
    origin: Path, folder: Path, root: Path, launch: str = "single", processes: int = 2, precision: str = "fp32",
    **changes: object,
) -> Path:  # fmt: skip
    """The same in another folder, with a launch and with changes of the recipe's sft part."""
    from ruamel.yaml import YAML

    shutil.copytree(origin, folder)
    dials = (root / "params.yaml").read_text(encoding="utf-8").replace("recipe: tiny", "recipe: toy", 1)
    (folder / "params.yaml").write_text(dials, encoding="utf-8")
    yaml = YAML()
    recipe = yaml.load(root / "recipes/tiny.yaml")
    recipe["compute"] |= {"launch": launch, "threads": 1, "precision": precision}
    recipe["sft"] |= {"context": 64, "batch": 4, "method": "full"} | changes
    (folder / "recipes").mkdir()
    yaml.dump(recipe, folder / "recipes/toy.yaml")
    config = yaml.load(root / f"launch/{launch}.yaml") | {"num_processes": 1 if launch == "single" else processes}
    (folder / "data").mkdir()
    yaml.dump(config, folder / "data/launch.yaml")
    return folder


def trained(folder: Path, root: Path, **variables: str) -> "subprocess.Popen[str]":
    """The sft stage, started there."""
    return started("-m", "stages.sft", *WORDS, folder=folder, root=root, **variables)


def processes_in(folder: Path) -> set[int]:
    """The processes whose current folder it is."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder and b"stages.sft" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:  # it has ended since, or is another user's
                continue
    return found


def alike(one: Path, many: Path, apart: float, weights_apart: float) -> None:
    """What many processes learn is what one learns, within float noise."""
    from safetensors.torch import load_file

    curves = [json.loads((folder / "history.json").read_text(encoding="utf-8")) for folder in (one, many)]
    assert [point["step"] for point in curves[0]] == [point["step"] for point in curves[1]]
    for alone, shared in zip(*curves, strict=True):
        for key, times in {"loss": 1, "eval_loss": 1, "grad_norm": 5, "learning_rate": 0}.items():
            assert (key in alone) == (key in shared)
            assert alone.get(key, 0) == pytest.approx(shared.get(key, 0), abs=times * apart), (alone["step"], key)
    assert curves[0][-1]["eval_loss"] < curves[0][0]["eval_loss"] - 0.1
    files = [sorted(str(path.relative_to(folder)) for path in (folder / "model").rglob("*")) for folder in (one, many)]
    assert files[0] == files[1]
    for file in (name for name in files[0] if name.endswith(".safetensors")):
        alone, shared, before = (load_file(path) for path in (one / file, many / file, one / "base/model.safetensors"))
        assert alone.keys() == shared.keys()
        assert max(abs(alone[key] - shared[key]).max() for key in alone) < weights_apart
        if file == "model/model.safetensors":
            assert max(abs(alone[key] - before[key]).max() for key in alone) > 1e-3
    configs = [(folder / "model/config.json").read_text(encoding="utf-8") for folder in (one, many)]
    assert configs[0] == configs[1]


def broken_and_resumed(folder: Path, unbroken: Path, root: Path) -> None:
    """A run that is killed at its first checkpoint goes on there, to the bytes of the unbroken one."""
    process = trained(folder, root)
    limit = time.monotonic() + 200
    while not (found := list(folder.glob("data/checkpoints/*/last"))) and time.monotonic() < limit:
        time.sleep(0.01)
    process.kill()
    output, _ = process.communicate(timeout=60)
    assert found and not (folder / "history.json").exists(), output[-3000:]
    while processes_in(folder) and time.monotonic() < limit:
        time.sleep(0.1)
    last = next(place for place in (found[0], found[0].with_name("old")) if place.is_dir())
    kept = json.loads((last / "points.json").read_text(encoding="utf-8"))
    (last / "points.json").write_text(json.dumps([kept[0] | {"marked": 1}, *kept[1:]]), encoding="utf-8")
    process = trained(folder, root)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    marked, *points = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    assert marked.pop("marked") == 1  # it did go on from there
    assert [marked, *points] == json.loads((unbroken / "history.json").read_text(encoding="utf-8"))
    model = "model/model.safetensors"
    assert (folder / model).read_bytes() == (unbroken / model).read_bytes()
    assert not list(folder.glob("data/checkpoints/*"))
