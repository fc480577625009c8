"""Every family's loss mask, to the token; and every family, trained in every way, at toy size."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.lib import determinism, models
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import chat_templates
from tests.families import FAMILIES, PHOGPT, SAID, Family, tokenizer

determinism.pin(1, "cpu", 1)

S, U, A, V, B, T = (
    Message(role=role, content=content)
    for role, content in [
        ("system", "Ngắn gọn."),
        ("user", "Thủ đô?"),
        ("assistant", "Hà Nội."),
        ("user", " Còn Lào? "),
        ("assistant", "Viêng Chăn"),
        ("tool", '{"độ": 31}'),
    ]
)
TALKS: dict[str, list[Any]] = {"one turn": [U, A], "system, two turns": [S, U, A, V, B], "tool": [U, A, T, B]}
# what stands in «» is learned
CHATML = {
    "one turn": "<|im_start|>user\nThủ đô?<|im_end|>\n<|im_start|>assistant\n«Hà Nội.<|im_end|>»\n",
    "system, two turns": "<|im_start|>system\nNgắn gọn.<|im_end|>\n<|im_start|>user\nThủ đô?<|im_end|>\n"
    "<|im_start|>assistant\n«Hà Nội.<|im_end|>»\n<|im_start|>user\n Còn Lào? <|im_end|>\n"
    "<|im_start|>assistant\n«Viêng Chăn<|im_end|>»\n",
    "tool": "<|im_start|>user\nThủ đô?<|im_end|>\n<|im_start|>assistant\n«Hà Nội.<|im_end|>»\n"
    '<|im_start|>tool\n{"độ": 31}<|im_end|>\n<|im_start|>assistant\n«Viêng Chăn<|im_end|>»\n',
}
ASKED_TOOL = '<|im_start|>user\n<tool_response>\n{"độ": 31}\n</tool_response><|im_end|>\n'
QWEN = CHATML | {"tool": CHATML["tool"].replace('<|im_start|>tool\n{"độ": 31}<|im_end|>\n', ASKED_TOOL)}
NAMED = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
THOUGHT = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
DATED = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n"
)
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"
GEMMA = "<start_of_turn>{}\n{}<end_of_turn>\n"
GEMMA_ANSWER = "<start_of_turn>model\n«{}<end_of_turn>»\n"
MASKS: dict[str, dict[str, str]] = {
    "bloom": CHATML,
    "gptj": CHATML,
    "gpt_neox": CHATML,
    "mpt": CHATML,
    "llama": {name: "<s>" + text for name, text in CHATML.items()},
    "mistral": {name: "<s>" + text for name, text in CHATML.items()},
    "qwen2": {name: text if name.startswith("system") else NAMED + text for name, text in QWEN.items()},
    "qwen3": {name: text.replace("<|im_start|>assistant\n", THOUGHT) for name, text in QWEN.items()},
    "llama3": {
        "one turn": f"{DATED}<|eot_id|>{HEAD.format('user')}Thủ đô?<|eot_id|>{HEAD.format('assistant')}"
        "«Hà Nội.<|eot_id|>»",
        "system, two turns": f"{DATED}Ngắn gọn.<|eot_id|>{HEAD.format('user')}Thủ đô?<|eot_id|>"
        f"{HEAD.format('assistant')}«Hà Nội.<|eot_id|>»{HEAD.format('user')}Còn Lào?<|eot_id|>"
        f"{HEAD.format('assistant')}«Viêng Chăn<|eot_id|>»",
        "tool": f"{DATED}<|eot_id|>{HEAD.format('user')}Thủ đô?<|eot_id|>{HEAD.format('assistant')}«Hà Nội.<|eot_id|>»"
        f'{HEAD.format("ipython")}"{{\\"độ\\": 31}}"<|eot_id|>{HEAD.format("assistant")}«Viêng Chăn<|eot_id|>»',
    },
    "gemma3": {
        "one turn": "<bos>" + GEMMA.format("user", "Thủ đô?") + GEMMA_ANSWER.format("Hà Nội."),
        "system, two turns": "<bos>" + GEMMA.format("user", "Ngắn gọn.\n\nThủ đô?") + GEMMA_ANSWER.format("Hà Nội.")
        + GEMMA.format("user", "Còn Lào?") + GEMMA_ANSWER.format("Viêng Chăn"),
        "tool": "<bos>" + GEMMA.format("user", "Thủ đô?") + GEMMA_ANSWER.format("Hà Nội.")
        + GEMMA.format("user", '{"độ": 31}') + GEMMA_ANSWER.format("Viêng Chăn"),
    },
    "phogpt": {
        "one turn": "### Câu hỏi: Thủ đô?\n### Trả lời:« Hà Nội.</s>»",
        "system, two turns": "### Câu hỏi: Ngắn gọn.\n\nThủ đô?\n### Trả lời:« Hà Nội.</s>»\n"
        "### Câu hỏi: Còn Lào?\n### Trả lời:« Viêng Chăn</s>»",
        "tool": "### Câu hỏi: Thủ đô?\n### Trả lời:« Hà Nội.</s>»\n"
        '### Câu hỏi: {"độ": 31}\n### Trả lời:« Viêng Chăn</s>»',
    },
}  # fmt: skip
MASKS["gemma3_sees"] = MASKS["gemma3"]


@pytest.fixture(scope="module")
def spoken() -> dict[str, Any]:
    """Every family's tokenizer, ready to talk."""
    found = {name: tokenizer(family) for name, family in FAMILIES.items()}
    for made in found.values():
        chat_templates.talk(made)
    return found


