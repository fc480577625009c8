"""Planned beside measured memory: ``python -m benchmarks.plan`` on this CPU, or on its GPU where it has one.

On a CPU it counts what can be counted there: the bytes of parameters, gradients and the optimizer's state, and what
autograd keeps from a forward pass. On a GPU it also trains two steps with trl for each case and compares the peak.
Models are random, of a family's own config class, and loaded as the stages load them. Not covered: several GPUs, and
what answering and reading take.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from stages.lib import models, recipes, weights
from stages.lib.train import adapters
from tools.planning import memory, shapes
from tools.planning.memory import GIB, Job
from tools.planning.shapes import Shape

METHODS: tuple[recipes.Method, ...] = ("full", "lora", "qlora")
TOY = {family: Shape(family, 512, 128, 2, 4, 4, 32, 512, True, 512) for family in shapes.FAMILIES if family != "gemma3"}
TOY |= {
    "llama": Shape("llama", 512, 128, 2, 4, 2, 32, 320, False, 512),
    "qwen2": Shape("qwen2", 512, 128, 2, 4, 2, 32, 384, True, 512),
    "qwen3": Shape("qwen3", 512, 128, 2, 4, 2, 64, 384, True, 512),
    "gemma3_text": Shape("gemma3_text", 512, 128, 2, 4, 1, 64, 448, True, 512),
    "gpt_neox": Shape("gpt_neox", 512, 128, 2, 4, 4, 32, 512, False, 512),
    "gptj": Shape("gptj", 512, 128, 2, 4, 4, 32, 512, False, 512),
}
MIDDLE = {
    "llama 120M": Shape("llama", 8192, 768, 12, 12, 4, 64, 2048, True, 2048),
    "bloom 90M": Shape("bloom", 8192, 768, 12, 12, 12, 64, 3072, True, 2048),
}
LARGE = {
    "llama 1.2B": Shape("llama", 128256, 2048, 16, 32, 8, 64, 8192, True, 4096),
    "llama 8B": Shape("llama", 128256, 4096, 32, 32, 8, 128, 14336, False, 4096),
    "bloom 1.7B": Shape("bloom", 250880, 2048, 24, 16, 16, 128, 8192, True, 2048),
    "qwen3 1.7B": Shape("qwen3", 151936, 2048, 28, 16, 8, 128, 6144, True, 4096),
}


def config(shape: Shape) -> Any:
    """A configuration of transformers with these sizes."""
    from transformers import AutoConfig

    names: dict[str, dict[str, Any]] = {
        "bloom": {"hidden_size": shape.hidden, "n_layer": shape.layers, "n_head": shape.heads},
        "gptj": {
            "n_embd": shape.hidden, "n_layer": shape.layers, "n_head": shape.heads, "n_positions": shape.context,
            "n_inner": shape.inner, "rotary_dim": min(64, shape.head_dim),
        },
        "mpt": {
            "d_model": shape.hidden, "n_layers": shape.layers, "n_heads": shape.heads, "max_seq_len": shape.context,
        },
    }  # fmt: skip
    common = {
        "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "intermediate_size": shape.inner,
        "max_position_embeddings": shape.context,
    }  # fmt: skip
    if shape.family in ("qwen3", "gemma3_text", "llama", "mistral"):
        common["head_dim"] = shape.head_dim
    ends = {"vocab_size": shape.vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    tied = {"tie_word_embeddings": shape.tied}
    return AutoConfig.for_model(shape.family, **names.get(shape.family, common), **ends, **tied)


def tuning(method: recipes.Method, optimizer: recipes.Optimizer = "adamw", checkpoint: bool = False) -> recipes.Tuning:
    """What a case trains."""
    return recipes.Tuning(
        method=method, lr=1e-4, batch=2, optimizer=optimizer, gradient_checkpointing=checkpoint, accumulate=1,
        lora=recipes.Lora(r=16, alpha=32, dropout=0.0),
    )  # fmt: skip


def job(shape: Shape, told: recipes.Tuning, precision: str, batch: int, length: int) -> Job:
    """A case as the plan sees it."""
    return Job("case", shape, told, precision, "single", 1, batch, length)


def built(case: Job, device: Literal["cpu", "auto"]) -> Any:
    """A random model as a stage loads it: saved, read as its method wants it, with adapters where it has them."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    assert case.tuning is not None
    settings = {"device": device, "threads": 1, "precision": case.precision, "launch": "single"}
    compute = recipes.Compute.model_validate(settings)
    kind = weights.dtype(compute)
    with tempfile.TemporaryDirectory() as folder:
        with torch.device(weights.device(compute)):
            AutoModelForCausalLM.from_config(config(case.shape), dtype=kind).save_pretrained(folder)
        model: Any = models.load(Path(folder), compute, **adapters.learning(compute, case.tuning.method))
    found = adapters.config(case.tuning, model)
    if found is not None:
        model = get_peft_model(model, found)
    adapters.precise(model)
    if case.tuning.gradient_checkpointing:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def kept(case: Job) -> tuple[int, int]:
    """Bytes that autograd keeps from the decoder's forward pass, the head left out: (activations, casts of weights).

    With checkpointing, the one layer that is computed anew is not among them.
    """
    import torch

    model = built(case, "cpu")
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.lm_head = torch.nn.Identity()
    if hasattr(inner, "embed_out"):
        inner.embed_out = torch.nn.Identity()
    own = {held.untyped_storage().data_ptr() for held in (*model.parameters(), *model.buffers())}
    matrices = {shape for held in model.parameters() if held.ndim == 2 for shape in (held.shape, held.mT.shape)}
    seen: dict[int, tuple[int, bool]] = {}
    alive = []

    def pack(tensor: Any) -> Any:
        store = tensor.untyped_storage()
        if store.data_ptr() not in own:
            seen[store.data_ptr()] = store.nbytes(), tensor.shape in matrices
            alive.append(tensor)
        return tensor

    ids = torch.randint(3, 500, (case.batch, case.length))
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"),
    ):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    activations, casts = (sum(size for size, cast in seen.values() if cast == wanted) for wanted in (False, True))
    return activations, casts


