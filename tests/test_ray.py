"""A cluster of two nodes on this machine: the same bytes as one process, whatever dies on the way."""

import functools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks import corpus
from stages import clean, dedup
from stages.lib import paramfile, records, shards
from stages.lib.contract import Refusal
from stages.lib.params import Clean, Dedup, Runner
from stages.lib.records import Record

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [
    pytest.mark.skipif(" " in sys.executable, reason="Ray starts no workers by a Python whose path holds a space"),
    # Ray leaves its log files and sockets to the end of the process
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each."""
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a test's work is no part of what travels
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 1 << 28})
    made.add_node(num_cpus=1, object_store_memory=1 << 28)
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    del os.environ["RAY_ADDRESS"]
    made.shutdown()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts enough for some shards, of which one in ten is at fault."""
    path = tmp_path_factory.mktemp("ray") / "table"
    texts = corpus.make(4_000, seed=3).to_pylist()
    texts[::10] = [f"Là một mô hình ngôn ngữ, tôi không thể giúp. {text}" for text in texts[::10]]
    records.write(path, (record(str(number), text) for number, text in enumerate(texts)))
    return path


def record(number: str, text: str) -> Record:
    messages: list[records.Message] = [{"role": "text", "content": text}]
    return records.make("text", messages, source="s", licence="CC0-1.0", lang="vi", upstream=number)


def made(folder: Path, table: Path, runner: Runner) -> list[bytes]:
    """What clean and dedup write."""
    folder.mkdir()
    tree, files = paramfile.read(ROOT / "params.yaml", ROOT / "recipes")
    sections = {"clean": Clean, "dedup": Dedup}
    given = {name: paramfile.validate(section, tree, name, files) for name, section in sections.items()}
    lexicons = [ROOT / "stages/lexicons" / name for name in ("toxic.txt", "spam.txt")]
    clean.main(folder / "c", folder / "cd", *lexicons, table, engine=runner, clean=given["clean"])
    dedup.main(folder / "c", folder / "d", folder / "dd", engine=runner, dedup=given["dedup"])
    assert records.count(folder / "cd") > 300 and records.count(folder / "dd") > 300
    return [(folder / name).read_bytes() for name in ("c", "cd", "d", "dd")]


def test_two_nodes_write_the_same_bytes_as_one_process(cluster: Any, table: Path, tmp_path: Path) -> None:
    assert made(tmp_path / "local", table, "local") == made(tmp_path / "ray", table, "ray")


def untouched(shard: pa.RecordBatch) -> shards.Sifted:
    return shards.judged(shard, lambda record: (record, None))


def killed(shard: pa.RecordBatch, *, mark: Path, once: bool) -> shards.Sifted:
    """A shard's rows, in a worker that dies at record 2500."""
    if "2500" in shard["upstream"].to_pylist() and not (once and mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return untouched(shard)


def test_a_worker_killed_half_way_changes_nothing(cluster: Any, table: Path, tmp_path: Path) -> None:
    work = functools.partial(killed, mark=tmp_path / "mark", once=True)
    shards.sift([table], tmp_path / "kept", tmp_path / "dropped", work, "ray")
    assert (tmp_path / "mark").exists()
    assert (tmp_path / "kept").read_bytes() == table.read_bytes()


def test_rows_that_kill_every_worker_are_refused(cluster: Any, table: Path, tmp_path: Path) -> None:
    work = functools.partial(killed, mark=tmp_path / "mark", once=False)
    with pytest.raises(Refusal, match="a Ray worker died 4 times at the same rows"):
        shards.sift([table], tmp_path / "kept", tmp_path / "dropped", work, "ray")
    assert not (tmp_path / "kept").exists()


def test_a_node_lost_half_way_changes_nothing(cluster: Any, table: Path, tmp_path: Path) -> None:
    def cut_off() -> Iterator[pa.RecordBatch]:
        for place, shard in enumerate(records.batches(table, most=200)):
            if place == 10:
                cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
            yield shard

    shards.write(shards.spread(untouched, cut_off(), 4000, "ray"), tmp_path / "kept", tmp_path / "dropped")
    assert (tmp_path / "kept").read_bytes() == table.read_bytes()
