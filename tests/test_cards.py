"""Cards by name."""

import pytest

from stages.lib.contract import Refusal
from tools import cards


def test_the_cards_that_many_have_are_there() -> None:
    found = cards.known()
    common = {"rtx-3060", "rtx-3080", "rtx-4060", "rtx-4060-ti-16", "rtx-4080", "rtx-5090", "a6000", "l40s", "t4"}
    assert common <= set(found)
    for card in found.values():
        assert 7 < card.memory < 200 and card.bandwidth > 250
        assert card.bf16 in (0, card.fp16) and 1.5 < card.fp16 / card.fp32 < 20  # dense, with sums in fp32


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ("RTX3060", "did you mean 'rtx-3060'?"),
        ("4090", "did you mean 'rtx-4090'?"),
        ("NVIDIA GeForce RTX 4060", "did you mean 'rtx-4060'?"),
        ("NVIDIA-A100-80GB", "did you mean 'a100-80'?"),
        ("a100", "did you mean 'a100-40' or 'a100-80'?"),
        ("rtx-4060-ti", "did you mean 'rtx-4060-ti-16'?"),
        ("rtx-4070", "h200; take one of them, or add a line there"),  # like rtx-4090, and another card
        ("b100", "h200; take one of them, or add a line there"),
    ],
)
def test_a_card_is_known_by_its_other_spellings_and_never_taken_for_another(gpu: str, said: str) -> None:
    with pytest.raises(Refusal) as caught:
        cards.named(gpu)
    told = str(caught.value)
    assert told.startswith(f"GPU: {gpu!r} is not in tools/gpus.yaml; ") and told.endswith(said)
    assert ("known: " in told) != ("did you mean" in told)


def test_auto_is_what_a_card_has() -> None:
    found = cards.known()
    assert [found[name].precision("auto") for name in ("rtx-3060", "t4")] == ["bf16", "fp16"]
    assert cards.Card("a CPU", 8, fp32=1.0).precision("auto") == "fp32"
    assert found["t4"].precision("fp32") == "fp32"