def states(case: Job) -> dict[str, tuple[float, float]]:
    """{part: (planned, measured)} of parameters, gradients and optimizer after one step on a CPU."""
    import torch

    assert case.tuning is not None
    model = built(case, "cpu")
    moving = [held for held in model.parameters() if held.requires_grad]
    if case.tuning.optimizer == "adamw":
        optimizer: Any = torch.optim.AdamW(moving)
    elif case.tuning.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        optimizer = Adafactor(moving, lr=1e-3, relative_step=False, scale_parameter=False)
    else:
        from bitsandbytes.optim import AdamW8bit

        optimizer = AdamW8bit(moving)
    for held in moving:
        held.grad = torch.ones_like(held)
    optimizer.step()
    planned = memory.parts(case)

    def size(tensors: Any) -> float:
        return float(sum(tensor.nbytes for tensor in tensors))

    quantised = [held.quant_state for held in model.parameters() if getattr(held, "quant_state", None) is not None]
    scales = [held for state in quantised for held in (state.absmax, state.state2.absmax)]
    held_states = [value for entry in optimizer.state.values() for value in entry.values() if torch.is_tensor(value)]
    return {
        "weights": (planned["weights"] + planned.get("adapters", 0), size([*model.parameters(), *scales])),
        "gradients": (float(memory.trainable(case) * memory.moving(case)), size(held.grad for held in moving)),
        "optimizer": (planned["optimizer"], size(value for value in held_states if value.ndim)),
    }


def cpu_cases() -> Iterator[tuple[str, Job]]:
    """Families at toy size in every way to train, and two larger models."""
    for name, shape in TOY.items():
        for method in METHODS:
            for precision in ("fp32", "bf16"):
                # on a GPU autocast has a softmax read float32; on a CPU it leaves GPT-J's to bf16
                if (name, method == "full", precision) != ("gptj", False, "bf16"):
                    yield f"{name} {method} {precision}", job(shape, tuning(method), precision, 2, 120)
    for name, shape in MIDDLE.items():
        for method in METHODS:
            yield f"{name} {method} bf16", job(shape, tuning(method), "bf16", 1, 250)


def on_cpu() -> None:
    """A table of what can be counted without a GPU."""
    print("| case | part | planned MB | measured MB | off |\n|---|---|---|---|---|")
    for name, case in cpu_cases():
        activations, casts = kept(case)
        rows = {"activations": (sum(memory.kept(case, cuda=False)), activations), "casts": (memory.casts(case), casts)}
        for part, (planned, measured) in (rows | states(case)).items():
            off = f"{planned / measured - 1:+.1%}" if measured else ""
            print(f"| {name} | {part} | {planned / 1e6:.2f} | {measured / 1e6:.2f} | {off} |")


def on_gpu() -> None:
    """Two steps by trl for each case, the peak beside the plan's."""
    import torch

    room = torch.cuda.get_device_properties(0).total_memory
    print("| case | planned GiB | measured GiB | off |\n|---|---|---|---|")
    for name, shape in LARGE.items():
        for method in METHODS:
            for checkpoint in (False, True):
                case = job(shape, tuning(method, checkpoint=checkpoint), "bf16", 4, 1024)
                planned = memory.peak(case)
                label = f"{name} {method}{' checkpointed' if checkpoint else ''} 4×1024"
                if planned > 0.9 * room:
                    print(f"| {label} | {planned / GIB:.1f} | does not fit | |")
                    continue
                measured = trained(case)
                print(f"| {label} | {planned / GIB:.1f} | {measured / GIB:.1f} | {planned / measured - 1:+.1%} |")


def trained(case: Job) -> float:
    """Bytes of the peak of two steps: what the allocator reserved, and what the driver holds beside it."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    assert case.tuning is not None
    plain = models.train_tokenizer(["Xin chào Việt Nam."] * 9, 300, case.length)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = built(case, "auto")
    rows = [{"input_ids": [5] * case.length, "labels": [5] * case.length}] * (case.batch * 2)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=scratch, max_steps=2, per_device_train_batch_size=case.batch, max_length=case.length,
                bf16=True, report_to="none", save_strategy="no",
                gradient_checkpointing=case.tuning.gradient_checkpointing,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=plain,
        )  # fmt: skip
        adapters.precise(trainer.model)
        trainer.train()
    free, room = torch.cuda.mem_get_info()
    beside = room - free - torch.cuda.memory_reserved()
    peak = float(torch.cuda.max_memory_reserved() + beside)
    del trainer, model
    return peak


if __name__ == "__main__":
    import torch

    on_gpu() if torch.cuda.is_available() and "--cpu" not in sys.argv else on_cpu()
