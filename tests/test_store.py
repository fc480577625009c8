"""What push and pull compare: objects by size, and journals by their answers."""

import json
from pathlib import Path

import pytest

from stages.lib.teachers.journal import Entry, Journal, line
from tools import pull, push, store
from tools.store import Object


def test_an_answer_put_aside_by_a_pull_that_died_is_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    pull.ASIDE.write_text("mine\n", encoding="utf-8")
    pull.put_aside()
    pull.bring_back()
    pull.bring_back()
    assert pull.JOURNAL.read_text(encoding="utf-8") == "mine\n" and not pull.ASIDE.exists()


def test_where_two_clones_bought_the_same_answer_all_use_the_one_that_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def said(key: str, answer: str) -> str:
        return line(Entry(key=key, model="m", prompt="p", input="i", answer=answer, finish_reason="stop", usage={}))

    pull.JOURNAL.parent.mkdir(parents=True)
    pull.JOURNAL.write_text(said("a", "theirs") + said("b", "same"), encoding="utf-8")
    pull.ASIDE.write_text(said("a", "mine") + said("b", "same") + said("c", "mine"), encoding="utf-8")
    pull.bring_back()
    found = Journal(own=pull.JOURNAL).answers
    assert {key: found[key]["answer"] for key in "abc"} == {"a": "theirs", "b": "same", "c": "mine"}
    assert len(pull.lines(pull.JOURNAL)) == 4 and "note: 1 requests" in capsys.readouterr().out


def test_objects_are_compared_by_size_and_told_once() -> None:
    listing = {"l.dir": json.dumps([{"md5": "m", "relpath": "w"}, {"md5": "n", "relpath": "x"}])}
    wanted = [*store.objects("models/a", "l.dir", listing.get), *store.objects("models/b", "l.dir", lambda _: None)]
    assert wanted == [("models/a", "l.dir"), ("models/a/w", "m"), ("models/a/x", "n"), ("models/b", "l.dir")]
    assert list(store.objects("a", "l.dir", {"l.dir": "[{"}.get)) == [("a", "l.dir")]
    here, there = {"l.dir": 9, "m": 5, "n": 6}.get, {"l.dir": 9, "m": 4}.get
    assert store.lacking(wanted, there) == [Object("models/a/x", "n")]
    assert store.cut_short(wanted, here, there) == [Object("models/a/w", "m")]
    assert [each.md5 for each in push.not_whole([*wanted, *wanted], here, there)] == ["n", "m"]


def test_only_faulty_objects_are_named() -> None:
    gone = [Object("a", "1"), Object("b", "2"), Object("c", "3")]
    lines = list(pull.explain(gone, {"1": 7, "3": 8}.get, {"1": False, "2": False, "3": True}, str))
    assert lines[0] == "error: a: object 1 is damaged on the remote, where it has 7 bytes (1)"
    assert lines[1] == "error: b: object 2 is not on the remote (2)"
    assert len(lines) == 3
    assert list(pull.explain(gone[2:], {"3": 8}.get, {"3": True}, str)) == [
        "error: 1 objects did not arrive, and the remote has them whole; run `make pull` again"
    ]
