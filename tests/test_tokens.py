"""Tokens by source and by length, held against what the tokenizer says text by text."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages import tokens
from stages.lib import models, records
from stages.lib.records import Message, Record
from stages.lib.train import lessons

TEXTS = ["Con mèo nằm trên mái nhà.", "Dòng sông chảy ra biển.", "Hôm nay trời nắng đẹp quá 😀 ạ."] * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer that has seen little, and no emoji."""
    folder = tmp_path_factory.mktemp("model")
    models.train_tokenizer([text.replace("😀", "") for text in TEXTS], 300, 64).save_pretrained(str(folder))
    return folder


def row(number: int, kind: str, source: str, *texts: tuple[str, str]) -> Record:
    messages: list[Message] = [{"role": role, "content": text} for role, text in texts]
    return records.make(kind, messages, source=source, licence="MIT", lang="vi", upstream=str(number))


def counted(folder: Path, model: Path, context: int = 40, **tables: list[Record]) -> Any:
    paths = []
    for name, rows in tables.items():
        paths.append(folder / f"{name}.train.parquet")
        records.write(paths[-1], rows)
    tokens.main(model, folder / "tokens.json", *paths, context=context, ranked_context=50)
    return json.loads((folder / "tokens.json").read_text(encoding="utf-8"))


def test_tokens_are_counted_text_by_text_and_source_by_source(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "BATCH", 5)
    rows = [row(n, "text", "ab"[n % 2], ("text", text)) for n, text in enumerate(TEXTS)]
    found = counted(tmp_path, model, text=rows)
    tokenizer = models.load_tokenizer(model)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    syllables = sum(text.replace("😀 ", "").count(" ") + 1 for text in TEXTS)
    assert found["all"]["tokens"] == sum(map(len, ids)) and found["all"]["syllables"] == syllables
    assert found["all"]["tokens_per_syllable"] == round(sum(map(len, ids)) / syllables, 4)
    assert found["sources"]["b"]["tokens"] == sum(map(len, ids[1::2]))
    assert found["sets"] == {}  # text is packed, never cut
    # an emoji that the vocabulary lacks is spelt in bytes
    assert tokenizer.tokenize("😀") and found["sources"]["a"]["partial"] > 0
    plain = counted(tmp_path, model, text=[row(1, "text", "a", ("text", "con meo"))])
    assert plain["all"]["partial"] == plain["all"]["unknown"] == 0


def test_lengths_are_what_the_trainer_cuts(tmp_path: Path, model: Path) -> None:
    rows = [
        row(1, "instruction", "a", ("user", "Chào."), ("assistant", "Chào bạn.")),
        row(2, "conversation", "a", ("user", TEXTS[0] * 3), ("assistant", TEXTS[1] * 2)),
    ]
    context = 60
    found = counted(tmp_path, model, context, sft=rows)["sets"]["sft.train"]
    tokenizer = models.load_tokenizer(model)
    lengths = [len(models.encode(tokenizer, record["messages"])[0]) for record in rows]
    assert found["longest"] == max(lengths) > context > min(lengths)
    assert found["longer"] == lessons.conversations(rows, tokenizer, context)[1]["truncated"] == 1
    assert found["tokens_beyond"] == max(lengths) - context
    assert sum(found["bins"].values()) == found["records"] == 2


def test_a_ranked_pair_is_as_long_as_its_longer_answer(tmp_path: Path, model: Path) -> None:
    pair = row(1, "preference", "a", ("user", "Hỏi?"), ("chosen", "Ngắn."), ("rejected", TEXTS[0] * 4))
    verdict = row(2, "verdict", "a", ("user", "Hỏi?"), ("rejected", "Ngắn."))
    found = counted(tmp_path, model, preferences=[pair, verdict])["sets"]["preferences.train"]
    tokenizer = models.load_tokenizer(model)
    turns: list[Message] = [{"role": "user", "content": "Hỏi?"}, {"role": "assistant", "content": TEXTS[0] * 4}]
    assert found["longest"] == len(models.encode(tokenizer, turns)[0]) > found["context"] == 50
    assert found["longer"] == 1 and found["records"] == 2
