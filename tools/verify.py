"""Make a commit again elsewhere and compare it to the bit: ``python -m tools.verify [REV]`` (``make verify REV=…``).

The commit is cloned clean and every stage runs from scratch: no cache, no remote, another directory (with a
space and letters beyond ASCII in its name), home, time zone, locale and hash seed. Then every hash of
dvc.lock and every number of metrics/*.json is held against what the commit says. The teacher is never paid:
only its journal is taken along. Not covered: recipes that run on a GPU, whose bits differ between machines.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stages.lib import paramfile
from stages.lib.contract import Refusal
from tools.summary import line, widths

JOURNAL = Path("data/teacher")
TIMES = Path(".dvc/tmp/verify-seconds.json")  # how long each stage took last time, for the time left
RUNNING = "Running stage '"
Tree = Mapping[str, Any]


class Difference(NamedTuple):
    """Something that this run made and the commit holds otherwise."""

    stage: str
    kind: str
    path: str
    commit: str
    made: str


def lock_differences(commit: Tree, made: Tree, order: list[str]) -> Iterator[Difference]:
    """Dependencies and outputs of dvc.lock that differ, in the order in which the stages ran."""
    for stage in [*order, *sorted(set(commit) - set(order))]:
        for section, kind in (("deps", "reads"), ("outs", "writes")):
            old, new = (hashes(lock.get(stage, {}).get(section, [])) for lock in (commit, made))
            for path in sorted(old.keys() | new.keys()):
                if old.get(path) != new.get(path):
                    yield Difference(stage, kind, path, old.get(path, "–"), new.get(path, "–"))


def hashes(entries: list[Tree]) -> dict[str, str]:
    """The hash of each path of a section of dvc.lock."""
    return {entry["path"]: str(entry.get(entry.get("hash", "md5"), "–")) for entry in entries}


def metric_differences(commit: Tree, made: Tree) -> Iterator[Difference]:
    """Values of metrics that differ; both are {file: JSON value}."""
    old, new = values(commit), values(made)
    for file, key in sorted(old.keys() | new.keys()):
        before, after = (json.dumps(found[file, key]) if (file, key) in found else "–" for found in (old, new))
        if before != after:
            yield Difference("metrics", file, key, before, after)


def values(metrics: Tree) -> dict[tuple[str, str], Any]:
    """All values by file and dotted key."""
    return {(file, key): value for file, tree in metrics.items() for key, value in leaves(tree)}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that is neither mapping nor list."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    else:
        yield path, tree


def table(differences: list[Difference]) -> str:
    """The differences, one a line."""
    rows = [("stage", "", "what", "the commit", "this run"), *(tuple(each) for each in differences)]
    return "\n".join(line(row, widths(rows)) for row in rows)


def left(order: list[str], done: int, elapsed: float, times: Mapping[str, float]) -> float | None:
    """Seconds that the stages after the first ``done`` will take, from what each took last time, or None."""
    if not all(stage in times for stage in order):
        return None
    before = sum(times[stage] for stage in order[:done])
    pace = elapsed / before if before > 10 else 1.0
    return pace * sum(times[stage] for stage in order[done:])


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def git(*words: str, cwd: Path | None = None) -> str:
    """What a git command prints; its complaint as a refusal."""
    done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


def resolve(rev: str) -> str:
    """The commit that a name stands for."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}").strip()
    except Refusal:
        raise Refusal(
            f"{rev!r} is no commit of this repository; give a branch, a tag or a hash: make verify REV=…"
        ) from None


def clone(root: Path, commit: str, into: Path) -> None:
    """The commit alone in a new repository; also one that only an experiment's reference holds."""
    into.mkdir(parents=True)
    git("init", "--quiet", cwd=into)
    serve = "git -c uploadpack.allowAnySHA1InWant=true upload-pack"
    git("fetch", "--quiet", "--upload-pack", serve, str(root), commit, cwd=into)
    git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=into)


def check_device(repo: Path) -> None:
    """Refuse a recipe whose bits depend on the machine."""
    name = paramfile.load(repo / "params.yaml").get("recipe")
    device = paramfile.load(repo / "recipes" / f"{name}.yaml").get("compute", {}).get("device")
    if device != "cpu":
        raise Refusal(
            f"recipes/{name}.yaml: compute.device is {device!r}: a GPU's bits differ between machines, so only metrics "
            "within a tolerance could be compared, and recipes state none yet; only `device: cpu` can be verified"
        )


def take_journal(root: Path, repo: Path) -> None:
    """Give the clone the teacher's answers: they were paid for, and no commit holds them whole."""
    if (root / JOURNAL).is_dir():
        shutil.copytree(root / JOURNAL, repo / JOURNAL)
    elif (repo / f"{JOURNAL}.dvc").exists():
        raise Refusal(f"the commit needs the teacher's answers in {JOURNAL}; `make pull` fetches them")


