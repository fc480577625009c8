"""Precision and recall of the toxicity filter on UIT-ViCTSD: the lexicon alone, and with a classifier behind it.

    python -m benchmarks.toxicity ViCTSD_valid.csv

Rows are split by turns: rules were written and the classifier is trained on the even ones, and the odd ones are
measured, through ``stages.clean`` itself. The classifier is a small RoBERTa made from nothing on those 1,000
comments, its tokenizer too, since no published one could be fetched where this was measured; a pretrained PhoBERT
would do better, and goes into the same param. Its threshold is chosen on comments that it wasn't trained on.
Not covered: comments of fewer syllables than ``clean.min_text_syllables`` are asked all the same here.
"""

import argparse
import csv
import random
import tempfile
from pathlib import Path

from stages import clean
from stages.lib import determinism, paramfile, params, records
from stages.lib.clean import toxicity
from stages.lib.text import lexicon, normal

LABELS = ("harmless", "toxic")
COMPUTE = params.Compute(device="cpu", threads=1, precision="fp32")
EPOCHS, BATCH, LR, LONGEST = 12, 16, 1e-3, 96
Row = tuple[str, bool]


def read(path: Path) -> list[Row]:
    """Each comment in normal form, and whether it is labelled toxic."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(normal.normalise(row["Comment"], "old")[0], row["Toxicity"] == "1") for row in csv.DictReader(file)]


def train(rows: list[Row], folder: Path) -> None:
    """A classifier of the comments, saved as a folder; toxic ones count as much as the others together."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = Tokenizer(models.BPE(unk_token="<unk>"))
    words.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(
        [text for text, _ in rows], trainers.BpeTrainer(vocab_size=3000, special_tokens=special, show_progress=False)
    )
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=256,
    )  # fmt: skip
    torch.manual_seed(1)
    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=128, max_position_embeddings=258, pad_token_id=1, hidden_dropout_prob=0.3,
            num_labels=2, id2label=dict(enumerate(LABELS)), label2id={name: n for n, name in enumerate(LABELS)},
        )
    )  # fmt: skip
    share = sum(toxic for _, toxic in rows) / len(rows)
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1 / (1 - share), 1 / share]))
    steps = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.1)
    rng = random.Random(1)
    model.train()
    for _ in range(EPOCHS):
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order), BATCH):
            texts, toxic = zip(*order[start : start + BATCH], strict=True)
            given = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
            steps.zero_grad()
            said = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
            loss(said.logits, torch.tensor(toxic, dtype=torch.long)).backward()
            steps.step()
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def measured(found: list[bool], rows: list[Row]) -> str:
    """Precision, recall and their harmonic mean, as a row of a table."""
    both = sum(one and toxic for one, (_, toxic) in zip(found, rows, strict=True))
    precision, recall = both / max(1, sum(found)), both / sum(toxic for _, toxic in rows)
    mean = 2 * precision * recall / max(1e-9, precision + recall)
    return f"{sum(found)} | {both} | {precision:.3f} | {recall:.3f} | {mean:.3f}"


def threshold(scores: list[float], rows: list[Row]) -> float:
    """The score from which the harmonic mean of precision and recall is best."""

    def mean(least: float) -> float:
        return float(measured([score >= least for score in scores], rows).rpartition("|")[2])

    return max(sorted(set(scores)), key=mean)


def dropped(rows: list[Row], dials: params.Clean) -> list[bool]:
    """Which comments the stage drops as toxic."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records.write(
            folder / "in",
            (
                records.make("text", [{"role": "text", "content": text}], source="s", licence="CC0-1.0", lang="vi",
                             upstream=str(place))
                for place, (text, _) in enumerate(rows)
            ),
        )  # fmt: skip
        words = Path("stages/lexicons")
        paths = [folder / "kept", folder / "out", words / "toxic.txt", words / "spam.txt", folder / "in"]
        clean.main(*paths, engine="local", clean=dials)
        lost = {row["upstream"] for row in records.read(folder / "out") if dict(row)["reason"] == "toxic"}
        return [str(place) in lost for place in range(len(rows))]


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    rows = read(arguments.parse_args().file)
    determinism.pin(1, "cpu", 1)
    dials = paramfile.check(Path("params.yaml"), Path("recipes"))[0].clean
    dials = dials.model_copy(update={"min_text_syllables": 1})
    words = lexicon.phrases(Path("stages/lexicons/toxic.txt"))
    ours, held_out = rows[0::2], rows[1::2]
    print("| half | filter | dropped | of them toxic | precision | recall | F1 |\n|---|---|--:|--:|--:|--:|--:|")
    for name, half in (("rules' own", ours), ("held out", held_out)):
        print(f"| {name} | lexicon | {measured([bool(words.find(text)) for text, _ in half], half)} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        fit, rest = ours[: len(ours) * 3 // 4], ours[len(ours) * 3 // 4 :]
        train(fit, Path(folder))
        least = threshold(toxicity.scorer(Path(folder), LABELS[0], COMPUTE)([text for text, _ in rest]), rest)
        train(ours, Path(folder))
        model = params.Toxicity(model=folder, harmless=LABELS[0], threshold=least, compute=COMPUTE)
        found = dropped(held_out, dials.model_copy(update={"toxicity": model}))
        print(f"| held out | lexicon, then classifier from {least} | {measured(found, held_out)} |")
    print(f"| held out | all dropped | {measured([True] * len(held_out), held_out)} |")


if __name__ == "__main__":
    main()
