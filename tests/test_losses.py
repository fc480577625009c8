"""What the stages did not pass on: counted whole, and shown as a draw that no order changes."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from stages.lib import records
from stages.lib.report import losses


def lost(number: int, reason: str = "spam", text: str = "") -> dict[str, Any]:
    record = records.make(
        "text",
        [{"role": "text", "content": text or f"Văn bản số {number}."}],
        source="báo",
        licence="MIT",
        lang="vi",
        upstream=str(number),
    )
    return {**record, "reason": reason, "detail": "một chữ"}


def test_ten_of_each_reason_are_drawn_from_all_of_a_table_in_whatever_order(tmp_path: Path) -> None:
    rows = [lost(number, "spam" if number % 3 else "loops") for number in range(600)] + [lost(700, "rare")]
    shown = []
    for name, order in (("a", rows), ("b", random.Random(3).sample(rows, len(rows)))):
        (tmp_path / name).mkdir()
        for part, start in enumerate(range(0, len(order), 200)):
            records.write(
                tmp_path / name / f"clean.{part}.dropped.parquet", order[start : start + 200], records.DROPPED
            )
        found = losses.count(sorted((tmp_path / name).glob("*")))
        assert found.dropped()["clean"]["reasons"] == {"spam": 400, "loops": 200, "rare": 1}
        shown.append(found.examples())
    assert shown[0] == shown[1]
    assert {reason: len(drawn) for reason, drawn in shown[0].items()} == {
        "clean: spam": 10, "clean: loops": 10, "clean: rare": 1,
    }  # fmt: skip
    drawn = [int(example["text"].split()[-1].rstrip(".")) for example in shown[0]["clean: spam"]]
    assert len(set(drawn)) == 10 and min(drawn) < 200 and max(drawn) > 400  # neither the first nor the last


def test_refused_rows_are_counted_with_their_source_and_all_that_were_read(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"upstream": "3", "reason": "not JSON", "detail": "at column 9", "raw": '{"a": '}]
    lines += [{"rows": 9, "parsed": 8, "refused": 1}]
    path = tmp_path / "dolly.refused.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = losses.count([path])
    assert found.rows == 9 and found.dropped() == {
        "parse": {"reasons": {"not JSON": 1}, "sources": {"dolly": {"not JSON": 1}}}
    }
    assert found.examples() == {
        "parse: not JSON": [{"source": "dolly", "detail": "row 3 at column 9", "text": '{"a": '}]
    }


def test_the_folder_names_the_stage_of_a_translation(tmp_path: Path) -> None:
    (tmp_path / "vi").mkdir()
    records.write(tmp_path / "vi" / "alpaca.dropped.parquet", [lost(1, "looped")], records.DROPPED)
    assert set(losses.count([tmp_path / "vi" / "alpaca.dropped.parquet"]).dropped()) == {"translate"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gọi 0912 345 678 nhé.", "Gọi [số điện thoại] nhé."),
        ("a " * 200, ("a " * 150).rstrip() + " …"),
        # the number begins where the text is cut: it is masked first
        ("à " * 147 + "gọi 0912 345 678", ("à " * 147 + "gọi [s …")),
        ("nửa \ud83d", "nửa ?"),
    ],
)
def test_an_example_is_masked_then_cut(text: str, expected: str) -> None:
    loss = losses.Loss("clean", "báo", "spam", "gửi lan@vidu.vn", text, "1")
    assert losses.shown(loss) == {"source": "báo", "detail": "gửi [email]", "text": expected}
