"""Packing: rows are full, and nobody in a row sees another."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import determinism
from stages.lib.contract import Refusal
from stages.lib.train import packing

determinism.pin(1, "cpu", 1)

HIDDEN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
KEYS = HIDDEN | {"num_key_value_heads": 2, "head_dim": 8}
WINDOW = KEYS | {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
# at toy size, with windows that are shorter than the records
SHAPES: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gemma": KEYS,
    "gemma2": WINDOW,
    "gemma3_text": WINDOW,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_neox": HIDDEN,
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "llama": KEYS,
    "mistral": KEYS | {"sliding_window": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4},
    "qwen2": KEYS,
    "qwen3": KEYS,
}


def made(family: str) -> Any:
    """A model of a family with random weights, large enough that every token counts."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    config = AutoConfig.for_model(
        family, vocab_size=97, pad_token_id=0, bos_token_id=1, eos_token_id=2, **SHAPES[family]
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.3)
    return model


def record(seed: int, length: int) -> dict[str, Any]:
    ids = torch.randint(3, 97, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return {"input_ids": ids, "labels": ids}


def logits(model: Any, rows: list[dict[str, Any]], bounds: packing.Bounds) -> torch.Tensor:
    batch = packing.collator(0, bounds)(rows)
    ids = {key: value for key, value in batch.items() if key != "labels"}
    with torch.inference_mode():
        found: torch.Tensor = model(**ids, use_cache=False).logits  # as in training: with a cache no bounds are read
    return found


def test_every_family_of_the_table_is_compared() -> None:
    assert SHAPES.keys() == packing.FAMILIES.keys()


@pytest.mark.parametrize("family", SHAPES)
def test_a_packed_record_answers_as_if_alone(family: str) -> None:
    model = made(family)
    plain = made(family)
    bounds = packing.bind(model)
    first, second, third, other = (record(seed, length) for seed, length in enumerate((9, 13, 6, 9)))
    # two rows of unlike length, so that one is padded
    together = logits(model, [packing.joined([first, second]), packing.joined([third])], bounds)
    for part, found in ((first, together[0, :9]), (second, together[0, 9:22]), (third, together[1, :6])):
        with torch.inference_mode():
            alone = plain(input_ids=torch.tensor([part["input_ids"]])).logits[0]
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)
    # to the bit: what stands before a record changes nothing in it
    changed = logits(model, [packing.joined([other, second]), packing.joined([third])], bounds)
    assert torch.equal(together[0, 9:22], changed[0, 9:22])
    assert not torch.equal(together[0, :9], changed[0, :9])


def test_half_precision_keeps_the_slopes_of_a_late_record() -> None:
    model = made("bloom").to(torch.bfloat16)
    packing.separate(model)
    late, early = record(1, 12), record(2, 400)
    together = logits(model, [packing.joined([early, late])], "mask")[0, 400:].float()
    alone = logits(model, [packing.joined([late])], "mask")[0].float()
    assert (together - alone).abs().max() < 0.05 * alone.std()


@pytest.mark.parametrize("family", ["mamba", "opt"])
def test_a_family_that_is_not_in_the_table_is_tried_and_refused(family: str) -> None:
    shapes = {"mamba": {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}, "opt": {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "ffn_dim": 32, "word_embed_proj_dim": 32,
    }}  # fmt: skip
    SHAPES_AND = shapes[family]
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, vocab_size=97, **SHAPES_AND))
    with pytest.raises(Refusal, match=r"sft\.packing"):
        packing.bind(model)


def test_a_family_that_keeps_the_bounds_is_taken_without_being_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "FAMILIES", {})
    assert packing.bind(made("qwen3")) == "positions"


def test_a_kernel_that_reads_no_bounds_is_refused() -> None:
    model = made("llama")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(Refusal, match="flash_attention_2"):
        packing.bind(model)


@given(st.lists(st.integers(1, 50), max_size=80))
def test_each_record_is_in_one_row_and_no_row_is_too_long(lengths: list[int]) -> None:
    rows = packing.fit(lengths, 50)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(row and sum(lengths[index] for index in row) <= 50 for row in rows)
    # first fit: all rows but the last are more than half full
    assert sum(sum(lengths[index] for index in row) * 2 <= 50 for row in rows) <= 1


def test_rows_are_filled_first_fit_decreasing() -> None:
    assert packing.fit([3, 7, 5, 5, 2, 8], 10) == [[5, 4], [1, 0], [2, 3]]
    with pytest.raises(ValueError, match="11 tokens"):
        packing.fit([11], 10)


def test_a_first_token_is_not_foretold_from_the_record_before() -> None:
    row = packing.joined([{"input_ids": [5, 6], "labels": [5, 6]}, {"input_ids": [7, 8], "labels": [7, 8]}])
    assert {name: list(values) for name, values in row.items()} == {
        "input_ids": [5, 6, 7, 8], "labels": [-100, 6, -100, 8], "seq_lengths": [2, 2]
    }  # fmt: skip
    batch = packing.collator(0, "positions")([row, packing.joined([{"input_ids": [9], "labels": [9]}])])
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1], [0, 0, 1, 2]]
    assert batch["labels"].tolist() == [[-100, 6, -100, 8], [-100] * 4]
    assert packing.collator(0, "mask")([row])["attention_mask"].tolist() == [[1, 1, 2, 2]]
    assert packing.fullness([row], 5) == 0.8
