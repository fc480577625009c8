"""The engine beside a model server that is not the project's own: ``transformers serve`` with a toy Llama.

It is made here from nothing, so its words mean nothing; what counts is that each request is answered, in order, once,
and that its end is read: by the model's own stop or by ``max_tokens``.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.lib.teachers.journal import Journal, entries
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import ask
from tests.faulty import SPEND, teacher

CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
TEXTS = ["một", "hai", "ba", "một", "bốn năm sáu bảy tám", "chín"]
PROMPT = Prompt("p", "Answer.")


def make(folder: Path) -> None:
    """A Llama of a few thousand weights, whose tokenizer knows single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of the server, when it answers, and its model."""
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("served")
    make(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder / "model"), "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        yield f"{address}/v1", str(folder / "model")
    finally:
        process.terminate()
        process.wait(30)


def test_a_server_of_models_answers_each_text_once_and_its_ends_are_read(
    served: tuple[str, str], tmp_path: Path
) -> None:
    url, model = served
    asking = teacher(url, model=model, max_tokens=12, timeout=60.0, concurrency=3)
    spend = SPEND.model_copy(update={"prices": {model: SPEND.prices["m"]}})
    journal = Journal(own=tmp_path / "j")
    found = ask(asking, spend, journal, PROMPT, TEXTS, "test")
    written = list(entries(tmp_path / "j"))
    assert {entry["input"] for entry in written} == set(TEXTS) and len(written) == len(set(TEXTS))
    for entry in written:
        assert entry["finish_reason"] in ("stop", "length") and 0 < entry["usage"]["completion_tokens"] <= 12
        assert entry["usage"]["prompt_tokens"] > 10
        assert (entry["usage"]["completion_tokens"] == 12) >= (entry["finish_reason"] == "length")
    assert found[0] == found[3]
    again = ask(teacher("http://127.0.0.1:9/v1", model=model, max_tokens=12), spend, journal, PROMPT, TEXTS, "test")
    assert again == found
    assert all(answer.reason in ("truncated", "empty answer") for answer in found if isinstance(answer, Failure))


def test_a_model_that_a_server_has_not_is_named(served: tuple[str, str], tmp_path: Path) -> None:
    spend = SPEND.model_copy(update={"prices": {"no/such-model": SPEND.prices["m"]}})
    asking = teacher(served[0], model="no/such-model", timeout=60.0, retries=0)
    (answer,) = ask(asking, spend, Journal(own=tmp_path / "j"), PROMPT, ["một"], "test")
    assert isinstance(answer, Failure) and answer.detail
