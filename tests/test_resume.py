"""A run that is killed anywhere and started again gives the bytes of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib import determinism
from tests.conftest import Run
from tests.digests import digests

# Everything is imported once; each run is a fork of that, which may be killed.
RUNS = """
import json, os, resource, signal, sys
from pathlib import Path
from stages.lib import determinism
determinism.pin(1, "cpu", 1)
import trl
from trl import SFTTrainer
from stages import base, reward, sft
from stages.lib import models, recipes
from stages.lib.contract import Refusal
from stages.lib.train import checkpoints, fitting, progress
from tests.families import table

text = [[("text", f"Số {n} đứng trước số {n + 1}. Lan đếm {n}, {n + 1}, {n + 2}.")] for n in range(60)]
chat = [[("user", f"Sau {n} là gì?"), ("assistant", f"Dạ, sau {n} là {n + 1}. " * (1 + n % 3))]
        for n in range(24)]
pairs = [[("user", f"Sau {n} là gì?"), ("chosen", f"Là {n + 1}."), ("rejected", f"{n}?")]
         for n in range(24)]
T, C, P = table(Path("t"), "text", text), table(Path("c"), "instruction", chat), table(Path("p"), "preference", pairs)
compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
tiny = recipes.Scratch(source="scratch", vocabulary=400, hidden=32, layers=1, heads=2, context=128, block=32,
                       batch=4, steps=4, lr=0.01, warmup=0.1)

def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except Refusal as refusal:
            print("refused", refusal, flush=True)
            os._exit(2)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def run(out, more, seed=3):
    words = dict(method="lora", mode="chat", lr=0.01, schedule="cosine", epochs=2.5, batch=2, accumulate=2, context=64,
                 warmup=0.1, packing=False, neftune=5.0, keep="best", optimizer="adamw", gradient_checkpointing=False,
                 save=4, lora=recipes.Lora(r=4, alpha=8, dropout=0.1)) | more
    start = Path("wide" if words["optimizer"] == "adamw8bit" else "base")
    sft.main(start, C, C, T, T, Path(out), Path(out + ".json"), seed=seed, lr="auto", compute=compute,
             sft=recipes.Sft(**words))

def judge(out, more):
    words = dict(method="lora", lr=0.01, epochs=3.0, batch=2, accumulate=2, context=64, optimizer="adamw",
                 gradient_checkpointing=False, save=4, lora=recipes.Lora(r=4, alpha=8, dropout=0.1))
    reward.main(Path("base"), P, P, Path(out), Path(out + ".json"), seed=3, compute=compute,
                reward=recipes.Reward(**words | more))

def full():
    resource.setrlimit(resource.RLIMIT_FSIZE, (25_000, resource.RLIM_INFINITY))  # the adapters fit, their moments don't

def at_step(step, act=die):
    def patch():
        made = progress.bar
        def bar(*words):
            found = made(*words)
            ended = found.on_step_end
            def on_step_end(args, state, control, **more):
                ended(args, state, control, **more)
                if state.global_step == step:
                    act()
            found.on_step_end = on_step_end
            return found
        fitting.progress.bar = bar
    return patch

def while_writing():
    import torch
    save, count = torch.save, [0]
    def half(thing, path, *more, **named):
        save(thing, path, *more, **named)
        if "checkpoint-" in str(path):
            Path(path).write_bytes(Path(path).read_bytes()[:100])
            die()
    torch.save = half

def between_renames():
    rename = Path.rename
    def only_the_first(path, target):
        found = rename(path, target)
        if Path(target).name == "old":
            die()
        return found
    Path.rename = only_the_first

def at_the_end():
    models.save = lambda *words: die()

def tensors(found):
    import torch
    for part in found.values() if isinstance(found, dict) else []:
        yield from [part] if torch.is_tensor(part) else tensors(part)

def moments():
    import torch
    kept = [torch.load(path, weights_only=True) for path in Path("data/checkpoints").glob("*/last/optimizer.pt")]
    return sorted({str(part.dtype) for each in kept for part in tensors(each["state"]) if part.numel() >= 4096})

def ran(out, more, *patches, run=run):
    found = []
    for patch in (*patches, None):
        def work():
            if patch:
                patch()
            run(out, more)
        found.append(fork(work))
        if patch:
            print(out, "moments", moments())
            print(out, "left", sorted(str(p) for p in Path("data/checkpoints").glob("*/*")), flush=True)
    return found

