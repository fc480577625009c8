"""Rows out of files that are well-formed, odd or broken: each is kept or refused with its place and a reason."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.sources import datafile, json_rows, rows
from stages.lib.sources.containers import Member, Unreadable
from stages.lib.sources.rows import Refused

GOOD = b'{"instruction": "A", "output": "B"}'
ROW = {"instruction": "A", "output": "B"}


def member(data: bytes, name: str = "") -> Member:
    return Member(name, io.BufferedReader(io.BytesIO(data)))


def told(data: bytes, name: str = "") -> list[tuple[str, Any]]:
    """(position, row) of what was read, (position, reason) of what was refused."""
    found = datafile.rows(member(data, name))
    return [(item.upstream, item.reason) if isinstance(item, Refused) else item for item in found]


JSON_LINES = {
    "bom": (b"\xef\xbb\xbf" + GOOD, [("1", ROW)]),
    "crlf and blank lines": (GOOD + b"\r\n\r\n \n" + GOOD + b"\r\n", [("1", ROW), ("4", ROW)]),
    "no line break at the end": (GOOD + b"\n" + GOOD, [("1", ROW), ("2", ROW)]),
    "broken line": (GOOD + b"\n" + GOOD[:-1] + b"\n" + GOOD, [("1", ROW), ("2", "not JSON"), ("3", ROW)]),
    "bad byte": (GOOD + b"\n" + GOOD.replace(b"B", b"\xe9"), [("1", ROW), ("2", "not UTF-8")]),
    "half a pair": (GOOD + b"\n" + GOOD.replace(b"B", b"\\ud83d"), [("1", ROW), ("2", "not UTF-8")]),
    "whole pair": (GOOD.replace(b"B", b"\\ud83d\\ude00"), [("1", {**ROW, "output": "😀"})]),
    "raw NUL": (GOOD + b"\n" + GOOD.replace(b"B", b"\0"), [("1", ROW), ("2", "not JSON")]),
    "escaped NUL": (GOOD.replace(b"B", b"\\u0000"), [("1", {**ROW, "output": "\0"})]),
    "NaN is null": (b'{"input": NaN, "score": -Infinity}', [("1", {"input": None, "score": None})]),
    "key twice": (GOOD + b'\n{"a": 1, "a": 2}', [("1", ROW), ("2", "duplicate key")]),
    "key twice, same value": (b'{"a": 1, "a": 1}', [("1", {"a": 1})]),
    "key twice, inside": (GOOD + b'\n{"x": [{"a": 1, "a": 2}]}', [("1", ROW), ("2", "duplicate key")]),
    "conflict": (
        b"<<<<<<< HEAD\n" + GOOD + b"\n=======\n" + GOOD + b"\n>>>>>>> theirs\n",
        [
            ("1", "merge-conflict marker"), ("2", ROW), ("3", "merge-conflict marker"), ("4", ROW),
            ("5", "merge-conflict marker"),
        ],
    ),
    "nested too deeply": (GOOD + b"\n" + b"[" * 100_000, [("1", ROW), ("2", "not JSON")]),
    "a long number": (GOOD + b'\n{"a": 1' + b"0" * 5000 + b"}", [("1", ROW), ("2", "not JSON")]),
    "code that looks like mongo": (b'{"a": "x = pd.Timestamp(5)"}', [("1", {"a": "x = pd.Timestamp(5)"})]),
    "no objects": (b'"text"\n7\nnull', [("1", "text"), ("2", 7), ("3", None)]),
}  # fmt: skip

ARRAYS = {
    "array": (b"[" + GOOD + b"," + GOOD + b"]", [("1", ROW), ("2", ROW)]),
    "bom and blanks": (b"\xef\xbb\xbf\n [\r\n" + GOOD + b"\r\n]\r\n", [("1", ROW)]),
    "nothing in it": (b"[]", []),
    "comma too many": (b"[" + GOOD + b",\n]", [("1", ROW)]),
    "broken row": (
        b'[\n  {"instruction": "A", "output": "B"},\n  {"instruction": "A" "output"},\n'
        b'  {"instruction": "A", "output": "B"}\n]',
        [("1", ROW), ("2", "not JSON"), ("3", ROW)],
    ),
    "cut within a row": (b"[" + GOOD + b', {"instruction": "A', [("1", ROW), ("2", "not JSON"), ("3", "not JSON")]),
    "cut between rows": (b"[" + GOOD + b",\n", [("1", ROW), ("2", "not JSON")]),
    "conflict": (
        b"[\n" + GOOD + b",\n<<<<<<< HEAD\n" + GOOD + b",\n=======\n" + GOOD + b",\n>>>>>>> x\n" + GOOD + b"\n]",
        [
            ("1", ROW), ("2", "merge-conflict marker"), ("3", ROW), ("4", "merge-conflict marker"), ("5", ROW),
            ("6", "merge-conflict marker"), ("7", ROW),
        ],
    ),
    "bad byte": (b"[" + GOOD + b"," + GOOD.replace(b"B", b"\xe9") + b"]", [("1", ROW), ("2", "not UTF-8")]),
    "rows that begin otherwise behind a broken one": (
        b'[{"id": 1, "output": "B"}, {"output": oops}, {"output": "B", "id": 2}]',
        [("1", {"id": 1, "output": "B"}), ("2", "not JSON"), ("3", {"output": "B", "id": 2})],
    ),
    "objects within a broken row are no rows": (
        b'[{"id": 1, "t": [{"x": 1}]}, {"id" 2, "t": [{"x": 1}, {"x": 2}]}, {"id": 3}]',
        [("1", {"id": 1, "t": [{"x": 1}]}), ("2", "not JSON"), ("3", {"id": 3})],
    ),
    "code that looks like mongo": (
        b'[{"a": "x = pd.Timestamp(5), ISODate(\'y\')"}, {"a": "\\": NumberInt(5)"}]',
        [("1", {"a": "x = pd.Timestamp(5), ISODate('y')"}), ("2", {"a": '": NumberInt(5)'})],
    ),
    "mongo in a list": (b'[{"a": [ISODate("x"), NumberLong(3)]}]', [("1", {"a": ["x", "3"]})]),
    "a long number": (b'[{"a": 1' + b"0" * 5000 + b"}]", [("1", "not JSON")]),
    "key twice": (b"[" + GOOD + b', {"a": 1, "a": 2},' + GOOD + b"]", [("1", ROW), ("2", "duplicate key"), ("3", ROW)]),
    "NaN is null": (b'[{"input": NaN}]', [("1", {"input": None})]),
    "over several lines": (b'{\n  "a": 1\n}\n{\n  "a": 2\n}\n', [("1", {"a": 1}), ("2", {"a": 2})]),
    "mongo": (
        b'{\n\t"_id" : ObjectId("5a"),\n\t"n" : NumberLong(12),\n\t"publish" : ISODate("2018-02-04T22:15:07Z"),\n'
        b'\t"body" : "ISODate(\\"x\\")"\n}\n{\n\t"n" : NumberLong("13")\n}',
        [
            ("1", {"_id": "5a", "n": "12", "publish": "2018-02-04T22:15:07Z", "body": 'ISODate("x")'}),
            ("2", {"n": "13"}),
        ],
    ),
    "mongo, a line each": (
        b'{ "_id" : ObjectId("5a"), "t" : "x" }\n{ "_id" : ObjectId("5b"), "t" : "y" }\n',
        [("1", {"_id": "5a", "t": "x"}), ("2", {"_id": "5b", "t": "y"})],
    ),
}  # fmt: skip

TABLES = {
    "cells over lines": (b'a,b\n"x\ny",1\n', [("1", {"a": "x\ny", "b": "1"})]),
    "bom, crlf, unnamed column": (b"\xef\xbb\xbf,b\r\n7,x\r\n", [("1", {"": "7", "b": "x"})]),
    "semicolons": (b"a;b\n1;2\n", [("1", {"a": "1", "b": "2"})]),
    "wrong number": (b"a,b\n1\n1,2\n", [("1", "wrong number of cells"), ("2", {"a": "1", "b": "2"})]),
    "a quote that is never closed": (b'a,b\n1,"2\n3,4\n', [("1", "not CSV"), ("2", {"a": "3", "b": "4"})]),
    "a quote that another closes": (
        b'a,b\n1,"2\n3,"4"\n5,6\n',
        [("1", "not CSV"), ("2", {"a": "3", "b": "4"}), ("3", {"a": "5", "b": "6"})],
    ),
    "conflict": (b"a,b\n<<<<<<< HEAD\n1,2\n", [("1", "merge-conflict marker"), ("2", {"a": "1", "b": "2"})]),
    "blank lines, unnamed columns": (b"\n\na,b,,\n\n1,2,,\n", [("1", {"a": "1", "b": "2", "": ""})]),
    "bad byte": (b"a,b\n\xe9,2\n1,2\n", [("1", "not UTF-8"), ("2", {"a": "1", "b": "2"})]),
}


@pytest.mark.parametrize(("data", "expected"), [*JSON_LINES.values(), *ARRAYS.values()], ids=[*JSON_LINES, *ARRAYS])
def test_json(data: bytes, expected: list[tuple[str, Any]]) -> None:
    assert told(data) == expected


@pytest.mark.parametrize(("data", "expected"), ARRAYS.values(), ids=ARRAYS)
def test_json_in_windows_of_any_size_is_the_same(
    data: bytes, expected: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a chunk that ends within a number, a literal or an escape must be no fault
    for size in (7, 16, 31):
        monkeypatch.setattr(json_rows, "CHUNK", size)
        assert [pair for pair in told_values(data)] == expected


def told_values(data: bytes) -> Iterator[tuple[str, Any]]:
    for item in json_rows.values(member(data).file):
        yield (item.upstream, item.reason) if isinstance(item, Refused) else item


@pytest.mark.parametrize(("data", "expected"), TABLES.values(), ids=TABLES)
def test_tables(data: bytes, expected: list[tuple[str, Any]]) -> None:
    assert told(data, "x.csv") == [(f"x.csv:{place}", row) for place, row in expected]


def test_a_table_without_a_telling_name_is_told_by_its_heading() -> None:
    assert told(b"instruction,output\nA,B\n") == [("1", ROW)]
    assert [found for _, found in told(b"broken, line\n" + GOOD)] == ["not JSON", ROW]


def test_a_row_of_cells_without_an_end_is_refused_by_its_first_line() -> None:
    data = b'a,b\n1,"' + b"x" * (3 << 20) + b"\n3,4\n"
    assert told(data, "x.csv") == [("x.csv:1", "not CSV"), ("x.csv:2", {"a": "3", "b": "4"})]


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(Unreadable, match="two columns are called 'a'"):
        told(b"a,a\n1,2\n", "x.csv")


def test_parquet_and_its_damage(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([ROW, ROW]), path)
    assert told(path.read_bytes()) == [("1", ROW), ("2", ROW)]
    with pytest.raises(Unreadable, match="Parquet, after row 0"):
        told(path.read_bytes()[:-20])


def test_other_encodings_are_told() -> None:
    with pytest.raises(Unreadable, match="UTF-16"):
        told('{"a": 1}'.encode("utf-16"))


@pytest.mark.parametrize("layout", ["lines", "array"])
def test_a_row_of_50_mb_is_refused_without_being_held(layout: str) -> None:
    long = b'{"instruction": "' + b"x" * (50 << 20) + b'"}'
    data = b"\n".join([GOOD, long, GOOD]) if layout == "lines" else b"[" + b",\n".join([GOOD, long, GOOD]) + b"]"
    source = member(data)
    tracemalloc.start()
    try:
        found = [(item.upstream, item.reason) if isinstance(item, Refused) else item for item in datafile.rows(source)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == [("1", ROW), ("2", "row too long"), ("3", ROW)]
    assert peak < 8 * rows.ROW_BOUND


def test_plain_lines() -> None:
    data = b"\xef\xbb\xbfM\xe1\xbb\x99t.\r\n\n  \nC\xf4ng ty\n<<<<<<< HEAD\n======= Hai\nBa"
    found = [(i.upstream, i.reason) if isinstance(i, Refused) else i for i in rows.lines(member(data).file)]
    assert found == [
        ("1", "Một."), ("4", "not UTF-8"), ("5", "merge-conflict marker"), ("6", "merge-conflict marker"), ("7", "Ba"),
    ]  # fmt: skip


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(data: bytes) -> None:
    for name in ("", "x.csv"):
        try:
            found = told(data, name)
        except Unreadable:
            continue
        for _, row in found:
            json.dumps(row, ensure_ascii=False).encode("utf-8")


@given(st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=20) | st.integers()), min_size=1))
def test_whatever_json_can_hold_comes_back(values: list[dict[str, Any]]) -> None:
    clean = json.loads(json.dumps(values).encode("utf-8", "replace"))
    for ascii_only in (True, False):
        array = json.dumps(clean, ensure_ascii=ascii_only, indent=1).encode("utf-8", "surrogatepass")
        found = told(array)
        kept = [row for _, row in found if isinstance(row, dict)]
        assert len(found) == len(values)
        assert kept == [row for row in clean if encodable(row)]


def encodable(row: Any) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
