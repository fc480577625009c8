"""The translate stage: what goes in comes out in order, or is dropped under a name."""

import json

import pytest

from stages.lib.contract import Refusal
from stages.lib.params import Teacher
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.translate import meaning, translation
from tests.scripted import (
    FINE,
    FINE_VI,
    PAID,
    PARAGRAPH,
    PARAGRAPH_VI,
    PROMPTS,
    SMALL,
    Bench,
    good,
    paragraphs,
    row,
    texts_of,
    towns,
)


def test_what_is_right_at_once_is_asked_once_and_order_stays(bench: Bench) -> None:
    rows = [*towns(3), row("Trời đẹp quá.", lang="vi"), row(FINE.format(1), upstream="again")]
    bench.run(rows, good)
    assert [record["upstream"] for record in bench.kept()] == ["0", "1", "2", "1", "again"]
    assert [texts[0] for texts in bench.texts()] == [*map(FINE_VI.format, range(3)), "Trời đẹp quá.", FINE_VI.format(1)]
    assert len(bench.asked) == 3 and bench.quarantine() == [] and bench.dropped() == []
    bench.run(rows, lambda *_: Failure("nobody is there"))
    assert len(bench.asked) == 3 and len(bench.kept()) == 5, "all of it is in the journal"
    kept = bench.kept()[0]
    assert (kept["teacher"], kept["original"], kept["lang"]) == ("m", rows[0]["messages"], "vi")


def test_a_long_record_travels_in_parts_that_know_what_came_before(bench: Bench) -> None:
    long = "\n\n".join(map(PARAGRAPH.format, range(10)))
    code = "```\n" + "x = 1\n" * 60 + "```"
    rows = [row("Chat.", long, code, "x = {}", PARAGRAPH.format(99), roles="system user assistant tool assistant")]
    bench.run(rows, lambda t, p, text: paragraphs(t, p, text).replace('"Chat."', '"Trò chuyện."'), SMALL)
    (texts,) = bench.texts()
    assert texts == [
        "Trò chuyện.", "\n\n".join(map(PARAGRAPH_VI.format, range(10))), code, "x = {}", PARAGRAPH_VI.format(99)
    ]  # fmt: skip
    requests = [json.loads(text) for _, _, text in bench.asked]
    assert len(requests) > 2 and all(sum(len(item["text"]) for item in request) <= 150 for request in requests)
    assert "context" not in requests[0][0] and all("context" in request[0] for request in requests[1:])
    assert requests[1][0]["context"].startswith("Chat.") and requests[1][0]["role"] == "user"
    assert "x = 1" not in str(requests), "code that is too long to travel, and holds no words, stays here"
    assert bench.kept()[0]["request"].split() == [
        key(SMALL, Prompt.load(PROMPTS[0]), text) for _, _, text in bench.asked
    ]


def test_a_judge_has_the_last_word(bench: Bench) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str | Failure:
        if prompt.name == "judge":
            return json.dumps({"faithful": "mưa" not in text, "reason": "it rains"})
        wet = translation.answer([FINE_VI.format(1).replace("rất đẹp", "mưa to")])
        return wet if "town 1" in text else good(teacher, prompt, text)

    bench.run(towns(3), script, meaning="judge")
    assert bench.dropped() == [meaning.ELSE] and len(bench.kept()) == 2
    assert [one["detail"] for one in bench.quarantine()[0]["attempts"]] == ["it rains"] * 2
    with pytest.raises(Refusal, match="engine nllb has none"):
        bench.run(towns(1), script, PAID.model_copy(update={"engine": "nllb"}), meaning="judge")


def test_the_lexicon_is_learned_before_anything_is_written_and_buys_nothing_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"cat": "mèo", "dog": "chó", "house": "ngôi nhà", "river": "dòng sông", "book": "quyển sách", "tree": "cây"}
    pairs = {
        f"She can see the {one}, the {two} and also the {three}.": f"Cô ấy thấy {one_vi}, {two_vi} và cả {three_vi}."
        for one, one_vi in words.items() for two, two_vi in words.items() for three, three_vi in words.items()
        if len({one, two, three}) == 3
    }  # fmt: skip
    wrong = list(pairs)[50]
    vi = {**pairs, wrong: "Hôm qua anh ta bán hết gạo cho người láng giềng."}
    lost = list(pairs)[60]
    monkeypatch.setattr("stages.lib.translate.alignment.FEW", 50)

    def script(teacher: Teacher, prompt: Prompt, text: str) -> str | Failure:
        (source,) = texts_of(text)
        return Failure("timed out") if source == lost else translation.answer([vi[source]])

    bench.run([row(source) for source in pairs], script, meaning="lexicon")
    assert meaning.ELSE in bench.dropped() and "timed out" in bench.dropped() and len(bench.dropped()) <= 6
    assert wrong in [line["messages"][0]["content"] for line in bench.quarantine()]
    first = [text for _, prompt, text in bench.asked if prompt == "translate"]
    assert len(first) == len(set(first)) == len(pairs), "the one without an answer, too, is asked for once a run"


def test_an_embedding_needs_an_encoder(bench: Bench) -> None:
    with pytest.raises(Refusal, match=r"needs translate\.encoder"):
        bench.run(towns(1), good, meaning="embedding")


def test_too_many_refused_translations_stop_the_stage_and_say_what_to_do(bench: Bench) -> None:
    def script(teacher: Teacher, prompt: Prompt, text: str) -> str:
        return translation.answer(texts_of(text)) if "3" in text else good(teacher, prompt, text)

    bench.run(towns(4), script, max_refused=0.25)
    with pytest.raises(
        Refusal, match=r"1 of 4 translations failed their checks: left in English \(1\).*nothing is bought"
    ):
        bench.run(towns(4), script, max_refused=0.2)
    with pytest.raises(Refusal, match=r"1 of 1 requests failed \(timed out\)"):
        bench.run([row("Another text.")], lambda *_: Failure("timed out"), PAID.model_copy(update={"max_failed": 0.0}))


def test_what_a_tool_answered_stays_as_it_is(bench: Bench) -> None:
    said = ["Warm?", "weather()", '{"celsius": 30}', "It is 30 degrees."]
    texts = ["Ấm chứ?", "weather()", "ba mươi độ", "Trời 30."]
    bench.run([row(*said, roles="user assistant tool assistant")], lambda *_: translation.answer(texts))
    assert bench.texts() == [[texts[0], texts[1], said[2], texts[3]]]
