"""A wrong dial is refused in the first second, and the refusal names file, key, what was found, what is allowed."""

import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import check
from stages.lib import paramfile
from stages.lib.contract import Refusal
from stages.lib.train import trackers

HEAVY = ["torch", "transformers", "datasets", "trl", "peft", "gradio", "lm_eval", "openai"]
STAGES = sorted(path.stem for path in (Path(__file__).parents[1] / "stages").glob("*.py"))
LIMIT = 2.0  # CPU seconds, so that a busy machine fails no test


@pytest.fixture
def dials(tmp_path: Path, root: Path) -> Path:
    """A folder with params.yaml, the default recipe and how it is launched."""
    for name in ("recipes", "launch"):
        (tmp_path / name).mkdir()
    for name in ("params.yaml", "recipes/tiny.yaml", "launch/single.yaml"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(Refusal) as caught:
        paramfile.check(folder / "params.yaml", folder / "recipes")
    return str(caught.value)


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert f"\n{old}" in text
    # a line is named by its beginning: what value the file in git holds is none of the test's business
    changed = re.sub(rf"(?m)^{re.escape(old)}.*\n", lambda _: f"{new}\n" if new else "", text, count=1)
    (folder / name).write_text(changed, encoding="utf-8")


def test_the_files_in_git_are_allowed(dials: Path) -> None:
    checked, recipe = paramfile.check(dials / "params.yaml", dials / "recipes")
    assert checked.recipe == "tiny" and recipe.compute.device == "cpu"


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("params.yaml", "lr:", "lr: fast", ["params.yaml: lr", '"fast" (str)', "'auto' or a number above 0"]),
        ("params.yaml", "lr:", "lr: -1.0", ["params.yaml: lr", "-1.0 (float)", "a number above 0"]),
        ("params.yaml", "seed:", 'seed: "1"', ["params.yaml: seed", '"1" (str)', "a whole number"]),
        ("params.yaml", "seed:", "seed: -1", ["params.yaml: seed", "-1 (int)", "a whole number at least 0"]),
        ("params.yaml", "seed:", "seed: 4294967296", ["params.yaml: seed", "(int)", "4294967296"]),
        ("params.yaml", "seed:", "seed: true", ["params.yaml: seed", "true (bool)", "a whole number"]),
        ("params.yaml", "seed:", "seed: 1\nlrr: 1", ["params.yaml: lrr", "no stage reads"]),
        ("params.yaml", "seed:", "", ["params.yaml: seed is missing", "a whole number"]),
        ("params.yaml", "  bands:", "  bands: 30", ["dedup.bands", "30 (int)", "must divide"]),
        ("params.yaml", "  threshold:", "  threshold: 7", ["params.yaml: dedup.threshold", "7 (int)", "at most 1"]),
        ("params.yaml", "    format: lines", "    format: csv", ["sources.news.format", '"csv"', "'lines'"]),
        ("params.yaml", "  threshold:", "  treshold: 0.7", ["dedup.threshold is missing", "dedup.treshold"]),
        (
            "params.yaml", "  fallback:", "  fallback: {engine: nllb, model: m, base_url: u, api_key: A}\n  old:",
            ["params.yaml: teacher.fallback", "needs teacher.nllb"],
        ),
        ("recipes/tiny.yaml", "  epochs:", "  epochs: two", ["tiny.yaml: sft.epochs", '"two"', "above 0"]),
        ("recipes/tiny.yaml", "  method:", "  method: lorra", ["sft.method", '"lorra"', "'full', 'lora'"]),
        ("recipes/tiny.yaml", "  hidden:", "  hiden: 192", ["base.hidden is missing", "base.hiden"]),
        ("recipes/tiny.yaml", "sft:", "lr: 0.1\nsft:", ["recipes/tiny.yaml: lr", "params.yaml too"]),
    ],
)  # fmt: skip
def test_a_refusal_names_file_key_found_and_allowed(
    dials: Path, file: str, old: str, new: str, named: list[str]
) -> None:
    edit(dials, file, old, new)
    text = refusal(dials)
    assert [part for part in named if part not in text] == [], text


