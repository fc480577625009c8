"""All stages from the base model to the scores give the same bytes in another folder, and what those bytes hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib import determinism
from tests.digests import digests

# The whole chain in one process, in the current folder: imports are paid once.
CHAIN = """
import json
from pathlib import Path
from stages import base, benchmark, quantize, reward, rlhf, sft
from stages.lib import recipes
from tests.families import table

text = [[("text", f"Số {n} đứng trước số {n + 1}. Lan đếm {n}, {n + 1}, {n + 2}.")] for n in range(60)]
chat = [[("user", f"Sau {n} là gì?"), ("assistant", f"Dạ, sau {n} là {n + 1}.")] for n in range(24)]
pair = [[("user", f"Sau {n} là gì?"), ("chosen", f"Dạ, là {n + 1}."), ("rejected", "Không biết")]
        for n in range(12)]
ask = [turns[:1] for turns in chat]
T, C = table(Path("t"), "text", text), table(Path("c"), "instruction", chat)
P, A = table(Path("p"), "preference", pair), table(Path("a"), "prompt", ask)
compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
lora = recipes.Lora(r=4, alpha=8, dropout=0.0)
tiny = recipes.Scratch(source="scratch", vocabulary=400, hidden=32, layers=1, heads=2, context=128, block=32,
                      batch=4, steps=4, lr=0.01, warmup=0.1)
kw = {"seed": 3, "compute": compute}
plain = {"optimizer": "adamw", "gradient_checkpointing": False, "accumulate": 1}
hub = recipes.Hub(source="hub", repo="base", revision="main", grow=0)
base.main(T, T, Path("base"), Path("base.json"), base=tiny, **kw)
base.main(T, T, Path("hub"), Path("hub.json"), base=hub, **kw)
for method in ("lora", "full", "qlora"):
    s = recipes.Sft(method=method, mode="chat", lr=0.01, schedule="linear", epochs=1.0, batch=8, save=0,
                    context=64, warmup=0.1, packing=False, neftune=0.0, keep="last", lora=lora, **plain)
    sft.main(Path("base"), C, C, T, T, Path(method), Path(f"{method}.json"), lr="auto", sft=s, **kw)
reward.main(Path("lora"), P, P, Path("reward"), Path("reward.json"),
            reward=recipes.Reward(method="full", lr=0.001, epochs=1.0, batch=4, save=0, context=64,
                                  lora=lora, **plain), **kw)
r = recipes.Online(kind="online", algorithm="rloo", rewards="model", method="lora", lr=0.001, steps=2, batch=4,
                   generations=2, context=96, max_new_tokens=4, temperature=1.0, beta=0.05, max_kl=100.0, save=0,
                   lora=lora, **plain)
rlhf.main(Path("lora"), Path("reward"), A, A, C, C, P, P, Path("rlhf"), Path("rlhf.json"), rlhf=r, **kw)
for name in ("int8", "nf4"):
    quantize.main(name, Path("rlhf"), Path(name), **kw)
Path("tasks").mkdir()
items = [{"question": f"Sau {n} là gì?", "choices": [str(n + k) for k in range(1, 5)], "answer": 0, "value": str(n + 1)}
         for n in range(4)]
Path("tasks/x.jsonl").write_text("".join(json.dumps(i, ensure_ascii=False) + chr(10) for i in items))
head = "dataset_path: json\\ndataset_kwargs: {data_files: {test: tasks/x.jsonl}}\\ntest_split: test\\n"
Path("tasks/x.yaml").write_text(
    "task: vi_x\\n" + head + 'output_type: multiple_choice\\ndoc_to_text: "{{question}}"\\ndoc_to_choice: choices\\n'
    'doc_to_target: answer\\ntarget_delimiter: "\\\\n"\\nmetric_list: [{metric: acc}, {metric: acc_norm}]\\n')
Path("tasks/g.yaml").write_text("group: vi_g\\ntask: [vi_x]\\naggregate_metric_list: [{metric: acc}]\\n")
for name in ("base", "rlhf", "nf4"):
    benchmark.main(name, Path(name), C, A, Path("tasks/g.yaml"), Path(f"{name}.scores.json"), Path(f"{name}.samples"),
                   Path("tasks/x.jsonl"), Path("tasks/x.yaml"),
                   benchmark=recipes.Benchmark(batch=8, context=64, max_new_tokens=4), **kw)
