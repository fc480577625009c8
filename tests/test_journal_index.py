"""An answer is found among any number of lines, whoever wrote them: the last sound one counts."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.contract import Refusal
from stages.lib.teachers import journal_index
from stages.lib.teachers.journal import Journal, entries
from stages.lib.teachers.journal_index import Answers, slot
from stages.lib.text import vietnamese
from tests.entries import KEYS, entry, text

ANSWERED = st.lists(st.tuples(st.sampled_from([*KEYS, "a", "ă" * 32, "-" + "1" * 31]), st.text(max_size=30)))
SHIPPED = Path("data/sample/teacher.jsonl")


def test_the_shipped_journal_is_found_whole() -> None:
    journal = Journal(SHIPPED, own=Path("nowhere"))
    known = {found["key"]: found for found in entries(SHIPPED)}
    assert dict(journal.answers) == known and len(journal.answers) == len(known)
    assert journal.answers.damaged == []


def test_the_last_answer_of_a_key_counts_also_across_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(text(entry(KEYS[0], "một"), entry(KEYS[1], "hai"), entry(KEYS[0], "ba")))
    (tmp_path / "b").write_bytes(text(entry(KEYS[1], "bốn")))
    journal = Journal(tmp_path / "a", own=tmp_path / "b")
    assert journal.answers[KEYS[0]]["answer"] == "ba" and journal.answers[KEYS[1]]["answer"] == "bốn"
    merged = tmp_path / "merged"
    merged.write_bytes((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    assert dict(Journal(own=merged).answers) == dict(journal.answers)


def test_a_damaged_line_is_passed_over_and_named_and_an_earlier_answer_serves(tmp_path: Path) -> None:
    good, bad = text(entry(KEYS[0], "cũ")), text(entry(KEYS[0], "mới"))
    inside = bad.replace(b'"finish', b"finish")  # looks like an entry from outside
    own = tmp_path / "j"
    own.write_bytes(good + inside + b"torn {\n" + b"\n" + text(entry(KEYS[1])))
    journal = Journal(own=own)
    assert journal.answers.damaged == [f"{own}, line 3"]
    assert journal.answers[KEYS[0]]["answer"] == "cũ" and KEYS[1] in journal.answers
    assert journal.answers.damaged == [f"{own}, line 3", f"{own}, line 2"]
    alone = tmp_path / "alone"
    alone.write_bytes(inside)
    assert KEYS[0] not in Journal(own=alone).answers


def test_two_lines_that_a_crash_and_a_merge_made_one_are_passed_over(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_bytes(text(entry(KEYS[0]))[:60] + text(entry(KEYS[1]), entry(KEYS[2])))
    journal = Journal(own=own)
    assert [key in journal.answers for key in KEYS[:3]] == [False, False, True]
    assert journal.answers.damaged == [f"{own}, line 1"]


def test_a_line_that_is_json_and_no_entry_is_an_error_that_names_it(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_bytes(text(entry(KEYS[0])) + f'{{"key": "{KEYS[1]}", "model": "a model without an answer"}}\n'.encode())
    with pytest.raises(Refusal, match="line 2"):
        dict(Journal(own=own).answers)
    own.write_bytes(text(entry(KEYS[0])) + b"[]\n")
    with pytest.raises(Refusal, match="line 2"):
        Journal(own=own)


def test_lines_of_another_hand_are_entries_too(tmp_path: Path) -> None:
    own = tmp_path / "j"
    other = json.dumps({"model": "m", **entry("ngắn")}, sort_keys=True, indent=None)
    own.write_bytes(b"  " + other.encode() + b"\r\n" + text(entry(KEYS[0])))
    journal = Journal(own=own)
    assert journal.answers["ngắn"]["answer"] == "đáp" and KEYS[0] in journal.answers


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * 100_000,
        b'{"key": 5}',
        b'{"key": ' + b"9" * 5000 + b"}",
        json.dumps({**entry(KEYS[1]), "answer": None}).encode(),
        json.dumps({**entry(KEYS[1]), "finish_reason": 0}).encode(),
        json.dumps({**entry(KEYS[1]), "model": []}).encode(),
    ],
    ids=["deep", "key", "long", "answer", "finish_reason", "model"],
)
def test_a_line_that_nobody_could_use_is_damaged_and_the_others_serve(tmp_path: Path, bad: bytes) -> None:
    own = tmp_path / "j"
    own.write_bytes(text(entry(KEYS[0])) + bad + b"\n" + text(entry(KEYS[2])))
    journal = Journal(own=own)
    assert set(journal.answers) == {KEYS[0], KEYS[2]} == {found["key"] for found in entries(own)}
    assert journal.answers.damaged == [f"{own}, line 2"]


def test_an_answer_is_found_where_it_lies_whoever_wrote_before_it(tmp_path: Path) -> None:
    own = tmp_path / "j"
    journal = Journal(own=own)
    with journal.writing():
        with own.open("ab") as log:  # somebody who asks for no lock
            log.write(text(entry(KEYS[0])))
        journal.add(entry(KEYS[1]))
        assert journal.answers[KEYS[1]]["key"] == KEYS[1]
    assert set(journal.answers) >= {KEYS[1]} and journal.answers.damaged == []


def test_what_is_added_is_found_before_and_after_it_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_index, "MERGE", 3)
    monkeypatch.setattr(journal_index, "RECENT", 2)
    journal = Journal(own=tmp_path / "j")
    with journal.writing():
        for number, key in enumerate(KEYS):
            assert key not in journal.answers
            journal.add(entry(key, str(number)))
            assert journal.answers[key]["answer"] == str(number)
        journal.add(entry(KEYS[0], "again"))
        assert journal.answers[KEYS[0]]["answer"] == "again"
    assert {key: found["answer"] for key, found in journal.answers.items()} == {
        key: str(number) if number else "again" for number, key in enumerate(KEYS)
    }


@given(ANSWERED, st.integers(64, 400))
def test_small_blocks_and_any_text_give_the_same_answers(found: list[tuple[str, str]], block: int) -> None:
    written = [entry(key, vietnamese.whole(answer)) for key, answer in found]
    before = journal_index.BLOCK
    journal_index.BLOCK = block
    try:
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder) / "j"
            own.write_bytes(text(*written))
            assert dict(Journal(own=own).answers) == {one["key"]: one for one in written}
    finally:
        journal_index.BLOCK = before


def test_slots_of_keys_that_collide_do_not_mix_their_answers(tmp_path: Path) -> None:
    one, other = "0" * 32, "0" * 31 + "1"
    assert slot(one) == slot(other)
    own = tmp_path / "j"
    own.write_bytes(text(entry(one, "một"), entry(other, "hai")))
    journal = Journal(own=own)
    assert journal.answers[one]["answer"] == "một" and journal.answers[other]["answer"] == "hai"
    assert set(journal.answers) == {one, other} and "0" * 30 + "22" not in journal.answers


def test_nothing_is_found_where_nothing_is() -> None:
    empty = Answers()
    assert "a" not in empty and list(empty) == []
    with pytest.raises(KeyError):
        empty["a"]
