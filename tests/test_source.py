"""Sources come and go as a few lines of params.yaml, and dvc.yaml keeps up with them."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from stages.lib import paramfile, params
from tests.conftest import Run
from tools import graph, source


@pytest.fixture
def repo(project: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A copy of the graph to work in."""
    shutil.copytree(root / "data" / "sample", project / "data" / "sample")
    monkeypatch.chdir(project)
    return project


def test_the_lists_in_dvc_yaml_are_as_the_tool_writes_them(root: Path) -> None:
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    assert source.relisted(text, list(paramfile.load(root / "params.yaml")["sources"])) == text


def test_every_known_data_set_is_a_source_that_the_params_take(root: Path) -> None:
    for name, entry in paramfile.load(root / "tools" / "catalogue.yaml").items():
        pinned = {key: value for key, value in entry.items() if key != "note"}
        if pinned["sha256"] == "unknown":
            pinned["sha256"] = "0" * 64
        found = paramfile.typed(params.Source, pinned, "catalogue.yaml", name)
        assert re.search(r"@[0-9a-f]{40}/|/[0-9a-f]{40}/|^kaggle://[^@]+@\d+/", found.url), name


def test_an_own_data_set_is_one_command_and_the_graph_holds(repo: Path, run: Run) -> None:
    data = "instruction,output\nHỏi,Đáp\n"
    (repo / "ours.csv").write_text(data, encoding="utf-8")
    words = [
        "add",
        "ours",
        "--url",
        "ours.csv",
        "--format",
        "alpaca",
        "--licence",
        "MIT",
        "--lang",
        "vi",
        "--limit",
        "5",
    ]
    done = run(repo, "tools.source", *words)
    assert done.returncode == 0, done.stderr
    dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
    assert dials.sources["ours"].sha256 == hashlib.sha256(data.encode()).hexdigest()
    assert dials.sources["ours"].limit == 5 and graph.faults(repo) == []
    pulled = run(repo, "stages.pull", "ours", "data/raw/ours")
    made = ["data/records/ours.parquet", "data/records/ours.refused.jsonl"]
    parsed = run(repo, "stages.parse", "ours", "data/raw/ours", *made)
    assert pulled.returncode == parsed.returncode == 0, pulled.stderr + parsed.stderr


def test_a_known_data_set_takes_the_place_of_its_sample_and_goes_again(repo: Path) -> None:
    before = Path("params.yaml").read_text(encoding="utf-8")
    assert source.main(["add", "dolly", "oasst1"]) == 0
    dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
    assert dials.sources["dolly"].url.startswith("hf://databricks/") and "oasst1" in dials.sources
    assert graph.faults(repo) == []
    assert source.main(["remove", "oasst1"]) == 0
    assert graph.faults(repo) == []
    kept = [line for line in before.splitlines() if "#" in line]
    assert [line for line in Path("params.yaml").read_text(encoding="utf-8").splitlines() if "#" in line] == kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "dollly"], "did you mean 'dolly'"),
        (["add", "Ours", "--url", "x"], "small letters"),
        (["add", "ours", "--url", "x", "--lang", "vi"], "--format, --licence is missing"),
        (["add", "dolly", "--format", "docx"], "sources.dolly.format"),
        (["add", "dolly", "--licence", "CC-BY-NC"], "did you mean 'CC-BY-"),
        (["add", "dolly", "--licence", "cc-by-4.0"], "did you mean 'CC-BY-4.0'"),
        (["add", "null", *"--url x --format alpaca --licence MIT --lang vi".split()], "YAML's own"),
        (["add", "dolly", "--columns", "instruction"], "say ours=theirs"),
        (["remove", "doly"], "did you mean 'dolly'"),
        (["pin", "doly"], "did you mean 'dolly'"),
        (["add", "ours", "--url", "no/such/file", *"--format alpaca --licence MIT --lang vi".split()], "no/such/file"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    repo: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    before = Path("params.yaml").read_bytes(), Path("dvc.yaml").read_bytes()
    assert source.main(words) == 2
    assert said in capsys.readouterr().err
    assert (Path("params.yaml").read_bytes(), Path("dvc.yaml").read_bytes()) == before


def test_all_may_go_and_one_may_come(repo: Path) -> None:
    assert source.main(["remove", *paramfile.load(Path("params.yaml"))["sources"]]) == 0
    assert "\nsources: {}\n" in Path("params.yaml").read_text(encoding="utf-8")
    assert source.main([]) == 0 and source.main(["add", "dolly"]) == 0
    dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
    assert list(dials.sources) == ["dolly"] and graph.faults(repo) == []


def test_values_stay_what_they_are(repo: Path) -> None:
    odd = 'it\'s #1: "x".csv'
    Path(odd).write_text("Câu hỏi,Đáp\nA,B\n", encoding="utf-8")
    words = ["--columns", "instruction=Câu hỏi", "output=Đáp", "--max-refused", "0.5"]
    assert source.main(["add", "ours", "--url", odd, *"--format alpaca --licence MIT --lang vi".split(), *words]) == 0
    dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
    found = dials.sources["ours"]
    assert found.url == odd and found.max_refused == 0.5
    assert found.columns == {"instruction": "Câu hỏi", "output": "Đáp"}


def test_what_has_another_address_is_another_data_set(repo: Path) -> None:
    Path("mine.txt").write_text("Một.\n", encoding="utf-8")
    said = "--url mine.txt --format lines --licence MIT --lang vi".split()
    assert source.main(["add", "oasst2", *said]) == 0
    dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
    assert dials.sources["oasst2"].max_refused is None
    before = dials.sources["oasst2"].sha256
    Path("mine.txt").write_text("Hai.\n", encoding="utf-8")
    assert source.main(["pin", "oasst2"]) == 0
    dials, _ = paramfile.check(Path("params.yaml"), Path("recipes"))
    assert dials.sources["oasst2"].sha256 == hashlib.sha256(b"Hai.\n").hexdigest() != before


@pytest.mark.parametrize("change", ["last section", "blank line", "comment"])
def test_a_layout_that_it_can_not_edit_is_left_alone_or_edited_right(repo: Path, change: str) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    if change == "last section":
        head, tail = text.split("\nsources:\n", 1)
        sources, rest = tail.split("\n\n", 1)
        text = head + "\n" + rest.rstrip("\n") + "\n\nsources:\n" + sources
    elif change == "blank line":
        text = text.replace("  dolly:\n", "  dolly:\n\n")
    else:
        text = text.replace("  dolly:\n", "  dolly: # ours\n")
    Path("params.yaml").write_text(text, encoding="utf-8")
    for words in (["remove", "ranked"], ["remove", "dolly"], ["add", "oasst1"]):
        before = Path("params.yaml").read_text(encoding="utf-8")
        if source.main(words) == 2:
            assert Path("params.yaml").read_text(encoding="utf-8") == before
        paramfile.check(Path("params.yaml"), Path("recipes"))


def test_the_listing_names_what_is_known_and_what_is_used(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert source.main([]) == 0
    said = capsys.readouterr().out
    assert "oasst2" in said and "commercial: no" in said and "data/sample/news.txt" in said
