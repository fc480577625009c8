"""The real graph, shrunk: every stage runs once, every planted fault is caught, no record vanishes."""

import hashlib
import json
import re
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.lib import paramfile, records
from tests.conftest import Run

# a few steps of a model of a few neurons: the machinery is tested here, not how well it learns
SHRUNK = {
    ("base", "steps"): "4",
    ("base", "hidden"): "32",
    ("base", "heads"): "2",
    ("sft", "epochs"): "0.05",
    ("reward", "epochs"): "0.1",
    ("rlhf", "steps"): "2",
    ("rlhf", "max_new_tokens"): "8",
    ("benchmark", "max_new_tokens"): "8",
}
SOURCES = list(paramfile.check(Path("params.yaml"), Path("recipes"))[0].sources)
SETS = [f"data/split/{name}.{side}" for name in ("text", "sft", "preferences") for side in ("train", "validation")]


def shrink(recipe: str) -> str:
    """The recipe with the numbers of :data:`SHRUNK`."""
    section, lines = "", []
    for line in recipe.splitlines():
        key = line.split(":")[0].strip()
        section = key if line[:1].isalpha() else section
        small = SHRUNK.get((section, key)) if line.startswith("  ") and not line.startswith("   ") else None
        lines.append(f"  {key}: {small}" if small else line)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, root: Path, run: Run) -> Path:
    """A clone of the working tree in which the shrunk graph has run, under a path that is no plain ASCII word."""
    clone = tmp_path_factory.mktemp("dự án") / "repo"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file() and name != "dvc.lock":
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((root / name).read_bytes())
    recipe = clone / "recipes" / "tiny.yaml"
    recipe.write_text(shrink(recipe.read_text(encoding="utf-8")), encoding="utf-8")
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=clone, check=True)
    done = run(clone, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (clone.parent / "said").write_text(done.stdout + done.stderr, encoding="utf-8")
    return clone


@pytest.mark.timeout(900)
def test_a_repro_writes_nothing_into_git_but_the_lock_and_the_metrics(made: Path) -> None:
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=made, check=True, capture_output=True, text=True
    ).stdout
    assert {line[3:] for line in status.splitlines()} <= {
        "dvc.lock",
        *(f"metrics/{n}.json" for n in ("scores", "training", "data", "spend")),
        "DATACARD.md",
        "DATACARD.vi.md",
    }


def test_a_repro_says_nothing_that_its_reader_can_do_nothing_about(made: Path) -> None:
    said = (made.parent / "said").read_text(encoding="utf-8")
    assert "sft: 100%" in said
    assert not re.findall(r".*(?:FutureWarning|MatMul8bitLt|LOAD REPORT|Failed to load|already-initialized).*", said)


def test_a_second_repro_runs_nothing(made: Path, run: Run) -> None:
    again = run(made, "dvc", "repro")
    assert again.returncode == 0 and "Running stage" not in again.stdout


def test_a_new_learning_rate_reruns_nothing_before_sft(made: Path, run: Run) -> None:
    dials = made / "params.yaml"
    old = dials.read_text(encoding="utf-8")
    dials.write_text(re.sub(r"(?m)^lr: .*$", "lr: 2e-4", old), encoding="utf-8")
    try:
        ran = re.findall(r"Running stage '([^']+)'", run(made, "dvc", "repro", "--dry").stdout)
    finally:
        dials.write_text(old, encoding="utf-8")
    assert ran == ["check", "sft", "report"] or ran == ["check", "sft"], ran


def test_every_pinned_sample_is_the_file_in_git(root: Path) -> None:
    for name, source in paramfile.check(root / "params.yaml", root / "recipes")[0].sources.items():
        if source.url.startswith("data/sample/"):
            assert hashlib.sha256((root / source.url).read_bytes()).hexdigest() == source.sha256, name


def table(made: Path, name: str) -> list[Any]:
    return list(records.read(made / f"{name}.parquet"))


def planted() -> list[dict[str, str]]:
    return params_list(Path("data/sample/faults.yaml"))


