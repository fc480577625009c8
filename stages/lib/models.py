"""Models and tokenizers as folders: made, loaded and saved the same way in every stage.

Weights are safetensors only, code from a model's folder is never run, and what is saved holds no path of
this machine. A conversation is rendered by the tokenizer's own chat template; the one defined here is ChatML
(https://github.com/openai/openai-python/blob/v0.28.1/chatml.md) with the ``{% generation %}`` marks by which
transformers tells the assistant's tokens from the rest. Not covered: training (``stages/lib/train``).
"""

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import disk, params, recipes, weights
from stages.lib.contract import Refusal
from stages.lib.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Origin = dict[str, str]  # repo, revision, commit; and whether its chat template was published with it or added
ORIGIN = "origin.json"  # in a model's folder
TURN, END, STOP = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
HEAD = "score"  # what transformers calls the head of a reward model, whatever the family
# A Vietnamese syllable is one word of letters and marks; a digit stands alone, so that a model can copy numbers.
SYLLABLES = r"\n| ?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{N}]+|\s"


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> "PreTrainedTokenizerBase":
    """A byte-level BPE tokenizer with ChatML tokens: it can spell any text, and its merges never cross a syllable."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SYLLABLES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[STOP, TURN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=STOP,
        model_max_length=context,
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def new_llama(base: recipes.Scratch, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """A Llama (Touvron et al. 2023) with random weights and one matrix for both ends of the vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if base.hidden % base.heads:
        raise Refusal(
            f"base.hidden: found {base.hidden}, which base.heads ({base.heads}) does not divide; change one of them"
        )
    inner = -(-base.hidden * 8 // 3 // 64) * 64  # two thirds of four times the width, as in Llama, in whole cache lines
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=base.hidden,
        intermediate_size=inner,
        num_hidden_layers=base.layers,
        num_attention_heads=base.heads,
        num_key_value_heads=base.heads,
        max_position_embeddings=base.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def load_tokenizer(folder: Path, side: str = "right") -> "PreTrainedTokenizerBase":
    """The tokenizer of a model; ``side`` is where padding goes."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), padding_side=side, trust_remote_code=False)
    if not tokenizer.chat_template:
        raise Refusal(f"{folder} has no chat template: `dvc repro base` gives a model one")
    return tokenizer


def longest(model: "PreTrainedModel") -> int | None:
    """How many tokens the model was made to read, or None where nothing bounds it (BLOOM's positions are slopes)."""
    names = ("max_position_embeddings", "max_seq_len")  # MPT's are slopes, too, but learnt on so many
    return next((found for name in names if (found := getattr(model.config, name, None))), None)


def check_context(model: "PreTrainedModel", context: int, key: str) -> None:
    """Refuse a context that is longer than what the model was made to read."""
    limit = longest(model)
    if limit and context > limit:
        raise Refusal(f"{key}: found {context}; the model reads at most {limit} tokens, so lower it")


def load(folder: Path, compute: params.Compute, **more: Any) -> "PreTrainedModel":
    """A causal language model."""
    from transformers import AutoModelForCausalLM

    return weights.placed(AutoModelForCausalLM, folder, compute, **more)


def load_judge(folder: Path, compute: params.Compute, **more: Any) -> "PreTrainedModel":
    """A model that gives a conversation one number."""
    from transformers import AutoModelForSequenceClassification

    return weights.placed(AutoModelForSequenceClassification, folder, compute, new=HEAD, num_labels=1, **more)


def save(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Weights, configuration and tokenizer, without the place that they were loaded from."""
    model.config._name_or_path = ""
    full = f"{folder}: no room on the disk for the model; make some and run it again, from its last checkpoint"
    with disk.room(lambda: f"{full} if the recipe saves any"):
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    scrub(folder)


def scrub(folder: Path) -> None:
    """Take out of the JSON files of a model what differs from one machine, or one run, to the next."""
    for path in sorted(folder.rglob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            continue
        kept = {key: value for key, value in found.items() if key not in ("_name_or_path", "name_or_path")}
        if isinstance(kept.get("target_modules"), list):
            kept["target_modules"] = sorted(kept["target_modules"])  # peft writes a set, in the order of the hash seed
        if kept != found:
            path.write_text(json.dumps(kept, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_origin(folder: Path) -> Origin:
    """Where a folder's model is from; nothing of one that was made here."""
    path = folder / ORIGIN
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write_origin(folder: Path, origin: Origin) -> None:
    """Write it down in the model's folder."""
    (folder / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def encode(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and 1 for each that the assistant says, the end of its turn included."""
    found = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return found["input_ids"], found["assistant_masks"]


def encode_prompt(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Token ids up to where the assistant starts to speak."""
    return tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=True, add_generation_prompt=True)[
        "input_ids"
    ]


def ends(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The tokens that end an answer: first what the model learns to end its turn with, then others of its own."""
    own = model.generation_config.eos_token_id
    found = [tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
    return list(dict.fromkeys(token for token in found if token is not None))


def answer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[Message]],
    *,
    new_tokens: int,
    batch: int,
    **sampling: Any,
) -> list[tuple[str, int, bool]]:
    """(text, tokens, ended by itself) of the answer to each prompt; greedy unless ``sampling`` says otherwise."""
    import torch

    rows = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    pad, stops = tokenizer.pad_token_id, ends(model, tokenizer)
    found: list[tuple[str, int, bool]] = [("", 0, False)] * len(rows)
    for indices in weights.by_length(rows, batch):
        ids, mask = weights.padded([rows[index] for index in indices], pad, "left", str(model.device))
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                pad_token_id=pad,
                eos_token_id=stops,
                **(sampling or {"do_sample": False}),
            )
        for index, row in zip(indices, output[:, ids.shape[1] :].tolist(), strict=True):
            said = list(itertools.takewhile(lambda token: token not in stops, row))
            ended = len(said) < len(row)
            found[index] = (tokenizer.decode(said, skip_special_tokens=True), len(said) + ended, ended)
    return found
