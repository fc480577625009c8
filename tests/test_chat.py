"""What the chat decides, on literal values and toy models; its page is tried in test_chat_page.py."""

import itertools
import os
import re
import shutil
import socket
import threading
import unicodedata
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages import chat
from stages.lib import recipes
from stages.lib.chat import conversation, texts
from stages.lib.chat.conversation import Sampling, Trouble, Turn
from stages.lib.contract import Refusal

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
COMPUTE = recipes.Compute(device="cpu", threads=1, precision="auto", launch="single")  # as hub recipes say it
GREEDY = Sampling(temperature=0, top_p=1, top_k=0, max_new_tokens=8, repetition_penalty=1, seed=1)
TURNS = [Turn(f"câu hỏi {n}", f"trả lời {n}", "sft", "", GREEDY) for n in range(3)]


def words(told: Any) -> int:
    return sum(len(message["content"].split()) for message in told)


def toy(folder: Path, context: int, template: str = TEMPLATE) -> None:
    """A model with random weights that never ends by itself, and a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: place for place, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=special[0], eos_token=special[2])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:2]})
    tokenizer.chat_template = template or None
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # printable ASCII only, so that each token shows as a letter
        letters = [vocabulary[chr(code)] for code in range(97, 123)]
        others = [place for place in range(len(vocabulary)) if place not in letters]
        model.lm_head.weight[others] = 0
        model.lm_head.weight[letters] *= 50
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    toy(folder / "sft", context=4096)
    toy(folder / "base", context=192)
    toy(folder / "plain", context=192, template="")
    (folder / "reward").mkdir()
    (folder / "reward" / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    return folder


def test_models_are_listed_most_finished_first(tmp_path: Path) -> None:
    for name in ("zeta", "base", "nf4", "rlhf", "int8", "alpha", "sft"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    for name, text in {"reward": '{"architectures": ["LlamaForSequenceClassification"]}', "half": '{"archi'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    (tmp_path / "empty").mkdir()
    assert conversation.discover(tmp_path) == ["rlhf", "sft", "int8", "nf4", "base", "alpha", "zeta"]
    assert conversation.discover(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["../base", "nowhere", "", "reward"])
def test_only_listed_models_are_loaded(models: Path, name: str) -> None:
    with pytest.raises(Trouble, match="gone"):
        conversation.Models(models, COMPUTE).get(name)


def test_the_last_two_models_are_kept(models: Path) -> None:
    shelf = conversation.Models(models, COMPUTE)
    first = shelf.get("sft")
    shelf.get("base")
    assert shelf.get("sft") is first
    shelf.get("plain")
    assert [name for name, _ in shelf.loaded] == ["sft", "plain"]


def test_a_model_made_anew_is_loaded_anew(models: Path) -> None:
    shelf = conversation.Models(models, COMPUTE)
    old = shelf.get("sft")
    os.utime(models / "sft" / "config.json", ns=(1, 1))
    assert shelf.get("sft") is not old
    assert len(shelf.loaded) == 1


def test_weights_that_are_no_safetensors_are_refused(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "sft", tmp_path / "sft")
    (tmp_path / "sft" / "model.safetensors").rename(tmp_path / "sft" / "pytorch_model.bin")
    with pytest.raises(Trouble, match="unreadable"):
        conversation.Models(tmp_path, COMPUTE).get("sft")


@pytest.mark.parametrize(
    ("context", "dropped", "room"),
    [(100, 0, 50), (48, 0, 24), (46, 1, 28), (35, 1, 17), (34, 2, 22), (14, 3, 8)],
)
def test_the_oldest_exchanges_are_left_out(context: int, dropped: int, room: int) -> None:
    told = conversation.messages(TURNS, "câu hỏi này", "Hãy ngắn gọn")  # 3 words, 3 exchanges of 6, 3 words
    assert conversation.fit(told, words, context, 50) == ([told[0], *told[1 + 2 * dropped :]], dropped, room)


def test_a_question_longer_than_the_context_is_said_to_be() -> None:
    with pytest.raises(Trouble) as caught:
        conversation.fit(conversation.messages(TURNS, "từ " * 30, ""), words, 32, 50)
    assert (caught.value.key, caught.value.blanks) == ("too_long", {"tokens": 30, "context": 32})


def test_a_blank_system_prompt_is_none() -> None:
    assert conversation.messages([], "Chào", "  ") == [{"role": "user", "content": "Chào"}]


def test_a_model_without_chat_template_says_so(models: Path) -> None:
    with pytest.raises(Trouble, match="no_template"):
        conversation.prompt(conversation.Models(models, COMPUTE).get("plain"), [])


def test_a_template_may_refuse_a_role(models: Path) -> None:
    model = conversation.Models(models, COMPUTE).get("sft")
    model.tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(Trouble, match="System role not supported"):
        conversation.prompt(model, conversation.messages([], "Chào", "Hãy"))


def test_an_answer_grows_and_repeats_with_its_seed(models: Path) -> None:
    model = conversation.Models(models, COMPUTE).get("sft")
    ids = conversation.prompt(model, conversation.messages([], "Chào", ""))
    drawn = replace(GREEDY, temperature=1, max_new_tokens=40)
    views = list(conversation.stream(model, ids, drawn, threading.Event()))
    assert views[-1][1] == 40
    assert all(later.startswith(earlier) for (earlier, _), (later, _) in itertools.pairwise(views))
    assert list(conversation.stream(model, ids, drawn, threading.Event()))[-1] == views[-1]
    assert list(conversation.stream(model, ids, replace(drawn, seed=2), threading.Event()))[-1] != views[-1]


def test_closing_an_answer_stops_the_model(models: Path) -> None:
    model = conversation.Models(models, COMPUTE).get("sft")
    ids = conversation.prompt(model, conversation.messages([], "Chào", ""))
    growing = conversation.stream(model, ids, replace(GREEDY, max_new_tokens=4000), threading.Event())
    next(growing)
    assert answering()
    growing.close()
    assert not answering()


def answering() -> bool:
    return any(thread.name == "answer" for thread in threading.enumerate())


def test_a_set_event_makes_the_next_token_the_last(models: Path) -> None:
    model = conversation.Models(models, COMPUTE).get("sft")
    stop = threading.Event()
    stop.set()
    assert [tokens for _, tokens in conversation.stream(model, [5, 6], GREEDY, stop)][-1] == 1


def test_a_failing_model_is_no_silent_answer(models: Path) -> None:
    model = conversation.Models(models, COMPUTE).get("sft")
    with pytest.raises(Trouble, match="failed"):
        list(conversation.stream(model, [10**6], GREEDY, threading.Event()))


def test_a_rating_holds_the_conversation_up_to_it_and_nobody() -> None:
    row = conversation.feedback_row(
        [replace(TURNS[0], system="Hãy"), replace(TURNS[1], system="Hãy"), TURNS[2]], 1, False, "abc"
    )
    assert row == {
        "rating": "down",
        "commit": "abc",
        "model": "sft",
        "sampling": {
            "temperature": 0,
            "top_p": 1,
            "top_k": 0,
            "max_new_tokens": 8,
            "repetition_penalty": 1,
            "seed": 1,
        },
        "messages": [
            {"role": "system", "content": "Hãy"},
            {"role": "user", "content": "câu hỏi 0"},
            {"role": "assistant", "content": "trả lời 0"},
            {"role": "user", "content": "câu hỏi 1"},
            {"role": "assistant", "content": "trả lời 1"},
        ],
    }


@pytest.mark.parametrize(
    ("headers", "asked", "language"),
    [
        ({}, "", "vi"),
        ({"accept-language": "de-DE,de;q=0.9"}, "", "vi"),
        ({"accept-language": "en-US,en;q=0.9,vi;q=0.8"}, "", "en"),
        ({"accept-language": "fr,vi-VN;q=0.9,en;q=0.8"}, "", "vi"),
        ({"accept-language": "en", "cookie": "a=b; lang=vi"}, "", "vi"),
        ({"accept-language": "en", "cookie": "lang=<script>"}, "", "en"),
        ({"cookie": "lang=vi"}, "en", "en"),
        ({"accept-language": "en"}, "xx", "en"),
    ],
)
def test_language(headers: dict[str, str], asked: str, language: str) -> None:
    assert texts.language_of(headers, asked) == language


def test_both_languages_have_the_same_blanks() -> None:
    for key, (vi, en) in texts.TEXTS.items():
        assert set(re.findall(r"{(\w+)}", vi)) == set(re.findall(r"{(\w+)}", en)), key
        assert vi.strip() and en.strip(), key


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "chat.example"])
def test_other_machines_are_let_in_by_password_only(host: str) -> None:
    with pytest.raises(Refusal, match="VIET_CHAT_PASSWORD is not set"):
        chat.check_exposure(host, "")
    chat.check_exposure(host, "bí mật")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_no_password(host: str) -> None:
    chat.check_exposure(host, "")


def test_a_password_is_compared_whole() -> None:
    check = chat.asking("bí mật")["auth"]
    assert check("ai", "bí mật") and check("", unicodedata.normalize("NFD", "bí mật"))
    assert not check("ai", "bí") and not check("bí mật", "")
    assert chat.asking("") == {}


def test_a_taken_port_gives_the_next() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert port < chat.free_port("127.0.0.1", port) < port + chat.PORTS
    assert chat.free_port("127.0.0.1", 0) > 0


@pytest.mark.parametrize("text", ["-1", "70000", "7860a"])
def test_a_wrong_port_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="VIET_CHAT_PORT"):
        chat.wanted_port(text)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(Refusal, match="no address of this machine"):
        chat.free_port(host, 7860)
