"""The tools that look at, or convert, a base model."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from stages.lib import determinism, models, recipes
from stages.lib.contract import Refusal
from tests import families
from tools import convert, mask

determinism.pin(1, "cpu", 1)

TINY = Path(__file__).parents[1] / "recipes"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe whose base model lies beside it."""
    families.build("qwen3", tmp_path / "local")
    (tmp_path / "recipes").mkdir()
    text = (TINY / "qwen3-0.6b-lora.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipes/mine.yaml").write_text(text.replace("Qwen/Qwen3-0.6B", "local"), encoding="utf-8")
    shutil.copy(TINY / "tiny.yaml", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_mask_of_a_recipe_is_shown_token_by_token(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mask.main(["mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    learned = "".join(line.partition("  learned  ")[2] for line in lines)
    assert learned.startswith("H") and learned.endswith("<|im_end|>") and learned.count("<|im_end|>") == 2
    assert sum("  ·        " in line for line in lines) > 20


def test_the_mask_of_what_is_not_there_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mask.main(["mien"]) == 2
    assert capsys.readouterr().err == "error: RECIPE: found 'mien'; did you mean 'mine'?\n"
    assert mask.main(["tiny"]) == 2  # nothing was made yet
    assert capsys.readouterr().err.startswith("error: models/base is missing")
    assert mask.main([]) == 2
    assert capsys.readouterr().err.startswith("``python -m tools.mask RECIPE``")
    assert mask.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("``python -m tools.mask RECIPE``")
    shutil.move(here / "local", here / "elsewhere")
    text = (here / "recipes/mine.yaml").read_text(encoding="utf-8")
    (here / "recipes/mine.yaml").write_text(text.replace("repo: local", "repo: ./local"), encoding="utf-8")
    assert mask.main(["mine"]) == 2
    assert "recipes/mine.yaml: base.repo: found './local': no such folder" in capsys.readouterr().err
    (here / "recipes/mine.yaml").write_text("compute: 3\n", encoding="utf-8")
    assert mask.main(["mine"]) == 2
    assert "base is missing" in capsys.readouterr().err


def test_the_default_recipe_shows_the_model_that_was_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stages.lib.train import chat_templates

    spoken = families.tokenizer(families.FAMILIES["bloom"])
    chat_templates.talk(spoken)
    spoken.save_pretrained(here / "models/base")
    assert mask.main(["tiny"]) == 0
    assert "learned" in capsys.readouterr().out


def test_pickles_become_safetensors_of_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    families.build("llama", tmp_path / "hub")
    compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
    model = models.load(tmp_path / "hub", compute)
    torch.save(model.state_dict(), tmp_path / "hub/pytorch_model.bin")
    (tmp_path / "hub/model.safetensors").unlink()
    assert convert.main([str(tmp_path / "hub"), "main", str(tmp_path / "new")]) == 0
    again = models.load(tmp_path / "new", compute)
    for name, weight in model.state_dict().items():
        assert again.state_dict()[name].equal(weight)


def test_what_can_not_be_converted_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main([]) == 2
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "strangenet"}))
    assert convert.main([str(tmp_path), "main", str(tmp_path / "new")]) == 2
    assert "'strangenet'" in capsys.readouterr().err
    assert convert.main(["o/never", "main", str(tmp_path / "new")]) == 2  # tests know no network
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    families.build("llama", tmp_path / "hub")
    (tmp_path / "hub/model.safetensors").unlink()
    for spoiled in (b"no pickle", pickle.dumps(Path("x"), 2)):  # what a loader of tensors alone does not read
        (tmp_path / "hub/pytorch_model.bin").write_bytes(spoiled)
        assert convert.main([str(tmp_path / "hub"), "main", str(tmp_path / "new")]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {tmp_path}/hub at main: ")
    assert not (tmp_path / "new").exists()


def test_a_converted_model_tells_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from stages import base

    commit = "a" * 40
    families.build("llama", tmp_path / commit)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / commit))
    assert convert.main(["o/pickled", "main", str(tmp_path / "new")]) == 0
    source = recipes.Hub(source="hub", repo=str(tmp_path / "new"), revision="main", grow=0)
    told = {"repo": "o/pickled", "revision": "main", "commit": commit}
    assert base.from_hub(source, tmp_path, tmp_path)[3] == told | {"template": "added"}


def test_a_family_that_overflows_in_half_precision_is_refused(tmp_path: Path) -> None:
    families.build("gemma3", tmp_path / "gemma")
    families.build("llama", tmp_path / "llama")
    half = recipes.Compute(device="cpu", threads=1, precision="fp16", launch="single")
    with pytest.raises(Refusal, match=r"compute\.precision: found fp16.*family gemma3_text.*set it to fp32"):
        models.load(tmp_path / "gemma", half)
    assert models.load(tmp_path / "gemma", half.model_copy(update={"precision": "bf16"})).dtype == torch.bfloat16
    assert models.load(tmp_path / "llama", half).dtype == torch.float16


def test_weights_that_learn_are_whole_and_others_small() -> None:
    from stages.lib.train import adapters

    compute = recipes.Compute(device="cpu", threads=1, precision="bf16", launch="single")
    assert adapters.learning(compute, "full") == {"dtype": torch.float32}
    assert adapters.learning(compute, "lora") == {}
    four = adapters.learning(compute, "qlora")["quantization_config"]
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_compute_dtype) == (True, "nf4", torch.bfloat16)


@pytest.mark.parametrize(("name", "longest"), [("llama", 128), ("bloom", None), ("mpt", 128), ("gptj", 128)])
def test_how_much_a_model_reads(name: str, longest: int | None, tmp_path: Path) -> None:
    families.build(name, tmp_path)
    model = models.load(tmp_path, recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single"))
    assert models.longest(model) == longest
