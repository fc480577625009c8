"""What a recipe's tokenizer makes of the data: how dear a syllable is, and what is longer than the model reads.

Tokens per syllable say how well a vocabulary knows Vietnamese: 1 is a token for each syllable, and a vocabulary made
for English spells them letter by letter. A conversation is counted as the trainers see it, with its chat template.
Not covered: text, which is packed into blocks and never cut, and the words that a vocabulary lacks.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tqdm import tqdm

from stages.lib import contract, models, records
from stages.lib.contract import Dep, Key, Out
from stages.lib.records import Message, Record
from stages.lib.text import vietnamese

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 1024
BINS = tuple(2**power for power in range(16))  # where a bar of the lengths begins, in tokens
BROKEN = "\ufffd"  # what a decoder shows for bytes that are no character


@dataclass
class Seen:
    """What was counted in the texts of a source."""

    texts: int = 0
    syllables: int = 0
    characters: int = 0
    tokens: Counter[int] = field(default_factory=Counter)  # how often each stands there


def main(
    model: Dep,
    counts: Out,
    *tables: Dep,
    context: Annotated[int, Key("sft.context")],
    ranked_context: Annotated[int, Key("reward.context")],
) -> None:
    """Count ``<set>.<side>.parquet``: all texts by source, and how long the conversations of sft and reward are."""
    tokenizer = models.load_tokenizer(model)
    tokenizer.model_max_length = sys.maxsize  # what is longer is counted here, and no reason to warn
    limits = {"sft": context, "preferences": ranked_context}
    by_source: dict[str, Seen] = {}
    lengths: dict[str, Counter[int]] = {}
    with tqdm(total=sum(map(records.count, tables)), desc="tokens", unit="record", mininterval=1, leave=False) as bar:
        for path in tables:
            for batch in batches(path):
                measure(tokenizer, batch, by_source)
                if path.stem.split(".")[0] in limits:
                    lengths.setdefault(path.stem, Counter()).update(rendered(tokenizer, batch))
                bar.update(len(batch))
    found = by_source.values()
    whole = Seen(
        texts=sum(seen.texts for seen in found),
        syllables=sum(seen.syllables for seen in found),
        characters=sum(seen.characters for seen in found),
        tokens=sum((seen.tokens for seen in found), Counter()),
    )
    partial = {token for token in whole.tokens if is_partial(tokenizer, token)}
    unknown = tokenizer.unk_token_id
    report = {
        "vocabulary": len(tokenizer),
        "all": told(whole, partial, unknown),
        "sources": {source: told(by_source[source], partial, unknown) for source in sorted(by_source)},
        "sets": {name: told_lengths(lengths[name], limits[name.split(".")[0]]) for name in sorted(lengths)},
    }
    counts.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def batches(path: Path) -> Iterator[list[Record]]:
    """The records of a table, some at a time."""
    rows = records.read(path)
    while batch := list(islice(rows, BATCH)):
        yield batch


def measure(tokenizer: "PreTrainedTokenizerBase", batch: list[Record], by_source: dict[str, Seen]) -> None:
    """Count the texts of some records with those of their source."""
    texts = [(record["source"], message["content"]) for record in batch for message in record["messages"]]
    encoded = tokenizer([text for _, text in texts], add_special_tokens=False)["input_ids"] if texts else []
    for (source, text), ids in zip(texts, encoded, strict=True):
        seen = by_source.setdefault(source, Seen())
        seen.texts += 1
        seen.syllables += len(vietnamese.syllables(text))
        seen.characters += len(text)
        seen.tokens.update(ids)


def is_partial(tokenizer: "PreTrainedTokenizerBase", token: int) -> bool:
    """Whether a token stands for bytes that are no whole character; SentencePiece's fallback names one as <0xNN>."""
    return str(tokenizer.convert_ids_to_tokens(token)).startswith("<0x") or BROKEN in tokenizer.decode([token])


def rendered(tokenizer: "PreTrainedTokenizerBase", batch: list[Record]) -> list[int]:
    """The tokens of each conversation with the chat template; of a ranked pair, with its longer answer."""
    asked = [(place, turns) for place, record in enumerate(batch) for turns in conversations(record)]
    longest = [0] * len(batch)
    if asked:
        encoded: Any = tokenizer.apply_chat_template([turns for _, turns in asked], tokenize=True, return_dict=True)
        for (place, _), ids in zip(asked, encoded["input_ids"], strict=True):
            longest[place] = max(longest[place], len(ids))
    return longest


def conversations(record: Record) -> Iterator[Sequence[Message]]:
    """What of a record a trainer reads in one piece."""
    answers = [message["content"] for message in record["messages"] if message["role"] in ("chosen", "rejected")]
    turns = [message for message in record["messages"] if message["role"] not in ("chosen", "rejected")]
    for answer in answers:
        yield [*turns, {"role": "assistant", "content": answer}]
    if not answers:
        yield turns


def told(seen: Seen, partial: set[int], unknown: int | None) -> dict[str, float]:
    """Counts of texts and what they come to."""
    tokens = seen.tokens.total()
    broken = sum(times for token, times in seen.tokens.items() if token in partial)
    return {
        "texts": seen.texts,
        "syllables": seen.syllables,
        "tokens": tokens,
        "tokens_per_syllable": round(tokens / max(seen.syllables, 1), 4),
        "characters_per_token": round(seen.characters / max(tokens, 1), 4),
        "partial": round(broken / max(tokens, 1), 6),
        "unknown": round((0 if unknown is None else seen.tokens[unknown]) / max(tokens, 1), 6),
    }


def told_lengths(lengths: Counter[int], limit: int) -> dict[str, Any]:
    """How many conversations are of about which length, the longest, and what lies beyond the context."""
    bins = dict.fromkeys(BINS, 0)
    for length, times in lengths.items():
        bins[max(start for start in BINS if start <= max(length, 1))] += times
    return {
        "context": limit,
        "records": lengths.total(),
        "longest": max(lengths),
        "longer": sum(times for length, times in lengths.items() if length > limit),
        "tokens_beyond": sum(times * (length - limit) for length, times in lengths.items() if length > limit),
        "bins": {str(start): count for start, count in bins.items()},
    }


if __name__ == "__main__":
    contract.run(main)
