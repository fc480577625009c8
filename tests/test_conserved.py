"""Any records go through clean, dedup, decontaminate and split: nothing raises, and no row is lost or doubled."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from stages import clean, decontaminate, dedup, split
from stages.lib import paramfile, records
from stages.lib.records import Message, Record

DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
LEXICONS = [Path(f"stages/lexicons/{name}.txt") for name in ("toxic", "spam")]
BENCHMARK = Path("data/sample/benchmark/capitals.jsonl")
PARTS = [
    "Thủ đô của Lào là gì?", "Viêng Chăn là thủ đô của Lào. ", "tr\xadêng häc ViÖt Nam ", "Tiáº¿ng Viá»‡t ", "đm ",
    "0912 345 678 ", "lan@mau.vn ", "```", "khác {\n", "Chọn * từ ", "<nút", "&amp;lt;", "hoà ho\u0300a ", "\u200b",
    "\x00", "1. ", "\n- ", "mưa rơi ", "the sky is blue and ", "漢字 ", "😀", "Là một mô hình ngôn ngữ, tôi không thể ",
    "$x_1$ ", "\\(a\\)",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PARTS), max_size=30).map("".join) | st.text(st.characters(codec="utf-8"), max_size=80)
KINDS = {
    "text": ["text"],
    "instruction": ["user", "assistant"],
    "conversation": ["system", "user", "assistant", "user", "assistant"],
    "preference": ["user", "chosen", "rejected"],
    "verdict": ["user", "rejected"],
}


@st.composite
def row(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from(sorted(KINDS)))
    messages: list[Message] = [{"role": role, "content": draw(TEXT)} for role in KINDS[kind]]
    group = draw(st.sampled_from(["", "g"]))
    found = records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1", group=group)
    return {**found, "original": [{"role": "text", "content": draw(TEXT)}]}


TOPICS = Path("stages/lexicons/topics.txt")


def ids(*paths: Path) -> Counter[str]:
    return Counter(record["id"] for record in records.read(*paths))


@settings(max_examples=25)
@given(rows=st.lists(row(), max_size=8))
def test_rows_are_conserved_from_clean_to_split(rows: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as name:
        given, cleaned, deduped, kept = (Path(name) / part for part in ("given", "cleaned", "deduped", "kept"))
        lost = [Path(name) / part for part in ("unclean", "copies", "asked")]
        sets = [Path(name) / f"set{number}" for number in range(8)]
        records.write(given, rows)
        clean.main(cleaned, lost[0], *LEXICONS, given, engine="local", clean=DIALS.clean)
        assert ids(cleaned, lost[0]) == ids(given)
        dedup.main(cleaned, deduped, lost[1], engine="local", dedup=DIALS.dedup)
        assert ids(deduped, lost[1]) == ids(cleaned)
        sought = Path(name) / "sought"
        decontaminate.main(deduped, kept, lost[2], sought, BENCHMARK, engine="local", decontaminate=DIALS.decontaminate)
        assert ids(kept, lost[2]) == ids(deduped)
        split.main(kept, TOPICS, *sets, split=DIALS.split)
        assert ids(*sets[:6]) == ids(kept)
        assert all(dict(record)["reason"] for record in records.read(*lost))
        again = Path(name) / "again"
        clean.main(again, Path(name) / "none", *LEXICONS, cleaned, engine="local", clean=DIALS.clean)
        first, second = ([row["messages"] for row in records.read(path)] for path in (cleaned, again))
        assert [row for row in second if row not in first] == []  # what was cleaned is as it will be
