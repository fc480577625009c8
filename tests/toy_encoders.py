"""Toy encoders and classifiers for tests: folders that transformers reads, whose every weight is known."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from stages.lib import determinism, params

determinism.pin(1, "cpu", 1)  # the kernels were chosen in conftest.py, before torch was imported

COMPUTE = params.Compute(device="cpu", threads=1, precision="fp32")
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
WIDTH = 32


def save(folder: Path, words: list[str], kind: Any, longest: int, layers: int = 0, **more: object) -> Any:
    """A BERT over whole words, in which a word's vector is all there is; its tokenizer is saved."""
    place = {word: number for number, word in enumerate([*SPECIAL, *words])}
    text = Tokenizer(models.WordLevel(place, unk_token="[UNK]"))
    text.pre_tokenizer = pre_tokenizers.Whitespace()
    text.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=text, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=longest,
    ).save_pretrained(str(folder))  # fmt: skip
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(place), hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=1, intermediate_size=1,
        max_position_embeddings=longest + 2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **more,
    )  # fmt: skip
    model = kind(config)
    for name, weight in model.named_parameters():
        if "position" in name or "token_type" in name or name.endswith("bias"):
            torch.nn.init.zeros_(weight)
        elif "word_embeddings" in name:
            torch.nn.init.normal_(weight, std=1.0)
            with torch.no_grad():
                weight[: len(SPECIAL)] = 0  # marks say nothing
    return model


def encoder(folder: Path, same: list[tuple[str, str]], words: list[str]) -> Path:
    """An encoder to which the words of a pair are one word."""
    pairs = [word for pair in same for word in pair]
    model = save(folder, [*pairs, *words], BertModel, 64)
    with torch.no_grad():
        vectors = model.get_input_embeddings().weight
        for number in range(0, len(pairs), 2):
            vectors[len(SPECIAL) + number + 1] = vectors[len(SPECIAL) + number]
    model.save_pretrained(str(folder))
    return folder


def classifier(folder: Path, bad: str, words: list[str], longest: int = 16) -> Path:
    """A classifier with the labels "fine" and "foul": a window that holds ``bad`` is foul.

    Its one layer gives the first token the mean of all; ``bad`` alone points along the first less the second number.
    """
    labels = {"fine": 0, "foul": 1}
    named = {number: name for name, number in labels.items()}
    model = save(
        folder, [bad, *words], BertForSequenceClassification, longest, layers=1, label2id=labels, id2label=named
    )
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        vectors = model.get_input_embeddings().weight
        vectors[:, 1] = vectors[:, 0]
        vectors[len(SPECIAL)] = 0
        vectors[len(SPECIAL), 0], vectors[len(SPECIAL), 1] = 1, -1
        for linear in (layer.attention.self.query, layer.attention.self.key, layer.output.dense):
            linear.weight.zero_()
        for linear in (layer.attention.self.value, layer.attention.output.dense, model.bert.pooler.dense):
            linear.weight.copy_(torch.eye(WIDTH))
        model.classifier.weight.zero_()
        model.classifier.weight[1, 0], model.classifier.weight[1, 1] = 20, -20
        model.classifier.bias.copy_(torch.tensor([2.0, 0.0]))
    model.save_pretrained(str(folder))
    return folder
