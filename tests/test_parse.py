"""The parse stage: tallies, limits, thresholds, archives, and nothing half-written; and the real files, if at hand."""

import gzip
import io
import json
import re
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import parse
from stages.lib import params, records
from stages.lib.contract import Refusal

REAL = Path(__file__).parents[2] / "shared" / "real"
GOOD = {"instruction": "A", "output": "B"}


def run(folder: Path, data: bytes | Path, format: str = "alpaca", **more: Any) -> tuple[list[Any], list[Any]]:
    """The records, and the lines of the refused file with the tally at the end."""
    raw = data if isinstance(data, Path) else folder / "raw"
    if isinstance(data, bytes):
        raw.write_bytes(data)
    source = params.Source(
        **{"url": "x", "sha256": "0" * 64, "format": format, "licence": "CC0-1.0", "lang": "vi", **more}
    )
    out = folder / "out"
    out.mkdir(exist_ok=True)
    parse.main("s", raw, out / "p", out / "r", source=source, parse=params.Parse(max_refused=0.5))
    lines = (out / "r").read_text(encoding="utf-8").splitlines()
    return list(records.read(out / "p")), [json.loads(line) for line in lines]


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_every_row_is_a_record_or_a_refusal_and_the_tally_says_so(tmp_path: Path) -> None:
    kept, refused = run(tmp_path, lines(GOOD, {"instruction": "x" * 5000}, GOOD) + b"\xe9\n" + lines(GOOD))
    assert [record["upstream"] for record in kept] == ["1", "3", "5"]
    assert [(row["upstream"], row["reason"]) for row in refused[:-1]] == [
        ("2", "output is missing"),
        ("4", "not UTF-8"),
    ]
    assert len(refused[0]["raw"]) == 2000  # cut at a bound
    assert refused[-1] == {"rows": 5, "parsed": 3, "refused": 2}


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    kept, refused = run(tmp_path, lines(GOOD, {}, *[GOOD] * 9), limit=3)
    assert len(kept) == 2 and refused[-1] == {"rows": 3, "parsed": 2, "refused": 1}


