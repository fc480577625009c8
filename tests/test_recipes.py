"""The recipes of published models: written from one table, free of what a stage refuses, and small enough."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.lib import paramfile, recipes
from stages.lib.contract import Refusal
from tests.families import FAMILIES, OF
from tools import recipes as table
from tools.planning import advice, cards, jobs, memory, shapes
from tools.recipes import HOLDS, SETS

FILES = sorted(Path(__file__).parents[1].joinpath("recipes").glob("*.yaml"))
MODELS = table.models()
HUB = [(model, method) for model in MODELS for method in model.cards]


def recipe(path: Path) -> recipes.Recipe:
    found = paramfile.typed(recipes.Recipe, paramfile.load(path), f"recipes/{path.name}")
    assert isinstance(found, recipes.Recipe)
    return found


def of(model: table.Model, method: str) -> recipes.Recipe:
    return recipe(FILES[0].with_name(f"{model.name}-{method}.yaml"))


def test_the_files_are_what_the_table_makes_and_others_are_left_alone(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert table.main(["--check"]) == 0, capsys.readouterr().err
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "recipes/qwen3-0.6b-mine.yaml"
    own.write_text("a: 1\n", encoding="utf-8")
    assert table.main([]) == 0 and table.main(["--check"]) == 0
    assert own.read_text(encoding="utf-8") == "a: 1\n"
    changed = tmp_path / "recipes/qwen3-0.6b-lora.yaml"
    changed.write_text(changed.read_text(encoding="utf-8").replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    assert table.main(["--check"]) == 1
    assert "recipes/: qwen3-0.6b-lora.yaml differ" in capsys.readouterr().err


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_a_screenful_that_can_be_followed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    longest = max(len(line) for line in text.splitlines() if "tools.convert" not in line)  # a command is one line
    assert len(text.splitlines()) <= 85 and longest <= 120
    assert text.startswith("# ")
    assert recipe(path)


@pytest.mark.parametrize(("model", "method"), HUB, ids=lambda part: getattr(part, "name", part))
def test_a_recipe_learns_from_enough_rows_a_step_within_what_its_model_reads(model: table.Model, method: str) -> None:
    found, (cards, _) = of(model, method), model.card(method)
    rows = {name: getattr(found, name).batch * getattr(found, name).accumulate for name in ("sft", "reward", "rlhf")}
    assert rows["sft"] * cards in ((16, 32) if found.sft.packing else (32, 64))
    assert rows["reward"] * cards == rows["rlhf"] == 32
    assert max(found.sft.context, found.reward.context, found.benchmark.context) <= model.shape.context
    assert all(section.gradient_checkpointing for section in (found.sft, found.reward, found.rlhf))
    assert found.sft.packing == table.packs(model.shape)
    assert 0 < max(found.sft.save, found.reward.save) <= 50  # the 2500 pairs that the plan assumes make 156 steps


@pytest.mark.parametrize(("model", "method"), HUB, ids=lambda part: getattr(part, "name", part))
def test_every_stage_fits_the_card_that_the_recipe_names(model: table.Model, method: str) -> None:
    found, (number, size) = of(model, method), model.card(method)
    old = size <= 16 and found.compute.precision == "auto"  # such cards may have no bf16
    rooms = {HOLDS[size], *(card.memory for card in cards.known().values() if card.memory >= HOLDS[size])}
    for precision in ("bf16", "fp16") if old else ("bf16",):
        for job, *_ in jobs.planned(found, model.shape, precision, number, SETS):
            if job.name == "benchmark" and model.spills(method):  # it may be slow
                assert "NO" not in [advice.fits(job, room * memory.GIB) for room in rooms]
            elif job.name != "base":
                assert memory.peak(job) / memory.GIB <= HOLDS[size], (job.name, precision)


@pytest.mark.parametrize(("model", "method"), HUB, ids=lambda part: getattr(part, "name", part))
def test_a_recipe_says_where_the_plan_has_the_benchmark_lean_on_the_cpus_memory(
    model: table.Model, method: str
) -> None:
    found, (number, size) = of(model, method), model.card(method)
    planned = jobs.planned(found, model.shape, "bf16", number, SETS)
    job = next(job for job, *_ in planned if job.name == "benchmark")
    slow = advice.fits(job, HOLDS[size] * memory.GIB) == "slow"
    assert ("a part lies in the CPU's memory, so it is slow." in table.text(model, method)) == slow


def test_a_model_of_pickles_is_converted_to_where_the_recipe_then_looks() -> None:
    told = {model.name: table.text(model, "lora") for model in MODELS if model.weights != "safetensors"}
    assert "phogpt-4b" in told
    for name, text in told.items():
        made = [line.split()[-1] for line in text.splitlines() if "tools.convert" in line]
        assert made == [f"data/hub/{name}"] and f"let base.repo below be data/hub/{name}." in text


def test_the_table_names_known_models_of_all_families() -> None:
    assert len({model.repo for model in MODELS}) == len({model.name for model in MODELS}) == len(MODELS)
    families = {
        model.name: {family for start, family in OF.items() if model.name.startswith(start)} for model in MODELS
    }
    assert {name for name, found in families.items() if len(found) != 1} == set()
    # every family of the toys is some recipe's, or a relative that a folder may be of
    assert set(FAMILIES) - set().union(*families.values()) == {"mistral"}
    assert {model.shape.family for model in MODELS} <= set(shapes.FAMILIES)


QWEN, TINY, PHOGPT = "qwen3-8b-full", "tiny", "phogpt-4b-lora"
HERE = str(Path(__file__).parent)


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        (QWEN, {"sft.keep": "best"}, "sft.keep: found best with compute.launch fsdp2"),
        (QWEN, {"sft.method": "qlora"}, "sft.method: found qlora with compute.launch fsdp2"),
        (QWEN, {"reward.optimizer": "adamw8bit"}, "reward.optimizer: found adamw8bit with compute.launch fsdp2"),
        (QWEN, {"rlhf.method": "qlora", "rlhf.optimizer": "adamw8bit"}, ""),  # in one process
        (QWEN, {"compute.device": "cpu"}, ""),
        (QWEN, {"compute.launch": "zero2", "rlhf.optimizer": "adamw8bit"}, "rlhf.optimizer: found adamw8bit"),
        (QWEN, {"compute.launch": "zero3", "compute.device": "cpu"}, ""),
        (QWEN, {"base.repo": ""}, "base.repo: found"),
        (
            TINY,
            {"sft.optimizer": "paged_adamw8bit"},
            "sft.optimizer: found paged_adamw8bit; it needs a GPU",
        ),
        (TINY, {"rlhf.batch": 30}, "rlhf.batch: found 30 answers, 1 times in a step"),
        (TINY, {"rlhf.generations": 1}, "rlhf.generations: found 1; rloo compares"),
        (TINY, {"rlhf.algorithm": "ppo", "compute.launch": "ddp"}, "found ppo with compute.launch ddp"),
        (TINY, {"rlhf.algorithm": "ppo", "compute.precision": "fp16"}, "found ppo with compute.precision fp16"),
        (TINY, {"rlhf.algorithm": "ppo", "rlhf.generations": 1}, ""),
        (TINY, {"base.heads": 5}, "base.hidden: found 96"),
        (TINY, {"base.block": 1024}, "base.block: found 1024"),
        (TINY, {"reward.context": 1024}, "reward.context: found 1024; the model reads at most base.context (512)"),
        ("gemma-3-1b-lora", {"compute.precision": "auto"}, "compute.precision: found auto with google/gemma-3-1b-it"),
        ("gemma-3-1b-lora", {"compute.precision": "auto", "compute.device": "cpu"}, ""),
        ("gemma-3-4b-qlora", {"compute.precision": "fp16"}, "compute.precision: found fp16"),
        ("gemma-3-4b-lora", {"compute.precision": "fp32"}, ""),
        (TINY, {"rlhf.max_new_tokens": 256}, "rlhf.max_new_tokens: found 256, which leaves no room for a prompt in"),
        (TINY, {"rlhf.max_new_tokens": 255}, ""),
        (PHOGPT, {"rlhf.max_new_tokens": 2048}, "rlhf.max_new_tokens: found 2048"),
        (PHOGPT, {"rlhf.algorithm": "kto"}, "rlhf.batch: found 1; kto compares"),
        (PHOGPT, {"rlhf.algorithm": "kto", "rlhf.batch": 2}, ""),
        (PHOGPT, {"rlhf.algorithm": "rloo"}, "allowed: 'dpo', 'kto', 'orpo'; rloo goes with kind: online"),
        (TINY, {"rlhf.algorithm": "dpo"}, "allowed: 'rloo', 'grpo', 'ppo'; dpo goes with kind: offline"),
        *(
            (QWEN, {"base.repo": name}, f"base.repo: found '{name}': no such folder; `python -m tools.convert OWNER")
            for name in ("data/hub/phogpt-4b", "data/mine", "/nowhere", "./mine", "../mine", "~/mine", "o/n/e")
        ),
        (QWEN, {"base.revision": ""}, "base.revision: found '' with Qwen/Qwen3-8B"),
        (QWEN, {"base.repo": HERE, "base.revision": ""}, ""),
    ],
)
def test_keys_that_cannot_be_followed_together_are_refused_by_name(
    name: str, changes: dict[str, Any], told: str
) -> None:
    tree = paramfile.load(FILES[0].with_name(f"{name}.yaml"))
    for path, value in changes.items():
        section, key = path.split(".")
        assert key in tree[section]
        tree[section][key] = value
    if not told:
        assert paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
        return
    with pytest.raises(Refusal) as caught:
        paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
    assert str(caught.value).startswith("recipes/x.yaml: ") and told in str(caught.value)


def test_an_algorithm_of_no_kind_is_sent_to_none() -> None:
    tree = paramfile.load(FILES[0].with_name(f"{TINY}.yaml"))
    tree["rlhf"]["algorithm"] = "ddpo"
    with pytest.raises(Refusal, match=r"allowed: 'rloo', 'grpo', 'ppo'$"):
        paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")


def test_all_that_is_wrong_is_told_at_once() -> None:
    tree = paramfile.load(FILES[0].with_name(f"{QWEN}.yaml"))
    tree["sft"] |= {"keep": "best", "optimizer": "adafactor"}
    with pytest.raises(Refusal) as caught:
        paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
    assert [line.split(": found")[0] for line in str(caught.value).splitlines()] == [
        "recipes/x.yaml: sft.optimizer", "recipes/x.yaml: sft.keep"
    ]  # fmt: skip


def test_check_warns_of_a_branch_and_of_a_gpu_that_is_missing_and_of_nothing_else(
    tmp_path: Path, root: Path, run: Callable[..., Any]
) -> None:
    (tmp_path / "recipes").symlink_to(root / "recipes")
    dials = (root / "params.yaml").read_text(encoding="utf-8")
    words = ["stages.check", "params.yaml", "recipes", root / "launch", "data/checked", "data/launch.yaml"]
    for name, warned in (("tiny", 0), ("qwen3-0.6b-lora", 0), ("qwen3-1.7b-qlora", 3), ("sailor2-8b-lora", 1)):
        (tmp_path / "params.yaml").write_text(dials.replace("recipe: tiny", f"recipe: {name}", 1), encoding="utf-8")
        told = run(tmp_path, *words, CUDA_VISIBLE_DEVICES="")
        assert (told.returncode, len(told.stderr.splitlines())) == (0, warned), told.stderr
        hopeless = told.stderr.count("training can't run on this machine, which has no GPU that torch can use: ")
        assert hopeless == (3 if "qlora" in name else 0)
    assert told.stderr.startswith("warning: recipes/sailor2-8b-lora.yaml: base.revision: main of sail/Sailor2-8B-Chat")
