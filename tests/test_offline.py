"""ORPO's loss by hand, and which rows teach which algorithm. Not covered: whole runs (``test_rlhf.py``)."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import trl

from stages.lib.contract import Refusal
from stages.lib.train import offline
from tests.toy_rlhf import OFFLINE, Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


def test_orpo_is_cross_entropy_and_the_odds_of_both_answers() -> None:
    sums, lengths = torch.tensor([-2.0, -6.0, -4.0, -4.0]), torch.tensor([2.0, 3.0, 2.0, 4.0])
    p = [math.exp(-1), math.exp(-2), math.exp(-2), math.exp(-1)]
    odds = [x / (1 - x) for x in p]
    expected = 8 / 5 - 0.5 * sum(
        math.log(1 / (1 + math.exp(-math.log(odds[row] / odds[row + 2])))) for row in range(2)
    ) / 2  # fmt: skip
    assert float(offline.odds_ratio_loss(sums, lengths, 0.5)) == pytest.approx(expected)
    assert torch.isfinite(offline.odds_ratio_loss(torch.zeros(2), torch.ones(2), 0.5))


def test_single_verdicts_teach_kto_and_nothing_else(home: Home, tmp_path: Path) -> None:
    kto = OFFLINE.model_copy(update={"algorithm": "kto"})
    assert home.run(kto, tmp_path, {"preferences_train": home.verdicts})[0]["ranked"] == 8
    for name in ("dpo", "orpo"):
        with pytest.raises(Refusal, match=rf"verdicts\.parquet holds nothing that {name} learns from"):
            home.run(OFFLINE.model_copy(update={"algorithm": name}), tmp_path, {"preferences_train": home.verdicts})


@pytest.mark.parametrize(("good", "bad", "weights"), [(6, 2, (1.0, 3.0)), (2, 6, (3.0, 1.0)), (4, 4, (1.0, 1.0))])
def test_the_rarer_kind_of_verdict_weighs_as_much_as_the_other(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int, bad: int, weights: tuple[float, float]
) -> None:
    class Seen(Exception):
        pass

    def spy(**told: Any) -> None:
        assert (told["desirable_weight"], told["undesirable_weight"]) == weights
        raise Seen

    monkeypatch.setattr(trl, "KTOConfig", spy)
    verdicts = home.table("uneven", [
        ("verdict", [("user", f"Sau {n} là gì?"), ("chosen" if n < good else "rejected", f"Là {n + 1}.")])
        for n in range(good + bad)
    ])  # fmt: skip
    with pytest.raises(Seen):
        home.run(OFFLINE.model_copy(update={"algorithm": "kto"}), tmp_path, {"preferences_train": verdicts})