def test_the_files_of_an_archive_tell_where_a_row_stood(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.jsonl", lines(GOOD, {}))
        archive.writestr("a/2.csv.gz", gzip.compress("instruction,output\nHỏi,Đáp\n".encode()))
        archive.writestr("README.md", "# no data")
    kept, refused = run(tmp_path, path, files="a/*")
    assert [record["upstream"] for record in kept] == ["a/1.jsonl:1", "a/2.csv.gz:1"]
    assert refused[0]["upstream"] == "a/1.jsonl:2" and refused[-1] == {"rows": 3, "parsed": 2, "refused": 1}


def test_the_address_says_that_a_nameless_file_is_a_table(tmp_path: Path) -> None:
    kept, _ = run(tmp_path, b"prompt,response\nA,B\n", url="https://x/y/list.csv?download=1")
    assert kept[0]["messages"][0]["content"] == "A"


@pytest.mark.parametrize(
    ("data", "format", "said"),
    [
        (b"", "alpaca", "at its beginning: the file is empty"),
        (gzip.compress(lines(*[GOOD] * 9000))[:-9], "alpaca", "the file is cut or damaged"),
        (b"this is <no turtle", "prohow", "no Turtle"),
        (lines(GOOD).decode().encode("utf-16"), "alpaca", "UTF-16"),
    ],
    ids=["empty", "cut gzip", "no Turtle", "UTF-16"],
)
def test_what_can_not_be_read_leaves_nothing_behind(tmp_path: Path, data: bytes, format: str, said: str) -> None:
    with pytest.raises(Refusal, match=said) as refusal:
        run(tmp_path, data, format)
    assert "sources.s.format" in str(refusal.value) and not list((tmp_path / "out").iterdir())


def test_an_archive_that_leads_out_of_its_folder_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.jsonl", lines(GOOD))
    with pytest.raises(Refusal, match="leads out of its folder"):
        run(tmp_path, path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["out", "raw"] and not list(
        (tmp_path / "out").iterdir()
    )


def test_a_source_of_which_too_much_is_refused_fails_and_keeps_the_reasons(tmp_path: Path) -> None:
    data = lines(GOOD, {"instruction": "x"}, {"instruction": "y"})
    with pytest.raises(
        Refusal, match=r"2 of 3 rows were refused: output is missing \(2\)\. At most 50%.*has the columns instruction:"
    ):
        run(tmp_path, data)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["r"]
    kept, _ = run(tmp_path, data, max_refused=0.7)
    assert len(kept) == 1


BAD = [
    b'[{"instruction": "A", "output": "\\ud800"}, {"instruction": "A", "output": "B"}]',
    b'[{"instruction": "A", "output": "\xff"}, {"instruction": "A", "output": "B"}]',
    b'{"instruction": "A", "output": "\\ud800"}\n{"instruction": "A", "output": "B"}',
    b'{"_id" : ObjectId("5"), "instruction": "A", "output": "\xff"}\n{"instruction": "A", "output": "B"}',
    b"instruction,output\nA,\xff\nA,B\n",
]


@pytest.mark.parametrize(
    "data", BAD, ids=["half pair, array", "byte, array", "half pair, lines", "byte, mongo", "byte, csv"]
)
def test_what_is_no_unicode_is_written_down_too(tmp_path: Path, data: bytes) -> None:
    kept, refused = run(tmp_path, data)
    assert len(kept) == 1 and [row.get("reason") for row in refused] == ["not UTF-8", None]


def test_tables_are_read_from_a_tar_and_an_odd_name_is_no_place(tmp_path: Path) -> None:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([GOOD]), table)
    path = tmp_path / "raw"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"a.parquet": table.getvalue(), "C#.csv": b"instruction,output\nA,B\nA\nC,D\n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    kept, refused = run(tmp_path, path)
    assert [record["upstream"] for record in kept] == ["a.parquet:1", "C#.csv:1", "C#.csv:3"]
    assert refused[-1] == {"rows": 4, "parsed": 3, "refused": 1}


def test_a_limit_stops_before_what_is_told_of_the_next_row(tmp_path: Path) -> None:
    tree = {"prompt": {"text": "A", "replies": [{"text": "B", "deleted": True}, {"text": "C"}]}}
    _, refused = run(tmp_path, lines(tree, tree), "oasst", limit=1)
    assert [row.get("reason") for row in refused] == ["deleted message", None]


@pytest.mark.parametrize("data", [b"[]", b"instruction,output\n", b"\n \n"])
def test_a_file_without_a_row_says_so(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Refusal, match="holds no row of anything"):
        run(tmp_path, data)


def test_other_columns_are_named_and_so_is_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        Refusal, match=r"the columns Câu hỏi, Trả lời: sources\.s\.columns says which is which, \{ours: theirs\}"
    ):
        run(tmp_path, "Câu hỏi,Trả lời\nA,B\n".encode())


def test_a_source_without_a_record_fails_however_lenient_it_is(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="1 of 1 rows"):
        run(tmp_path, lines({}), max_refused=1.0)


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"needs {name}, a real upstream file that is not shipped")
    return REAL / name


# rows, parsed, refused; of each file of upstream in the formats that it really comes in
FILES: list[tuple[str, str, dict[str, Any], tuple[int, int, int]]] = [
    ("alpaca/seed_tasks.jsonl", "alpaca", {}, (175, 175, 0)),
    ("alpaca/dolly_eval_templated_151.jsonl", "alpaca", {}, (151, 151, 0)),
    ("gpteacher/codegen-instruct.json", "alpaca", {}, (4535, 4535, 0)),
    *((f"vi_alpaca/vi_alpaca_reduced_{n}.jsonl", "alpaca", {}, (5000, 5000, 0)) for n in range(1, 7)),
    ("oasst/backend_test.jsonl", "oasst", {"max_refused": 0.7}, (21, 7, 14)),
    ("sharegpt/dummy_conversation.json", "sharegpt", {}, (500, 500, 0)),
    ("sharegpt/dummy_conversation_with_system.json", "sharegpt", {}, (500, 500, 0)),
    ("sharegpt/axolotl_conversation.json", "sharegpt", {}, (1, 1, 0)),
    ("preferences/dpo_en_demo.json", "preferences", {}, (300, 300, 0)),
    ("preferences/kto_en_demo.json", "preferences", {}, (300, 300, 0)),
    ("news/demo-title.txt", "text", {}, (1000, 1000, 0)),
    ("parallel/tst2012.vi", "lines", {}, (1553, 1553, 0)),
    ("parallel/tst2012.en", "lines", {}, (1553, 1553, 0)),
    ("wikihow/RECONSTRUCTED_vn_0_rdf_result.ttl", "prohow", {}, (2, 2, 0)),
    ("eval/data_vi_val.vi.jsonl", "text", {"columns": {"text": "premise"}}, (100, 100, 0)),
    ("toxicity/ViCTSD_valid.csv", "text", {"url": "x.csv", "columns": {"text": "Comment"}}, (2000, 2000, 0)),
]


