"""What all tests share: nothing is told to anybody or fetched, and chance is the same every time."""

import os

from stages.lib import determinism

# before anything imports the libraries that read them; the kernels are those that the stages pin
os.environ.update(
    determinism.CPU,
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OMP_WAIT_POLICY="passive",  # stages started by a test have threads of their own: those that spin stop the others
    DVC_NO_ANALYTICS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_OFFLINE="1",
    TRACKERS="none",
)

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tqdm import tqdm

from tests.faulty import Faulty
from tests.scripted import Bench

ROOT = Path(__file__).parents[1]
PARTS = ["dvc.yaml", "params.yaml", "recipes", "launch", "stages", "tools"]
PARTS += [".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"]

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
# tqdm's own is shared with forked processes: one that a test kills would keep it, and every later bar wait for ever
tqdm.set_lock(threading.RLock())

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository that is tested."""
    return ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the graph, the stages and the dials, to be broken; no data."""
    copy = tmp_path / "project"
    for part in PARTS:
        (copy / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    return copy


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run(folder, module, word…)`` runs ``python -m module`` there, its own modules before this repo's."""
    # DVC keeps an index of remotes for all clones of a user: here it has one of its own
    site = tmp_path_factory.mktemp("site")

    def start(folder: Path, *words: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(site)} | variables
        command = [sys.executable, "-m", *map(str, words)]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    return start


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The translate stage with a teacher who answers by a script."""
    return Bench(tmp_path, monkeypatch)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """An endpoint that misbehaves as texts ask it to; nobody waits long between two tries."""
    monkeypatch.setattr("stages.lib.teachers.endpoint.pause", lambda tries, wait: wait or 0.01)
    with Faulty() as server:
        yield server
