"""The account beside the journal: what answers cost, counted once whatever their lines look like."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from stages.lib.teachers import account
from stages.lib.teachers.journal import line
from tests.conftest import Run
from tests.entries import bought, written

ODD = [
    '{"model": "m", "key": "k", "prompt": "p", "input": "", "answer": "", "finish_reason": "stop", '
    '"usage": {"completion_tokens": 5, "prompt_tokens": 7}}\n',
    line(bought('quotes ", "usage": {"prompt_tokens": 9, "completion_tokens": 9}}', 10, 20)),
    line({**bought("đặt tên", 1, 1), "model": 'mô "hình"'}),
    line({**bought("none"), "usage": {}}),
    line(bought("more", 2, 3, cached=1)),
    line(bought("at most", 50, 60, metered=0)),
    line(bought("batch", 2, 3, batch=1)),
    "torn {\n",
    "\n",
]


def test_lines_of_any_form_count_once_and_damaged_ones_nothing(tmp_path: Path) -> None:
    own = tmp_path / "j"
    own.write_text("".join(ODD) + line(bought("whole"))[:-9], encoding="utf-8")
    sums = account.total(own)
    assert sums == {
        ("m", False): account.Sum(5, 7 + 10 + len(b"none") + 2 + 50, 5 + 20 + len(b"to none") + 3 + 60, 2),
        ('mô "hình"', False): account.Sum(1, 1, 1),
        ("m", True): account.Sum(1, 2, 3),
    }


def test_only_what_is_new_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = written(tmp_path / "j", *(bought(str(number)) for number in range(50)))
    first = account.total(own)
    written(own, bought("new", 100, 1000))
    read: list[bytes] = []
    count = account.count

    def counted(sums: account.Sums, text: bytes) -> None:
        read.append(text)
        count(sums, text)

    monkeypatch.setattr(account, "count", counted)
    assert account.total(own)["m", False] == account.Sum(51, first["m", False].prompt + 100, 50 * 4 + 1000)
    assert len(read) == 1 and account.total(own)["m", False].answers == 51 and len(read) == 1


def replaced(own: Path) -> None:
    part = written(own.with_name("part"), *(bought(f"{number}", 7, 7) for number in range(20)))
    os.replace(part, own)


CHANGES = {
    "another file": replaced,
    "cut": lambda own: own.write_bytes(own.read_bytes()[: len(line(bought("0")).encode()) * 3]),
    "another in place": lambda own: own.write_text(own.read_text().replace('tokens": 3', 'tokens": 9')),
    "no snapshot": lambda own: own.with_name(account.SNAPSHOT).unlink(),
    "a broken snapshot": lambda own: own.with_name(account.SNAPSHOT).write_text('{"end": 1'),
    "another format": lambda own: own.with_name(account.SNAPSHOT).write_text('{"format": 0, "end": 0, "mark": ""}'),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_journal_that_is_another_one_by_now_is_counted_anew(tmp_path: Path, change: Any) -> None:
    own = written(tmp_path / "j", *(bought(str(number)) for number in range(10)))
    account.total(own)
    change(own)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert account.total(own) == account.total(written_as(fresh / "j", own.read_bytes()))


def written_as(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_an_account_of_many_answers_opens_at_once(tmp_path: Path) -> None:
    own = written(tmp_path / "j", *(bought(f"{number} " + "dài " * 50) for number in range(20_000)))
    account.total(own)
    start = time.perf_counter()
    assert account.total(own)["m", False].answers == 20_000
    assert time.perf_counter() - start < 0.2


def test_the_clones_own_account_is_not_shared(project: Path, run: Run) -> None:
    folder = "data/teacher"
    names = [account.SNAPSHOT, account.LOST, account.LEDGER, account.UNDER_WAY, account.BATCHES]
    ignored = run(project, "dvc", "init", "--subdir", "--quiet") and run(
        project, "dvc", "check-ignore", f"{folder}/journal.jsonl", *(f"{folder}/{name}" for name in names)
    )
    assert ignored.stdout.split() == [f"{folder}/{name}" for name in names]
