"""NLLB end to end: a tiny one, taught a dozen words, translates the same through both ways of running it."""

import json
import os
import random
import shutil
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from stages import translate
from stages.lib import records
from stages.lib.contract import Refusal
from stages.lib.params import Nllb, Spend, Teacher
from stages.lib.records import Message
from stages.lib.teachers import account, nllb, nllb_models
from stages.lib.teachers.journal import Entry, Journal, entries, home
from stages.lib.teachers.nllb_models import Model, Row, Said
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import ask
from stages.lib.translate import translation
from tests import toy_nllb
from tests.toy_nllb import DIALS, PROMPT, sentence


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny NLLB."""
    folder = tmp_path_factory.mktemp("made")
    toy_nllb.write(folder)
    return folder


@pytest.fixture
def tiny(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The model's name, in a checkout of its own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "tiny").symlink_to(made)
    nllb_models.load.cache_clear()
    return "tiny"


def teacher(model: str, quantization: str = "float32", beam: int = 1, max_tokens: int = 99) -> Teacher:
    more = {"engine": "nllb", "model": model, "max_tokens": max_tokens}
    return DIALS.teacher.model_copy(
        update=more | {"nllb": Nllb.model_validate({"quantization": quantization, "beam": beam})}
    )


def spend(model: str) -> Spend:
    free = DIALS.spend.prices["project-authors"]
    return DIALS.spend.model_copy(update={"prices": {model: free}})


def asked_as(messages: list[Message]) -> str:
    """A short record as it is asked."""
    return translation.request(translation.plan(messages, 9999)[0])


def asked(who: Teacher, texts: list[str], own: Path) -> list[Entry | Failure]:
    """What the engine answers to requests of one text each."""
    requests = [asked_as([{"role": "user", "content": text}]) for text in texts]
    return ask(who, spend(who.model), Journal(own=own), Prompt.load(PROMPT), requests, "translate@s")


def said(answers: list[Entry | Failure]) -> list[str]:
    """The texts of answers that are all there."""
    replies = [None if isinstance(one, Failure) else translation.parse(one["answer"]) for one in answers]
    assert None not in replies
    return [text for reply in replies for text in reply or []]


def without_ctranslate2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nllb_models, "find_spec", lambda name: None)
    nllb_models.load.cache_clear()


TEXTS = [sentence(random.Random(seed), seed % 8 + 1)[0] for seed in range(60)]


@pytest.mark.parametrize("beam", [1, 4])
def test_both_ways_say_the_same_token_by_token(tiny: str, beam: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = nllb_models.load(tiny, "float32")
    without_ctranslate2(monkeypatch)
    slow = nllb_models.load(tiny, "float32")
    rows = [fast.tokenizer(text)["input_ids"] for text in TEXTS]
    for room in (3, 40):
        assert fast.run(rows, beam, room) == slow.run(rows, beam, room)
    assert True in {ended for _, ended in fast.run(rows, beam, 40)}
    assert {len(ids) for ids, ended in fast.run(rows, beam, 3) if not ended} == {3}


def test_int8_says_nearly_the_same_at_a_third_of_the_size(tiny: str, tmp_path: Path) -> None:
    answers = {kind: said(asked(teacher(tiny, kind), TEXTS, tmp_path / kind)) for kind in ("float32", "int8")}
    same = sum(one == other for one, other in zip(*answers.values(), strict=True))
    assert same >= 0.8 * len(TEXTS)
    small, large = sorted(path.stat().st_size for path in nllb_models.home().glob("*/model.bin"))
    assert small < 0.35 * large


RECORDS: list[list[Message]] = [
    [
        {"role": "user", "content": "My dog eats rice. The cat sees a big house. Please run?"},
        {"role": "assistant", "content": "The cat eats.\n\n- the dog sees\n- my cat eats rice\n\n1. Run then run."},
    ],
    [
        {"role": "user", "content": "Please run `len(x)`:\n```py\nfor cat in house:\n    run(cat)\n```\nThe dog eats!"},
        {"role": "assistant", "content": "Run `a` then `b`. Please."},
    ],
    [
        {"role": "user", "content": "The dog sees the cat:\n| The dog | Rice |\n|---|---|\n| a cat | 5 |"},
        {"role": "tool", "content": "the cat"},
        {"role": "assistant", "content": '{"dog": "the cat eats rice", "n": 3}'},
    ],
]
STAYS = [
    "`len(x)`:\n```py\nfor cat in house:\n    run(cat)\n```\n",
    "`a`",
    "`b`",
    "\n|---|---|\n|",
    "| 5 |",
    "\n\n- ",
    "\n\n1. ",
]
OURS = [
    ["Tôi chó ăn cơm. Con mèo thấy một lớn nhà. Nhé chạy?",
     "Con mèo ăn.\n\n- con chó thấy\n- tôi mèo ăn cơm\n\n1. Chạy rồi chạy."],
    ["Nhé chạy `len(x)`:\n```py\nfor cat in house:\n    run(cat)\n```\nCon chó ăn!", "Chạy `a` rồi `b`. Nhé."],
    ["Con chó thấy con mèo:\n| Con chó | Cơm |\n|---|---|\n| một mèo | 5 |", "the cat",
     '{"dog": "con mèo ăn cơm", "n": 3}'],
]  # fmt: skip


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("fallback", [False, True], ids=["ctranslate2", "transformers"])
def test_records_become_vietnamese_and_nothing_is_translated_twice(
    tiny: str, fallback: bool, beam: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fallback:
        without_ctranslate2(monkeypatch)
    rows = [
        records.make("conversation", turns, source="s", licence="MIT", lang="en", upstream=str(number))
        for number, turns in enumerate(RECORDS)
    ]
    records.write(tmp_path / "rows", rows)
    prompts = [Path(f"stages/prompts/{name}.yaml") for name in ("translate", "retranslate", "judge")]
    outs = ("none", "kept", "dropped", "quarantine", "spent")
    words = [tmp_path / "rows", *prompts, *(tmp_path / name for name in outs)]
    judged = DIALS.translate.model_copy(update={"max_refused": 1.0})
    who, free = teacher(tiny, beam=beam), spend(tiny)
    translate.main("s", *words, teacher=who, spend=free, licences="all", translate=judged)
    kept, dropped = (list(records.read(tmp_path / name)) for name in ("kept", "dropped"))
    assert sorted(record["upstream"] for record in [*kept, *dropped]) == ["0", "1", "2"]
    written = {entry["input"]: translation.parse(entry["answer"]) for entry in entries(home())}
    for turns, ours in zip(RECORDS, OURS, strict=True):
        texts = written[asked_as(turns)]
        assert texts and len(texts) == len(turns)
        for mine, text in zip(ours, texts, strict=True):
            assert text == mine or SequenceMatcher(None, mine, text).ratio() > 0.8  # it may have missed a word
            assert [part for part in STAYS if part in mine] == [part for part in STAYS if part in text]
    ledger = account.rows(home().with_name(account.LEDGER))
    assert sum(row["bought"] for row in ledger) == len(list(entries(home())))
    data = (written[asked_as(RECORDS[2])] or [])[2]
    assert json.loads(data)["n"] == 3

    def never(*_: object) -> Model:
        raise AssertionError("it is all in the journal")

    monkeypatch.setattr(nllb_models, "load", never)
    before = (tmp_path / "kept").read_bytes()
    translate.main("s", *words, teacher=who, spend=free, licences="all", translate=judged)
    assert (tmp_path / "kept").read_bytes() == before


def test_a_sentence_that_does_not_end_is_told(tiny: str, tmp_path: Path) -> None:
    texts = ["The cat.", "The cat sees a big big big house."]
    short, cut = asked(teacher(tiny, max_tokens=4), texts, tmp_path / "journal")
    assert not isinstance(short, Failure) and isinstance(cut, Failure) and cut.reason == "truncated"
    assert [entry["finish_reason"] for entry in entries(tmp_path / "journal")] == ["stop", "length"]


def test_what_is_killed_goes_on_where_it_was(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nllb, "TOGETHER", 10)
    real, count = nllb_models.load(tiny, "float32"), list[int]()

    def run(rows: list[Row], beam: int, room: int) -> list[Said]:
        count.append(len(rows))
        if sum(count) > 40:
            raise KeyboardInterrupt
        return real.run(rows, beam, room)

    monkeypatch.setattr(nllb_models, "load", lambda *_: Model(real.tokenizer, real.positions, run))
    with pytest.raises(KeyboardInterrupt):
        asked(teacher(tiny), TEXTS, tmp_path / "journal")
    done = len(list(entries(tmp_path / "journal")))
    assert 0 < done < len(set(TEXTS))
    monkeypatch.setattr(nllb_models, "load", lambda *_: real)
    answers = asked(teacher(tiny), TEXTS, tmp_path / "journal")
    keys = [entry["key"] for entry in entries(tmp_path / "journal")]
    assert len(keys) == len(set(keys)) == len(set(TEXTS))
    assert said(answers) == said(asked(teacher(tiny), TEXTS, tmp_path / "other"))


def test_batches_shrink_until_they_fit_the_memory(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room_for = nllb_models.load(tiny, "float32"), 2

    def run(rows: list[Row], beam: int, room: int) -> list[Said]:
        if len(rows) > room_for:
            raise RuntimeError("CUDA failed with error out of memory")
        return real.run(rows, beam, room)

    whole = said(asked(teacher(tiny), TEXTS, tmp_path / "whole"))
    monkeypatch.setattr(nllb_models, "load", lambda *_: Model(real.tokenizer, real.positions, run))
    assert said(asked(teacher(tiny), TEXTS, tmp_path / "parts")) == whole
    room_for = 0
    with pytest.raises(Refusal, match=r"out of memory with one sentence.*smaller model"):
        asked(teacher(tiny), ["the cat"], tmp_path / "none")


def test_a_model_is_converted_once_and_never_half(tiny: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            nllb_models.load(tiny, "int8")
    assert [path.suffix for path in sorted(nllb_models.home().iterdir())] == [".lock", ".part"]
    nllb_models.load(tiny, "int8")
    [ready] = nllb_models.home().glob("*/")
    tokens = json.loads((ready / "shared_vocabulary.json").read_text(encoding="utf-8"))
    tokenizer = nllb_models.tokenizer_of(made)
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    nllb_models.load.cache_clear()
    monkeypatch.setattr(nllb_models, "convert", None)
    nllb_models.load(tiny, "int8")


def test_what_is_no_translation_fails_by_itself_and_says_so(tiny: str, tmp_path: Path) -> None:
    good = asked_as([{"role": "user", "content": "the cat"}, {"role": "assistant", "content": ""}])
    who = teacher(tiny)
    for other in ('{"examples": [], "wanted": 4}', "Hello", "[1]"):
        failure, entry = ask(
            who, spend(tiny), Journal(own=tmp_path / "j"), Prompt.load(PROMPT), [other, good], "generate"
        )
        assert (
            isinstance(failure, Failure) and "can only translate; let another engine answer generate" in failure.detail
        )
        assert said([entry]) == ["con mèo", ""]
    with pytest.raises(Refusal, match=r"teacher.nllb: found null"):
        ask(
            who.model_copy(update={"nllb": None}),
            spend(tiny),
            Journal(own=tmp_path / "x"),
            Prompt("p", ""),
            ["[]"],
            "s",
        )


@pytest.mark.parametrize(
    ("name", "lost", "changed", "told"),
    [
        ("facebook/nllb-200-distilled-600M", None, {}, "takes a folder.*or a hub repository at a pinned commit"),
        ("facebook/nllb-200-distilled-600M@main", None, {}, "pinned commit"),
        (f"nobody/none@{'0' * 40}", None, {}, "not fetched before, and HF_HUB_OFFLINE is set"),
        ("/models/nllb", None, {}, "written into every answer"),
        ("../nllb", None, {}, "written into every answer"),
        ("copy", "config.json", {}, "holds no config.json"),
        ("copy", "model.safetensors", {}, "holds no safetensors; weights in other formats can run code"),
        ("copy", "tokenizer.json", {}, "holds no tokenizer"),
        ("copy", None, {"model_type": "t5"}, "is of type 't5'; NLLB is m2m_100 or nllb-moe"),
        ("copy", None, {"model_type": "nllb-moe"}, "can't run this kind of model.*float32 or float16"),
    ],
)
def test_what_is_no_model_is_refused_in_words(
    name: str, lost: str | None, changed: dict[str, str], told: str, tiny: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / tiny, copy)
    if lost:
        (copy / lost).unlink()
    if changed:
        config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
        (copy / "config.json").write_text(json.dumps(config | changed), encoding="utf-8")
    with pytest.raises(Refusal, match=told):
        nllb_models.load(name, "int8")


def test_what_cannot_run_here_is_refused_in_words(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match=r"found float16: .*not support efficient float16"):
        nllb_models.load(tiny, "float16")
    without_ctranslate2(monkeypatch)
    with pytest.raises(Refusal, match=r"CTranslate2 is missing; install it \(`make setup EXTRAS=nllb`\)"):
        nllb_models.load(tiny, "int8")
