"""The model that all else is measured against: made from nothing on the text, or taken from the hub.

``scratch`` trains a tokenizer and a small Llama; ``hub`` takes a published model at a pinned revision, or a
folder, and sees to it that it can hold a conversation. Not covered: growing a published vocabulary.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib import contract, determinism, models, pretrain, recipes, records, training
from stages.lib.contract import Dep, Out, Refusal

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILES = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt"]


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
    if isinstance(base, recipes.Scratch):
        made, tokenizer, points = from_scratch(text, validation, base, compute, seed)
    else:
        made, tokenizer = from_hub(base, compute)
        points = []
    models.save(made, tokenizer, model)
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
    model = models.new_llama(base, tokenizer).to(models.device(compute))
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


def from_hub(base: recipes.Hub, compute: recipes.Compute) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """A published model that has a chat template, an end of turn and a padding token."""
    from transformers import AutoTokenizer

    folder = Path(base.repo) if Path(base.repo).is_dir() else download(base)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    model = models.load(folder, compute)
    if not tokenizer.chat_template:
        tokenizer.chat_template = models.CHATML
        tokenizer.add_special_tokens({"additional_special_tokens": [models.TURN, models.END]})
        tokenizer.eos_token = models.END
    elif "generation" not in tokenizer.chat_template:
        from trl.chat_template_utils import get_training_chat_template

        try:  # the same rendering, with marks that tell the assistant's tokens
            tokenizer.chat_template = get_training_chat_template(tokenizer)
        except ValueError:
            raise Refusal(
                f"base.repo: the chat template of {base.repo} does not mark what the assistant says; put"
                " {% generation %} and {% endgeneration %} around it in a local copy and name that folder"
            ) from None
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": models.STOP})
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model, tokenizer


def download(base: recipes.Hub) -> Path:
    """The snapshot's folder; only what is data is fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(base.repo, revision=base.revision, allow_patterns=FILES))
    except (RepositoryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise Refusal(
            f"base.repo: {base.repo} at {base.revision} can't be had: {' '.join(str(error).split())[:200]};"
            " check the name and the revision, set HF_TOKEN if it is gated, or name a local folder"
        ) from None


if __name__ == "__main__":
    contract.run(main)
