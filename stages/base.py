"""The model that all else is measured against: made from nothing on the text, or taken from the hub.

``scratch`` trains a tokenizer and a small Llama; ``hub`` takes a published model at a pinned revision, or a
folder, sees to it that it can hold a conversation, and adds Vietnamese pieces to its vocabulary if ``grow`` asks for
them. Where it is from, and whether its chat template was published with it, then stands in ``origin.json``. Not
covered: training a published model on plain text, which ``sft`` does in its ``text`` mode.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib import contract, determinism, hub, models, recipes, records, weights
from stages.lib.contract import Dep, Out, Refusal
from stages.lib.train import chat_templates, pretrain, training, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# a hub's model is made on the CPU, whatever trains it later
PUBLISHED = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
PADS = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|endoftext|>", "<unk>")  # Llama 3's, and common ones


def main(
    text: Dep,
    validation: Dep,
    model: Out,
    history: Out,
    *,
    seed: int,
    compute: recipes.Compute,
    base: recipes.Base,
) -> None:
    determinism.pin(seed, compute.device, compute.threads)
    origin: models.Origin = {}
    if isinstance(base, recipes.Scratch):
        made, tokenizer, points = from_scratch(text, validation, base, compute, seed)
    else:
        made, tokenizer, points, origin = from_hub(base, text, validation)
    models.save(made, tokenizer, model)
    if origin:
        models.write_origin(model, origin)
    training.write_history(history, points)


def from_scratch(
    text: Path, validation: Path, base: recipes.Scratch, compute: recipes.Compute, seed: int
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase", list[pretrain.Point]]:
    """A tokenizer and a model that have read the text."""
    texts, held_out = list(prose(text)), list(prose(validation))
    if base.block > base.context:
        raise Refusal(f"base.block: found {base.block}; it can't be longer than base.context ({base.context})")
    if not texts or not held_out:
        raise Refusal(f"{text if not texts else validation} holds no text; lower split.validation or add a source")
    roles = ["system\nuser\nassistant\n"] * len(texts)  # never seen in prose, yet in every turn: one token each
    tokenizer = models.train_tokenizer([*texts, *roles], base.vocabulary, base.context)
    start, stop = tokenizer.convert_tokens_to_ids([models.TURN, models.END])
    blocks, held_out_blocks = (
        pretrain.pack(tokenizer(part)["input_ids"], start, stop, base.block) for part in (texts, held_out)
    )
    if not len(held_out_blocks):
        raise Refusal(f"{validation} holds less than base.block ({base.block}) tokens; raise split.validation")
    model = models.new_llama(base, tokenizer).to(weights.device(compute))
    points = pretrain.train(
        model,
        blocks,
        held_out_blocks,
        batch=base.batch,
        steps=base.steps,
        lr=base.lr,
        warmup=base.warmup,
        seed=seed,
    )
    return model, tokenizer, points


def prose(table: Path) -> Iterator[str]:
    """The texts of a table."""
    return (records.content(record, "text") for record in records.read(table))


def from_hub(
    base: recipes.Hub, text: Path, validation: Path
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase", list[pretrain.Point], models.Origin]:
    """(a published model that can hold a conversation, its tokenizer, what growing did, where it is from).

    It is kept in the precision that it was published in, and made on the CPU: the same bytes on every machine.
    """
    folder = Path(base.repo)
    if folder.is_dir():
        origin = models.read_origin(folder)
    else:
        found = hub.snapshot(base.repo, base.revision)
        folder, origin = found.folder, {"repo": base.repo, "revision": base.revision, "commit": found.commit}
    hub.config(folder, base.repo)
    tokenizer = hub_tokenizer(folder, base.repo)
    bare, known, stop = not tokenizer.chat_template, tokenizer.get_vocab(), tokenizer.eos_token_id
    chat_templates.talk(tokenizer)
    pad(tokenizer)
    model = text_only(models.load(folder, PUBLISHED, dtype="auto"))
    vocabulary.widen(model, max(tokenizer.get_vocab().values()) + 1)
    if bare:
        # nothing was ever read of them: an end of turn begins as the end of a text, which a model knows
        everything = vocabulary.sample(sorted(known.values()))
        begun = {models.TURN: everything, models.END: everything if stop is None else [stop]}
        fresh = [token for token in begun if token not in known]  # rows that were published stay as they are
        if fresh:
            vocabulary.settle(model, tokenizer.convert_tokens_to_ids(fresh), [begun[token] for token in fresh])
        model.config.unread = tokenizer.convert_tokens_to_ids([*begun])  # adapters would not move them
    added = bare or hasattr(model.config, "unread")  # also by a run on plain text, after which it is a base again
    origin = {"template": "added" if added else "published"} | origin
    points: list[pretrain.Point] = []
    if base.grow:
        read = list(prose(text))
        tokenizer, told = vocabulary.grow(model, tokenizer, read, list(prose(validation)), base.grow)
        model.config.grown = True  # adapters leave both ends of the vocabulary as they are; these want to be learned
        points = [{"step": 0, **told}]
    speak(model, tokenizer)
    return model, tokenizer, points, origin


def speak(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Keep of how a model generates only where it begins, ends and is padded.

    Published habits, a penalty for repetition or a temperature, would change what is greedy, or drawn as asked.
    """
    from transformers import GenerationConfig

    ends, begin = models.ends(model, tokenizer), model.generation_config.bos_token_id
    model.config.pad_token_id, model.config.eos_token_id = tokenizer.pad_token_id, ends[0]
    model.generation_config = GenerationConfig(
        bos_token_id=begin, eos_token_id=ends if len(ends) > 1 else ends[0], pad_token_id=tokenizer.pad_token_id
    )


def hub_tokenizer(folder: Path, repo: str) -> "PreTrainedTokenizerBase":
    """The tokenizer as it was published."""
    from transformers import AutoTokenizer

    why = "no tokenizer.json, tokenizer.model or vocab.json"  # without which transformers would make an empty one
    try:
        if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
            return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
    raise Refusal(f"base.repo: {repo} has no tokenizer that can be read without running its code: {why}")


def pad(tokenizer: "PreTrainedTokenizerBase") -> None:
    """A padding token that is never said: one of the model's own if it has one, else a new one."""
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        known = tokenizer.get_vocab()
        spare = [name for name in PADS if name in known and name != tokenizer.eos_token]
        tokenizer.add_special_tokens({"pad_token": (spare or [models.STOP])[0]})


def text_only(model: "PreTrainedModel") -> "PreTrainedModel":
    """The part that reads and writes text, of a model that also sees (Gemma 3 from 4B on)."""
    config = model.config.get_text_config()
    reader = getattr(model.model, "language_model", None) if config is not model.config else None
    if reader is None:
        return model
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    plain.model, plain.lm_head = reader, model.lm_head
    plain.generation_config = model.generation_config
    return plain


if __name__ == "__main__":
    contract.run(main)
