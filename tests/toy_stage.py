"""A folder in which ``python -m stages.sft`` has all it needs: a toy model, a few conversations, dials and a recipe."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