def surroundings(home: Path) -> dict[str, str]:
    """The environment of this process with all changed that must not matter, and nothing to pay with."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "DVC_", "XDG_", "OPENAI_"))}
    utf8 = "UTF-8" in (os.environ.get("LC_ALL") or os.environ.get("LANG") or "").upper().replace("UTF8", "UTF-8")
    return env | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "TZ": "Pacific/Chatham" if os.environ.get("TZ") != "Pacific/Chatham" else "Asia/Ho_Chi_Minh",
        "LANG": "C" if utf8 else "C.UTF-8",
        "LC_ALL": "C" if utf8 else "C.UTF-8",
        "PYTHONHASHSEED": str(random.SystemRandom().randrange(1, 2**32)),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "site"),  # DVC keeps an index of remotes there, for all clones
        "PYTHONUNBUFFERED": "1",
    }


def plan(repo: Path) -> list[str]:
    """The stages that will run, in dvc.yaml's order; frozen ones never do."""
    from dvc.repo import Repo

    with Repo(str(repo)) as opened:
        return [stage.addressing for stage in opened.index.stages if not stage.frozen and not stage.is_data_source]


def reproduce(repo: Path, env: Mapping[str, str], times: Mapping[str, float]) -> dict[str, float]:
    """Run every stage with its output on this terminal; the seconds of each, in the order in which they ran."""
    names = plan(repo)
    known = sorted(names, key=lambda name: list(times).index(name)) if set(names) <= set(times) else names
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--no-run-cache"]
    begun = time.monotonic()
    started: dict[str, float] = {}
    with subprocess.Popen(
        command, cwd=repo, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        for text in process.stdout or ():
            if text.startswith(RUNNING):
                elapsed = time.monotonic() - begun
                rest = left(known, len(started), elapsed, times)
                started[text.removeprefix(RUNNING).split("'")[0]] = elapsed
                about = "" if rest is None else f", about {clock(rest)} left"
                print(f"── stage {len(started)} of {len(names)}, {clock(elapsed)} elapsed{about}", flush=True)
            print(text, end="", flush=True)
    if process.returncode:
        raise Refusal(f"`dvc repro` failed in {[*started][-1] if started else 'no stage yet'}; its output is above")
    ends = [*list(started.values())[1:], time.monotonic() - begun]
    return {name: end - start for (name, start), end in zip(started.items(), ends, strict=True)}


def other_packages(repo: Path) -> list[str]:
    """Packages that this environment has in other versions than the commit pins, as ``name version (pinned)``."""
    from importlib.metadata import PackageNotFoundError, version

    file, found = repo / "constraints.txt", []
    pins = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for name, _, pinned in (pin.partition("==") for pin in pins if "==" in pin and not pin.startswith("#")):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed.split("+")[0] != pinned.split("+")[0]:
            found.append(f"{name} {installed} ({pinned})")
    return found


def lock(text: str) -> dict[str, Any]:
    """The stages of a dvc.lock."""
    from ruamel.yaml import YAML

    return dict((YAML(typ="safe").load(text) or {}).get("stages", {}))


def verify(root: Path, rev: str, work: Path) -> tuple[list[Difference], str]:
    """Reproduce a commit under ``work``; what differs, and what was compared in words."""
    commit, repo = resolve(rev), work / "bản sao kiểm tra" / "repo"
    clone(root, commit, repo)
    if not (repo / "dvc.lock").exists():
        raise Refusal(
            f"{rev} holds no dvc.lock, so it says of no byte what it should be; run `make repro` and commit it"
        )
    check_device(repo)
    take_journal(root, repo)
    if packages := other_packages(repo):
        print(f"Note: this environment differs from the commit's pins (in brackets): {', '.join(packages)}")
    home = work / "nhà"
    home.mkdir()
    held = lock((repo / "dvc.lock").read_text(encoding="utf-8"))
    metrics = read_metrics(repo)
    times = root / TIMES
    took = reproduce(repo, surroundings(home), json.loads(times.read_text()) if times.exists() else {})
    times.parent.mkdir(parents=True, exist_ok=True)
    times.write_text(json.dumps({name: round(seconds, 1) for name, seconds in took.items()}), encoding="utf-8")
    made = lock((repo / "dvc.lock").read_text(encoding="utf-8"))
    ran = {name: made[name] for name in took if name in made}
    kept = {name: stage for name, stage in held.items() if name in took or name not in made}
    differences = [*lock_differences(kept, ran, list(took)), *metric_differences(metrics, read_metrics(repo))]
    outs = sum(len(stage.get("outs", [])) for stage in ran.values())
    return differences, f"{len(ran)} stages, {outs} outputs, {len(values(metrics))} metrics"


def read_metrics(repo: Path) -> dict[str, Any]:
    """All metrics by file."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((repo / "metrics").glob("*.json"))
    }


def main(words: list[str]) -> int:
    """Verify one commit, HEAD unless another is named."""
    rev = words[0] if words else "HEAD"
    work = Path(tempfile.mkdtemp(prefix="viet-llm-verify-"))
    try:
        root = Path(git("rev-parse", "--show-toplevel").strip())
        if dirty := git("status", "--porcelain").count("\n"):
            print(f"Note: {dirty} changes in this folder are in no commit and are left out.")
        differences, compared = verify(root, rev, work)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        if work.exists():
            print(f"What was made is in {work}", file=sys.stderr)
        return 2
    if differences:
        print(f"\n{table(differences)}\n")
        print(
            f"error: {rev} does not reproduce; the first stage that differs is {differences[0].stage}. See {work}",
            file=sys.stderr,
        )
        return 1
    shutil.rmtree(work)
    print(f"\nbit-identical: {compared}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
