"""What is trained on, and what is held out.

A group (a conversation's pieces, a message tree with its ranked pairs) falls on one side as a whole. The side
is a hash of the group and ``split.seed``, so that new data moves no old record across. Groups that hold
ranked pairs are held out in their own share, since pairs are few. Not covered: balancing by topic.
"""

import hashlib
from contextlib import ExitStack

from stages.lib import contract, records
from stages.lib.contract import Dep, Out
from stages.lib.params import Split
from stages.lib.records import Record

SETS = {
    "text": "text", "instruction": "sft", "conversation": "sft", "preference": "preferences", "verdict": "preferences",
}  # fmt: skip


def main(
    table: Dep,
    text_train: Out,
    text_validation: Out,
    sft_train: Out,
    sft_validation: Out,
    preferences_train: Out,
    preferences_validation: Out,
    prompts_train: Out,
    prompts_validation: Out,
    *,
    split: Split,
) -> None:
    """Deal a table's records out by kind and side; the prompts are what the answered records ask."""
    ranked = {record["group"] for record in records.read(table) if record["kind"] in ("preference", "verdict")}
    paths = {
        ("text", "train"): text_train,
        ("text", "validation"): text_validation,
        ("sft", "train"): sft_train,
        ("sft", "validation"): sft_validation,
        ("preferences", "train"): preferences_train,
        ("preferences", "validation"): preferences_validation,
        ("prompts", "train"): prompts_train,
        ("prompts", "validation"): prompts_validation,
    }
    with ExitStack() as stack:
        tables = {place: stack.enter_context(records.Table(path)) for place, path in paths.items()}
        asked: set[str] = set()
        for record in records.read(table):
            side = "validation" if held_out(record, ranked, split) else "train"
            tables[SETS[record["kind"]], side].add(record)
            if (prompt := to_prompt(record)) is not None and prompt["id"] not in asked:
                asked.add(prompt["id"])
                tables["prompts", side].add(prompt)


def held_out(record: Record, ranked: set[str], split: Split) -> bool:
    """Whether the record's group is on the validation side."""
    share = split.preferences if record["group"] in ranked else split.validation
    digest = hashlib.sha256(f"{split.seed}/{record['group']}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def to_prompt(record: Record) -> Record | None:
    """What a record asks, without the answers; None for plain text."""
    if record["kind"] == "text":
        return None
    messages = records.prompt(record)
    return {
        **record,
        "id": records.fingerprint([m["content"] for m in messages]),
        "kind": "prompt",
        "messages": messages,
    }


if __name__ == "__main__":
    contract.run(main)
