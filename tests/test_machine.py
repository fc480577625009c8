"""What the plan foresees of the machine beside its cards."""

from tests.planned import hub, tables
from tools.planning import advice, jobs, machine, memory, shapes


def test_the_machine_holds_every_model_twice_and_makes_the_base() -> None:
    recipe = hub("meta-llama/Llama-3.2-1B", method="qlora")
    shape, _ = shapes.of(recipe.base)
    found = list(jobs.planned(recipe, shape, "bf16", 1, tables()))
    models, beside = machine.disk(recipe, shape, "bf16", found)
    whole = 2.0 * shapes.parameters(shape)
    assert models["base"] == models["sft"] == whole > models["int8"] > models["nf4"] > whole / 4
    assert models["sft's adapter"] == 4 * shapes.adapter_parameters(shape, recipe.sft.lora.r)
    assert sum(models.values()) in beside.values() and whole in beside.values()
    most, why = machine.ram(recipe, shape, "bf16", found, 24 * memory.GIB)
    assert most == whole + machine.PROCESS and why


def test_every_process_reads_all_weights_before_shards_are_cut() -> None:
    shape, _ = shapes.of(hub("meta-llama/Llama-3.2-1B").base)
    count = shapes.parameters(shape)
    for launch, method, processes, copies, width in (
        ("fsdp2", "lora", 8, 8, 2), ("fsdp2", "full", 8, 8, 4), ("fsdp2", "lora", 1, 2, 2), ("zero3", "lora", 8, 8, 2),
        ("zero3", "full", 8, 8, 4),
    ):  # fmt: skip
        recipe = hub("meta-llama/Llama-3.2-1B", launch, method)
        found = list(jobs.planned(recipe, shape, "bf16", processes, tables()))
        sft = next(job for job, *_ in found if job.name == "sft")
        states = 16.0 * memory.trainable(sft) * (launch == "zero3")
        most, why = machine.ram(recipe, shape, "bf16", [planned for planned in found if planned[0] == sft], 80e9)
        assert most == copies * width * count + states + machine.PROCESS * processes, (launch, method)
        assert launch in why or "shards" in why


def test_a_checkpoint_holds_the_best_weights_too() -> None:
    recipe = hub("meta-llama/Llama-3.2-1B", method="full")
    shape, _ = shapes.of(recipe.base)
    moving = 4 * shapes.parameters(shape)
    for keep, copies in (("last", 1), ("best", 2)):
        kept = advice.changed(recipe, "sft", keep=keep, save=50, optimizer="adamw")
        assert kept is not None
        found = [each for each in jobs.planned(kept, shape, "bf16", 1, tables()) if each[0].name == "sft"]
        _, beside = machine.disk(kept, shape, "bf16", found)
        assert beside["checkpoints, while one takes another's place"] == 2 * (copies + 2) * moving  # AdamW's are two


def test_models_are_written_in_the_recipes_precision_and_adapters_in_float32() -> None:
    full, grown = hub("meta-llama/Llama-3.2-1B", method="full"), hub("meta-llama/Llama-3.2-1B", grow=1000)
    for recipe in (full, grown):
        shape, _ = shapes.of(recipe.base)
        found = list(jobs.planned(recipe, shape, "bf16", 1, tables()))
        models, _ = machine.disk(recipe, shape, "bf16", found)
        assert models["sft"] == models["rlhf"] == models["reward"] == 2 * shapes.parameters(shape)
        if recipe is full:
            assert "sft's adapter" not in models
            continue
        shared = shape.vocabulary * shape.hidden  # which peft writes under two names
        assert models["sft's adapter"] == 4 * (shapes.adapter_parameters(shape, recipe.sft.lora.r) + 2 * shared)
