"""A second opinion on abuse: a classifier reads what the lexicon let pass.

Any sequence classifier with a label for what is harmless: a text's score is what is left of that label's
probability, in the worst of its windows, and a record's the worst of its texts', but for an answer that is meant to
be bad. It goes over the kept table once, in order, so that no sharding before it can matter. Not covered: models
whose labels don't exclude each other, and quoted abuse.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from stages.lib import determinism, hub, params, records
from stages.lib.contract import Refusal
from stages.lib.records import Record
from stages.lib.text import windows

KEY = "clean.toxicity"
CHUNK = 512  # records whose texts are sorted by length together
Score = Callable[[Sequence[str]], list[float]]


def sift(kept: Path, dropped: Path, dials: params.Toxicity) -> None:
    """Move what the classifier calls toxic from one table to the end of the other."""
    determinism.pin(0, dials.compute.device, dials.compute.threads)
    score = scorer(hub.folder(dials.model, f"{KEY}.model"), dials.harmless, dials.compute)
    with records.Table(kept, records.JUDGED) as keep, records.Table(dropped, records.DROPPED) as drop:
        for row in records.read(dropped):
            drop.add(row)
        for record, found in scored(records.read(kept), score):
            if found >= dials.threshold:
                drop.add({**record, "reason": "toxic", "detail": f"model {found:.3f}"})
            else:
                keep.add(record)


def scored(rows: Iterator[Record], score: Score) -> Iterator[tuple[Record, float]]:
    """Each record and its score."""
    while some := list(islice(rows, CHUNK)):
        texts = [
            (place, message["content"])
            for place, record in enumerate(some)
            for message in record["messages"]
            if message["role"] != "rejected"
        ]
        worst = [0.0] * len(some)
        for (place, _), found in zip(texts, score([text for _, text in texts]), strict=True):
            worst[place] = max(worst[place], found)
        yield from zip(some, worst, strict=True)


def scorer(folder: Path, harmless: str, compute: params.Compute) -> Score:
    """A function from texts to how toxic each is, 0 to 1, to three decimals."""
    from transformers import AutoModelForSequenceClassification

    tokenizer, model = windows.load(AutoModelForSequenceClassification, folder, compute)
    labels = {str(name): int(index) for index, name in model.config.id2label.items()}
    if harmless not in labels or len(labels) < 2:
        raise Refusal(
            f"{KEY}.harmless: found {harmless!r}; the labels of {folder.name} are {', '.join(sorted(labels))}"
        )

    def score(texts: Sequence[str]) -> list[float]:
        worst = [0.0] * len(texts)
        for owners, _, said in windows.forward(tokenizer, model, texts):
            shares = 1 - said.logits.float().softmax(-1)[:, labels[harmless]]
            for owner, share in zip(owners, shares.tolist(), strict=True):
                worst[owner] = max(worst[owner], round(share, 3))
        return worst

    return score
