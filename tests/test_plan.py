"""The plan's arithmetic beside models that are really built, and its page."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stages.lib import determinism, paramfile, recipes, records
from stages.lib.contract import Refusal

determinism.pin(1, "cpu", 1)  # before anything imports torch

import torch  # noqa: E402

from benchmarks import plan as measure  # noqa: E402
from tools import jobs, memory, plan, shapes, work  # noqa: E402

# peft still asks transformers for a property by its old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
KNOWN = {name: dict(entry) for name, entry in paramfile.load(shapes.TABLE).items()}


def hub(repo: str, launch: str = "single", method: str = "lora") -> recipes.Recipe:
    tree = paramfile.load(Path(__file__).parents[1] / "recipes" / "tiny.yaml")
    tree["base"] = {"source": "hub", "repo": repo, "revision": "main", "grow": 0}
    tree["compute"] |= {"device": "auto", "precision": "auto", "launch": launch}
    for stage in ("sft", "reward", "rlhf"):
        tree[stage]["method"] = method
    found: recipes.Recipe = paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
    return found


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_parameters_are_those_of_the_config_class_and_as_published(name: str) -> None:
    from transformers import AutoModelForCausalLM

    shape = shapes.from_table(KNOWN[name])
    counted = shapes.parameters(shape) - shape.extra
    if "parameters" in KNOWN[name]:
        assert shapes.parameters(shape) == pytest.approx(KNOWN[name]["parameters"], rel=1e-3)
    config = measure.config(replace(shape, family="gemma3_text") if shape.family == "gemma3" else shape)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert counted == pytest.approx(model.num_parameters(), rel=1e-3)


@pytest.mark.parametrize("family", sorted(measure.TOY))
@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_a_backward_pass_keeps_is_planned_within_15_percent(family: str, method: recipes.Method) -> None:
    case = measure.job(measure.TOY[family], measure.tuning(method), "fp32", 2, 120)
    assert memory.activations(case, cuda=False) == pytest.approx(measure.kept(case), rel=0.15)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_so_under_autocast(family: str, method: recipes.Method) -> None:
    case = measure.job(measure.TOY[family], measure.tuning(method), "bf16", 2, 120)
    assert memory.activations(case, cuda=False) == pytest.approx(measure.kept(case), rel=0.15)


def test_checkpointing_keeps_a_hidden_state_for_each_layer() -> None:
    whole = measure.TOY["llama"]
    deep = [replace(whole, layers=layers) for layers in (4, 8)]
    cases = [measure.job(shape, measure.tuning("full", checkpoint=True), "fp32", 2, 120) for shape in deep]
    measured = measure.kept(cases[1]) - measure.kept(cases[0])
    planned = memory.activations(cases[1]) - memory.activations(cases[0])
    assert planned == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("family", ["llama", "bloom", "gptj"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_weights_gradients_and_states_are_planned_within_15_percent(
    family: str, method: recipes.Method, optimizer: recipes.Optimizer
) -> None:
    case = measure.job(measure.TOY[family], measure.tuning(method, optimizer), "fp32", 1, 8)
    for part, (planned, measured) in measure.states(case).items():
        assert planned == pytest.approx(measured, rel=0.15), part


def test_a_qlora_of_seven_billion_fits_twelve_gib() -> None:
    shape = shapes.from_table(KNOWN["bloomz-7b1"])
    case = measure.job(shape, measure.tuning("qlora", "paged_adamw8bit", True), "bf16", 1, 512)
    assert 4 < memory.peak(case) / memory.GIB < 12


def test_shards_shrink_and_copies_do_not() -> None:
    shape = shapes.from_table(KNOWN["llama-3.2-1b"])
    one = memory.Job("x", shape, measure.tuning("full"), "bf16", "single", 1, 1, 64)
    found = {
        launch: memory.parts(replace(one, launch=launch, processes=4)) for launch in ("ddp", "fsdp2", "zero2", "zero3")
    }
    whole = memory.parts(one)
    assert found["ddp"]["weights"] == whole["weights"] and found["ddp"]["gradients"] == 2 * whole["gradients"]
    assert found["fsdp2"]["weights"] == whole["weights"] / 4 and found["fsdp2"]["optimizer"] == whole["optimizer"] / 4
    assert found["zero2"]["weights"] == whole["weights"] and found["zero2"]["gradients"] == whole["gradients"] / 4
    assert "weights" not in found["zero3"] and "optimizer" not in found["zero3"]


def test_operations_follow_the_six_n_rule() -> None:
    shape = shapes.from_table(KNOWN["llama-3.1-8b"])
    full = measure.job(shape, measure.tuning("full"), "bf16", 1, 1)
    again = measure.job(shape, measure.tuning("full", checkpoint=True), "bf16", 1, 1)
    lora = measure.job(shape, measure.tuning("lora"), "bf16", 1, 1)
    count = shapes.parameters(shape) - shape.vocabulary * shape.hidden  # looking up an embedding costs nothing
    assert work.training(full, 1, 1) == pytest.approx(6 * count, rel=0.001)
    assert work.training(again, 1, 1) == pytest.approx(8 * count, rel=0.001)
    assert work.training(lora, 1, 1) == pytest.approx(4 * count + 6 * memory.trainable(lora), rel=0.001)


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_advice_has_been_computed_to_fit(stage: str) -> None:
    recipe = hub("bigscience/bloomz-7b1")
    shape, _ = shapes.of(recipe.base)
    told = jobs.advice(recipe, shape, "bf16", 1, jobs.tables(shape), stage, 12 * memory.GIB)
    assert f"{stage}.method: qlora" in told
    assert float(told.split(" -> ")[1].split()[0]) <= 12


def test_a_page_is_a_screen_of_a_hundred_columns(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.plan", "--gpu", "rtx-3060"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert max(map(len, told.splitlines())) <= plan.WIDTH and len(told.splitlines()) <= 50
    assert "on rtx-3060 (12 GiB)" in told
    assert all(f"  {stage} " in told for stage in ("base", "sft", "reward", "rlhf", "benchmark"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "rtx3060"], "GPU: 'rtx3060' is not in tools/gpus.yaml; did you mean 'rtx-3060'?"),
        (["--recipe", "tinny"], "RECIPE: found 'tinny'; did you mean 'tiny'?"),
        (["--mfu", "35"], "a share between 0 and 1"),
    ],
)
def test_wrong_words_are_told(
    words: list[str], said: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert plan.main(words) == 2
    assert said in capsys.readouterr().err


def test_a_shape_comes_from_a_folder_or_the_table_or_is_refused(tmp_path: Path) -> None:
    found, source = shapes.of(hub("Qwen/Qwen3-8B").base)
    assert source == "tools/shapes.yaml" and shapes.parameters(found) == 8_190_735_360
    measure.config(measure.TOY["mpt"]).save_pretrained(tmp_path)
    folder, source = shapes.of(hub(str(tmp_path)).base)
    assert source == "its config.json" and shapes.parameters(folder) == shapes.parameters(measure.TOY["mpt"])
    with pytest.raises(Refusal, match="did you mean 'Qwen/Qwen3-8B'"):
        shapes.of(hub("Qwen/Qwen3-8b").base)
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}', encoding="utf-8")
    with pytest.raises(Refusal, match="'mamba', which the plan can't count"):
        shapes.of(hub(str(tmp_path)).base)


def test_rows_are_counted_from_the_split_or_assumed_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shape = shapes.from_table(KNOWN["qwen3-8b"])
    assumed = work.rows("preferences", shape, jobs.TOKENIZER)
    assert "assumed" in assumed.source and "dvc repro split" in assumed.source
    said = [
        {"role": "user", "content": "Hà Nội ở đâu?"},
        {"role": "chosen", "content": "Ở miền Bắc Việt Nam."},
        {"role": "rejected", "content": "Không."},
    ]
    turns = [records.Message(role=turn["role"], content=turn["content"]) for turn in said]
    row = records.make("preference", turns, source="x", licence="CC0-1.0", lang="vi", upstream="1")
    work.SPLIT.mkdir(parents=True)
    records.write(work.SPLIT / "preferences.train.parquet", [row] * 3)
    found = work.rows("preferences", shape, jobs.TOKENIZER)
    longer = round(4 * 1.9) + round(5 * 1.9) + 2 * work.TURN  # the longer answer, and a template around each turn
    assert (found.count, found.mean, found.longest) == (3, longer, longer)
    assert "tokens a syllable" in found.source
