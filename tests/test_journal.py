"""A journal of any size: the last sound answer counts, whoever wrote it and whatever happened to the file."""

import errno
import fcntl
import multiprocessing
import os
import threading
import time
from io import FileIO
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from stages.lib.teachers.journal import Journal, entries
from tests.entries import KEYS, entry, text


def hold_on(path: Path, key: str, inside: Event, go: Event) -> None:
    journal = Journal(own=path)
    with journal.writing():
        if go.is_set():  # it came second: the file that has the name is held before anything is written
            with path.open("ab") as log, pytest.raises(BlockingIOError):
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inside.set()
        go.wait(30)
        journal.add(entry(key))
    assert key in journal.answers


@pytest.mark.parametrize("replaced", [False, True])
def test_a_process_waits_for_another_and_writes_into_the_file_that_has_the_name(tmp_path: Path, replaced: bool) -> None:
    own, fresh = tmp_path / "j", tmp_path / "fresh"
    first, second, go, now = (multiprocessing.Event() for _ in range(4))
    now.set()
    one = multiprocessing.Process(target=hold_on, args=(own, KEYS[0], first, go))
    other = multiprocessing.Process(target=hold_on, args=(own, KEYS[1], second, now))
    one.start()
    assert first.wait(30)
    other.start()
    assert not second.wait(1), "two processes hold one journal"
    if replaced:
        fresh.write_bytes(text(entry(KEYS[2])))
        fresh.replace(own)
    go.set()
    for process in (one, other):
        process.join(30)
        assert process.exitcode == 0
    assert {found["key"] for found in entries(own)} == {*KEYS[:2], *KEYS[2 : 2 + replaced]}


def test_what_was_bought_follows_the_name_while_the_journal_is_held(tmp_path: Path) -> None:
    own, fresh = tmp_path / "j", tmp_path / "fresh"
    own.write_bytes(text(entry(KEYS[0])))
    journal = Journal(own=own)
    with journal.writing():
        journal.add(entry(KEYS[1]))
        fresh.write_bytes(text(entry(KEYS[2], "đáp " * 50))[:-1])
        fresh.replace(own)
        for key in KEYS[3:5]:
            journal.add(entry(key))
            assert journal.answers[key]["key"] == key
        own.unlink()
        journal.add(entry(KEYS[5]))
    assert {found["key"] for found in entries(own)} == set(journal.answers) == {KEYS[1], *KEYS[3:6]}


def test_what_was_noted_last_follows_the_name_too(tmp_path: Path) -> None:
    own, fresh = tmp_path / "j", tmp_path / "fresh"
    journal = Journal(own=own)
    with journal.writing():
        journal.note(entry(KEYS[0]))
        assert journal.answers[KEYS[0]]["key"] == KEYS[0]
        fresh.write_bytes(text(entry(KEYS[1])))
        fresh.replace(own)
    assert {found["key"] for found in entries(own)} == set(journal.answers) == set(KEYS[:2])


def test_what_was_noted_is_on_the_disk_when_the_journal_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("stages.lib.teachers.journal.os.fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    journal = Journal(own=tmp_path / "j")
    with journal.writing():
        journal.note(entry(KEYS[0]))
        journal.note(entry(KEYS[1]))
        assert not synced
        journal.sync()
        journal.sync()
        assert synced == [len(text(entry(KEYS[0]), entry(KEYS[1])))]
        journal.note(entry(KEYS[2]))
    assert synced[1:] == [(tmp_path / "j").stat().st_size]


def test_what_was_written_half_way_costs_that_answer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(log: FileIO, data: bytes) -> None:
        log.write(data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    journal = Journal(own=tmp_path / "j")
    with journal.writing():
        journal.note(entry(KEYS[0]))
        with monkeypatch.context() as patched:
            patched.setattr("stages.lib.teachers.journal.put", full)
            with pytest.raises(OSError, match="No space"):
                journal.note(entry(KEYS[1]))
        for key in KEYS[2:4]:
            journal.note(entry(key))
            assert journal.answers[key]["key"] == key
    assert [found["key"] for found in entries(tmp_path / "j")] == [KEYS[0], *KEYS[2:4]]
    assert set(Journal(own=tmp_path / "j").answers) == {KEYS[0], *KEYS[2:4]}


def test_who_waits_for_the_journal_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def wait() -> None:
        with Journal(own=tmp_path / "j").writing():
            pass

    waiting = threading.Thread(target=wait)
    with Journal(own=tmp_path / "j").writing():
        assert capsys.readouterr().err == ""
        waiting.start()
        said, deadline = "", time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            said += capsys.readouterr().err
            time.sleep(0.01)
    waiting.join(30)
    assert said == "note: another process holds the journal; waiting for it\n" and not waiting.is_alive()


def write(path: Path, key: str, count: int) -> None:
    journal = Journal(own=path)
    for number in range(count):
        with journal.writing():
            journal.add(entry(f"{key}{number}"))


def test_two_processes_write_one_journal(tmp_path: Path) -> None:
    own = tmp_path / "j"
    watcher = Journal(own=own)
    writers = [multiprocessing.Process(target=write, args=(own, name, 20)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    with watcher.writing():
        assert len(watcher.answers) == 40 and "a19" in watcher.answers
    assert len(list(entries(own))) == 40


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_bytes(text(entry(KEYS[0]), entry(KEYS[1])))
    journal = Journal(own=own)
    assert KEYS[0] in journal.answers
    fresh = tmp_path / "fresh"
    fresh.write_bytes(text(entry(KEYS[2], "đáp " * 200)))
    fresh.replace(own)
    with journal.writing():
        assert set(journal.answers) == {KEYS[2]}
        journal.add(entry(KEYS[3]))
    assert set(Journal(own=own).answers) == {KEYS[2], KEYS[3]} == set(journal.answers)
    own.write_bytes(text(entry(KEYS[4])))
    with journal.writing():
        assert set(journal.answers) == {KEYS[4]}
