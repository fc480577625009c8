"""The commands about the repo, on a toy one: share it, break what was shared, make it again elsewhere."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.lib.teachers.journal import Entry, line
from tools import store, verify

GRAPH = """
stages:
  first:
    cmd: python first.py
    deps: [first.py]
    outs: [models/first, data/text.txt]
  second:
    cmd: python second.py
    deps: [second.py, data/text.txt]
    metrics: [{metrics/scores.json: {cache: false}}]
"""
FIRST = """
from pathlib import Path
Path("models/first").mkdir(parents=True)
Path("models/first/config.json").write_text("{}")
Path("models/first/weights.bin").write_text("abc" * 1000)
Path("data").mkdir(exist_ok=True)
Path("data/text.txt").write_text("Xin chào")
"""
SECOND = """
import json, os
from pathlib import Path
Path("metrics").mkdir(exist_ok=True)
Path("metrics/scores.json").write_text(json.dumps({"models": {"a": {"accuracy": 0.5}}}))
"""
MEMBER, FILE, LIST = "models/first/weights.bin", "data/text.txt", "models/first"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, run: Callable, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    told = run(folder, "dvc", "repro", "--quiet")
    assert told.returncode == 0, told.stderr
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "made")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, root: Path, run: Callable) -> Path:
    """A toy project under this repo's ignore files and DVC settings, committed. Copied, never changed."""
    folder = tmp_path_factory.mktemp("made") / "toy"
    for name in (".gitignore", ".dvcignore", ".dvc/.gitignore", ".dvc/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    (folder / "dvc.yaml").write_text(GRAPH, encoding="utf-8")
    (folder / "params.yaml").write_text("recipe: r\n", encoding="utf-8")
    (folder / "recipes").mkdir()
    (folder / "recipes/r.yaml").write_text("compute: {device: cpu}\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    commit(folder, run, first=FIRST, second=SECOND)
    return folder


@pytest.fixture
def toy(made: Path, tmp_path: Path) -> Path:
    """A toy project with an empty remote beside it."""
    folder = tmp_path / "toy"
    shutil.copytree(made, folder)
    with (folder / ".dvc/config").open("a", encoding="utf-8") as config:
        config.write(f"    remote = storage\n['remote \"storage\"']\n    url = {tmp_path}/remote\n    verify = true\n")
    git(folder, "commit", "--quiet", "--all", "--message", "remote")
    return folder


def clone(toy: Path) -> Path:
    git(toy.parent, "clone", "--quiet", str(toy), "clone")
    return toy.parent / "clone"


def md5_of(toy: Path, path: str) -> str:
    """What the remote calls a file of the toy."""
    from dvc.repo import Repo

    with Repo(str(toy)) as repo:
        return dict(store.needed(repo, repo.cache.local))[path]


def remote_copy(toy: Path, path: str) -> Path:
    md5 = md5_of(toy, path)
    return toy.parent / "remote/files/md5" / md5[:2] / md5[2:]


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:5])


def test_a_repro_leaves_only_what_git_should_hold(made: Path) -> None:
    tracked = git(made, "ls-files").split()
    files = ["dvc.lock", "dvc.yaml", "first.py", "metrics/scores.json", "params.yaml", "recipes/r.yaml", "second.py"]
    assert tracked == [".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", *files]
    assert not git(made, "status", "--porcelain")