def params_list(path: Path) -> list[dict[str, str]]:
    from ruamel.yaml import YAML

    return list(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("fault", planted(), ids=lambda fault: f"{fault['source']}-{fault['row']}")
def test_each_planted_fault_is_caught_where_it_should_be(made: Path, fault: dict[str, str]) -> None:
    source, stage = fault["source"], fault["stage"]
    if stage == "parse":
        lines = (made / f"data/records/{source}.refused.jsonl").read_text(encoding="utf-8").splitlines()[:-1]
        found = [(row["upstream"].partition("#")[0], row["reason"]) for row in map(json.loads, lines)]
    elif fault["reason"].startswith("masked"):
        rows = [row for row in table(made, "data/clean") if row["source"] == source]
        found = [(row["upstream"], f"masked: {note}") for row in rows for note in row["notes"] if "personal" in note]
        assert (fault["row"], "masked: personal data: email×1") in found
        text = records.plain(next(row for row in rows if row["upstream"] == fault["row"]))
        assert "[email]" in text and "[số điện thoại]" in text and "0912" not in text
        return
    else:
        name = {"translate": f"data/vi/{source}.dropped", "generate": "data/generate.dropped"}.get(
            stage, f"data/{stage}.dropped"
        )
        found = [(row["upstream"], row["reason"]) for row in table(made, name) if row["source"] == source]
    assert (fault["row"], fault["reason"]) in found


def test_rows_in_are_rows_out_plus_rows_dropped(made: Path) -> None:
    def rows(*names: str) -> Counter[str]:
        """How often each record (by what it was first) is there."""
        return Counter((row["source"] + "/" + row["id"]) for name in names for row in table(made, name))

    upstream = {"alpaca": 131, "dolly": 88, "sharegpt": 63, "wikihow": 63, "news": 132}
    for source in SOURCES:
        tally = json.loads((made / f"data/records/{source}.refused.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        assert tally["rows"] == tally["parsed"] + tally["refused"] == upstream.get(source, tally["rows"])
        assert len({row["upstream"] for row in table(made, f"data/records/{source}")}) == tally["parsed"]
        assert rows(f"data/records/{source}") == rows(f"data/vi/{source}", f"data/vi/{source}.dropped")
    entering = ["data/generate", *(f"data/vi/{source}" for source in SOURCES)]
    for stage in ("clean", "dedup", "decontaminate"):
        assert rows(*entering) == rows(f"data/{stage}", f"data/{stage}.dropped")
        entering = [f"data/{stage}"]
    assert rows(*entering) == rows(*SETS)


def test_no_group_straddles_the_split(made: Path) -> None:
    sides = {
        side: {row["group"] for name in SETS if name.endswith(side) for row in table(made, name)}
        for side in ("train", "validation")
    }
    assert not sides["train"] & sides["validation"]


def test_every_dropped_duplicate_points_at_a_record_that_stayed(made: Path) -> None:
    kept = {row["id"] for row in table(made, "data/dedup")}
    dropped = table(made, "data/dedup.dropped")
    assert dropped and all(row["detail"].split()[0] in kept for row in dropped)


def test_translations_know_where_they_come_from(made: Path) -> None:
    rows = [row for row in table(made, "data/split/sft.train") if row["source"] == "alpaca"]
    assert rows and all(row["original"] and row["teacher"] == "project-authors" and row["request"] for row in rows)


def test_the_report_needs_no_network_and_shows_every_model(made: Path) -> None:
    page = (made / "metrics/report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["']?(?!#)|url\(|@import|<script""", page)
    scores = json.loads((made / "metrics/scores.json").read_text(encoding="utf-8"))["models"]
    assert list(scores) == ["base", "sft", "rlhf", "int8", "nf4"]
    assert all(f"<b>{name}</b>" in page for name in scores)
    assert max(scores[name]["size_bytes"] for name in ("int8", "nf4")) < scores["rlhf"]["size_bytes"]


def test_no_output_names_this_machine(made: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    names = [
        name.encode() for name in (tmp_path_factory.getbasetemp().name, str(Path.home()) + "/", socket.gethostname())
    ]
    names = [name for name in names if len(name) > 5]  # a shorter one stands in any weights by chance
    for folder in ("models", "metrics", "data"):
        for path in filter(Path.is_file, (made / folder).rglob("*")):
            found = [name for name in names if name in path.read_bytes()]
            assert not found, (path, found)


def test_personal_data_reaches_neither_what_is_kept_nor_what_is_shown(made: Path) -> None:
    pages = ("data/card.json", "metrics/report.html", "DATACARD.md", "DATACARD.vi.md")
    shown = [(made / page).read_text(encoding="utf-8") for page in pages]
    kept = [str(row["messages"]) + str(row["original"]) for name in SETS for row in table(made, name)]
    assert not [text for text in shown + kept if "0912 345 678" in text or "lan.nguyen@" in text]
