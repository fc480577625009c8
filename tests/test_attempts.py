"""Who is asked again, how, and of whom; and what happens in the end."""

import json
from typing import Any

import pytest

from stages import translate
from stages.lib.params import Nllb, Teacher
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.translate import attempts, translation
from stages.lib.translate.attempts import UNKNOWN
from tests.scripted import (
    FINE,
    OTHER,
    PAID,
    PARAGRAPH,
    PARAGRAPH_VI,
    PROMPTS,
    SMALL,
    Bench,
    good,
    lazy,
    paragraphs,
    row,
    texts_of,
    towns,
)


def test_a_failed_translation_is_asked_for_once_more_with_the_reason(bench: Bench) -> None:
    bench.run(towns(2), lazy)
    assert len(bench.kept()) == 2 and bench.quarantine() == []
    assert [prompt for _, prompt, _ in bench.asked] == ["translate"] * 2 + ["retranslate"] * 2
    shown = json.loads(bench.asked[-1][2])
    assert shown["texts"] == [{"role": "text", "text": FINE.format(1)}] and shown["refused"] == [FINE.format(1)]
    assert shown["reason"].startswith("left in English: ")


def test_then_the_fallback_is_asked_with_the_first_prompt(bench: Bench) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str:
        return good(teacher, prompt, text) if teacher.model == "other" else translation.answer(texts_of(text))

    bench.run(towns(1), script, PAID.model_copy(update={"fallback": OTHER}))
    assert [asked[:2] for asked in bench.asked] == [("m", "translate"), ("m", "retranslate"), ("other", "translate")]
    assert bench.kept()[0]["teacher"] == "other"
    request = bench.kept()[0]["request"]
    bench.run(towns(1), teacher=PAID.model_copy(update={"fallback": OTHER, "engine": "journal"}))
    assert len(bench.asked) == 3 and bench.kept()[0]["request"] == request, "the journal engine finds it, too"


def test_what_nobody_can_translate_is_dropped_under_its_first_name_with_all_attempts(bench: Bench) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str | Failure:
        if teacher.model == "other":
            return Failure("timed out", "no answer in 1 s")
        return translation.answer(["Troi o thi tran rat dep."] if prompt.name == "retranslate" else texts_of(text))

    bench.run(towns(1), script, PAID.model_copy(update={"fallback": OTHER}))
    assert bench.dropped() == ["left in English"] and bench.kept() == []
    (kept_back,) = bench.quarantine()
    assert kept_back["reason"] == "left in English" and kept_back["messages"] == towns(1)[0]["messages"]
    tried = [(one["model"], one["prompt"], one["reason"], bool(one["answer"])) for one in kept_back["attempts"]]
    assert tried == [
        ("m", "translate", "left in English", True),
        ("m", "retranslate", "diacritics lost", True),
    ], "a retry that nobody answered is another machine's as little as this one's"
    assert [one["request"] for one in kept_back["attempts"]] == [
        key(teacher, prompt, text)
        for (teacher, prompt), (_, _, text) in zip(
            [
                (PAID, Prompt.load(PROMPTS[0])),
                (PAID, Prompt.load(PROMPTS[1])),
            ],
            bench.asked[:2],
            strict=True,
        )
    ]


@pytest.mark.parametrize(
    ("failure", "prompts"),
    [
        (Failure("timed out"), ["translate"]),
        (Failure("refused by the teacher", answered=True), ["translate"]),
        (Failure("empty answer", answered=True), ["translate", "retranslate"]),
    ],
)
def test_only_an_answer_can_be_asked_for_again_with_a_reason(
    bench: Bench, failure: Failure, prompts: list[str]
) -> None:
    bench.run(towns(1), lambda *_: failure)
    assert [prompt for _, prompt, _ in bench.asked] == prompts and bench.dropped() == [failure.reason]


def test_a_verdict_on_a_translation_comes_before_the_lack_of_one(bench: Bench) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str | Failure:
        return translation.answer(texts_of(text)) if teacher.model == "other" else Failure("timed out")

    bench.run(towns(1), script, PAID.model_copy(update={"fallback": OTHER}))
    assert bench.dropped() == ["left in English"]


def test_a_retry_that_the_journal_does_not_hold_is_no_failure(bench: Bench) -> None:
    bench.run(towns(4), lambda t, p, text: good(t, p, text) if "3" not in text else translation.answer(texts_of(text)))
    asked = len(bench.asked)
    (bench.folder / "data/teacher/journal.jsonl").write_text(
        "".join(
            line
            for line in (bench.folder / "data/teacher/journal.jsonl").read_text(encoding="utf-8").splitlines(True)
            if json.loads(line)["prompt"] == "translate"
        ),
        encoding="utf-8",
    )
    strict = PAID.model_copy(update={"engine": "journal", "max_failed": 0.0})
    bench.run(towns(4), lambda *_: Failure(UNKNOWN), strict, max_refused=0.25)
    assert bench.dropped() == ["left in English"] and len(bench.kept()) == 3 and len(bench.asked) == asked
    assert [one["reason"] for one in bench.quarantine()[0]["attempts"]] == ["left in English"]


def test_nllb_is_given_no_reasons(bench: Bench) -> None:
    decoding = Nllb(quantization="int8", beam=4)
    bench.run(towns(1), lazy, PAID.model_copy(update={"engine": "nllb", "nllb": decoding}))
    assert [prompt for _, prompt, _ in bench.asked] == ["translate"] and bench.dropped() == ["left in English"]


