"""What fine-tuning learns from: conversations or plain text as rows of token ids and labels, and what didn't fit.

A conversation longer than the context ends where the context does, also within an answer: its beginning is as true
as the whole, and no end of turn is learned where there is none. What that costs is counted. A text loses nothing:
it goes on in the next row. What was not learned from is judged the same way, token by token. Not covered: how a
conversation is rendered (``stages/lib/models.py``).
"""

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from stages.lib import models, records
from stages.lib.contract import Refusal
from stages.lib.train import launch, packing
from stages.lib.train.packing import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
Counts = dict[str, int]


def conversations(
    rows: Iterable[records.Record], tokenizer: "PreTrainedTokenizerBase", context: int
) -> tuple[list[Row], Counts]:
    """(ids and labels of each conversation, what is longer than the context).

    Of the ``truncated`` ones, ``cut_answers`` end within an answer, and ``left_out`` are not learned from, since their
    assistant speaks only beyond the context; ``tokens_lost`` counts what lies beyond it.
    """
    kept, counts = [], {"truncated": 0, "cut_answers": 0, "left_out": 0, "tokens_lost": 0}
    for row in rows:
        ids, mask = models.encode(tokenizer, row["messages"])
        learned = any(mask[1:context])  # nothing comes before the first token to foretell it from
        if len(ids) > context:
            counts["truncated"] += 1
            counts["cut_answers"] += bool(learned and mask[context - 1] and mask[context])
            counts["left_out"] += not learned
            counts["tokens_lost"] += len(ids) - context
        if learned:
            labels = [token if said else IGNORED for token, said in zip(ids, mask, strict=True)]
            kept.append({"input_ids": ids[:context], "labels": labels[:context]})
    return kept, counts


def told(counts: Counts, context: int) -> str:
    """What was lost, for people; nothing if nothing was."""
    if not counts["truncated"]:
        return ""
    return (
        f"sft.context ({context}): {counts['truncated']} conversations are longer and lose {counts['tokens_lost']}"
        f" tokens; {counts['cut_answers']} of them end within an answer, {counts['left_out']} are left out"
    )


def check_end(rows: Iterable[Row], stops: Sequence[int]) -> None:
    """Refuse rows from which no end of turn can be learned: the model would never stop."""
    wanted = set(stops)
    if not any(wanted.intersection(row["labels"]) for row in rows):
        raise Refusal(
            "the chat template marks no end of turn as what the assistant says, so the model would never stop; put the"
            " end-of-turn token inside {% generation %} … {% endgeneration %}, or raise sft.context if it cuts all ends"
        )


def edges(tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    """The tokens before and after a text: those of its model, or those around a turn where it has been made here."""
    before = tokenizer.bos_token_id
    if before is None and models.TURN in tokenizer.get_vocab():
        before = tokenizer.convert_tokens_to_ids(models.TURN)
    after = tokenizer.eos_token_id
    return [] if before is None else [before], [] if after is None else [after]


def texts(
    found: Iterable[str], tokenizer: "PreTrainedTokenizerBase", context: int, apart: bool
) -> tuple[list[Row], Counts]:
    """Rows to go on with a text: pieces that are packed later if texts stand ``apart``, else blocks end to end.

    Only a last piece of one token is left out, which nothing foretells; ``tokens_lost`` counts them.
    """
    before, after = edges(tokenizer)
    # a list takes nine times the memory of an array of 32-bit numbers
    whole = [array("i", before + tokenizer(text, add_special_tokens=False)["input_ids"] + after) for text in found]
    streams = whole if apart else [array("i", chain.from_iterable(whole))]
    pieces = (ids[start : start + context] for ids in streams for start in range(0, len(ids), context))
    rows = [{"input_ids": piece, "labels": piece} for piece in pieces if len(piece) > 1]
    return rows, {"tokens_lost": sum(map(len, whole)) - sum(len(row["input_ids"]) for row in rows)}


def packed(rows: list[Row], context: int) -> tuple[list[Row], dict[str, float | int]]:
    """(rows of several records, how full they are)."""
    found = packing.pack(rows, context)
    return found, {"records": len(rows), "rows": len(found), "fullness": round(packing.fullness(found, context), 6)}


def by_token(trainer: Any, held_out: Sequence[Row]) -> Any:
    """A class of trainers whose validation loss is the mean of all held-out tokens.

    The usual mean of batches' means changes with the batch, and by chance: rows of like length are drawn anew for
    every evaluation.
    """
    learned = sum(label != IGNORED for row in held_out for label in row["labels"][1:]) / len(held_out)

    class ByToken(trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            if not model.training:
                # the trainer weighs a batch by its rows, and trl multiplies by the processes
                num_items_in_batch = len(inputs["labels"]) * learned * launch.processes()
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    return ByToken
