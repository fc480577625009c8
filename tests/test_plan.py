"""The plan's arithmetic beside models that are really built, and its page."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from pydantic import model_validator

from stages.lib import determinism, paramfile, recipes, records
from stages.lib.contract import Refusal

determinism.pin(1, "cpu", 1)  # before anything imports torch

import torch  # noqa: E402

from benchmarks import plan as measure  # noqa: E402
from tools import advice, jobs, machine, memory, plan, shapes, work  # noqa: E402

# peft still asks transformers for a property by its old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
TOYS, CPU_ONLY = sorted(measure.TOY), ("gptj", "lora")
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
    counted = shapes.parameters(shape)
    if "parameters" in KNOWN[name]:
        assert counted + shape.extra == pytest.approx(KNOWN[name]["parameters"], rel=1e-3)
    config = measure.config(replace(shape, family="gemma3_text") if shape.family == "gemma3" else shape)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert counted == pytest.approx(model.num_parameters(), rel=1e-3)


@pytest.mark.parametrize("family", TOYS)
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_what_a_backward_pass_keeps_is_planned_within_15_percent(family: str, method: recipes.Method) -> None:
    case = measure.job(measure.TOY[family], measure.tuning(method), "fp32", 2, 120)
    assert sum(memory.kept(case, cuda=False)) == pytest.approx(measure.kept(case)[0], rel=0.15)


# a CPU's autocast leaves the softmax of GPT-J under adapters in bf16, a GPU's makes it float32
@pytest.mark.parametrize(("family", "method"), [(f, m) for f in TOYS for m in ("full", "lora") if (f, m) != CPU_ONLY])
def test_so_under_autocast_whose_copies_of_weights_are_planned_too(family: str, method: recipes.Method) -> None:
    case = measure.job(measure.TOY[family], measure.tuning(method), "bf16", 2, 120)
    activations, casts = measure.kept(case)
    assert sum(memory.kept(case, cuda=False)) == pytest.approx(activations, rel=0.15)
    assert memory.casts(case) == pytest.approx(casts, rel=0.15)


def test_checkpointing_keeps_a_hidden_state_for_each_layer() -> None:
    whole = measure.TOY["llama"]
    deep = [replace(whole, layers=layers) for layers in (4, 8)]
    for precision in ("fp32", "bf16"):
        cases = [measure.job(shape, measure.tuning("full", checkpoint=True), precision, 2, 120) for shape in deep]
        measured = measure.kept(cases[1])[0] - measure.kept(cases[0])[0]
        planned = memory.kept(cases[1])[0] - memory.kept(cases[0])[0]
        assert planned == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("family", ["llama", "bloom", "gptj"])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_weights_gradients_and_states_are_planned_within_15_percent(
    family: str, method: recipes.Method, optimizer: recipes.Optimizer
) -> None:
    case = measure.job(measure.TOY[family], measure.tuning(method, optimizer), "bf16", 1, 8)
    for part, (planned, measured) in measure.states(case).items():
        assert planned == pytest.approx(measured, rel=0.15), part


@pytest.mark.parametrize(
    ("name", "method", "optimizer", "least", "most"),
    [
        ("seallms-v3-7b", "lora", "adamw", 14.5, 18),
        ("open-llama-7b", "qlora", "paged_adamw8bit", 5, 8),
        ("llama-3.2-1b", "full", "adamw8bit", 11, 15),
        ("qwen3-1.7b", "full", "adamw", 26, 32),
    ],
)
def test_whole_recipes_need_what_people_see(
    name: str, method: recipes.Method, optimizer: recipes.Optimizer, least: float, most: float
) -> None:
    shape = shapes.from_table(KNOWN[name])
    told = measure.tuning(method, optimizer, True).model_copy(update={"accumulate": 8})
    assert least < memory.peak(measure.job(shape, told, "bf16", 2, 1024)) / memory.GIB < most


def test_the_columns_of_learning_are_those_of_one_moment() -> None:
    shape = shapes.from_table(KNOWN["llama-3.2-1b"])
    told = measure.tuning("full", "adamw", True)
    alone = measure.job(shape, told, "bf16", 1, 512)
    after = replace(alone, tuning=told.model_copy(update={"accumulate": 4}))
    whole = 4 * shapes.parameters(shape)  # gradients of the batches before stand while the next one is read
    assert memory.parts(after)["gradients"] == whole
    assert whole <= sum(memory.learning(alone).values()) < sum(memory.learning(after).values())


def test_shards_shrink_and_copies_do_not() -> None:
    shape = shapes.from_table(KNOWN["llama-3.2-1b"])
    told = measure.tuning("full").model_copy(update={"accumulate": 2})
    one = memory.Job("x", shape, told, "bf16", "single", 1, 1, 64)
    found = {
        launch: memory.parts(replace(one, launch=launch, processes=4)) for launch in ("ddp", "fsdp2", "zero2", "zero3")
    }
    whole = memory.parts(one)
    assert found["ddp"]["weights"] == whole["weights"] and found["ddp"]["gradients"] == 2 * whole["gradients"]
    assert found["fsdp2"]["weights"] == whole["weights"] / 4 and found["fsdp2"]["optimizer"] == whole["optimizer"] / 4
    assert 2 * found["zero2"]["weights"] == whole["weights"] and found["zero2"]["gradients"] == whole["gradients"] / 8
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


def tables() -> jobs.Tables:
    return {name: work.Rows(2000, 270.0, 1080, "assumed", 100) for name in work.ASSUMED}


@pytest.mark.parametrize(("stage", "room"), [("sft", 12), ("reward", 12), ("rlhf", 20)])
def test_advice_has_been_computed_to_fit(stage: str, room: float) -> None:
    recipe = hub("bigscience/bloomz-7b1")
    shape, _ = shapes.of(recipe.base)
    told = advice.advice(recipe, shape, "bf16", 1, tables(), stage, room * memory.GIB)
    assert f"{stage}.method: qlora" in told and float(told.split(" -> ")[1].split()[0]) <= room


def test_advice_keeps_to_the_recipes_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(recipes.Recipe):
        @model_validator(mode="after")
        def no_four_bits(self) -> Self:
            if self.sft.method == "qlora":
                raise ValueError("sft.method: found qlora")
            return self

    recipe = hub("bigscience/bloomz-7b1")
    shape, _ = shapes.of(recipe.base)
    monkeypatch.setattr(recipes, "Recipe", Strict)
    told = advice.advice(recipe, shape, "bf16", 1, tables(), "sft", 12 * memory.GIB)
    assert "qlora" not in told


def test_a_model_that_only_answers_may_lie_partly_in_the_cpus_memory() -> None:
    shape = shapes.from_table(KNOWN["qwen3-8b"])
    asked = memory.Job("benchmark", shape, None, "bf16", "single", 1, 0, 0, rows=1, read=100)
    found = {room: advice.fits(asked, room * memory.GIB) for room in (24, 16, 12)}
    assert found == {24: "yes", 16: "slow", 12: "slow"}
    assert advice.fits(replace(asked, read=2000), 12 * memory.GIB) == "NO"  # a long row's logits have no room


def test_rlhf_has_its_judge_and_its_start_beside_it() -> None:
    recipe = hub("meta-llama/Llama-3.2-1B", method="full")
    shape, _ = shapes.of(recipe.base)
    count = shapes.parameters(shape)
    for method, others in (("full", (2 + 4) * count), ("lora", 2 * count), ("qlora", memory.packed(shape, count, 2))):
        changed = advice.changed(recipe, "rlhf", method=method)
        assert changed is not None
        found = {job.name: job for job, *_ in jobs.planned(changed, shape, "bf16", 1, tables())}
        assert memory.parts(found["rlhf"])["others"] == pytest.approx(others)


def test_the_machine_holds_every_model_twice_and_makes_the_base() -> None:
    recipe = hub("meta-llama/Llama-3.2-1B", method="qlora")
    shape, _ = shapes.of(recipe.base)
    found = list(jobs.planned(recipe, shape, "bf16", 1, tables()))
    models, beside = machine.disk(recipe, shape, "bf16", found)
    whole = 2.0 * shapes.parameters(shape)
    assert models["base"] == models["sft"] == whole > models["int8"] > models["nf4"] > whole / 4
    assert sum(models.values()) in beside.values() and whole in beside.values()
    most, why = machine.ram(recipe, shape, "bf16", found, 24 * memory.GIB)
    assert most == whole + machine.PROCESS and why


def test_quantised_answers_read_less_and_every_token_calls_every_layer() -> None:
    shape = shapes.from_table(KNOWN["qwen3-8b"])
    asked = memory.Job("benchmark", shape, None, "bf16", "single", 1, 0, 0, answer=10, speakers=4, spoken=50)
    plain, eight = (work.decoding(asked, 3, 40, name) for name in ("rlhf", "int8"))
    assert eight.decoded < plain.decoded and plain.calls == eight.calls == 3 * 10 * shape.layers


def test_a_page_is_a_screen_of_a_hundred_columns(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.plan", "--gpu", "rtx-3060"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert max(map(len, told.splitlines())) <= plan.WIDTH and len(told.splitlines()) <= 50
    assert "on rtx-3060 (12 GiB)" in told
    assert all(f"  {stage} " in told for stage in ("base", "sft", "reward", "rlhf", "benchmark"))
    assert "RAM of the machine" in told and "Disk: about" in told


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
    assumed = work.rows("preferences", shape, None)
    assert "assumed" in assumed.source and assumed.held == 5000 // work.HELD_OUT
    said = [
        {"role": "user", "content": "Hà Nội ở đâu?"},
        {"role": "chosen", "content": "Ở miền Bắc Việt Nam."},
        {"role": "rejected", "content": "Không."},
    ]
    turns = [records.Message(role=turn["role"], content=turn["content"]) for turn in said]
    row = records.make("preference", turns, source="x", licence="CC0-1.0", lang="vi", upstream="1")
    work.SPLIT.mkdir(parents=True)
    records.write(work.SPLIT / "preferences.train.parquet", [row] * 3)
    found = work.rows("preferences", shape, None)
    longer = round(4 * 1.9) + round(5 * 1.9) + 2 * work.TURN  # the longer answer, and a template around each turn
    assert (found.count, found.mean, found.longest) == (3, longer, longer)
    assert "tokens a syllable" in found.source
    records.write(work.SPLIT / "preferences.validation.parquet", [row] * 2)
    assert work.rows("preferences", shape, None).held == 2


def test_only_the_recipes_own_tokenizer_counts(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    used: list[Path | None] = []
    monkeypatch.setattr(work, "rows", lambda name, shape, tokenizer: used.append(tokenizer))
    own, other = hub("Qwen/Qwen3-8B").base, hub("Qwen/Qwen3-4B").base
    scratch = paramfile.typed(recipes.Recipe, paramfile.load(root / "recipes" / "tiny.yaml"), "tiny").base
    jobs.BASE.mkdir(parents=True)
    (jobs.BASE / "tokenizer.json").write_text("{}", encoding="utf-8")
    shape = shapes.from_table(KNOWN["qwen3-8b"])

    def taken(base: recipes.Scratch | recipes.Hub, current: bool = False) -> bool:
        used.clear()
        jobs.tables(base, shape, current)
        return used == [jobs.BASE / "tokenizer.json"] * len(work.ASSUMED)

    assert taken(scratch, current=True) and not taken(scratch) and not taken(own)
    (jobs.BASE / "origin.json").write_text('{"repo": "Qwen/Qwen3-8B", "revision": "main"}', encoding="utf-8")
    assert taken(own) and not taken(other) and not taken(scratch, current=True)


@pytest.mark.parametrize(
    ("repo", "card", "precision", "processes", "said"),
    [
        ("Qwen/Qwen3-8B", plan.Card("x", 24, fp16=1, bf16=1), "bf16", 1, "base.revision: main of Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B", plan.Card("t4", 15, fp16=1), "bf16", 1, "found bf16, which t4 does not have"),
        ("Qwen/Qwen3-8B", plan.Card("x", 24, fp16=1, bf16=1), "bf16", 4, "keeps to one of the 4 cards"),
    ],
)
def test_what_may_go_wrong_is_told_first(repo: str, card: plan.Card, precision: str, processes: int, said: str) -> None:
    recipe = hub(repo)
    assert any(said in told for told in plan.warnings(recipe, card, precision, processes))
