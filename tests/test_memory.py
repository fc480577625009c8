"""The plan's memory beside models that are really built and trained a step."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from benchmarks import plan as measure
from stages.lib import determinism, paramfile, recipes
from stages.lib.train import adapters
from tools.planning import memory, shapes

determinism.pin(1, "cpu", 1)

# peft still asks transformers for a property by its old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
TOYS, CPU_ONLY = sorted(measure.TOY), ("gptj", "lora")
KNOWN = {name: dict(entry) for name, entry in paramfile.load(shapes.TABLE).items()}


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
        ("llama-3.2-1b", "full", "adamw8bit", 11, 17),
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


def told(monkeypatch: pytest.MonkeyPatch, key: Literal["grown", "unread"], value: bool | list[int]) -> None:
    """Have toys say of their vocabulary what base writes into a configuration."""
    made = measure.config

    def config(shape: shapes.Shape) -> Any:
        found = made(shape)
        setattr(found, key, value)
        return found

    monkeypatch.setattr(measure, "config", config)


@pytest.mark.parametrize("family", ["llama", "qwen3"])  # whose ends are two matrices, and one
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_ends_of_a_grown_vocabulary_are_planned_as_they_are_learned(
    family: str, method: recipes.Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, "grown", True)
    case = replace(measure.job(measure.TOY[family], measure.tuning(method), "bf16", 2, 120), grown=True)
    for part, (planned, measured) in measure.states(case).items():
        assert planned == pytest.approx(measured, rel=0.001), part
    activations, casts = measure.kept(case)
    assert sum(memory.kept(case, cuda=False)) == pytest.approx(activations, rel=0.05)
    assert memory.casts(case) == pytest.approx(casts, rel=0.05)
    factored = replace(case, tuning=measure.tuning(method, "adafactor"))
    planned, measured = measure.states(factored)["optimizer"]
    assert planned == pytest.approx(measured, rel=0.01)


def test_a_head_with_a_bias_is_learned_whole_where_turns_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, "unread", [3, 4])
    case = replace(measure.job(measure.TOY["gptj"], measure.tuning("lora"), "bf16", 2, 120), unread=True)
    for part, (planned, measured) in measure.states(case).items():
        assert planned == pytest.approx(measured, rel=0.01), part


@pytest.mark.parametrize(("precision", "width"), [("bf16", 2), ("fp32", 4)])
def test_tokens_of_a_turn_cost_copies_of_the_vocabulary_where_rows_of_it_are_learned(
    precision: str, width: int
) -> None:
    shape = shapes.from_table(KNOWN["bloomz-560m"])
    end = shape.vocabulary * shape.hidden
    plain = measure.job(shape, measure.tuning("lora"), precision, 1, 64)
    known = [replace(plain, grown=True), replace(plain, tuning=measure.tuning("full"))]
    for case, head, forward, back in (
        (plain, "fused", width, 8), (plain, "whole", width, width), (plain, "one", 0, 0),
        (known[0], "fused", 0, 0), (known[1], "fused", 0, 0),
    ):  # fmt: skip
        case = replace(case, head=head)
        found = [memory.head_bytes(replace(case, unread=unread)) for unread in (True, False)]
        assert [new - old for new, old in zip(*found, strict=True)] == [forward * end, back * end]
    judge = replace(plain, head="one")  # it copies the end that reads alone, which has a gradient of that size
    more = sum(memory.learning(replace(judge, unread=True)).values()) - sum(memory.learning(judge).values())
    assert 0.5 * width * end < more <= width * end


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_reward_model_learns_the_end_that_reads(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForSequenceClassification

    told(monkeypatch, "grown", True)
    config = measure.config(measure.TOY[family])
    config.num_labels = 1
    judge = AutoModelForSequenceClassification.from_config(config)
    found: Any = adapters.config(measure.tuning("lora"), judge, adapters.HEAD)
    learned = sum(held.numel() for held in get_peft_model(judge, found).parameters() if held.requires_grad)
    case = replace(measure.job(measure.TOY[family], measure.tuning("lora"), "fp32", 1, 8), grown=True, head="one")
    assert memory.trainable(case) == learned


def test_optimizers_of_8_bits_leave_embeddings_in_float32(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    case = measure.job(measure.TOY["llama"], measure.tuning("full", "adamw8bit"), "fp32", 1, 8)
    model = measure.built(case, "cpu")
    settings = TrainingArguments(output_dir=str(tmp_path), optim="adamw_8bit", use_cpu=True, report_to="none")
    optimizer = Trainer(model=model, args=settings).create_optimizer()
    for held in model.parameters():
        held.grad = torch.ones_like(held)
    optimizer.step()
    states = [value for entry in optimizer.state.values() for name, value in entry.items() if "qmap" not in name]
    measured = sum(value.nbytes for value in states if torch.is_tensor(value) and value.ndim)
    assert memory.state_bytes(case) == pytest.approx(measured, rel=0.02)
