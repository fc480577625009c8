"""More pieces for a published tokenizer, and rows for them."""

from pathlib import Path

import pytest

from stages.lib import determinism, models, recipes
from stages.lib.contract import Refusal
from stages.lib.train import vocabulary
from tests import families

determinism.pin(1, "cpu", 1)

FP32 = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
READ = ["Nhà trường nghỉ hè.", "Trường học mở cửa.", "Nghỉ hè ở trường.", "Học trường nghề, nghỉ hè 347 ngày!"] * 3
OTHER = ["Hè này trường nghỉ.", "Abc xyz 123, def!"]


@pytest.mark.parametrize("name", ["qwen3", "llama", "gptj", "gemma3"])  # heads that are tied, free, with a bias
def test_new_pieces_shorten_what_was_read_and_change_nothing_else(name: str, tmp_path: Path) -> None:
    families.build(name, tmp_path / "hub", rows=16)
    old = models.load_tokenizer(tmp_path / "hub") if families.FAMILIES[name].template else None
    from transformers import AutoTokenizer

    old = old or AutoTokenizer.from_pretrained(str(tmp_path / "hub"))
    compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
    model = models.load(tmp_path / "hub", compute)
    before = model.get_input_embeddings().weight.detach().clone()
    head = model.get_output_embeddings().weight.detach().clone()
    grown, told = vocabulary.grow(model, old, READ, READ[:4], 30)
    assert told["new_pieces"] == 30
    assert told["tokens_per_syllable"] < 0.7 * told["tokens_per_syllable_before"]
    assert len(grown) == len(old) + 30
    for text in [*READ, *OTHER, "Ở đâu 🙂 日本\n  x"]:
        assert grown.decode(grown(text)["input_ids"], skip_special_tokens=True) == text
    for text in ("347 ngày!"[:4], "xyz 123, def!"):  # nothing of it was read
        assert grown(text)["input_ids"] == old(text)["input_ids"]
    assert grown.get_vocab() | old.get_vocab() == grown.get_vocab()  # no id moved, the special ones' included
    assert grown.all_special_ids == old.all_special_ids
    for rows, were in ((model.get_input_embeddings().weight, before), (model.get_output_embeddings().weight, head)):
        assert rows[: len(old)].equal(were[: len(old)])
        piece = max(range(len(old), len(grown)), key=lambda id: len(grown.convert_ids_to_tokens(id)))
        parts = old.convert_tokens_to_ids(vocabulary.spelled(old, grown.convert_ids_to_tokens(piece)))
        assert len(parts) > 1 and rows[piece].allclose(were[parts].mean(dim=0), atol=1e-6)
    models.save(model, grown, tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    assert [again(text)["input_ids"] for text in READ] == [grown(text)["input_ids"] for text in READ]
    assert (
        models.load(tmp_path / "saved", compute)
        .get_input_embeddings()
        .weight.equal(model.get_input_embeddings().weight)
    )


def test_merges_go_by_frequency_and_then_by_name() -> None:
    words = {("t", "r", "ư"): 5, ("t", "r", "ê"): 4, ("x", "y"): 4, ("q",): 9, ("a", "b"): 1}
    assert vocabulary.merges(words, ["t", "r", "ư", "ê", "x", "y", "q"], 9) == [
        ("t", "r"), ("tr", "ư"), ("tr", "ê"), ("x", "y"),
    ]  # fmt: skip
    assert vocabulary.merges(words, ["tr"], 2) == [("r", "ư"), ("t", "rư")]
    assert vocabulary.join(["a", "a", "a"], ("a", "a")) == ["aa", "a"]


def test_what_can_not_grow_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    families.build("llama", tmp_path)
    model = models.load(tmp_path, recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single"))
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(Refusal, match=r"base\.grow: the tokenizer is WordLevel"):
        vocabulary.grow(model, other, READ, READ, 5)
    with pytest.raises(Refusal, match="holds no pair of pieces twice"):
        vocabulary.grow(model, families.tokenizer(families.FAMILIES["llama"]), ["a"], ["a"], 5)


def test_a_wider_vocabulary_is_a_whole_number_of_tiles_of_means(tmp_path: Path) -> None:
    families.build("gptj", tmp_path, rows=1)
    model = models.load(tmp_path, FP32)
    known = model.get_input_embeddings().weight.shape[0]
    vocabulary.widen(model, known)
    assert model.get_input_embeddings().weight.shape[0] == known
    vocabulary.widen(model, known + 1)
    head = model.get_output_embeddings()
    wide = -(-(known + 1) // 64) * 64
    for rows in (model.get_input_embeddings().weight, head.weight, head.bias):
        assert len(rows) == wide
        assert rows[known:].allclose(rows[:known].mean(dim=0).expand_as(rows[known:]), atol=1e-6)
