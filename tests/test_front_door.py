"""What a newcomer meets first: make's targets, what they install, and the summary that they end with."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tools import requirements, summary


def test_the_summary_shows_scores_and_survives_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {
        "base": {"accuracy": 0.25, "accuracy_stderr": 0.0125, "perplexity": 12.345, "size_bytes": 2_500_000},
        "x": {},
    }
    assert summary.table(scores).splitlines() == [
        "  model      accuracy  perplexity    size",
        "  base   25.0% ± 1.2%        12.3  2.5 MB",
        "  x                 –           –       –",
    ]
    monkeypatch.chdir(tmp_path)
    summary.main()
    assert "metrics/scores.json is missing" in capsys.readouterr().out


def test_every_dependency_is_pinned_and_nothing_names_a_registry(root: Path) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9a-z.]+", line)] == []
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = requirements.requirements(project, ["bench", "deepspeed", "kaggle", "s3", "ssh", "webdav"])
    plain = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    assert {re.split(r"\[", need)[0].lower().replace("_", "-") for need in wanted} <= plain
    with pytest.raises(SystemExit, match="EXTRAS: found s4; known: dev, kaggle"):
        requirements.requirements(project, ["s4"])


def test_make_lists_every_target(root: Path) -> None:
    text = (root / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"\.PHONY: (.*)", text)
    targets = set(phony.split()) - {"help"}
    told = subprocess.run(["make", "--no-print-directory"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in told.splitlines()} - {"help"} == targets


@pytest.mark.parametrize("page", ["README.md", "README.vi.md", "DATACARD.md", "DATACARD.vi.md"])
def test_every_fence_of_a_page_is_closed(root: Path, page: str) -> None:
    fences = re.findall(r"^ *```.*", (root / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert [fence.strip() for fence in fences[1::2]] == ["```"] * (len(fences) // 2) and len(fences) % 2 == 0