base.main(T, T, Path("base"), Path("base.json"), base=tiny, seed=3, compute=compute)
base.main(T, T, Path("wide"), Path("base.json"), base=tiny.model_copy(update={"hidden": 64}), seed=3, compute=compute)
EIGHT = dict(method="qlora", optimizer="adamw8bit", lora=recipes.Lora(r=64, alpha=64, dropout=0.1), epochs=1.5)
TEXT = dict(mode="text", packing=True, neftune=0.0, batch=1, accumulate=1, save=2, epochs=0.5)
PACKED = dict(method="full", packing=True, context=96, epochs=9.0, batch=1, keep="last", save=2, neftune=0.0)
print(json.dumps({
    "unbroken": ran("unbroken", {}),
    "killed": ran("killed", {}, at_step(5), while_writing, between_renames, at_step(14), at_the_end),
    "passes": ran("passes", {"save": 2}, at_step(7), at_step(9)),  # from the end of a pass, then from within the next
    "full": ran("full", {}, at_step(5, full)),
    "packed": ran("packed", PACKED),
    "packed_killed": ran("packed_killed", PACKED, at_step(3), while_writing, between_renames),
    "eight": ran("eight", EIGHT),
    "eight_killed": ran("eight_killed", EIGHT, at_step(6), while_writing),
    "text": ran("text", TEXT),
    "text_killed": ran("text_killed", TEXT, at_step(5), while_writing),
    "judge": ran("judge", {}, run=judge),
    "judge_killed": ran("judge_killed", {}, at_step(9), at_the_end, run=judge),
    "judge_full": ran("judge_full", {"method": "full"}, run=judge),
    "judge_full_killed": ran("judge_full_killed", {"method": "full"}, at_step(5), while_writing, run=judge),
}))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, dict[str, list[int]], str]:
    folder = tmp_path_factory.mktemp("runs")
    env = os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"} | determinism.CPU
    env.pop("DVC_ROOT", None)
    done = subprocess.run(
        [sys.executable, "-c", RUNS], cwd=folder, env=env, text=True, capture_output=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        ("unbroken", "killed"),
        ("unbroken", "passes"),
        ("unbroken", "full"),
        ("packed", "packed_killed"),
        ("eight", "eight_killed"),
        ("text", "text_killed"),
        ("judge", "judge_killed"),
        ("judge_full", "judge_full_killed"),
    ],
)
def test_a_broken_run_gives_the_bytes_of_an_unbroken_one(
    runs: tuple[Path, dict[str, list[int]], str], whole: str, broken: str
) -> None:
    folder, ended, told = runs
    assert ended[whole] == [0], told[-3000:]
    assert ended[broken][-1] == 0, told[-3000:]
    assert all(ended[broken][:-1])  # each of the others did break
    assert digests(folder / whole) == digests(folder / broken)
    assert (folder / f"{whole}.json").read_text() == (folder / f"{broken}.json").read_text()


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(runs: tuple[Path, dict[str, list[int]], str]) -> None:
    _, ended, told = runs
    assert ended["full"] == [2 << 8, 0]
    assert "no room on the disk for a checkpoint" in told and "goes on from the last checkpoint" in told
    assert "full left ['data/checkpoints/sft-" in told


def test_moments_of_eight_bits_are_kept_as_such(runs: tuple[Path, dict[str, list[int]], str]) -> None:
    assert "judge_full_killed moments ['torch.float32']\n" in runs[2]
    assert runs[2].count("eight_killed moments ['torch.uint8']\n") == 2


def test_nothing_is_left_after_success(runs: tuple[Path, dict[str, list[int]], str]) -> None:
    assert not list((runs[0] / "data" / "checkpoints").iterdir())


def test_the_best_evaluation_is_kept(runs: tuple[Path, dict[str, list[int]], str]) -> None:
    points = json.loads((runs[0] / "unbroken.json").read_text(encoding="utf-8"))
    losses = {point["step"]: point["eval_loss"] for point in points if "eval_loss" in point and point["step"]}
    assert points[-1]["kept_step"] == min(losses, key=losses.__getitem__)
    assert points[-1]["kept_eval_loss"] == min(losses.values())


STAGE = """
import sys
from pathlib import Path
from stages.lib.train import checkpoints

Path("model").write_text("half")
with checkpoints.place("sft", 3, [Path("table")], sys.argv[1]) as where:
    if not where.found:
        where.scratch.with_name("last").mkdir()
        sys.exit("killed")
Path("model").write_text("went on")
"""


def test_dvc_repro_goes_on_where_its_stage_failed(project: Path, run: Run) -> None:
    (project / "stage.py").write_text(STAGE, encoding="utf-8")
    (project / "table").write_text("rows", encoding="utf-8")

    def repro(lr: int) -> tuple[int, int]:
        """Its exit status, and how many runs have checkpoints."""
        stage = f"cmd: {sys.executable} stage.py {lr}\n    deps: [table]\n    outs: [model]\n"
        (project / "dvc.yaml").write_text(f"stages:\n  sft:\n    {stage}", encoding="utf-8")
        done = run(project, "dvc", "repro")
        assert "killed" in done.stderr or not done.returncode, done.stderr
        return done.returncode, len(list((project / "data/checkpoints").iterdir()))

    assert repro(1) == (255, 1)
    assert repro(2) == (255, 2)  # another rate begins anew
    ignored = ["git", "status", "--porcelain", "-uall", "data"]
    assert not subprocess.run(ignored, cwd=project, check=True, capture_output=True).stdout
    assert repro(1) == (0, 1)
    assert (project / "model").read_text(encoding="utf-8") == "went on"