@pytest.mark.parametrize(
    ("found", "told"),
    [("tinny", "did you mean 'tiny'?"), ("Qwen3-8B-LoRA", "did you mean 'qwen3-8b-lora'?"),
     ("zzz", "it has to be a file of recipes/, without .yaml")],
)  # fmt: skip
def test_of_dozens_of_recipes_the_nearest_is_named_or_none(dials: Path, root: Path, found: str, told: str) -> None:
    for path in root.glob("recipes/*.yaml"):
        (dials / "recipes" / path.name).write_bytes(path.read_bytes())
    edit(dials, "params.yaml", "recipe:", f"recipe: {found}")
    assert refusal(dials) == f"params.yaml: recipe: found {found!r}; {told}"


def test_a_number_as_dvc_writes_it_is_a_number(dials: Path) -> None:
    edit(dials, "params.yaml", "lr:", "lr: 5e-05")
    assert paramfile.check(dials / "params.yaml", dials / "recipes")[0].lr == 5e-05


def test_files_that_are_no_mapping_or_no_yaml_are_refused(dials: Path) -> None:
    file = dials / "params.yaml"
    for text, named in (("recipe: [", "params.yaml is no YAML"), ("- 1", "it must be a mapping"), ("", "NoneType")):
        file.write_text(text, encoding="utf-8")
        assert named in refusal(dials)
    file.write_bytes(b"\xff\xfe\x00")
    assert "params.yaml is no YAML" in refusal(dials)
    file.unlink()
    assert "params.yaml is missing" in refusal(dials)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_check_stage_ends_with_2_at_once(dials: Path, run: Callable) -> None:
    edit(dials, "params.yaml", "lr:", "lr: fast")
    before = cpu()
    words = ["stages.check", "params.yaml", "recipes", "launch", "data/checked", "data/launch.yaml"]
    told = run(dials, *words)
    assert (told.returncode, cpu() - before < LIMIT) == (2, True)
    assert told.stderr.startswith("error: params.yaml: lr: found") and "Traceback" not in told.stderr
    assert not (dials / "data/checked").exists()
    edit(dials, "params.yaml", "lr: fast", "lr: auto")
    assert run(dials, *words).returncode == 0


def test_a_whole_check_loads_nothing_heavy(dials: Path, root: Path, run: Callable) -> None:
    words = ["params.yaml", "recipes", "launch", "data/checked", "data/launch.yaml"]
    code = (
        f"import runpy, sys; sys.argv[1:] = {words}; runpy.run_module('stages.check', run_name='__main__');"
        f"print('loaded:', *set({HEAVY}) & set(sys.modules))"
    )
    (dials / "show.py").write_text(code, encoding="utf-8")
    edit(dials, "recipes/tiny.yaml", "  launch:", "  launch: ddp")
    ddp = (root / "launch/ddp.yaml").read_text(encoding="utf-8")
    (dials / "launch/ddp.yaml").write_text(ddp + "num_processes: 2\n", encoding="utf-8")
    told = run(dials, "show", PYTHONPATH=f"{root}:{dials}", TRACKERS="")
    assert told.returncode == 0 and told.stdout.strip() == "loaded:", told.stderr


def test_a_tracker_that_is_not_installed_is_refused_before_anything_runs(
    dials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    words = [dials / name for name in ("params.yaml", "recipes", "launch", "checked", "launch.yaml")]
    for name, value in {"TRACKERS": "", "WANDB_PROJECT": "", "MLFLOW_TRACKING_URI": "", "WANDB_API_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refusal, match="WANDB_API_KEY names wandb: pip install wandb, or set TRACKERS=none"):
        check.main(*words)
    assert not (dials / "checked").exists()
    monkeypatch.setenv("TRACKERS", "none")
    check.main(*words)
    assert (dials / "checked").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_help_is_quick_and_loads_nothing_heavy(stage: str, root: Path, tmp_path: Path, run: Callable) -> None:
    code = (
        f"import runpy, sys; sys.argv[1:] = ['--help']; runpy.run_module('stages.{stage}', run_name='__main__');"
        f"print('loaded:', *set({HEAVY}) & set(sys.modules))"
    )
    (tmp_path / "show.py").write_text(code, encoding="utf-8")
    before = cpu()
    told = run(tmp_path, "show", PYTHONPATH=f"{root}:{tmp_path}")
    assert (told.returncode, cpu() - before < LIMIT) == (0, True), told.stderr
    assert told.stdout.splitlines()[-1].strip() == "loaded:"
    assert "words:" in told.stdout and "params:" in told.stdout
