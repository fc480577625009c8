"""Cards by name."""

import pytest

from stages.lib.contract import Refusal
from tools.planning import cards


def test_the_cards_that_many_have_are_there() -> None:
    found = cards.known()
    common = {"rtx-3060", "rtx-3070", "rtx-4060", "rtx-4060-ti-16", "rtx-4080", "rtx-5090", "a6000", "l40s", "t4"}
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
        ("rtx-4050", "h200; take one of them, or add a line there"),  # like rtx-4090, and another card
        ("b100", "h200; take one of them, or add a line there"),
    ],
)
def test_a_card_is_known_by_its_other_spellings_and_never_taken_for_another(gpu: str, said: str) -> None:
    with pytest.raises(Refusal) as caught:
        cards.named(gpu)
    told = str(caught.value)
    assert told.startswith(f"GPU: {gpu!r} is not in tools/planning/gpus.yaml; ") and told.endswith(said)
    assert ("known: " in told) != ("did you mean" in told)


@pytest.mark.parametrize(
    ("name", "mib", "card"),
    [
        ("NVIDIA GeForce RTX 4060", 8188, "rtx-4060"),
        ("NVIDIA GeForce RTX 4060 Ti", 16380, "rtx-4060-ti-16"),
        ("NVIDIA GeForce RTX 4060 Ti", 8188, None),
        ("NVIDIA GeForce RTX 3060", 12288, "rtx-3060"),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", 6144, None),
        ("NVIDIA GeForce RTX 4080 SUPER", 16376, None),
        ("NVIDIA A100-SXM4-40GB", 40960, "a100-40"),
        ("NVIDIA A100 80GB PCIe", 81920, "a100-80"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100"),
        ("NVIDIA H200", 143771, "h200"),
        ("NVIDIA RTX A6000", 49140, "a6000"),
        ("NVIDIA L40S", 46068, "l40s"),
        ("Tesla T4", 15360, "t4"),
        ("Tesla V100-SXM2-16GB", 16384, "v100"),
        ("Tesla V100-SXM2-32GB", 32768, None),
        ("NVIDIA A10G", 23028, None),
    ],
)
def test_a_drivers_name_is_a_card_of_the_table_or_none(name: str, mib: int, card: str | None) -> None:
    found = cards.driven(name, mib / 1024)
    assert (found and found.name) == card


def test_auto_is_what_a_card_has() -> None:
    found = cards.known()
    assert [found[name].precision("auto") for name in ("rtx-3060", "t4")] == ["bf16", "fp16"]
    assert cards.Card("a CPU", 8, fp32=1.0).precision("auto") == "fp32"
    assert found["t4"].precision("fp32") == "fp32"
