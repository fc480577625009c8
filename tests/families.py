"""Every family of the recipes at toy size, as a folder that could have come from the hub, and a run through the stages.

``python -m tests.families FAMILY…`` works in the current folder and writes ``told.json``: what each way to train did.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

SAID = "Dạ, là Hà Nội."
ASKED = ["Thủ đô của Việt Nam?", "Ở đâu?", "Là gì?", "Hỏi gì?"]
TEXTS = ["Thủ đô của Việt Nam là Hà Nội.", "Ba trăm bốn mươi bảy viết là 347.", f"{SAID} Ở đâu? Hỏi gì? Là gì?"] * 40
NEWS = ["Trường học ở phường Nguyễn Huệ nghỉ hè từ tháng sáu.", "Học sinh nghỉ hè, nhà trường đóng cửa."] * 2
# as PhoGPT writes a conversation
PHOGPT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ ('' if loop.first else '\\n') + '### Câu hỏi: ' +"
    " m['content'].strip() }}{% elif m['role'] == 'assistant' %}{{ '\\n### Trả lời: ' + m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n### Trả lời:' }}{% endif %}"
)
LLAMA3 = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>"]
GEMMA = ["<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"]


@dataclass(frozen=True)
class Family:
    """A family's class of configurations, its toy sizes, its special tokens and its chat template."""

    config: str
    sizes: dict[str, Any]
    tokens: list[str] = field(default_factory=list)
    eos: str = "</s>"
    bos: str = ""
    template: str = ""  # a name in trl.chat_template_utils, or the template
    begins: bool = False  # the tokenizer puts its first token before every text


LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA |= {"num_key_value_heads": 1, "max_position_embeddings": 128}
GEMMA_TEXT = LLAMA | {"head_dim": 16, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
SEES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SEES |= {"image_size": 28, "patch_size": 14}
MPT = {"d_model": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 128}
FAMILIES = {
    "bloom": Family("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 2}, ["<s>", "</s>", "<pad>"]),
    "llama": Family("LlamaConfig", LLAMA, ["<s>", "</s>"], bos="<s>", begins=True),
    "llama3": Family(
        "LlamaConfig", LLAMA | {"tie_word_embeddings": True}, LLAMA3, LLAMA3[3], LLAMA3[0], "llama3_2_chat_template"
    ),
    "gptj": Family(
        "GPTJConfig",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8, "n_positions": 128},
        ["<|endoftext|>"],
        "<|endoftext|>",
    ),
    "gpt_neox": Family(
        "GPTNeoXConfig", LLAMA | {"hidden_act": "gelu"}, ["<|endoftext|>"], "<|endoftext|>", "<|endoftext|>"
    ),
    "mpt": Family("MptConfig", MPT, ["<|endoftext|>"], "<|endoftext|>"),
    "phogpt": Family("MptConfig", MPT, ["<s>", "</s>", "<pad>"], template=PHOGPT),
    "qwen2": Family(
        "Qwen2Config", LLAMA, ["<|im_start|>", "<|im_end|>"], "<|im_end|>", template="qwen2_5_chat_template"
    ),
    "qwen3": Family(
        "Qwen3Config",
        LLAMA | {"head_dim": 16, "tie_word_embeddings": True},
        ["<|im_start|>", "<|im_end|>", "<think>", "</think>"],
        "<|im_end|>",
        template="qwen3_chat_template",
    ),
    "gemma3": Family("Gemma3TextConfig", GEMMA_TEXT, GEMMA, "<eos>", "<bos>", "gemma3_chat_template"),
    "gemma3_sees": Family(
        "Gemma3Config",
        {"text_config": GEMMA_TEXT, "vision_config": SEES, "mm_tokens_per_image": 4},
        GEMMA,
        "<eos>",
        "<bos>",
        "gemma3_chat_template",
    ),
    "mistral": Family("MistralConfig", LLAMA | {"sliding_window": 64}, ["<s>", "</s>"], bos="<s>", begins=True),
}

# which recipes are of which family, by the start of their names
OF = {
    "bloomz": "bloom",
    "open-llama": "llama",
    "llama-3": "llama3",
    "gpt-j": "gptj",
    "pythia": "gpt_neox",
    "mpt": "mpt",
}
OF |= {"phogpt": "phogpt", "seallms": "qwen2", "sailor2": "qwen2", "qwen3": "qwen3"}
OF |= {"gemma-3-1b": "gemma3", "gemma-3-4b": "gemma3_sees"}


def words(family: str, method: str) -> Any:
    """What a recipe of the family says of fine-tuning this way, cut to toy size; else another family's."""
    from stages.lib import paramfile, recipes

    folder = Path(__file__).parents[1] / "recipes"
    prefix = next((prefix for prefix, found in OF.items() if found == family.rstrip("+")), "open-llama")
    path = next(iter(sorted(folder.glob(f"{prefix}*-{method}.yaml"))), folder / f"qwen3-1.7b-{method}.yaml")
    found = paramfile.typed(recipes.Recipe, paramfile.load(path), path.name).sft
    toy = {"lr": 0.01, "schedule": "linear", "epochs": 20.0, "batch": 8, "accumulate": 1, "context": 96, "save": 0}
    toy |= {"packing": False, "neftune": 0.0, "keep": "last", "optimizer": "adamw"}  # their own tests turn these
    return found.model_copy(update=toy | {"lora": recipes.Lora(r=16, alpha=32, dropout=0.0)})


def tokenizer(family: Family) -> Any:
    """A toy tokenizer with the special tokens, the chat template and the habits of a family."""
    from trl import chat_template_utils

    from stages.lib import models

    made = without_turns(models.train_tokenizer([*TEXTS, *["system\nuser\nassistant\n"] * 90], 400, 128))
    made.chat_template = getattr(chat_template_utils, family.template, family.template) or None
    made.add_special_tokens({"additional_special_tokens": family.tokens})
    made.eos_token, made.pad_token = family.eos, None
    if family.bos:
        made.bos_token = family.bos
    if family.begins:
        from tokenizers.processors import TemplateProcessing

        made.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, made.bos_token_id)]
        )
    return made


