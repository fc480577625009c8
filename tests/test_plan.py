"""What the plan foresees of stages and work, and its page."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
import torch
from pydantic import model_validator

from benchmarks import plan as measure
from stages.lib import determinism, paramfile, recipes, records
from stages.lib.contract import Refusal
from stages.lib.train import drift
from tests.planned import hub, tables
from tools import plan
from tools.planning import advice, cards, jobs, memory, shapes, work

determinism.pin(1, "cpu", 1)

# peft still asks transformers for a property by its old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
KNOWN = {name: dict(entry) for name, entry in paramfile.load(shapes.TABLE).items()}


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


def test_operations_follow_the_six_n_rule() -> None:
    shape = shapes.from_table(KNOWN["llama-3.1-8b"])
    full = measure.job(shape, measure.tuning("full"), "bf16", 1, 1)
    again = measure.job(shape, measure.tuning("full", checkpoint=True), "bf16", 1, 1)
    lora = measure.job(shape, measure.tuning("lora"), "bf16", 1, 1)
    count = shapes.parameters(shape) - shape.vocabulary * shape.hidden  # looking up an embedding costs nothing
    assert work.training(full, 1, 1) == pytest.approx(6 * count, rel=0.001)
    assert work.training(again, 1, 1) == pytest.approx(8 * count, rel=0.001)
    assert work.training(lora, 1, 1) == pytest.approx(4 * count + 6 * memory.trainable(lora), rel=0.001)
    grown = replace(lora, grown=True)  # only the head's own gradient costs more: to look up is free
    ends = 2 * shape.vocabulary * shape.hidden
    assert memory.trainable(grown) == memory.trainable(lora) + ends
    assert work.training(grown, 1, 1) == pytest.approx(work.training(lora, 1, 1) + ends)


def test_only_sft_learns_what_turns_begin_with_unless_it_reads_no_turns(tmp_path: Path) -> None:
    def unread(repo: str, **sft: str) -> list[str]:
        recipe = advice.changed(hub(repo), "sft", **sft)
        assert recipe is not None
        shape, _ = shapes.of(recipe.base)
        return [job.name for job, *_ in jobs.planned(recipe, shape, "bf16", 1, tables()) if job.unread]

    bare = "bigscience/bloomz-7b1"
    assert unread(bare) == unread(bare, method="full") == ["sft"]
    assert unread(bare, mode="text")[:3] == ["sft", "reward", "rlhf"]
    assert unread("meta-llama/Llama-3.2-1B") == ["sft"]
    assert unread("meta-llama/Llama-3.2-1B-Instruct") == unread("Qwen/Qwen3-8B") == []
    measure.config(measure.TOY["mpt"]).save_pretrained(tmp_path)
    assert unread(str(tmp_path)) == ["sft"]
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    assert unread(str(tmp_path)) == []
    config = tmp_path / "config.json"  # of a model that has read text alone since it was given a template
    config.write_text(config.read_text(encoding="utf-8").replace("{", '{"unread": [1], ', 1), encoding="utf-8")
    assert unread(str(tmp_path)) == ["sft"]


def test_only_sft_learns_the_ends_of_a_grown_vocabulary() -> None:
    plain, grown = hub("Qwen/Qwen3-8B"), hub("Qwen/Qwen3-8B", grow=8000)
    found = [{job.name: job for job, *_ in jobs.planned(each, shapes.of(each.base)[0], "bf16", 1, tables())}
             for each in (plain, grown)]  # fmt: skip
    end = shapes.of(grown.base)[0].vocabulary * 4096
    for stage, ends in (("sft", 2), ("reward", 0), ("rlhf", 0)):  # sft has learned them by then
        more = memory.trainable(found[1][stage]) - memory.trainable(found[0][stage])
        assert more == ends * end
        if not ends:
            continue
        peaks = memory.peak(found[1][stage]) - memory.peak(found[0][stage])
        # itself and AdamW's two moments stay, of 4 bytes each; its gradients may stand when activations are gone
        assert 12 * more < peaks < 17 * more


@pytest.mark.parametrize(("stage", "room"), [("sft", 16), ("reward", 12), ("rlhf", 20)])
def test_advice_has_been_computed_to_fit(stage: str, room: float) -> None:
    recipe = hub("bigscience/bloomz-7b1")
    shape, _ = shapes.of(recipe.base)
    told = advice.advice(recipe, shape, "bf16", 1, tables(), stage, room * memory.GIB)
    assert f"{stage}.method: qlora" in told and float(told.split(" -> ")[1].split()[0]) <= room


def test_advice_knows_what_a_grown_vocabulary_takes() -> None:
    recipe = hub("Qwen/Qwen3-8B", method="qlora", grow=8000)
    shape, _ = shapes.of(recipe.base)
    near, far = (advice.advice(recipe, shape, "bf16", 1, tables(), "sft", room * memory.GIB) for room in (22.1, 11.8))
    assert "sft.optimizer: adafactor" in near and float(near.split(" -> ")[1].split()[0]) <= 22.1
    assert far.endswith("or base.grow: 0: new pieces have both ends of the vocabulary learned whole")
    plain = hub("Qwen/Qwen3-8B", method="qlora")
    for other, stage in ((plain, "sft"), (recipe, "reward"), (recipe, "rlhf")):  # what sft has learned costs no more
        told = advice.advice(other, shape, "bf16", 1, tables(), stage, 2 * memory.GIB)
        assert told.endswith("take a smaller model or a larger card")


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


def test_what_fits_and_leaves_little_is_tight() -> None:
    recipe = hub("Qwen/Qwen3-8B", method="qlora")
    shape, _ = shapes.of(recipe.base)
    found = [planned for planned in jobs.planned(recipe, shape, "bf16", 1, tables()) if planned[0].name == "sft"]
    peak = memory.peak(found[0][0])
    told = [plan.memory_table(found, room) for room in (peak / 0.95, peak / 0.85)]
    assert [lines[1].split()[-1] for lines in told] == ["tight", "yes"]
    assert [line for line in told[0] if line not in told[1]][-1:] == [f"  tight: {plan.FITS['tight']}"]


def test_rlhf_has_its_judge_and_its_start_beside_it() -> None:
    recipe = hub("meta-llama/Llama-3.2-1B", method="full")
    shape, _ = shapes.of(recipe.base)
    count = shapes.parameters(shape)
    for method, others in (("full", (2 + 4) * count), ("lora", 2 * count), ("qlora", memory.packed(shape, count, 2))):
        changed = advice.changed(recipe, "rlhf", method=method)
        assert changed is not None
        found = {job.name: job for job, *_ in jobs.planned(changed, shape, "bf16", 1, tables())}
        assert memory.parts(found["rlhf"])["others"] == pytest.approx(others)


def test_hours_prices_and_dong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert work.Work(0, 3.6e15).hours(1e12, 1, 0.5, 2) == 1.0
    assert work.Work(0, 0, 3.6e12).hours(1, 1e9, 0.5, 2) == 1.0  # half of the bandwidth is reached
    assert work.Work(0, 0, 0, 9e6).hours(1, 1, 0.5, 2) == 1.0
    recipe = hub("meta-llama/Llama-3.2-1B", "ddp")
    shape, _ = shapes.of(recipe.base)
    done = [(job, work.Work(0, 0), "") for job, *_ in jobs.planned(recipe, shape, "bf16", 4, tables())]
    job = done[1][0]
    monkeypatch.setattr(jobs, "planned", lambda *_: [(job, work.Work(0, 4 * 3.6e15), "")])
    card = cards.Card("x", 80, bandwidth=1, fp32=1, fp16=1, bf16=1, price=2)
    lines = plan.cost_table(recipe, done[1:2], [card], card, shape, 4, 0.5, 26300, tables())
    # 2 hours of 4 cards, for 2 dollars each
    assert lines[1].split() == ["x", "<", "80", "2.0h", "2.0h", "16.00", "421"]
    small = cards.Card("y", 1, bandwidth=1, fp32=1, fp16=1, bf16=1, price=2)
    lines = plan.cost_table(recipe, done[1:2], [small], None, shape, 4, 0.5, 26300, tables())
    assert lines[1].split() == ["y", "1", "2.0h*", "-", "-", "-"]


@pytest.mark.parametrize(("algorithm", "passes"), [("orpo", 0), ("dpo", 1), ("kto", 3)])
def test_the_start_reads_pairs_as_often_as_the_algorithm_asks(algorithm: str, passes: int) -> None:
    tree = paramfile.load(Path(__file__).parents[1] / "recipes" / "qwen3-8b-lora.yaml")
    tree["rlhf"] |= {"algorithm": algorithm, "batch": 2}
    recipe: recipes.Recipe = paramfile.typed(recipes.Recipe, tree, "recipes/x.yaml")
    shape, _ = shapes.of(recipe.base)
    job, done, _ = next(each for each in jobs.planned(recipe, shape, "bf16", 1, tables()) if each[0].name == "rlhf")
    tokens = 2 * 2000 * 270.0
    measured = jobs.measuring(job, recipe, tables(), drift.LOOKS + 1).flops
    once = tokens * work.forward(shape, 270.0)
    assert done.flops - measured - work.training(job, tokens, 270.0) == pytest.approx(passes * once, abs=once / 1000)


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
    assert told.endswith("No card is used: compute.device is cpu.\n")  # the default recipe is one of a CPU


def test_a_recipe_of_a_gpu_is_priced_on_every_card(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    told = plan.page("qwen3-0.6b-qlora", "rtx-3060", 1, 0.35)
    assert "Hours and prices on one card at 35% of peak" in told and "No card is used" not in told
    assert all(f"\n  {name} " in told for name in cards.known())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "rtx3060"], "GPU: 'rtx3060' is not in tools/planning/gpus.yaml; did you mean 'rtx-3060'?\n"),
        (["--recipe", "tinny"], "RECIPE: found 'tinny'; did you mean 'tiny'?\n"),
        (["--recipe", "xyz"], "RECIPE: found 'xyz'; look among the files in recipes/\n"),
        (["--mfu", "35"], "a share between 0 and 1\n"),
    ],
)
def test_wrong_words_are_told(
    words: list[str], said: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert plan.main(words) == 2
    assert capsys.readouterr().err.endswith(said)  # and no long list of names


def test_a_shape_comes_from_a_folder_or_the_table_or_is_refused(tmp_path: Path) -> None:
    found, source = shapes.of(hub("Qwen/Qwen3-8B").base)
    assert source == "tools/planning/shapes.yaml" and shapes.parameters(found) == 8_190_735_360
    measure.config(measure.TOY["mpt"]).save_pretrained(tmp_path)
    folder, source = shapes.of(hub(str(tmp_path)).base)
    assert source == "its config.json" and shapes.parameters(folder) == shapes.parameters(measure.TOY["mpt"])
    for repo, told in (
        ("Qwen/Qwen3-8b", "did you mean 'Qwen/Qwen3-8B'? Else name a local folder"),
        ("someone/else-9B", "no name in tools/planning/shapes.yaml is like it. Else name a local folder"),
        ("data/hub/phogpt-4b", "`python -m tools.convert OWNER/NAME REVISION data/hub/phogpt-4b` makes it"),
        (str(tmp_path / "gone"), "no such folder"),
        (str(tmp_path.parent), "holds no config.json"),
    ):
        with pytest.raises(Refusal) as caught:
            shapes.of(hub(repo).base)
        assert told in str(caught.value) and "SeaLLMs" not in str(caught.value)
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