def test_what_git_and_dvc_hold_is_told_apart(made: Path) -> None:
    ignored = ["data/vi/a.parquet", "data/teacher/journal.jsonl", "models/x", "metrics/report.html"]
    ignored += ["metrics/history/a.json", "feedback/a.jsonl", ".venv/x", "stages/__pycache__/a.pyc"]
    held = ["data/teacher.dvc", "data/sample/a.parquet", "metrics/scores.json", "metrics/plots/a.json", "dvc.lock"]
    command = ["git", "check-ignore", *ignored, *held]
    told = subprocess.run(command, cwd=made, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ignored


def test_a_push_is_pulled_whole_by_a_fresh_clone(toy: Path, run: Callable) -> None:
    sent = run(toy, "tools.push")
    assert (sent.returncode, sent.stdout.splitlines()[-1]) == (0, "The remote holds all 4 objects of this commit.")
    fresh = clone(toy)
    assert run(fresh, "tools.pull").returncode == 0
    assert (fresh / MEMBER).read_text() == "abc" * 1000
    assert run(fresh, "dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert not git(fresh, "status", "--porcelain")


@pytest.mark.parametrize("path", [MEMBER, FILE, LIST])
def test_a_pull_names_what_was_cut_short_and_a_push_mends_it(toy: Path, run: Callable, path: str) -> None:
    assert run(toy, "tools.push").returncode == 0
    cut(remote_copy(toy, path))
    fresh = clone(toy)
    told = run(fresh, "tools.pull")
    assert told.returncode != 0
    start = f"error: {path}: object {md5_of(toy, path)} is"
    named = [line for line in told.stderr.splitlines() if line.startswith(start)]
    assert len(named) == 1, told.stderr
    assert "Run `make push` in a clone that has it all" in told.stderr
    mended = run(toy, "tools.push")
    assert mended.returncode == 0, mended.stderr
    assert run(fresh, "tools.pull").returncode == 0
    assert run(fresh, "dvc", "status").stdout == "Data and pipelines are up to date.\n"


def test_a_push_that_lacks_an_object_fails_and_names_it(toy: Path, run: Callable) -> None:
    md5 = md5_of(toy, MEMBER)
    (toy / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    told = run(toy, "tools.push")
    assert told.returncode == 2
    assert told.stderr.startswith(f"error: not in this clone's cache: {MEMBER} ({md5}); `make repro` makes it")


@pytest.mark.parametrize("tool", ["tools.push", "tools.pull"])
def test_remotes_must_be_set_and_verify(made: Path, toy: Path, run: Callable, tool: str) -> None:
    assert "no remote is set; `make remote URL=" in run(made, tool).stderr
    config = toy / ".dvc/config"
    config.write_text(config.read_text().replace("    verify = true\n", ""))
    told = run(toy, tool)
    assert (told.returncode, "dvc remote modify storage verify true" in told.stderr) == (2, True)


def test_the_journal_travels_and_answers_of_both_sides_are_kept(toy: Path, run: Callable) -> None:
    journal = toy / "data/teacher/journal.jsonl"
    journal.parent.mkdir()
    shared, own = (
        line(Entry(key=key, model="m", prompt="p", input="x\u2028y", answer="z", finish_reason="stop", usage={}))
        for key in ("a" * 32, "b" * 32)
    )
    journal.write_text(shared, encoding="utf-8")
    told = run(toy, "tools.push")
    assert (told.returncode, "Commit data/teacher.dvc too" in told.stdout) == (0, True)
    git(toy, "add", "--all")
    git(toy, "commit", "--quiet", "--message", "journal")
    fresh = clone(toy)
    mine = fresh / "data/teacher/journal.jsonl"
    mine.parent.mkdir()
    mine.write_text(own + shared, encoding="utf-8")
    assert run(fresh, "tools.pull").returncode == 0
    assert mine.read_text(encoding="utf-8") == own + shared  # what both may have answered counts as it arrived
    assert not git(fresh, "status", "--porcelain")


def test_verify_makes_a_commit_again_elsewhere(toy: Path, run: Callable) -> None:
    told = run(toy, "tools.verify", TMPDIR=str(toy.parent))
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.splitlines()[-1] == "bit-identical: 2 stages, 3 outputs, 1 metrics"
    assert "── stage 2 of 2" in told.stdout
    assert not list(toy.parent.glob("viet-llm-verify-*")) and not git(toy, "status", "--porcelain")


SURROUNDED = """
import json, os, time
from pathlib import Path
Path("metrics").mkdir(exist_ok=True)
names = {"seed": hash("x"), "zone": time.tzname[0], "home": str(Path.home()), "folder": os.getcwd(),
         "locale": os.environ.get("LC_ALL", ""), "key": os.environ.get("OPENAI_API_KEY", "")}
Path("metrics/scores.json").write_text(json.dumps(names))
"""


def test_verify_names_the_first_stage_that_depends_on_where_it_runs(toy: Path, run: Callable) -> None:
    (toy / "second.py").write_text(SURROUNDED, encoding="utf-8")
    assert run(toy, "dvc", "repro", "--quiet", OPENAI_API_KEY="secret", LC_ALL="C.UTF-8", TZ="UTC").returncode == 0
    git(toy, "commit", "--quiet", "--all", "--message", "surrounded")
    told = run(toy, "tools.verify", "HEAD", TMPDIR=str(toy.parent), OPENAI_API_KEY="secret", LC_ALL="C.UTF-8", TZ="UTC")
    assert told.returncode == 1
    assert "the first stage that differs is second" in told.stderr
    differing = {line.split()[2] for line in told.stdout.splitlines() if line.startswith("  metrics")}
    assert differing == {"seed", "zone", "home", "folder", "locale", "key"}
    [kept] = toy.parent.glob("viet-llm-verify-*")
    folder = json.loads((next(kept.glob("*/repo")) / "metrics/scores.json").read_text())["folder"]
    assert " " in folder and not folder.isascii()


def test_verify_refuses_what_it_can_not_compare(toy: Path, run: Callable) -> None:
    environment = {"TMPDIR": str(toy.parent)}
    assert "'nothing' is no commit of this repository" in run(toy, "tools.verify", "nothing", **environment).stderr
    (toy / "recipes/r.yaml").write_text("compute: {device: auto}\n", encoding="utf-8")
    git(toy, "commit", "--quiet", "--all", "--message", "gpu")
    told = run(toy, "tools.verify", **environment)
    assert told.returncode == 2
    assert "recipes/r.yaml: compute.device is 'auto'" in told.stderr and "tolerance" in told.stderr


def test_a_stage_that_fails_elsewhere_is_named(toy: Path, run: Callable) -> None:
    (toy / "second.py").write_text("raise SystemExit('broken')", encoding="utf-8")
    git(toy, "commit", "--quiet", "--all", "--message", "broken")
    told = run(toy, "tools.verify", TMPDIR=str(toy.parent))
    assert told.returncode == 2
    assert "broken" in told.stdout and "`dvc repro` failed in second" in told.stderr


def stage(**hashes: str) -> dict[str, Any]:
    return {"outs": [{"path": path, "hash": "md5", "md5": md5} for path, md5 in hashes.items()]}


def test_differences_come_in_the_order_of_the_run() -> None:
    held = {"b": stage(x="1"), "a": stage(y="2", z="3"), "gone": stage(w="4")}
    made = {"b": stage(x="1"), "a": stage(y="2", z="9"), "new": stage(v="5")}
    found = list(verify.lock_differences(held, made, ["new", "b", "a"]))
    assert found == [
        ("new", "writes", "v", "–", "5"),
        ("a", "writes", "z", "3", "9"),
        ("gone", "writes", "w", "4", "–"),
    ]
    deps = [{"deps": [{"path": "stages/a.py", "hash": "md5", "md5": md5}]} for md5 in "12"]
    assert list(verify.lock_differences({"a": deps[0]}, {"a": deps[1]}, ["a"])) == [
        ("a", "reads", "stages/a.py", "1", "2")
    ]


def test_metrics_are_compared_to_the_last_digit_and_the_type() -> None:
    held = {"s.json": {"a": [0.1, {"b": 1}], "c": None, "same": True}}
    made = {"s.json": {"a": [0.1000000000000001, {"b": 1.0}], "same": True, "d": "x"}}
    found = [tuple(each)[2:] for each in verify.metric_differences(held, made)]
    assert found == [("a.0", "0.1", "0.1000000000000001"), ("a.1.b", "1", "1.0"), ("c", "null", "–"), ("d", "–", '"x"')]
    assert list(verify.metric_differences(held, held)) == []


def test_the_time_left_follows_what_each_stage_took_last_time() -> None:
    times = {"a": 10.0, "b": 20.0, "c": 30.0}
    assert verify.left(["a", "b", "c"], 1, 10.0, times) == 50.0
    assert verify.left(["a", "b", "c"], 2, 60.0, times) == 60.0
    assert verify.left(["a", "new"], 1, 10.0, times) is None
    assert verify.clock(125.9) == "2:05"