def without_turns(made: Any) -> Any:
    """A tokenizer without the tokens of a turn, which most families never had."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    state = json.loads(made.backend_tokenizer.to_str())
    special = {token["content"] for token in state.pop("added_tokens")}
    pieces = sorted(state["model"]["vocab"].items(), key=lambda piece: piece[1])
    state["model"]["vocab"] = {piece: id for id, (piece, _) in enumerate(p for p in pieces if p[0] not in special)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state | {"added_tokens": []})),
        model_max_length=made.model_max_length,
        clean_up_tokenization_spaces=False,
    )


def build(name: str, folder: Path, rows: int = 64) -> None:
    """A family's toy model with random weights, and its tokenizer, as they would lie on the hub."""
    import torch
    import transformers

    family = FAMILIES[name]
    spoken = tokenizer(family)
    size = {"vocab_size": -(-len(spoken) // rows) * rows}  # published models have rows to spare
    size |= {"eos_token_id": spoken.eos_token_id, "bos_token_id": spoken.bos_token_id}
    sizes = dict(family.sizes)
    if "text_config" in sizes:
        sizes["text_config"] = sizes["text_config"] | size
    else:
        sizes |= size
    config = getattr(transformers, family.config)(**sizes)
    torch.manual_seed(1)
    # the class that the hub's config.json leads to; for Gemma 3 from 4B on it sees
    made = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        # an adapter can't move the rows of published tokens: they are to be far enough apart to be told
        for end in {made.get_input_embeddings().weight, made.get_output_embeddings().weight}:
            end.mul_(20)
    made.save_pretrained(folder)
    spoken.save_pretrained(folder)


def table(path: Path, kind: Any, turns: list[list[tuple[str, str]]]) -> Path:
    """Records in a file."""
    from stages.lib import records

    rows = [
        records.make(
            kind,
            [{"role": role, "content": content} for role, content in said],
            source="s",
            licence="CC0-1.0",
            lang="vi",
            upstream=str(number),
        )
        for number, said in enumerate(turns)
    ]
    records.write(path, rows)
    return path


def attention(model: Any) -> str:
    """Which code calculates the attention: transformers picks torch's own where the family has it."""
    return str(model.config._attn_implementation)


def logits(model: Any, ids: list[int]) -> Any:
    """What a model says of the next token, at each of some."""
    import torch

    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([ids], device=model.device)).logits.float().cpu()


def tuned(home: Path, method: Any, told: dict[str, Any]) -> None:
    """One way to train: what it did to the loss, the file and the answers."""
    from peft import PeftModel

    from stages import sft
    from stages.lib import models, recipes
    from stages.lib.train import adapters

    compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
    done = home / method
    spoken = models.load_tokenizer(home / "base")
    ids, mask = models.encode(spoken, [{"role": "user", "content": ASKED[0]}, {"role": "assistant", "content": SAID}])
    seen: list[Any] = []

    def spy(model: Any, *rest: Any) -> None:
        seen.append(logits(model, ids))
        save(model, *rest)

    save = models.save
    data = table(
        home / "c", "instruction", [[("user", f"{q} {n}"), ("assistant", SAID)] for n in range(4) for q in ASKED]
    )
    settings = words(home.name, method)
    places = [home / "base", data, data, data, data, done, home / "h.json"]
    with mock.patch.object(models, "save", spy):
        sft.main(*places, seed=1, lr="auto", compute=compute, sft=settings)
    losses = [point["eval_loss"] for point in json.loads((home / "h.json").read_text()) if "eval_loss" in point]
    again = models.load(done, compute)
    found = {"losses": losses, "reload": float((seen[0] - logits(again, ids)).abs().max()), "dtype": str(again.dtype)}
    answers = models.answer(again, spoken, [[{"role": "user", "content": f"{ASKED[0]} 0"}]], new_tokens=24, batch=1)
    found |= {"answer": answers[0][0], "ended": answers[0][2]}
    before = models.load(home / "base", compute)
    rows = [model.get_output_embeddings().weight[spoken.eos_token_id] for model in (before, again)]
    found["end_moved"] = float((rows[0] - rows[1]).abs().max())
    if method != "full":
        start = models.load(home / "base", compute, **adapters.learning(compute, method))
        apart = logits(PeftModel.from_pretrained(start, str(done / "adapter")), ids)
        found["drift"] = float((apart - logits(again, ids)).abs().max())
    if method == "qlora":
        whole = models.load(home / "base", compute)
        drifted = logits(PeftModel.from_pretrained(whole, str(done / "adapter")).merge_and_unload(), ids)
        found["drift_of_the_original"] = float((apart - drifted).abs().max())
        found["quantised"] = "quantization_config" in (done / "config.json").read_text()
    told[method] = found
    learned = [token for token, said in zip(ids, mask, strict=True) if said]
    found["end"] = spoken.eos_token_id
    told["learned"] = [spoken.decode(learned), spoken.eos_token, again.generation_config.eos_token_id]


def main(names: list[str]) -> None:
    """All ways to train of some families; a name with a plus gets new pieces, too."""
    from stages.lib import determinism

    determinism.pin(1, "cpu", 1)
    from stages import base
    from stages.lib import models, recipes

    compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
    everything = {}
    for name in names:
        home = Path(name)
        home.mkdir()
        build(name.rstrip("+"), home / "hub")
        words = table(home / "t", "text", [[("text", text)] for text in NEWS])
        source = recipes.Hub(
            source="hub", repo=str(home / "hub"), revision="main", grow=12 if name.endswith("+") else 0
        )
        base.main(words, words, home / "base", home / "h.json", seed=1, compute=compute, base=source)
        judge = models.load_judge(home / "base", compute)
        told: dict[str, Any] = {"verdict": list(logits(judge, [1, 2, 3]).shape), "attention": attention(judge)}
        for method in ("full", "lora", "qlora"):
            tuned(home, method, told)
        everything[name] = told
        Path("told.json").write_text(json.dumps(everything, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
