"""What the data card tells: every record once, by all that it counts, and each stage's way from in to out."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import datacard
from stages.lib import params, records
from stages.lib.records import Message, Record
from stages.lib.report import subjects

SOURCES = {
    name: params.Source(
        url=f"data/{name}.json", sha256="0" * 64, format="alpaca", licence=licence, lang="en" if name == "a" else "vi"
    )
    for name, licence in (("a", "MIT"), ("b", "CC-BY-NC-4.0"), ("empty", "MIT"))
}
LEXICON = "số: một, hai\nnhà: nhà, nhà cửa, cái nhà\n# nothing\n"


def made(number: int, kind: str, source: str, *texts: tuple[str, str], **more: Any) -> Any:
    messages: list[Message] = [{"role": role, "content": text} for role, text in texts]
    licence = SOURCES[source].licence if source in SOURCES else "LicenseRef-nhà"
    record = records.make(kind, messages, source=source, licence=licence, lang="vi", upstream=str(number))
    return {**record, **more}


def card(folder: Path, kept: list[Record], dropped: dict[str, list[Any]] | None = None) -> Any:
    """The card of some records that were kept, and of those that stages dropped."""
    (folder / "topics.txt").write_text(LEXICON, encoding="utf-8")
    (folder / "stopwords.txt").write_text("# none\nvà là\n", encoding="utf-8")
    tables = [folder / "sft.train.parquet", folder / "prompts.train.parquet", folder / "a.refused.jsonl"]
    records.write(tables[0], kept)
    records.write(tables[1], kept[:2])
    rows = [{"upstream": "1", "reason": "not JSON", "detail": "", "raw": "x"}, {"rows": 5, "parsed": 4, "refused": 1}]
    tables[2].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for stage, lost in (dropped or {}).items():
        path = folder / (f"vi/{stage}.dropped.parquet" if stage == "a" else f"{stage}.dropped.parquet")
        path.parent.mkdir(exist_ok=True)
        records.write(path, ({**row, "reason": "x", "detail": ""} for row in lost), records.DROPPED)
        tables.append(path)
    (folder / "sought.json").write_text('{"questions": 9, "alone": 2, "unsearched": 1}', encoding="utf-8")
    given = [folder / name for name in ("card.json", "topics.txt", "stopwords.txt", "sought.json")]
    datacard.main(*given, *tables, sources=SOURCES)
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def test_every_record_is_counted_once_whatever_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BATCH", 8)
    rows = [made(n, "text", "ab"[n % 2], ("text", f"Nhà cửa số {n} bên sông và núi")) for n in range(61)]
    found = card(tmp_path, rows)
    assert found["records"] == 61 and found["sets"] == {"sft.train": 61, "prompts.train": 2}
    assert {name: source["kept"] for name, source in found["sources"].items()} == {"a": 31, "b": 30, "empty": 0}
    for counts in ("kinds", "licences", "teachers"):
        told = found[counts].values()
        assert sum(count["records"] if isinstance(count, dict) else count for count in told) == 61
    assert sum(found["topics"]["broad"].values()) == 61
    assert sum(cluster["records"] for cluster in found["topics"]["clusters"]) == 61


def test_it_tells_licences_languages_teachers_and_what_cleaning_changed(tmp_path: Path) -> None:
    original: list[Message] = [{"role": "text", "content": "A house."}]
    rows = [
        made(1, "text", "a", ("text", "Một nhà."), original=original, teacher="thầy"),
        made(2, "text", "b", ("text", "Hai nhà."), notes=["personal data: email×2", "composition×3"]),
        made(3, "text", "b", ("text", "Ba nhà."), notes=["personal data: email×1"]),
        made(4, "text", "generated", ("text", "Bốn."), teacher="thầy"),
    ]
    found = card(tmp_path, rows)
    assert {name: (terms["records"], terms["commercial"]) for name, terms in found["licences"].items()} == {
        "MIT": (1, "yes"), "CC-BY-NC-4.0": (2, "no"), "LicenseRef-nhà": (1, "unclear"),
    }  # fmt: skip
    assert found["languages"] == {"kept": {"vi": 4}, "original": {"en": 1, "vi": 3}}
    assert found["teachers"] == {"thầy": 2, "–": 2}
    assert found["masked"] == {"email": 3} and found["changes"] == {"composition": 3}
    assert found["sources"]["a"] | {"url": ""} == {
        "url": "", "sha256": "0" * 64, "format": "alpaca", "licence": "MIT", "lang": "en",
        "kept": 1, "translated": 1, "dropped": 1,
    }  # fmt: skip
    assert found["sources"]["generated"]["licence"] == "LicenseRef-nhà"


def test_lengths_tell_questions_answers_and_turns_apart(tmp_path: Path) -> None:
    rows = [
        made(1, "conversation", "a", ("system", "x"), ("user", "một hai ba"), ("assistant", "một"), ("user", "hai")),
        made(2, "preference", "a", ("user", "một hai"), ("chosen", "một " * 9), ("rejected", "hai")),
        made(3, "text", "a", ("text", "một " * 40)),
    ]
    found = card(tmp_path, rows)["lengths"]
    assert {part: (told["count"], told["sum"], told["longest"]) for part, told in found.items()} == {
        "prompt": (3, 6, 3), "answer": (3, 11, 9), "text": (1, 40, 40), "turns": (2, 5, 3), "record": (3, 58, 40),
    }  # fmt: skip
    assert found["prompt"]["median"] == 2 and found["prompt"]["p95"] == 3
    assert {start: n for start, n in found["answer"]["bins"].items() if n} == {"1": 2, "8": 1}


def test_the_way_from_in_to_out_loses_nobody(tmp_path: Path) -> None:
    def some(count: int, source: str) -> list[Record]:
        return [made(n, "text", source, ("text", f"Câu {n} của {source}.")) for n in range(count)]

    dropped = {
        "generate": some(3, "generated"),
        "a": some(4, "a"),
        "clean": some(5, "b") + some(2, "generated"),
        "dedup": some(1, "a"),
        "decontaminate": some(6, "b"),
    }
    found = card(tmp_path, some(50, "a") + some(7, "generated"), dropped)
    steps = {step["stage"]: (step["entered"], step["dropped"]) for step in found["flow"]}
    assert steps == {
        "parse": (5, 1),
        "generate": (7 + 2 + 3, 3),
        "translate": (50 + 5 + 1 + 6 + 4, 4),
        "clean": (57 + 6 + 1 + 7, 7),
        "dedup": (57 + 6 + 1, 1),
        "decontaminate": (57 + 6, 6),
    }
    assert list(steps) == ["parse", "generate", "translate", "clean", "dedup", "decontaminate"]
    left = {stage: entered - gone for stage, (entered, gone) in steps.items()}
    assert left["generate"] + left["translate"] == steps["clean"][0] and left["decontaminate"] == found["records"]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Một cái gì đó", "số"),
        ("nhà một", "nhà"),  # of equals the first in the text
        ("một hai nhà", "số"),
        ("Nhà cửa một hai", "nhà"),  # nhà, nhà cửa
        ("nhàn nhã", "khác"),  # whole syllables
        ("", "khác"),
    ],
)
def test_the_broad_topic_has_the_most_phrases(tmp_path: Path, text: str, topic: str) -> None:
    (tmp_path / "topics.txt").write_text("số: một, hai,\nnhà: nhà, nhà cửa\n", encoding="utf-8")
    lexicon = subjects.read(tmp_path / "topics.txt")
    assert subjects.broad(text.lower().split(), lexicon) == topic


@pytest.mark.parametrize(
    ("counts", "topic"),
    [({"khác": 7, "số": 2, "nhà": 1}, "số"), ({"khác": 9, "số": 1}, "khác"), ({"nhà": 2, "số": 2}, "nhà"),
     ({"khác": 3}, "khác")],
)  # fmt: skip
def test_a_cluster_has_the_broad_topic_of_most_that_have_one(counts: dict[str, int], topic: str) -> None:
    assert datacard.leading(Counter(counts)) == topic


def test_a_cluster_shows_the_same_record_whatever_the_order(tmp_path: Path) -> None:
    rows = [made(n, "text", "a", ("text", f"Dòng sông chảy ra biển {n}.")) for n in range(30)]
    told = []
    for name, order in (("one", rows), ("other", rows[::-1])):
        (tmp_path / name).mkdir()
        told.append([cluster["example"] for cluster in card(tmp_path / name, order)["topics"]["clusters"]])
    assert told[0] == told[1] and told[0][0].startswith("Dòng sông")


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 9), min_size=1, max_size=50))
def test_a_spread_counts_every_length(lengths: dict[int, int]) -> None:
    told = datacard.spread(Counter(lengths), datacard.BINS)
    assert sum(told["bins"].values()) == told["count"] == sum(lengths.values())
    every = sorted(length for length, times in lengths.items() for _ in range(times))
    assert told["median"] == every[(len(every) - 1) // 2] and told["longest"] == every[-1]
    assert sum(length <= told["p95"] for length in every) >= 0.95 * len(every)
