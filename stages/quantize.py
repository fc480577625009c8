"""A smaller model of the same vocabulary and shape: 8-bit integers or 4-bit normal floats.

int8 is LLM.int8 (Dettmers et al. 2022), nf4 that of QLoRA (2023), both by bitsandbytes, which rounds weights
as they are and needs no text. Not covered: formats that are calibrated on text, and GGUF.
"""

from typing import Any

from stages.lib import contract, determinism, models, recipes, weights
from stages.lib.contract import Dep, Out, Refusal, Word, suggest

FORMATS: dict[str, dict[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}


def main(name: Word, model: Dep, quantized: Out, *, seed: int, compute: recipes.Compute) -> None:
    if name not in FORMATS:
        raise Refusal(f"quantize has no format {name!r}; {suggest(name, list(FORMATS))}")
    determinism.pin(seed, compute.device, compute.threads)
    from transformers import BitsAndBytesConfig

    more = {"bnb_4bit_compute_dtype": weights.dtype(compute)} if name == "nf4" else {}
    config = BitsAndBytesConfig(**FORMATS[name], **more)
    models.save(models.load(model, compute, quantization_config=config), models.load_tokenizer(model), quantized)


if __name__ == "__main__":
    contract.run(main)
