"""What may be used is known by licence, and what may not is left out before it is paid for."""

import shutil
from pathlib import Path

import pytest

from stages.lib import licences, paramfile, params, records
from stages.lib.contract import Refusal
from tests.conftest import Run


def test_licences_let_in_what_they_should() -> None:
    assert [licences.allowed(name, "all") for name in ("CC0-1.0", "unknown")] == [True, True]
    found = {
        name: licences.allowed(name, "commercial")
        for name in ("CC-BY-SA-3.0", "CC-BY-NC-4.0", "unknown", "LicenseRef-x")
    }
    assert found == {"CC-BY-SA-3.0": True, "CC-BY-NC-4.0": False, "unknown": False, "LicenseRef-x": False}
    assert licences.allowed("MIT", ["MIT"]) and not licences.allowed("CC0-1.0", ["MIT"])


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("all", True),
        ("commercial", True),
        (["CC0-1.0", "LicenseRef-nhà"], True),
        (["MTI"], False),
        ([], False),
        ("MIT", False),
    ],
)
def test_the_param_licences(value: object, good: bool) -> None:
    if good:
        assert paramfile.typed(params.Licences, value, "params.yaml", "licences") == value
    else:
        with pytest.raises(Refusal, match="licences"):
            paramfile.typed(params.Licences, value, "params.yaml", "licences")


@pytest.fixture
def slice(project: Path, root: Path) -> Path:
    """A copy of the graph in which Alpaca is under the licence that Stanford gave it, and the slice is commercial."""
    shutil.copytree(root / "data" / "sample", project / "data" / "sample")
    dials = project / "params.yaml"
    text = dials.read_text(encoding="utf-8").replace("\nlicences: all\n", "\nlicences: commercial\n")
    for section in ("alpaca:", "generate:"):
        head, tail = text.split(f"{section}\n", 1)
        text = f"{head}{section}\n" + tail.replace("licence: CC0-1.0", "licence: CC-BY-NC-4.0", 1)
    dials.write_text(text, encoding="utf-8")
    return project


def test_a_clean_slice_asks_no_teacher_for_what_it_leaves_out(slice: Path, run: Run) -> None:
    words = {
        "stages.pull": ["alpaca", "raw"],
        "stages.parse": ["alpaca", "raw", "parsed", "refused"],
        "stages.translate": [
            "alpaca", "parsed", *(f"stages/prompts/{name}.yaml" for name in ("translate", "retranslate", "judge")),
            "/dev/null", "kept", "dropped", "quarantine", "spent",
        ],
        "stages.generate": [
            "data/sample/seed_tasks.jsonl", "stages/lexicons/briefs.yaml", "stages/prompts/generate.yaml",
            "stages/prompts/evolve.yaml", "/dev/null", "made", "not-made", "billed",
        ],
    }  # fmt: skip
    for stage, said in words.items():
        done = run(slice, stage, *said)
        assert done.returncode == 0, done.stderr
    dropped = list(records.read(slice / "dropped"))
    assert records.count(slice / "kept") == 0 and len(dropped) == records.count(slice / "parsed") > 100
    assert {(row["reason"], row["detail"]) for row in map(dict, dropped)} == {("licence", "CC-BY-NC-4.0")}
    assert records.count(slice / "made") == records.count(slice / "not-made") == 0
