"""``python -m tools.mask RECIPE``: one conversation as the recipe's base model reads it; what is learned is marked.

Of a recipe from the hub only the tokenizer's files are fetched. Not covered: what ``context`` cuts off.
"""

import sys
from pathlib import Path
from typing import Any

from stages.lib import hub, models, paramfile, recipes
from stages.lib.contract import Refusal
from stages.lib.records import Message
from stages.lib.train import chat_templates

MADE = Path("models/base")
TALK: list[Message] = [
    {"role": "system", "content": "Trả lời ngắn gọn."},
    {"role": "user", "content": "Thủ đô của Việt Nam?"},
    {"role": "assistant", "content": "Hà Nội."},
    {"role": "user", "content": "Còn của Lào?"},
    {"role": "assistant", "content": "Viêng Chăn."},
]


def rows(tokenizer: Any) -> list[tuple[int, str, bool]]:
    """(id, token, learned) of each token of the conversation; bytes of split letters show as they stand in the text."""
    ids, mask = models.encode(tokenizer, TALK)
    return [
        (token, repr(tokenizer.decode([token]))[1:-1], bool(learned)) for token, learned in zip(ids, mask, strict=True)
    ]


def tokenizer_of(name: str) -> Any:
    """The tokenizer that the recipe's base model will have."""
    from stages import base

    path = paramfile.recipe_file(Path("recipes"), name, "RECIPE")
    tree = paramfile.load(path)
    asked = paramfile.validate(recipes.Base, tree, "base", dict.fromkeys(tree, str(path)))
    if not isinstance(asked, recipes.Hub):
        if not MADE.is_dir():
            raise Refusal(f"{MADE} is missing, and a recipe from nothing has no other: `dvc repro base` makes it")
        return models.load_tokenizer(MADE)
    if told := list(recipes.unfindable(asked)):
        raise Refusal(f"{path}: {told[0]}")
    folder = Path(asked.repo)
    if not folder.is_dir():
        folder = hub.tokenizer_files(asked.repo, asked.revision)
    tokenizer = base.hub_tokenizer(folder, asked.repo)
    chat_templates.talk(tokenizer)
    return tokenizer


def main(words: list[str]) -> int:
    """The exit code: 2 where the recipe is not there or its model can't be had."""
    if {"-h", "--help"} & set(words):
        print((__doc__ or "").strip())
        return 0
    if len(words) != 1:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        found = rows(tokenizer_of(words[0]))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    for token, text, learned in found:
        print(f"{token:>7}  {'learned' if learned else '·':<7}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