def shown(tokenizer: Any, turns: list[Any]) -> str:
    """The text of a conversation, what is learned of it in «»."""
    ids, mask = models.encode(tokenizer, turns)
    text, at = "", 0
    while at < len(ids):
        end = next((n for n in range(at, len(ids)) if mask[n] != mask[at]), len(ids))
        part = tokenizer.decode(ids[at:end], clean_up_tokenization_spaces=False)
        text += f"«{part}»" if mask[at] else part
        at = end
    return text


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_only_what_the_assistant_says_is_learned_to_the_token(spoken: dict[str, Any], name: str, talk: str) -> None:
    assert shown(spoken[name], TALKS[talk]) == MASKS[name][talk]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_begins_its_conversation_and_the_end_is_one_token(spoken: dict[str, Any], name: str) -> None:
    made = spoken[name]
    for turns in ([U, A], [S, U, A], [U, A, V, B]):
        prompt = models.encode_prompt(made, turns[:-1])
        ids, mask = models.encode(made, turns)
        assert ids[: len(prompt)] == prompt
        assert mask[len(prompt)] and not mask[len(prompt) - 1]
        assert [token for token, said in zip(ids, mask, strict=True) if said][-1] == made.eos_token_id
        assert ids.count(made.bos_token_id) <= 1 or made.bos_token == made.eos_token
    chat_templates.talk(made)  # a saved one is taken as it is
    assert shown(made, [U, A]) == MASKS[name]["one turn"]


def test_a_thought_is_learned_and_can_be_asked_for(spoken: dict[str, Any]) -> None:
    thoughtful = Message(role="assistant", content="<think>\nLà gì?\n</think>\n\nHà Nội.")
    said = shown(spoken["qwen3"], [U, thoughtful])
    assert said.endswith("<|im_start|>assistant\n«<think>\nLà gì?\n</think>\n\nHà Nội.<|im_end|>»\n")
    asked = spoken["qwen3"].apply_chat_template([U], tokenize=False, add_generation_prompt=True, enable_thinking=True)
    assert asked.endswith("<|im_start|>assistant\n")


def test_what_the_marks_do_not_know_is_rendered_as_published(spoken: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "độ", "parameters": {}}}]
    for name in ("qwen2", "qwen3"):
        published = tokenizer(FAMILIES[name])
        assert spoken[name].apply_chat_template([U], tools=tools, tokenize=False) == published.apply_chat_template(
            [U], tools=tools, tokenize=False
        )


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",  # no end of turn
        "{{ messages[-1]['content'] }}",  # no chain
        PHOGPT.replace("eos_token", "''"),
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}",  # marks, no end
    ],
)
def test_a_template_that_can_not_be_marked_is_refused(template: str) -> None:
    odd = tokenizer(Family("", {}, ["</s>"], template=template))
    with pytest.raises(Refusal, match="put"):
        chat_templates.talk(odd)


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────

HALVES = [["bloom", "llama", "llama3", "gptj", "gpt_neox", "mpt", "qwen3+"]]
HALVES.append(["phogpt", "qwen2", "qwen3", "gemma3", "gemma3_sees", "mistral", "gptj+"])
WAYS = [(name, method) for half in HALVES for name in half for method in ("full", "lora", "qlora")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, Any]:
    """All families, trained in all ways, in two processes."""
    env = os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    started = []
    for half in HALVES:
        folder = tmp_path_factory.mktemp("families")
        with (folder / "said.txt").open("w") as said:
            command = [sys.executable, "-m", "tests.families", *half]
            started.append((folder, subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=said)))
    found: dict[str, Any] = {}
    for folder, process in started:
        assert process.wait(timeout=500) == 0, (folder / "said.txt").read_text()[-3000:]
        found |= json.loads((folder / "told.json").read_text())
    return found


@pytest.mark.parametrize(("name", "method"), WAYS)
def test_loss_falls_the_file_holds_the_model_and_answers_end(trained: dict[str, Any], name: str, method: str) -> None:
    told = trained[name][method]
    assert told["losses"][-1] < 0.1 * told["losses"][0]
    assert told["reload"] == 0.0
    assert (told["answer"].strip(), told["ended"]) == (SAID, True)


@pytest.mark.parametrize("name", [name for half in HALVES for name in half])
def test_a_family_can_judge_and_has_the_fastest_attention_there_is(trained: dict[str, Any], name: str) -> None:
    assert trained[name]["verdict"] == [1, 1]
    eager = name.rstrip("+") in ("bloom", "gptj", "mpt", "phogpt")
    assert trained[name]["attention"] == ("eager" if eager else "sdpa")


@pytest.mark.parametrize("name", [name for half in HALVES for name in half])
def test_a_merged_adapter_is_what_was_trained(trained: dict[str, Any], name: str) -> None:
    told = trained[name]["qlora"]
    assert told["drift"] < 1e-4 < 1e-2 < told["drift_of_the_original"]
    assert trained[name]["lora"]["drift"] < 1e-4
    assert not told["quantised"]
    said, end, ends = trained[name]["learned"]
    assert said.strip() == SAID + end
    assert told["end"] == (ends if isinstance(ends, int) else ends[0])


@pytest.mark.parametrize(("name", "method"), [way for way in WAYS if way[1] != "full"])
def test_under_adapters_the_end_of_a_turn_is_learned_where_it_is_new(
    trained: dict[str, Any], name: str, method: str
) -> None:
    new = not FAMILIES[name.rstrip("+")].template or name.endswith("+")
    assert (trained[name][method]["end_moved"] > 1e-3) == new
