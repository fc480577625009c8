"""Adapters of the models that are learned from people's rankings: put on, and merged without drift.

A QLoRA adapter has learned beside 4-bit weights, so it is merged into what these stand for, as full numbers: merging
into the 4-bit weights themselves would round away most of what it has learned.
"""

import tempfile
from collections.abc import Callable
from typing import Any

from stages.lib import models, recipes, training


def quantized(method: recipes.Method, compute: recipes.Compute, *heads: str) -> dict[str, Any]:
    """Loading arguments: 4-bit weights for QLoRA (Dettmers et al. 2023), but not for ``heads``."""
    if method != "qlora":
        return {}
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=models.dtype(compute),
            llm_int8_skip_modules=["lm_head", *heads],
        )
    }


def config(tuning: recipes.Tuning, *heads: str) -> Any | None:
    """What to train beside frozen weights, new ``heads`` in full; None where every weight moves."""
    if tuning.method == "full":
        return None
    found = training.lora_config(tuning.lora)
    if heads:
        found.task_type, found.modules_to_save = "SEQ_CLS", list(heads)
    return found


def precise(model: Any, method: recipes.Method) -> None:
    """See to it that what is learned beside 4-bit weights is kept in full numbers, which trl rounds to 16 bits."""
    if method == "qlora":
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()


def merged(trained: Any, method: recipes.Method, load: Callable[[], Any]) -> Any:
    """A trained model as one without adapters; ``load`` gives the weights that it was trained beside."""
    if method == "full":
        return trained
    if method == "lora":
        return trained.merge_and_unload()
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as scratch:
        trained.save_pretrained(scratch)
        return PeftModel.from_pretrained(load().dequantize(), scratch).merge_and_unload()