"""


def chain(folder: Path, root: Path, **variables: str) -> "subprocess.Popen[str]":
    """The chain, started in a new folder."""
    folder.mkdir()
    env = os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"} | variables
    for name in determinism.CPU:
        env.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-c", CHAIN], cwd=folder, env=env | variables, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, Path]:
    """The same chain in two folders, under other settings of the machine."""
    home = tmp_path_factory.mktemp("chains")
    first, second = home / "one", home / "another place"
    started = [
        chain(first, root, PYTHONHASHSEED="1", TZ="UTC"),
        chain(second, root, PYTHONHASHSEED="77", TZ="Asia/Ho_Chi_Minh", ATEN_CPU_CAPABILITY="avx512", LC_ALL="C.UTF-8"),
    ]
    ended = [(process, process.communicate(timeout=300)[0]) for process in started]
    assert not [output[-3000:] for process, output in ended if process.returncode]
    return first, second


def test_every_byte_is_the_same_in_another_folder(twice: tuple[Path, Path]) -> None:
    first, second = map(digests, twice)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_no_file_names_this_machine(twice: tuple[Path, Path]) -> None:
    for path in twice[0].rglob("*.json"):
        assert str(twice[0].parent) not in path.read_text(encoding="utf-8"), path
    assert not list(twice[0].rglob("*.bin"))
    adapter = json.loads((twice[0] / "lora/adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["base_model_name_or_path"] == "base"


def test_histories_count_steps_and_hold_no_clock(twice: tuple[Path, Path]) -> None:
    for name in ("base", "lora", "full", "qlora", "reward", "rlhf"):
        points = json.loads((twice[0] / f"{name}.json").read_text(encoding="utf-8"))
        steps = [point["step"] for point in points]
        assert steps == sorted(steps), name
        assert not [key for point in points for key in point if "runtime" in key or "second" in key]
    lora = json.loads((twice[0] / "lora.json").read_text(encoding="utf-8"))
    assert lora[0]["truncated"] == 0
    assert "eval_loss" in lora[0] and "eval_loss" in lora[-1]
    rlhf = json.loads((twice[0] / "rlhf.json").read_text(encoding="utf-8"))
    assert {"reward_before", "reward_after", "reward_stderr_after", "perplexity_before", "perplexity_after"} <= set(
        rlhf[-1]
    )


def test_fine_tuned_models_differ_from_their_start_and_quantised_ones_are_smaller(twice: tuple[Path, Path]) -> None:
    found, folder = digests(twice[0]), twice[0]
    weights = [found[f"{name}/model.safetensors"] for name in ("base", "lora", "full", "rlhf", "int8", "nf4")]
    assert len(set(weights)) == len(weights)
    size = {name: (folder / name / "model.safetensors").stat().st_size for name in ("nf4", "int8", "rlhf")}
    assert max(size["nf4"], size["int8"]) < 0.7 * size["rlhf"]


def test_a_folder_is_taken_as_it_is(twice: tuple[Path, Path]) -> None:
    found = digests(twice[0])
    assert found["hub/model.safetensors"] == found["base/model.safetensors"]


def test_scores_have_standard_errors_and_samples_have_answers(twice: tuple[Path, Path]) -> None:
    scores = json.loads((twice[0] / "nf4.scores.json").read_text(encoding="utf-8"))
    assert {"acc", "acc_stderr"} <= set(scores["tasks"]["vi_x"])
    assert scores["tasks"]["vi_g"].keys() >= {"acc", "acc_stderr"}
    assert scores["parameters"] > 0 and scores["bytes"] > 0 and scores["validation"]["perplexity"] > 1
    rows = [json.loads(line) for line in (twice[0] / "rlhf.samples").read_text(encoding="utf-8").splitlines()]
    assert [row["task"] for row in rows] == ["vi_x"] * 4 + ["answers"] * 24
    assert 0 <= scores["ended"] <= 1
