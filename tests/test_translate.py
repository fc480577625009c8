"""The translate stage: what its checks refuse is no failed request, and too much of it stops the run."""

from pathlib import Path

import pytest

from stages import translate
from stages.lib import paramfile, records, translation
from stages.lib.contract import Refusal
from stages.lib.journal import Entry, line
from stages.lib.records import Record
from stages.lib.requests import Prompt, key

PROMPT = Path("stages/prompts/translate.yaml")
DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]


def run(folder: Path, answers: list[str], max_refused: float) -> tuple[list[Record], list[Record]]:
    """What is kept and what is dropped of records of one English turn each, with these answers in the journal."""
    rows = [
        records.make(
            "text", [{"role": "text", "content": f"The weather is fine in town {number}."}],
            source="s", licence="MIT", lang="en", upstream=str(number),
        )
        for number in range(len(answers))
    ]  # fmt: skip
    records.write(folder / "rows", rows)
    prompt = Prompt.load(PROMPT)
    with (folder / "journal").open("w", encoding="utf-8") as journal:
        for row, answer in zip(rows, answers, strict=True):
            text = translation.request(row["messages"])
            entry: Entry = {
                "key": key(DIALS.teacher, prompt, text),
                "model": DIALS.teacher.model,
                "prompt": prompt.name,
                "input": text,
                "answer": translation.answer([answer]),
                "finish_reason": "stop",
                "usage": {},
            }
            journal.write(line(entry))
    checks = DIALS.translate.model_copy(update={"max_refused": max_refused})
    words = [folder / "rows", PROMPT, *(folder / name for name in ("journal", "kept", "dropped", "spent"))]
    translate.main("s", *words, teacher=DIALS.teacher, spend=DIALS.spend, licences="all", translate=checks)
    return list(records.read(folder / "kept")), list(records.read(folder / "dropped"))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal but the test's own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


ANSWERS = [f"Thời tiết ở thị trấn {number} rất đẹp." for number in range(3)] + ["The weather is fine in town 3."]


def test_what_a_check_refuses_is_dropped_and_the_others_stay(tmp_path: Path) -> None:
    kept, dropped = run(tmp_path, ANSWERS, max_refused=0.25)
    assert [record["messages"][0]["content"] for record in kept] == ANSWERS[:3]
    assert [dict(record)["reason"] for record in dropped] == ["left in English"]


def test_too_many_refused_translations_stop_the_stage_and_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        Refusal, match=r"1 of 4 translations failed their checks: left in English \(1\).*nothing is bought"
    ):
        run(tmp_path, ANSWERS, max_refused=0.2)