@pytest.mark.parametrize(("name", "format", "more", "tally"), FILES, ids=[name for name, *_ in FILES])
def test_real_files(tmp_path: Path, name: str, format: str, more: dict[str, Any], tally: tuple[int, int, int]) -> None:
    kept, refused = run(tmp_path, real(name), format, **more)
    assert tuple(refused[-1].values()) == tally
    assert all(message["content"] for record in kept for message in record["messages"])
    if format == "lines":  # entities were in 586 of them
        assert not any(entity in records.plain(record) for record in kept for entity in ("&lt;", "&apos;", "&quot;"))


def test_a_real_file_without_a_how_to_is_read_whole_and_one_without_an_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="all 7,459 triples were read, and none tells of a how-to"):
        run(tmp_path, real("wikihow/class_hierarchy.ttl"), "prohow")
    with pytest.raises(Refusal, match=r"1 of 1 rows were refused: empty turn"):
        run(tmp_path, real("sharegpt/axolotl_conversation.missingturns.json"), "sharegpt", max_refused=1.0)


def test_real_alpaca(tmp_path: Path) -> None:
    kept, refused = run(tmp_path, real("alpaca/alpaca_5000.json"))
    assert refused[-1] == {"rows": 5000, "parsed": 4998, "refused": 2}
    assert Counter(row.get("reason") for row in refused[:-1]) == {"empty output": 2}
    rows = json.loads(real("alpaca/alpaca_5000.json").read_text(encoding="utf-8"))
    asked = {record["upstream"]: record["messages"][0]["content"] for record in kept}
    spelt = [n for n, row in enumerate(rows, 1) if re.fullmatch(r"(?i)\W*no ?input\W*", row["input"])]
    assert len(spelt) > 50 and all(asked[str(n)] == rows[n - 1]["instruction"].strip() for n in spelt)


@pytest.mark.parametrize("name", ["en_100_tree.jsonl", "en_100_message.jsonl"])
def test_real_oasst(tmp_path: Path, name: str) -> None:
    kept, refused = run(tmp_path, real(f"oasst/{name}"), "oasst", lang="en")
    assert refused[-1]["rows"] == 100
    deleted, ranks = set[str](), dict[str, int]()
    for line in real(f"oasst/{name}").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        waiting = [row.get("prompt", row)]
        while waiting:
            message = waiting.pop()
            waiting += message.get("replies") or []
            ranks[message["text"].strip()] = message["rank"] if message.get("rank") is not None else -1
            if message.get("deleted"):
                deleted.add(message["text"].strip())
    pairs = [record["messages"][-2:] for record in kept if record["kind"] == "preference"]
    assert len(pairs) == 524
    for chosen, rejected in pairs:
        assert 0 <= ranks[chosen["content"]] < ranks[rejected["content"]]
        assert not {chosen["content"], rejected["content"]} & deleted


def test_real_vi_lima(tmp_path: Path) -> None:
    total: Counter[str] = Counter()
    for path in sorted(real("vi_lima").iterdir()):
        kept, refused = run(tmp_path, path, max_refused=1.0)
        total.update({key: refused[-1][key] for key in ("rows", "parsed", "refused")})
        texts = [message["content"] for record in kept for message in record["messages"]]
        assert all(texts) and not any("TRANSLATION_FAILED" in text for text in texts)
    assert total == {"rows": 539, "parsed": 477, "refused": 62}
