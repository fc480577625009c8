"""Models, their tokenizers and the loops around them: what they read, learn, answer and refuse."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stages.lib import determinism, models, recipes
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import pretrain, rollouts, training
from tests import families

determinism.pin(1, "cpu", 1)  # the kernels were chosen in conftest.py, before torch was imported

TEXTS = [
    "Thủ đô của Việt Nam là Hà Nội.",
    "Ba trăm bốn mươi bảy viết là 347.",
    "Hòa bình trái nghĩa với chiến tranh.",
] * 40

COMPUTE = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")

SCRATCH = recipes.Scratch(
    source="scratch", vocabulary=400, hidden=32, layers=1, heads=2, context=128, block=16, batch=2, steps=3, lr=0.01,
    warmup=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return models.train_tokenizer([*TEXTS, *["system\nuser\nassistant\n"] * 90], 400, 64)


def test_a_model_is_loaded_without_chatter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    families.build("qwen3", tmp_path)
    capfd.readouterr()
    models.load(tmp_path, COMPUTE)
    assert "layers" not in capfd.readouterr().err  # of which transformers says that nobody cut them into shards


def test_only_what_the_assistant_says_is_learned_with_its_end(tokenizer: Any) -> None:
    ids, mask = models.encode(
        tokenizer,
        [
            {"role": "user", "content": "Thủ đô là gì?"},
            {"role": "assistant", "content": "Hà Nội."},
            {"role": "user", "content": "347?"},
            {"role": "assistant", "content": "Ba trăm"},
        ],
    )
    assert len(ids) == len(mask)
    learned, runs = "", []
    for token, said in zip([*ids, 0], [*mask, 0], strict=True):
        if said:
            learned += tokenizer.decode([token])
        elif learned:
            runs.append(learned)
            learned = ""
    assert runs == ["Hà Nội.<|im_end|>", "Ba trăm<|im_end|>"]


def test_a_prompt_is_the_start_of_its_conversation(tokenizer: Any) -> None:
    asked: Message = {"role": "user", "content": "Số 347?"}
    prompt = models.encode_prompt(tokenizer, [asked])
    ids, mask = models.encode(tokenizer, [asked, {"role": "assistant", "content": "Ba trăm"}])
    assert ids[: len(prompt)] == prompt
    assert mask[: len(prompt)] == [0] * len(prompt) and mask[len(prompt)] == 1


def test_digits_stand_alone_and_any_text_survives(tokenizer: Any) -> None:
    assert [tokenizer.decode([token]) for token in tokenizer("347")["input_ids"]] == ["3", "4", "7"]
    for text in ("Hòa bình, thủy triều: 1.234 đồng!\n\tỞ đây", "emoji 🙂 日本"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    roles = tokenizer("<|im_start|>user\n")["input_ids"]
    assert len(roles) == 3  # a turn's head is cheap


def test_packing_keeps_every_token_in_order() -> None:
    blocks = pretrain.pack([[1, 2, 3], [4, 5]], start=8, stop=9, context=3)
    assert blocks.tolist() == [[8, 1, 2], [3, 9, 8], [4, 5, 9]]


def test_the_schedule_rises_and_falls() -> None:
    rates = [pretrain.schedule(step, 10, 0.2) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] > 0


def test_orthogonal_brings_singular_values_near_one() -> None:
    found = pretrain.orthogonal(torch.randn(12, 30, generator=torch.Generator().manual_seed(1)))
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.5


def test_bad_dials_are_refused_in_words(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"base\.heads"):
        models.new_llama(SCRATCH.model_copy(update={"heads": 3}), tokenizer)
    with pytest.raises(Refusal, match="no safetensors"):
        models.load(tmp_path, COMPUTE)
    with pytest.raises(Refusal, match="lower"):
        pretrain.finite(float("nan"), 3)
    with pytest.raises(Refusal, match=r"base\.batch"):
        pretrain.train(
            models.new_llama(SCRATCH, tokenizer), torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4), batch=2,
            steps=1, lr=0.1, warmup=0.1, seed=1,
        )  # fmt: skip


def test_a_context_beyond_the_model_is_refused(tokenizer: Any) -> None:
    model = models.new_llama(SCRATCH, tokenizer)
    models.check_context(model, 128, "sft.context")
    with pytest.raises(Refusal, match=r"sft\.context: found 129.*at most 128"):
        models.check_context(model, 129, "sft.context")


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    plain = models.train_tokenizer(TEXTS, 300, 64)
    plain.chat_template = None
    models.new_llama(SCRATCH, plain).save_pretrained(tmp_path)
    plain.save_pretrained(tmp_path)
    with pytest.raises(Refusal, match="no chat template"):
        models.load_tokenizer(tmp_path)


def test_an_answer_ends_at_any_of_the_models_ends(tokenizer: Any) -> None:
    end, other, word = tokenizer.eos_token_id, 300, 301

    class Fixed:
        device = "cpu"
        generation_config = SimpleNamespace(eos_token_id=[other, end])

        def generate(self, input_ids: torch.Tensor, generation_config: Any = None, **told: Any) -> torch.Tensor:
            assert (generation_config.eos_token_id if generation_config else told["eos_token_id"]) == [end, other]
            said = torch.tensor([[word, other, tokenizer.pad_token_id], [word, word, word]])
            return torch.cat([input_ids, said[: len(input_ids)]], 1)

    fixed: Any = Fixed()
    asked: list[list[Message]] = [[{"role": "user", "content": "Gì?"}]] * 2
    text = tokenizer.decode([word])
    found = models.answer(fixed, tokenizer, asked, new_tokens=3, batch=2)
    assert found == [(text, 2, True), (text * 3, 3, False)]
    drawn = rollouts.sample(fixed, tokenizer, [[1], [2]], new_tokens=3, temperature=1.0, batch=2)
    assert [(answer.said, answer.ended) for answer in drawn] == [([word, other], True), ([word] * 3, False)]
    fixed.generation_config.eos_token_id = None
    assert models.ends(fixed, tokenizer) == [end]


def test_a_log_keeps_numbers_and_no_clocks() -> None:
    logs = {"loss": 1.23456789, "train_runtime": 3.2, "epoch": 1.0, "eval_steps_per_second": 9.0, "note": "x"}
    assert training.rounded(logs) == {"loss": 1.234568}


def test_a_norm_that_is_no_number_is_left_out_of_the_history() -> None:
    points: list[training.Point] = []
    recorder: Any = training.recorder(points)
    recorder.on_log(None, SimpleNamespace(global_step=1), None, logs={"loss": 2.0, "grad_norm": float("inf")})
    assert points == [{"step": 1, "loss": 2.0}]
    with pytest.raises(Refusal, match="loss is nan at step 2"):
        recorder.on_log(None, SimpleNamespace(global_step=2), None, logs={"loss": float("nan"), "grad_norm": 1.0})
