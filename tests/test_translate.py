"""The translate stage: what is asked, asked again, kept, and dropped under which name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import translate
from stages.lib import attempts, meaning, paramfile, records, translation
from stages.lib.attempts import UNKNOWN
from stages.lib.contract import Refusal
from stages.lib.journal import Entry, Journal
from stages.lib.params import Fallback, Nllb, Spend, Teacher
from stages.lib.records import Message, Record
from stages.lib.requests import Failure, Prompt, key, usable

PROMPTS = [Path(f"stages/prompts/{name}.yaml") for name in ("translate", "retranslate", "judge")]
DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
CHECKS = DIALS.translate.checks
PAID = DIALS.teacher.model_copy(update={"engine": "openai", "model": "m", "max_failed": 1.0})
OTHER = Fallback(engine="openai", model="other", base_url="http://127.0.0.1:9/v1", api_key="OTHER_KEY")
Script = Callable[[Teacher, Prompt, str], str | Failure]


class Bench:
    """The stage in a folder of its own, with a teacher who answers by a script and counts what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DVC_ROOT", str(folder))
        for module in (attempts, meaning):
            monkeypatch.setattr(module, "ask", self.ask)
        self.folder = folder
        self.asked: list[tuple[str, str, str]] = []
        self.script: Script = lambda teacher, prompt, text: Failure(UNKNOWN)

    def ask(
        self, teacher: Teacher, spend: Spend, journal: Journal, prompt: Prompt, texts: list[str], name: str
    ) -> list[Entry | Failure]:
        found: list[Entry | Failure] = []
        with journal.writing():
            for text in texts:
                mark = key(teacher, prompt, text)
                if mark not in journal.answers:
                    self.asked.append((teacher.model, prompt.name, text))
                    reply = self.script(teacher, prompt, text)
                    if isinstance(reply, Failure):
                        found.append(reply)
                        continue
                    # a script says with a dash at the end that the answer was cut
                    finish = "length" if reply.endswith("—") else "stop"
                    journal.add(
                        Entry(key=mark, model=teacher.model, prompt=prompt.name, input=text, answer=reply,
                              finish_reason=finish, usage={})
                    )  # fmt: skip
                found.append(usable(journal.answers[mark]))
        return found

    def run(self, rows: list[Record], script: Script | None = None, teacher: Teacher = PAID, **changes: Any) -> None:
        """Run the stage over some records; what it writes lies in the folder."""
        self.script = script or self.script
        records.write(self.folder / "rows", rows)
        dials = DIALS.translate.model_copy(update={"max_refused": 1.0, **changes})
        (self.folder / "shipped").touch()
        words = [*PROMPTS, *(self.folder / name for name in ("shipped", "kept", "dropped", "quarantine"))]
        translate.main(
            "s", self.folder / "rows", *words, teacher=teacher, spend=DIALS.spend, licences="all", translate=dials
        )

    def kept(self) -> list[Record]:
        return list(records.read(self.folder / "kept"))

    def texts(self) -> list[list[str]]:
        return [[message["content"] for message in record["messages"]] for record in self.kept()]

    def dropped(self) -> list[str]:
        return [str(dict(record)["reason"]) for record in records.read(self.folder / "dropped")]

    def quarantine(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "quarantine").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def row(*texts: str, roles: str = "text", lang: str = "en", upstream: str = "1") -> Record:
    names = roles.split()
    messages: list[Message] = [{"role": names[at % len(names)], "content": text} for at, text in enumerate(texts)]
    return records.make("text", messages, source="s", licence="MIT", lang=lang, upstream=upstream)


FINE, FINE_VI = "The weather is fine in town {}.", "Thời tiết ở thị trấn {} rất đẹp."


def towns(count: int) -> list[Record]:
    return [row(FINE.format(number), upstream=str(number)) for number in range(count)]


def texts_of(text: str) -> list[str]:
    tree = json.loads(text)
    return [item["text"] for item in (tree if isinstance(tree, list) else tree["texts"])]


def good(teacher: Teacher, prompt: Prompt, text: str) -> str:
    return translation.answer([FINE_VI.format(part.split()[-1].strip(".")) for part in texts_of(text)])


def lazy(teacher: Teacher, prompt: Prompt, text: str) -> str:
    """The texts as they are, until somebody says what is wrong with them."""
    return good(teacher, prompt, text) if prompt.name == "retranslate" else translation.answer(texts_of(text))


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
        ("other", "translate", "timed out", False),
    ]
    assert [one["request"] for one in kept_back["attempts"]] == [
        key(teacher, prompt, text)
        for (teacher, prompt), (_, _, text) in zip(
            [
                (PAID, Prompt.load(PROMPTS[0])),
                (PAID, Prompt.load(PROMPTS[1])),
                (PAID.model_copy(update={"model": "other"}), Prompt.load(PROMPTS[0])),
            ],
            bench.asked,
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
    assert bench.dropped() == ["left in English"] and len(bench.kept()) == 3 and len(bench.asked) == asked + 1
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


PARAGRAPH, PARAGRAPH_VI = "It rains in town {}. We stay at home.", "Trời mưa ở thị trấn {}. Chúng tôi ở nhà."
SMALL = PAID.model_copy(update={"max_tokens": 100})


def paragraphs(teacher: Teacher, prompt: Prompt, text: str) -> str:
    return translation.answer(
        [part.replace("It rains in town", "Trời mưa ở thị trấn").replace("We stay at home", "Chúng tôi ở nhà")
         for part in texts_of(text)]
    )  # fmt: skip


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
    monkeypatch.setattr("stages.lib.lexicon.FEW", 50)

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


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ('{"texts": ["Trời hôm nay đẹp quá, ta đi chơi nhé."]}', ""),
        ('```json\n{"texts": ["Trời hôm nay đẹp quá, ta đi chơi nhé."]}\n```', ""),
        ("Đây là bản dịch: ...", "malformed"),
        ('{"texts": []}', "wrong number of texts"),
        ('{"texts": [" "]}', "empty translation"),
        ('{"texts": ["|||TRANSLATION_FAILED||| The weather"]}', "failure marker"),
        ('{"texts": ["The weather is fine today and we should go out."]}', "left in English"),
        ('{"texts": ["Troi hom nay dep qua ta di choi nhe ban oi"]}', "diacritics lost"),
        ('{"texts": ["Trời đẹp."]}', "truncated"),
        ('{"texts": ["đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp đẹp"]}', "looped"),
    ],
)
def test_translation_faults_have_names(bench: Bench, reply: str, fault: str) -> None:
    bench.run([row("The weather is fine today and we should go out.")], lambda *_: reply)
    assert bench.dropped() == ([fault] if fault else [])


HOSTILE = ['{"texts": ' + "[" * 1100, '{"texts": ' + "[" * 100_000, '{"texts": [' + "9" * 5000 + "]}"]


@pytest.mark.parametrize("reply", HOSTILE, ids=["deep", "deeper", "long"])
def test_an_answer_that_python_cannot_read_is_malformed(reply: str) -> None:
    assert translation.parse(reply) is None


def test_an_empty_text_comes_back_empty_and_one_that_nobody_uses_as_it_likes() -> None:
    source = ["Hello there.", " \n"]
    assert translation.fault(source, ["Chào bạn.", ""], "stop", CHECKS) is None
    found = translation.fault(source, ["Chào bạn.", "Tôi đây."], "stop", CHECKS)
    assert found == ("invented", "'Tôi đây.' for an empty text")
    assert translation.fault([source[0], None], ["Chào bạn.", "Tôi đây."], "stop", CHECKS) is None
