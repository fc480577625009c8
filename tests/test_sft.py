"""The sft stage on a model of a few thousand weights: every word of its recipe does what it says."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages import sft
from stages.lib import determinism, models, records
from stages.lib.contract import Refusal
from stages.lib.train import checkpoints, fitting, launch, lessons, training
from tests import families
from tests.full_disk import small_files
from tests.toy_sft import COMPUTE, PLAIN, Home, Run, apart

determinism.pin(1, "cpu", 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("sft"))


@pytest.fixture(scope="module")
def plain(home: Home) -> Run:
    return home.run(home.folder / "plain")


def test_a_run_learns_and_its_history_counts_what_was_cut(home: Home, plain: Run) -> None:
    losses = list(plain.losses().values())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 1
    assert set(plain.losses()) == {0, 4, 8}
    assert {plain.points[0][name] for name in ("truncated", "cut_answers", "left_out", "tokens_lost")} == {0}
    assert apart(plain.weights, home.weights(home.base)) > 0.01
    assert json.loads((plain.model / "config.json").read_text(encoding="utf-8"))["use_cache"] is True


@pytest.mark.parametrize("changes", [{"batch": 1}, {"batch": 3}, {"batch": 16}, {"packing": True, "batch": 2}], ids=str)
def test_validation_loss_is_the_mean_of_all_tokens_whatever_the_batches(
    home: Home, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = home.run(tmp_path, **changes, epochs=0.5)
    losses = run.losses()
    assert losses[0] == pytest.approx(home.loss(home.base, home.other), abs=2e-6)
    assert losses[max(losses)] == pytest.approx(home.loss(run.model, home.other), abs=2e-6)


def test_an_evaluation_of_the_same_weights_gives_the_same_loss(home: Home, tmp_path: Path) -> None:
    losses = home.run(tmp_path, batch=2, keep="best", lr=1e-30).losses()
    assert len(losses) > 5 and max(losses.values()) - min(losses.values()) < 3e-6


SAME: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "rows of unequal length, gathered": ({"batch": 4}, {"batch": 2, "accumulate": 2}, 1e-4),
    "packed rows, gathered": ({"packing": True, "batch": 2}, {"packing": True, "batch": 1, "accumulate": 2}, 1e-4),
    "all records in one step, packed or not": (
        {"batch": 16, "epochs": 1.0},
        {"batch": 16, "packing": True, "epochs": 1.0},
        1e-4,
    ),
    "all records in one step, gathered": ({"batch": 16, "epochs": 1.0}, {"accumulate": 4, "epochs": 1.0}, 1e-4),
    "calculated twice to save memory": ({}, {"gradient_checkpointing": True}, 0),
    "the same with adapters": ({"method": "lora"}, {"method": "lora", "gradient_checkpointing": True}, 0),
    "the same with packed rows": ({"packing": True}, {"packing": True, "gradient_checkpointing": True}, 0),
    "a rate in the recipe or above it": ({"lr": 0.003}, {}, 0),
}


@pytest.mark.parametrize("name", SAME)
def test_two_ways_to_say_the_same_give_the_same_weights(home: Home, tmp_path: Path, name: str) -> None:
    one, other, most = SAME[name]
    lr = 0.003 if one.get("lr") else "auto"
    first = home.run(tmp_path / "a", **one)
    second = home.run(tmp_path / "b", **other, lr=lr)
    assert apart(first.weights, second.weights) <= most
    losses = [[point["loss"] for point in run.points if "loss" in point] for run in (first, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"neftune": 5.0}, {"schedule": "cosine"}, {"optimizer": "adamw8bit"}, {"optimizer": "adafactor"},
     {"packing": True}, {"warmup": 0.5}, {"method": "lora"}],
    ids=str,
)  # fmt: skip
def test_every_word_changes_what_is_learned(home: Home, plain: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = home.run(tmp_path, **changes)
    losses = run.losses()
    assert losses[max(losses)] < losses[0] - 0.1
    assert losses[0] == pytest.approx(plain.losses()[0], abs=2e-6)  # no noise where it is measured
    assert apart(run.weights, plain.weights) > 0.003
    assert losses[max(losses)] == pytest.approx(home.loss(run.model, home.other), abs=2e-6)  # nor in what was saved


def test_a_schedule_is_the_one_that_it_says(home: Home, tmp_path: Path) -> None:
    shapes: dict[str, Callable[[float], float]] = {
        "linear": lambda done: 1 - done,
        "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    }
    for schedule, shape in shapes.items():
        points = home.run(tmp_path / schedule, schedule=schedule, warmup=0.25).points
        rates = [point["learning_rate"] for point in points if "learning_rate" in point]
        expected = [0.0, 0.005, *(0.01 * shape(step / 6) for step in range(6))]
        assert rates == pytest.approx(expected, abs=1e-6)


def test_noise_leaves_with_the_training(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, seen = models.save, []

    def spy(model: Any, *rest: Any) -> None:
        ends = model.get_input_embeddings()
        seen.append((dict(ends._forward_hooks), getattr(ends, "neftune_noise_alpha", None)))
        save(model, *rest)

    monkeypatch.setattr(models, "save", spy)
    home.run(tmp_path / "full", neftune=5.0, epochs=0.5)
    home.run(tmp_path / "lora", neftune=5.0, epochs=0.5, method="lora")
    assert seen == [({}, None)] * 2


def test_the_best_weights_are_kept_where_the_loss_rises_again(home: Home, plain: Run, tmp_path: Path) -> None:
    for method, start, lr in (("full", "base", 0.05), ("lora", "plain/model", 0.1)):  # which grows nearly to the end
        run = home.run(tmp_path / method, start=Path(start), lr=lr, warmup=0.9, epochs=10.0, keep="best", method=method)
        losses, last = run.losses(), run.points[-1]
        after = {step: loss for step, loss in losses.items() if step}
        best = min(after, key=after.__getitem__)
        assert after[best] < after[max(after)] - 0.005  # else nothing is shown
        assert (last["kept_step"], last["kept_eval_loss"]) == (best, after[best])
        assert home.loss(run.model, home.other) == pytest.approx(after[best], abs=2e-6)


@pytest.mark.parametrize("family", ["llama", "bloom", "mpt", "gemma3"])
def test_a_packed_run_is_judged_by_single_records_and_tells_how_full_its_rows_are(
    home: Home, tmp_path: Path, family: str
) -> None:
    start, method = home.family(family), "full" if family == "llama" else "lora"
    run = home.run(tmp_path, start=start, method=method, packing=True, batch=1, epochs=4.0, neftune=5.0)
    rows, _ = lessons.conversations(records.read(home.chat), home.tokenizer, 128)
    tokens = sum(len(row["input_ids"]) for row in rows)
    told, losses = run.points[0], run.losses()
    assert told["records"] == 16 and math.ceil(tokens / 128) <= told["rows"] < 8
    assert told["fullness"] == pytest.approx(tokens / (told["rows"] * 128), abs=1e-6)
    last = max(losses)
    assert last == round(told["rows"] * 4) and losses[last] < losses[0] - 0.02
    for step, model in ((0, home.folder / start), (last, run.model)):
        assert losses[step] == pytest.approx(home.loss(model, home.other), abs=3e-6)


@pytest.mark.parametrize("packing", [False, True])
def test_plain_text_is_learned_as_in_pretraining(home: Home, tmp_path: Path, packing: bool) -> None:
    run = home.run(
        tmp_path, mode="text", packing=packing, context=32, epochs=15.0, train=home.none, validation=home.none
    )
    losses = run.losses()
    assert losses[max(losses)] < losses[0] - 1
    assert run.points[0]["tokens_lost"] <= 1 and ("rows" in run.points[0]) is packing


def test_what_is_cut_is_told_and_counted(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = families.table(
        tmp_path / "both", "instruction",
        [[("user", "0" * 140), ("assistant", "1")], [("user", "0"), ("assistant", "1" * 140)],
         [("user", "0"), ("assistant", "1")]],
    )  # fmt: skip
    told = home.run(tmp_path, train=both, epochs=0.3).points[0]
    assert (told["truncated"], told["cut_answers"], told["left_out"]) == (2, 1, 1) and told["tokens_lost"] > 20
    said = capsys.readouterr().err
    assert f"{both}: sft.context (128): 2 conversations are longer and lose {told['tokens_lost']} tokens" in said


def damaged(home: Home, folder: Path) -> dict[str, Any]:
    model = models.load(home.base, COMPUTE)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    models.save(model, home.tokenizer, folder / "damaged")
    return {"start": folder / "damaged"}


def ends_cut(home: Home, folder: Path) -> dict[str, Any]:
    """A context within all answers."""
    table = families.table(folder / "far", "instruction", [[("user", "0"), ("assistant", "1" * 9)]])
    return {"train": table, "validation": table, "context": home.started() + 1}


NOTHING = r"none holds nothing to learn from in sft\.mode {} within sft\.context \(128\): raise it"
WRONG: dict[str, tuple[Callable[[Home, Path], dict[str, Any]], str]] = {
    "a model without a chat template": (lambda home, _: {"start": home.mute()}, r"mute has no chat template: `dvc"),
    "a context beyond the model": (lambda *_: {"context": 129}, r"sft\.context: found 129; the model reads at most"),
    "all too long": (lambda home, _: {"train": home.long}, r"long holds nothing to learn .* \(128\): raise it"),
    "no rows": (lambda home, _: {"train": home.none}, NOTHING.format("chat")),
    "no rows held out": (lambda home, _: {"validation": home.none}, NOTHING.format("chat")),
    "no texts": (lambda home, _: {"mode": "text", "text": home.none}, NOTHING.format("text")),
    "no texts held out": (lambda home, _: {"mode": "text", "text_validation": home.none}, NOTHING.format("text")),
    "all ends cut": (ends_cut, r"no end of turn.*raise sft\.context"),
    "a loss that is no number": (lambda *_: {"lr": 1e38}, r"^loss is (nan|inf) at step [12]: the learning rate is"),
    "a loss that is no number at the end": (lambda *_: {"lr": 1e38, "batch": 16, "epochs": 1.0},
                                            r"^eval_loss is (nan|inf) at step 1: the learning rate"),
    "a model that is no number": (damaged, r"^eval_loss is nan at step 0: so it is before anything was learned"),
    "pages without a GPU": (lambda *_: {"optimizer": "paged_adamw8bit"}, r"paged_adamw8bit needs a GPU.*choose"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_nothing_is_written_or_lost(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changes, told = WRONG[name]
    out = tmp_path / "out"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(Refusal, match=told):
        home.run(out, **{"save": 1} | changes(home, tmp_path))
    assert list(out.iterdir()) == []
    assert len(list(tmp_path.glob("data/checkpoints/*/last"))) == (name == "a loss that is no number")  # of step 1


def test_the_best_of_sharded_weights_is_refused_before_anything_starts(home: Home) -> None:
    spread = COMPUTE.model_copy(update={"launch": "fsdp2"})
    words = [home.base, home.chat, home.chat, home.text, home.text, home.folder / "m", home.folder / "h"]
    with pytest.raises(Refusal, match=r"sft\.keep: found best .* fsdp2 spreads: take keep: last"):
        sft.main(*words, seed=1, lr="auto", compute=spread, sft=PLAIN.model_copy(update={"keep": "best"}))


def test_a_disk_that_is_full_is_told_apart_from_other_errors(home: Home, tmp_path: Path) -> None:
    for folder in ("run/part", "old/last"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "old/last/optimizer.pt").write_bytes(bytes(60_000_000))
    where = checkpoints.Place(tmp_path / "run/part", 3, tmp_path / "run/last")
    with pytest.raises(Exception, match="other"), fitting.explained(where):
        raise Exception("other")
    begun_anew = pytest.raises(Refusal, match=r"run begins anew; .* holds 0\.1 GB of 1 other runs")
    with small_files() as limit, begun_anew, fitting.explained(where):
        limit(1000)
        home.tokenizer.save_pretrained(tmp_path / "run/part")
    assert not where.scratch.exists()


# what is called right after the disk is full, and how many bytes a file may still have
LAST_WORDS: dict[str, tuple[Any, str, int]] = {
    "model": (launch, "whole", 2000),
    "adapter": (launch, "whole", 2000),
    "tokenizer": (PreTrainedTokenizerFast, "save_pretrained", 1000),
    "history": (training, "write_history", 10),
}


@pytest.mark.parametrize("full_at", LAST_WORDS)
def test_a_disk_that_is_full_at_the_end_costs_no_step(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    method = "lora" if full_at == "adapter" else "full"
    expected = home.run(tmp_path / "unbroken", method=method, save=3)
    owner, name, most = LAST_WORDS[full_at]
    call, made = getattr(owner, name), training.recorder
    known: list[int] = []

    def full(*words: Any, **more: Any) -> Any:
        if "checkpoint-" not in str(words):  # these are written before
            limit(most)
        return call(*words, **more)

    def listening(points: list[training.Point]) -> Any:
        known.append(len(points))
        return made(points)

    with monkeypatch.context() as patch, small_files() as limit:
        patch.setattr(owner, name, full)
        with pytest.raises(Refusal, match=r"no room on the disk.*make some and run it again"):
            home.run(tmp_path / "broken", method=method, save=3)
    assert list((tmp_path / "broken").iterdir()) == []
    assert len(list((tmp_path / "data/checkpoints").glob("sft-*/last"))) == 1
    monkeypatch.setattr(training, "recorder", listening)
    again = home.run(tmp_path / "broken", method=method, save=3)
    assert known == [7]  # it went on at step 6, with the history of steps 0 to 6
    assert apart(expected.weights, again.weights) == 0 and expected.points == again.points
    assert not list((tmp_path / "data/checkpoints").iterdir())
