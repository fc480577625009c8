"""Models that are to learn: loaded as their method wants them, given adapters, and whole again when they have learnt.

Not covered: training itself (``training.py``, ``fitting.py``).
"""

from typing import TYPE_CHECKING, Any

from stages.lib import models, recipes, weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

HEAD = models.HEAD


def learning(compute: recipes.Compute, method: recipes.Method, *heads: str) -> dict[str, Any]:
    """Loading arguments of a model that is to learn; new ``heads`` are never put into 4 bits.

    Weights that move are kept in fp32: a step of 1e-5 is lost in 16 bits, and mixed precision calculates in 16 anyway.
    Weights that stand still under adapters take 16 bits, or 4 for QLoRA (Dettmers et al. 2023).
    """
    import torch

    if method == "full":
        return {"dtype": torch.float32}
    if method == "lora":
        return {}
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=weights.dtype(compute),
            llm_int8_skip_modules=["lm_head", *heads] if heads else None,  # of itself it finds the model's own head
        )
    }


def config(tuning: recipes.Tuning, model: "PreTrainedModel", *heads: str) -> Any | None:
    """Adapters on every linear layer but the head; new ``heads`` are learned whole. None where all weights move.

    The rows of tokens that the model has never read are learned as well: no adapter would move them.
    """
    if tuning.method == "full":
        return None
    from peft import LoraConfig

    whole = learned_whole(model)
    rows, biased = ({}, []) if whole else learned_rows(model)
    return LoraConfig(
        r=tuning.lora.r,
        lora_alpha=tuning.lora.alpha,
        lora_dropout=tuning.lora.dropout,
        target_modules="all-linear",
        task_type="SEQ_CLS" if heads else "CAUSAL_LM",
        modules_to_save=[*whole, *biased, *heads] or None,
        trainable_token_indices=rows or None,
        ensure_weight_tying=bool(whole and model.all_tied_weights_keys),
    )


def learned_whole(model: "PreTrainedModel") -> list[str]:
    """The layers that low-rank adapters are no match for: both ends of a vocabulary that has new pieces."""
    return list(vocabulary_ends(model)) if getattr(model.config, "grown", False) else []


def learned_rows(model: "PreTrainedModel") -> tuple[dict[str, list[int]], list[str]]:
    """(the tokens of which each end of the vocabulary learns its rows, the ends that are learned whole instead).

    ``base`` tells in the configuration which tokens the model has never read: those of a turn, where it gave it the
    chat template. peft 0.21 forgets the bias of a head (GPT-J's) of which it trains rows.
    """
    ids = getattr(model.config, "unread", None)
    if not ids:
        return {}, []
    ends = vocabulary_ends(model)
    biased = [name for name, end in ends.items() if getattr(end, "bias", None) is not None]
    return {name: list(ids) for name in ends if name not in biased}, biased


def vocabulary_ends(model: "PreTrainedModel") -> dict[str, Any]:
    """Where tokens go in and come out, by name; one of both where they share their weights, or nothing comes out."""
    found = (model.get_output_embeddings(), model.get_input_embeddings())  # a reward model has no output embeddings
    ends = {id(end.weight): end for end in found if end is not None}
    return {name: module for name, module in model.named_modules() if any(module is end for end in ends.values())}


def precise(model: Any) -> None:
    """Keep what learns in fp32: trl puts QLoRA's adapters into bf16, and peft copies layers in 16 bits as they are.

    There small steps are lost, and so would be a part of two adapters' product when they are merged. A head of which
    rows are learned has no bias, and its wrapper says so: trl's losses ask for it.
    """
    from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper

    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper):
            module.register_parameter("bias", None)
        if isinstance(module, ModulesToSaveWrapper):
            for layer in module.modules_to_save.values():
                conform(layer, module.original_module.weight.dtype)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def settled(model: "PreTrainedModel", conversed: bool) -> None:
    """Forget in the configuration what has been learned now, lest later adapters learn it whole again.

    That is the new pieces of the vocabulary and, of conversations, the tokens of a turn.
    """
    for name in ("grown", "unread") if conversed else ("grown",):
        vars(model.config).pop(name, None)


def conform(layer: Any, kind: "torch.dtype") -> None:
    """Have a layer take and give what those around it do, whatever its own weights are.

    In training mixed precision sees to that, but answers are drawn and read without it.
    """
    layer.register_forward_pre_hook(
        lambda layer, given: tuple(each.to(layer.weight.dtype) if each.is_floating_point() else each for each in given)
    )
    layer.register_forward_hook(lambda layer, given, found: found.to(kind))


def merge(model: Any) -> "PreTrainedModel":
    """The model under a trained adapter, with the adapter in its weights.

    What 4 bits stand for is what the adapter was trained against: they are spelled out before it is added, so that
    nothing is rounded again. That is done layer by layer and ends on the CPU, where the whole has room.
    """
    import torch

    four_bit = any(type(module).__name__ == "Linear4bit" for module in model.modules())
    if not four_bit:
        return model.merge_and_unload()
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    kind = next(module.compute_dtype for module in model.modules() if isinstance(module, Linear4bit))
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    plain: dict[str, torch.nn.Linear] = {}
    with torch.no_grad():
        for name, layer in [*adapted.items(), *model.named_modules()]:
            base = getattr(layer, "base_layer", layer)
            if not isinstance(base, Linear4bit) or name.removesuffix(".base_layer") in plain:
                continue
            linear = torch.nn.Linear(base.in_features, base.out_features, base.bias is not None, "meta")
            weight = dequantize_4bit(base.weight.data, base.weight.quant_state).float()
            for adapter in getattr(layer, "active_adapters", []):
                weight += layer.get_delta_weight(adapter)
            linear.weight = torch.nn.Parameter(weight.to("cpu", kind))
            if base.bias is not None:
                linear.bias = torch.nn.Parameter(base.bias.to("cpu", kind))
            plain[name.removesuffix(".base_layer")] = linear
        for name, linear in plain.items():
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, linear)
    merged = model.merge_and_unload()  # what else was adapted: some tokens' embeddings
    for attribute in ("hf_quantizer", "quantization_method"):
        vars(merged).pop(attribute, None)
    merged.is_loaded_in_4bit = merged.is_quantized = False
    del merged.config.quantization_config
    return merged.to("cpu")
