"""How an answer is read, and what is wrong with it as a whole."""

import pytest

from stages.lib.translate import translation
from tests.scripted import CHECKS, Bench, row


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
