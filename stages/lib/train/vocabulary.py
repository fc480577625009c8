"""More pieces for a published tokenizer: what a text often says becomes one token.

BPE (Sennrich et al. 2016) goes on where the tokenizer's own merges ended: the pair of pieces that stands side by side
most often within a word becomes a piece, again and again. The new merges rank behind all old ones, so a text that
holds no new piece is cut as before, and everything goes through the tokenizer's own normaliser and word splitter. A
new piece starts as the mean of what it is made of, at both ends of the model (Hewitt 2021 for the mean of all).
Not covered: tokenizers other than BPE, and pieces without letters: figures and signs stay as they are.
"""

import heapq
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.contract import Refusal

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LETTERS = re.compile(r"[^\W\d_]+")
MARKED_WORDS = re.compile("▁*[^▁]+|▁+")  # SentencePiece's, whose pieces never reach over a space
LEAST = 2  # what stands once is no habit
WIDTH = 64  # a vocabulary of another multiple puts its head on slow kernels


def words(tokenizer: "PreTrainedTokenizerBase", texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    """How often each word with letters stands in the texts, as the pieces that the tokenizer makes of it."""
    backend = tokenizer.backend_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        split = (
            backend.pre_tokenizer.pre_tokenize_str(normal) if backend.pre_tokenizer else [(normal, (0, len(normal)))]
        )
        for word, (start, stop) in split:
            if LETTERS.search(normal, start, stop):
                counts.update(MARKED_WORDS.findall(word) if "▁" in word else [word])
    found: Counter[tuple[str, ...]] = Counter()
    for word, count in counts.items():
        found[tuple(token.value for token in backend.model.tokenize(word))] += count
    return found


def merges(found: Mapping[tuple[str, ...], int], known: Iterable[str], wanted: int) -> list[tuple[str, str]]:
    """The next merges of BPE on these words: at most ``wanted`` new pieces, the most frequent pair first."""
    rows = [(list(pieces), count) for pieces, count in sorted(found.items())]
    taken, counts, places = set(known), Counter[tuple[str, str]](), defaultdict(set)
    for index, (pieces, count) in enumerate(rows):
        for pair in pairwise(pieces):
            counts[pair] += count
            places[pair].add(index)
    queue = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(queue)
    made: list[tuple[str, str]] = []
    while queue and len(made) < wanted:
        minus, pair = heapq.heappop(queue)
        if -minus != counts[pair]:  # an old entry; the pair has one with its present count
            continue
        if counts[pair] < LEAST:
            break
        if "".join(pair) in taken:  # the tokenizer has it and yet does not make it here: its merges want another way
            continue
        made.append(pair)
        taken.add("".join(pair))
        changed = set()
        for index in sorted(places.pop(pair)):
            pieces, count = rows[index]
            joined = join(pieces, pair)
            for old in pairwise(pieces):
                counts[old] -= count
                changed.add(old)
            for new in pairwise(joined):
                counts[new] += count
                places[new].add(index)
                changed.add(new)
            rows[index] = joined, count
        for other in sorted(changed - {pair}):
            if counts[other] > 0:
                heapq.heappush(queue, (-counts[other], other))
    return made


def join(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with each such pair as one, from the left."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def extended(
    tokenizer: "PreTrainedTokenizerBase", new: Sequence[tuple[str, str]]
) -> tuple["PreTrainedTokenizerBase", list[int]]:
    """(the tokenizer with these merges behind its own, the ids of the new pieces)."""
    from transformers import AutoTokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    first = max(*model["vocab"].values(), *(token["id"] for token in state["added_tokens"]), len(tokenizer) - 1) + 1
    # a growing vocabulary would push the special tokens on, if they did not stand in it themselves
    model["vocab"] |= {token["content"]: token["id"] for token in state["added_tokens"]}
    ids = list(range(first, first + len(new)))
    model["vocab"] |= {"".join(pair): id for pair, id in zip(new, ids, strict=True)}
    written = bool(model["merges"]) and isinstance(model["merges"][0], str)
    model["merges"] += [" ".join(pair) if written else list(pair) for pair in new]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for old in ("tokenizer.model", "vocab.json", "merges.txt"):  # of the vocabulary as it was
            Path(folder, old).unlink(missing_ok=True)
        Path(folder, "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        grown = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return grown, ids


def grow(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Iterable[str],
    held_out: Sequence[str],
    wanted: int,
) -> tuple["PreTrainedTokenizerBase", dict[str, float | int]]:
    """(a tokenizer with more pieces, what they change on held-out text); the model gets rows for them."""
    kind = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if kind["type"] != "BPE":
        raise Refusal(f"base.grow: the tokenizer is {kind['type']}, and only BPE can go on growing; set it to 0")
    new = merges(words(tokenizer, texts), kind["vocab"], wanted)
    if not new:
        raise Refusal("base.grow: the text holds no pair of pieces twice; give more text or set base.grow to 0")
    grown, ids = extended(tokenizer, new)
    parts = [tokenizer.convert_tokens_to_ids(spelled(tokenizer, "".join(pair))) for pair in new]
    widen(model, max(ids) + 1)
    settle(model, ids, parts)
    return grown, {
        "new_pieces": len(new),
        "tokens_per_syllable_before": fertility(tokenizer, held_out),
        "tokens_per_syllable": fertility(grown, held_out),
    }


def spelled(tokenizer: "PreTrainedTokenizerBase", piece: str) -> list[str]:
    """A new piece in the old ones."""
    return [token.value for token in tokenizer.backend_tokenizer.model.tokenize(piece)]


def fertility(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> float:
    """Tokens per syllable."""
    syllables = sum(len(LETTERS.findall(text)) for text in texts)
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    return round(tokens / max(1, syllables), 4)


def widen(model: "PreTrainedModel", rows: int) -> None:
    """See to it that the model has a row for each token; new ones, those to spare included, are the mean of the old.

    A row of chance would do harm: where a model's logits are far below zero, it would be the likeliest token of all.
    """
    known = model.get_input_embeddings().weight.shape[0]
    if rows <= known:  # many models have some to spare
        return
    model.resize_token_embeddings(rows, mean_resizing=False, pad_to_multiple_of=WIDTH)
    new = range(known, model.get_input_embeddings().weight.shape[0])
    settle(model, new, [sample(range(known))] * len(new))


def sample(ids: Sequence[int]) -> Sequence[int]:
    """Enough of many tokens for their mean."""
    return ids[:: max(1, len(ids) // 4096)]


def settle(model: "PreTrainedModel", ids: Sequence[int], parts: Sequence[Sequence[int]]) -> None:
    """Give tokens the mean of some others' rows, at both ends of the model, the output's bias included."""
    import torch

    head = model.get_output_embeddings()
    ends = {id(found): found for found in (model.get_input_embeddings().weight, head.weight)}
    found = [*ends.values(), *([head.bias] if getattr(head, "bias", None) is not None else [])]
    with torch.no_grad():
        for rows in found:
            means = {part: rows[list(part)].float().mean(dim=0) for part in set(map(tuple, parts))}
            new = torch.stack([means[tuple(part)] for part in parts])
            rows[list(ids)] = new.to(rows.dtype)
