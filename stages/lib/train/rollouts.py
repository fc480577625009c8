"""What a policy says, token by token, and how likely it finds it.

Answers are kept as the ids that were drawn: text that is read back may be cut into other tokens. They are read in
rows padded on the right, so that every position is what it is in a conversation, whatever the model's kind of
positions. Not covered: generation servers, and answers to pictures.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.lib import models, weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNTOLD = 2048  # tokens that a model reads whose configuration doesn't say
# A published model's settings would bend what it says, which is then compared with how likely it finds it.
PLAIN = {
    "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0,
    "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beams": 1,
}  # fmt: skip


class Answer(NamedTuple):
    """Ids of a prompt and of what was said to it; the end of the turn is part of it where the answer has ended."""

    prompt: list[int]
    said: list[int]
    ended: bool


def room(model: "PreTrainedModel") -> int:
    """How many tokens a model reads at most."""
    return models.longest(model) or UNTOLD


def sample(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[list[int]],
    *,
    new_tokens: int,
    temperature: float,
    batch: int,
) -> list[Answer]:
    """One answer to each prompt, drawn from the whole distribution."""
    import torch
    from transformers import GenerationConfig

    pad, ends = tokenizer.pad_token_id, models.ends(model, tokenizer)
    drawn = GenerationConfig(
        **PLAIN, do_sample=True, temperature=temperature, max_new_tokens=new_tokens, pad_token_id=pad,
        eos_token_id=ends, use_cache=True,
    )  # fmt: skip
    found: list[Answer] = [Answer([], [], False)] * len(prompts)
    for indices in weights.by_length(prompts, batch):
        ids, mask = weights.padded([prompts[index] for index in indices], pad, "left", str(model.device))
        with torch.no_grad():
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=drawn)
        for index, row in zip(indices, output[:, ids.shape[1] :].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in ends), None)
            found[index] = Answer(prompts[index], row if end is None else row[: end + 1], end is not None)
    return found


def laid_out(answers: Sequence[Answer], pad: int, where: str) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """(ids, attention mask, 1 where the next token is part of the answer), all [answers, longest]."""
    ids, mask = weights.padded([answer.prompt + answer.said for answer in answers], pad, "right", where)
    spoken, _ = weights.padded(
        [[0] * (len(answer.prompt) - 1) + [1] * len(answer.said) + [0] for answer in answers], 0, "right", where
    )
    return ids, mask, spoken


def log_likelihoods(logits: "torch.Tensor", ids: "torch.Tensor", temperature: float = 1.0) -> "torch.Tensor":
    """Of each next token, in nats, [rows, longest]; nothing follows the last one, which gets 0.

    Row by row: in fp32 a distribution over a large vocabulary takes more memory than all else.
    """
    import torch

    lost = [
        torch.nn.functional.cross_entropy(each[:-1].float() / temperature, said[1:], reduction="none")
        for each, said in zip(logits, ids, strict=True)
    ]
    return torch.nn.functional.pad(-torch.stack(lost), (0, 1))


def read(model: Any, answers: Sequence[Answer], pad: int, batch: int) -> list[float]:
    """The log-likelihood of each answer as a whole, in nats."""
    import torch

    found = [0.0] * len(answers)
    for indices in weights.by_length([answer.prompt + answer.said for answer in answers], batch, model):
        ids, mask, spoken = laid_out([answers[index] for index in indices], pad, str(model.device))
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        sums = (log_likelihoods(logits, ids) * spoken).sum(-1).tolist()
        for index, value in zip(indices, sums, strict=True):
            found[index] = value
    return found


def shape(answers: Sequence[Answer], texts: Sequence[str]) -> dict[str, float]:
    """Mean length in tokens, share ended and distinct-2 of some answers."""
    return {
        "length": sum(len(answer.said) for answer in answers) / len(answers),
        "ended": sum(answer.ended for answer in answers) / len(answers),
        "distinct_2": distinct(texts),
    }


def distinct(texts: Sequence[str]) -> float:
    """Distinct-2 (Li et al. 2016): of all pairs of neighbouring words, the share of different ones; 0 for none."""
    pairs = [pair for text in texts for words in [text.split()] for pair in pairwise(words)]
    return len(set(pairs)) / max(1, len(pairs))
