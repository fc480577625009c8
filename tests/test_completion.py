"""What replies mean: read from literal bytes, and asked of a server that answers as each text says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.lib.contract import Refusal
from stages.lib.teachers.completion import Answer, Fault, Form, filtered, read
from stages.lib.teachers.journal import Journal
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.teacher import ask
from tests.faulty import SPEND, Faulty, completion, teacher

PROMPT = Prompt("p", "Answer.")
SCHEMA = {"type": "object", "properties": {"texts": {"type": "array"}}, "required": ["texts"]}
FORM = Form(teacher(), PROMPT, "sk-very-secret")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setattr("stages.lib.teachers.endpoint.pause", lambda tries, wait: 0.01)
    with Faulty() as server:
        yield server


def reply(**changes: Any) -> bytes:
    body = completion("m", "đáp", "stop", "hỏi")
    body["choices"][0].update(changes.pop("choice", {}))
    return json.dumps(body | changes).encode()


@pytest.mark.parametrize(
    ("data", "text", "finish"),
    [
        (reply(), "đáp", "stop"),
        (reply(choice={"finish_reason": "length"}), "đáp", "length"),
        (reply(choice={"message": {"content": None}}), "", "stop"),
        (reply(choice={"message": {"content": ["parts"]}}), "", "stop"),
        (reply(choice={"finish_reason": None}), "đáp", "unknown"),
        (reply(choice={"finish_reason": 7}), "đáp", "unknown"),
        (reply(choice={"message": {"content": "half \ud83d"}}), "half ?", "stop"),
        (reply(choice={"message": {"content": "your key is sk-very-secret"}}), "your key is …", "stop"),
    ],
)
def test_an_answer_is_read_whatever_its_fields_hold(data: bytes, text: str, finish: str) -> None:
    found = read(FORM, data)
    assert isinstance(found, Answer) and (found.text, found.finish_reason) == (text, finish)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, {"prompt_tokens": 3, "completion_tokens": 4}),
        ({"prompt_tokens": None, "completion_tokens": "many"}, {}),
        (None, {}),
        ([], {}),
    ],
)
def test_usage_is_numbers_or_nothing(usage: Any, expected: dict[str, int]) -> None:
    found = read(FORM, reply(usage=usage))
    assert isinstance(found, Answer) and found.usage == expected


@pytest.mark.parametrize(
    ("data", "billed"),
    [
        (b"<html>maintenance</html>", False),
        (b"", False),
        (b"null", False),
        (b"[1]", False),
        (b'"text"', False),
        (b'{"error": {"message": "overloaded"}}', False),
        (b'{"choices": null}', False),
        (b'{"choices": []}', False),
        (b'{"choices": [null]}', False),
        (b'{"choices": [{"message": null}]}', False),
        (b'{"choices": [{"message": {"content": "hal', True),
        (b'{"a": ' + b"[" * 100_000, True),
        (b"\xff\xfe\x00", False),
    ],
)
def test_a_200_without_an_answer_is_a_fault_and_half_an_object_may_have_been_billed(data: bytes, billed: bool) -> None:
    found = read(FORM, data)
    assert isinstance(found, Fault) and found.billed == billed and len(found.detail) < 200


def test_a_schema_is_asked_for_where_the_prompt_has_one_and_the_server_knows_it() -> None:
    prompt = Prompt("dịch thử", "Translate.", 1, SCHEMA)
    found = Form(teacher(), prompt, "").request("x")["response_format"]
    assert found == {"type": "json_schema", "json_schema": {"name": "d_ch_th_", "schema": SCHEMA, "strict": True}}
    assert "response_format" not in Form(teacher(json_schema=False), prompt, "").request("x")
    assert "response_format" not in FORM.request("x")


@pytest.mark.parametrize(
    ("said", "learned"),
    [
        ("Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead.", True),
        ("Unrecognized request argument supplied: max_tokens", True),
        ("max_tokens is too large: 99999", False),  # of the request, and not of the form
        ("'temperature' does not support 0.0 with this model", True),
        ("temperature must be at most 2", False),
        ("something else is unsupported", False),
    ],
)
def test_only_words_about_the_form_change_it(said: str, learned: bool) -> None:
    form = Form(teacher(), PROMPT, "")
    sent = form.request("x")
    assert form.learned(sent, said) == learned
    changed = form.request("x")
    assert (changed == sent) != learned
    assert form.learned(sent, said) == learned and form.request("x") == changed  # the others that were under way


def test_what_a_reasoning_model_refuses_is_learned_once_a_run(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(40)]
    with Faulty(reasoning=True) as server:
        found = ask(teacher(server.url, concurrency=1), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
        assert all(isinstance(answer, dict) for answer in found)
        assert server.asked.total() == 42 and set(server.billed.values()) == {1}
        assert server.bodies[-1]["max_completion_tokens"] == 99
        assert not {"max_tokens", "temperature"} & server.bodies[-1].keys()
        many = ask(teacher(server.url, max_tokens=98), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
        assert all(isinstance(answer, dict) for answer in many) and set(server.billed.values()) == {2}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("length", "truncated"),
        ("content_filter", "refused by the teacher"),
        ("empty", "empty answer"),
        ("400", "request refused"),
        ("422", "request refused"),
        ("503", "no answer"),
        ("504", "timed out"),
    ],
)
def test_what_is_no_answer_gets_its_name_and_is_billed_once(
    server: Faulty, tmp_path: Path, name: str, reason: str
) -> None:
    text, fine = f"[fault:{name}]", "fine"
    bad, good = ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, [text, fine], "test")
    assert isinstance(bad, Failure) and bad.reason == reason and not isinstance(good, Failure)
    assert server.asked[text] == (3 if reason == "no answer" else 1) and server.billed[text] == bad.answered
    again = ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, [text], "test")
    assert again == [bad] and server.billed[text] == bad.answered  # what was billed is in the journal


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("401", "refuses every request"),
        ("403", "refuses every request"),
        ("404", "refuses every request"),
        ("402", "no credit left"),
        ("quota", "no credit left"),
    ],
)
def test_what_would_fail_every_request_stops_the_run(server: Faulty, tmp_path: Path, name: str, said: str) -> None:
    texts = [f"[fault:{name}] {number}" for number in range(50)]
    with pytest.raises(Refusal, match=said):
        ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert server.asked.total() <= 4


def test_a_403_for_one_text_among_answers_fails_alone(server: Faulty, tmp_path: Path) -> None:
    texts = ["fine", "[fault:403]", "fine too"]
    asking = teacher(server.url, concurrency=1)
    one, bad, other = ask(asking, SPEND, Journal(own=tmp_path / "j"), PROMPT, texts, "test")
    assert isinstance(bad, Failure) and bad.reason == "request refused" and server.asked["[fault:403]"] == 1
    assert isinstance(one, dict) and isinstance(other, dict)


def test_a_word_that_a_local_server_takes_for_a_key_may_stand_in_a_text(
    server: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (found,) = ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), PROMPT, ["none of it"], "test")
    assert not isinstance(found, Failure) and found["answer"] == "answer to none of it"


def test_a_prompt_that_holds_the_key_is_not_sent(server: Faulty, tmp_path: Path) -> None:
    prompt = Prompt("p", "Use sk-very-secret.")
    with pytest.raises(Refusal, match="the prompt p holds the API key"):
        ask(teacher(server.url), SPEND, Journal(own=tmp_path / "j"), prompt, ["x"], "test")
    assert not server.asked


def test_no_words_of_a_server_hold_the_key(server: Faulty, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    journal = Journal(own=tmp_path / "j")
    server.answer = lambda text: f"{text}, says {sorted(server.keys)}"
    texts = ["[fault:echo the key]", "[fault:503]", "[fault:422]", "an answer", "my own sk-very-secret"]
    found = ask(teacher(server.url), SPEND, journal, PROMPT, texts, "test")
    assert server.keys == {"Bearer sk-very-secret"} and server.asked["my own sk-very-secret"] == 0
    with pytest.raises(Refusal) as fatal:
        ask(teacher(server.url), SPEND, journal, PROMPT, ["[fault:401]"], "test")
    with pytest.raises(Refusal) as url:
        address = server.url.replace("//", "//me:word@")
        ask(teacher(address), SPEND, journal, PROMPT, ["[fault:401]"], "test")
    printed = capfd.readouterr()
    shown = [
        str(found),
        str(fatal.value),
        str(url.value),
        (tmp_path / "j").read_text("utf-8"),
        printed.err,
        printed.out,
    ]
    for words in shown:
        assert "very-secret" not in words and "word@" not in words and str(tmp_path) not in words
    assert "…" in str(found[0]) and "…" in str(fatal.value) and isinstance(found[3], dict)
    assert found[4] == Failure("holds the API key", "the text is not sent and not written down")


def test_a_prompt_that_the_servers_filter_refuses_has_an_answer_for_good() -> None:
    said = (
        "Error code: 400 - {'error': {'code': 'content_filter', 'message': 'triggering our content management policy'}}"
    )
    found = filtered(400, said)
    assert found and found.finish_reason == "content_filter"
    assert filtered(400, "Error code: 400 - what is top_k?") is None and filtered(500, said) is None