@pytest.mark.parametrize(
    ("teacher", "first", "then"),
    [
        ({"fallback": None}, None, None),
        ({"fallback": OTHER}, 4, ("openai", "other", None)),
        ({"fallback": OTHER, "engine": "journal"}, 4, ("journal", "other", None)),
        ({"fallback": OTHER.model_copy(update={"engine": "nllb"})}, None, ("nllb", "other", 4)),
        ({"fallback": OTHER, "engine": "nllb"}, 4, ("openai", "other", None)),
    ],
)
def test_who_is_asked_first_and_then(teacher: dict[str, Any], first: int | None, then: tuple[Any, ...] | None) -> None:
    both = PAID.model_copy(update={"nllb": Nllb(quantization="int8", beam=4), **teacher})
    if teacher["fallback"]:
        nllb = attempts.first(both).nllb
        assert (nllb.beam if nllb else None) == first
    other = attempts.fallback(both)
    assert (other and (other.engine, other.model, other.nllb.beam if other.nllb else None)) == then


def test_what_was_cut_is_asked_for_in_smaller_parts_and_only_that(bench: Bench) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str:
        whole = paragraphs(teacher, prompt, text)
        return whole if sum(map(len, texts_of(text))) < 80 else whole[:50] + "—"

    texts = ["\n\n".join(map(PARAGRAPH.format, range(3))), PARAGRAPH.format(7)]
    bench.run([row(text) for text in texts], script, SMALL)
    assert bench.texts() == [["\n\n".join(map(PARAGRAPH_VI.format, range(3)))], [PARAGRAPH_VI.format(7)]]
    assert {prompt for _, prompt, _ in bench.asked} == {"translate"} and len(bench.asked) <= 6


def test_what_runs_on_without_need_is_told_so(bench: Bench) -> None:
    bench.run(towns(1), lambda t, p, text: good(t, p, text) if p.name == "retranslate" else "đẹp đẹp đẹp —")
    assert [prompt for _, prompt, _ in bench.asked] == ["translate", "retranslate"] and len(bench.kept()) == 1
    bench.run(towns(2), lambda t, p, text: "đẹp đẹp đẹp —")
    assert bench.dropped() == ["truncated"]


TURNS = ["How do I sleep well?", "You should turn off the lights.", "And what else?", "Please close the window."]
BETTER = ["Làm sao để tôi ngủ ngon?", "Bạn nên tắt hết đèn đi.", "Còn gì nữa không?", "Bạn hãy đóng cửa sổ lại."]
MIXED = [*BETTER[:3], "Quý khách vui lòng đóng cửa sổ lại."]


@pytest.mark.parametrize(
    ("replies", "expected", "asked"),
    [([BETTER], BETTER, 1), ([MIXED, BETTER], BETTER, 2), ([MIXED, MIXED], MIXED, 2), ([MIXED, TURNS], MIXED, 2),
     ([MIXED, None], MIXED, 2)],
)  # fmt: skip
def test_mixed_forms_of_address_are_asked_for_again_and_refuse_nothing(
    bench: Bench, replies: list[list[str] | None], expected: list[str], asked: int
) -> None:
    given = iter(replies)

    def script(teacher: Teacher, prompt: Prompt, text: str) -> str | Failure:
        reply = next(given)
        return translation.answer(reply) if reply else Failure(UNKNOWN)

    bench.run([row(*TURNS, roles="user assistant")], script, PAID.model_copy(update={"fallback": OTHER}))
    assert bench.texts() == [expected] and len(bench.asked) == asked


def test_forms_of_address_are_compared_across_the_parts_of_a_record(bench: Bench) -> None:
    vi = dict(zip(TURNS, MIXED, strict=True))

    def script(teacher: Teacher, prompt: Prompt, text: str) -> str:
        return translation.answer([vi[one] for one in texts_of(text)])

    bench.run([row(*TURNS, roles="user assistant")], script, PAID.model_copy(update={"max_tokens": 30}))
    assert bench.texts() == [MIXED]
    assert [json.loads(text)["reason"].split(":")[0] for _, prompt, text in bench.asked if prompt == "retranslate"] == [
        "register mixed"
    ]


def test_batch_files_hold_a_whole_source_and_give_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str | Failure:
        number = int(texts_of(text)[0].split()[-1].strip("."))
        if number == 3 and teacher.model == "m":
            return Failure("expired", "4 tries")
        told = (
            good if teacher.model == "other" or number % 2 or (number == 4 and prompt.name == "retranslate") else lazy
        )
        return told(teacher, prompt if number == 4 else Prompt("translate", ""), text)

    monkeypatch.setattr(translate, "BATCH", 2)
    batched = PAID.model_copy(update={"engine": "batch", "fallback": OTHER})
    bench.run(towns(7), script, batched)
    sent = bench.calls
    assert sent[:3] == [("m", "translate", 7), ("m", "retranslate", 4), ("other", "translate", 1)]
    assert len(bench.asked) == len(set(bench.asked))
    first = bench.kept(), bench.dropped(), bench.quarantine()
    (bench.folder / "data" / "teacher" / "journal.jsonl").unlink()
    bench.run(towns(7), script, PAID.model_copy(update={"fallback": OTHER}))
    assert (bench.kept(), bench.dropped(), bench.quarantine()) == first and len(first[0]) == 7
