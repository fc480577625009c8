"""Tables cut into shards, sifted by one process or several, and written as if nobody had cut them."""

import functools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import records, shards
from stages.lib.contract import Refusal
from stages.lib.params import Runner
from stages.lib.records import Message, Record, Verdict

ROOT = Path(__file__).parent.parent


def record(number: int, **texts: str) -> Record:
    messages: list[Message] = [{"role": role, "content": content} for role, content in texts.items()]
    made = records.make("text", messages, source="s", licence="CC0-1.0", lang="vi", upstream=str(number))
    return {**made, "notes": ["composition×2"] * (number % 3)}


def table(path: Path, count: int) -> Path:
    records.write(path, (record(number, text=f"Câu số {number}.", user="Hỏi?") for number in range(count)))
    return path


def odd_goes(shard: pa.RecordBatch) -> shards.Sifted:
    """Every other record goes; those that stay are changed."""

    def judge(record: Record) -> tuple[Record, Verdict | None]:
        messages: list[Message] = [{**message, "content": message["content"] + "!"} for message in record["messages"]]
        new: Record = {**record, "messages": messages}
        return new, ("odd", record["upstream"]) if int(record["upstream"]) % 2 else None

    return shards.judged(shard, judge)


def killed(shard: pa.RecordBatch, *, mark: Path, once: bool) -> shards.Sifted:
    """As above, in a process that dies at record 2500."""
    if "2500" in shard["upstream"].to_pylist() and not (once and mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return odd_goes(shard)


def failing(shard: pa.RecordBatch) -> shards.Sifted:
    def judge(record: Record) -> tuple[Record, Verdict | None]:
        return record, ("number", str(1 / (int(record["upstream"]) - 2500)))

    return shards.judged(shard, judge)


def sift(folder: Path, tables: list[Path], work: shards.Work, runner: Runner = "local") -> list[bytes]:
    shards.sift(tables, folder / "kept", folder / "dropped", work, runner)
    return [(folder / name).read_bytes() for name in ("kept", "dropped")]


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "POOLED_FROM", 0)
    monkeypatch.setattr(shards, "processors", lambda: 2)


def expected(folder: Path, tables: list[Path]) -> list[bytes]:
    """What records one by one, without any shards, give."""
    found: list[tuple[Record, Verdict | None]] = []
    for row in records.read(*tables):
        messages: list[Message] = [{**message, "content": message["content"] + "!"} for message in row["messages"]]
        new: Record = {**row, "messages": messages}
        found.append((new, ("odd", row["upstream"]) if int(row["upstream"]) % 2 else None))
    records.write(folder / "e", (row for row, verdict in found if verdict is None))
    dropped = ({**row, "reason": verdict[0], "detail": verdict[1]} for row, verdict in found if verdict)
    records.write(folder / "f", dropped, records.DROPPED)
    return [(folder / name).read_bytes() for name in "ef"]


@pytest.mark.parametrize("rows", [1, 100, 1024, 10_000])
def test_where_shards_end_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    counts = [0, 700, 1, 9000] if rows > 1 else [0, 300]
    tables = [table(tmp_path / str(place), count) for place, count in enumerate(counts)]
    monkeypatch.setattr(shards, "ROWS", rows)
    assert sift(tmp_path, tables, odd_goes) == expected(tmp_path, tables)


def test_no_rows_are_two_empty_tables(tmp_path: Path) -> None:
    sift(tmp_path, [table(tmp_path / "t", 0)], odd_goes)
    assert [list(records.read(tmp_path / name)) for name in ("kept", "dropped")] == [[], []]


def test_several_processes_write_the_same_bytes_though_one_is_killed(tmp_path: Path, pooled: None) -> None:
    tables = [table(tmp_path / str(place), 4000) for place in range(2)]
    work = functools.partial(killed, mark=tmp_path / "mark", once=True)
    assert sift(tmp_path, tables, work) == expected(tmp_path, tables)
    assert (tmp_path / "mark").exists()


def test_rows_that_kill_every_worker_are_refused_and_nothing_is_written(tmp_path: Path, pooled: None) -> None:
    work = functools.partial(killed, mark=tmp_path / "mark", once=False)
    with pytest.raises(Refusal, match="a worker was killed 4 times at the same rows"):
        sift(tmp_path, [table(tmp_path / "t", 4000)], work)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mark", "t"]


@pytest.mark.parametrize(("count", "long", "several"), [(9000, 1, False), (90, 10_000, True), (90, 1, False)])
def test_bytes_decide_whether_several_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, long: int, several: bool
) -> None:
    def pooled(work: shards.Work, packed: Iterator[pa.Buffer], workers: int) -> Iterator[tuple[pa.Buffer, pa.Buffer]]:
        called.append(workers)
        return (shards.done(work, shard) for shard in packed)

    called: list[int] = []
    monkeypatch.setattr(shards, "POOLED_FROM", 1 << 22)
    monkeypatch.setattr(shards, "processors", lambda: 2)
    monkeypatch.setattr(shards, "pooled", pooled)
    records.write(tmp_path / "t", (record(number, text=f"{number} dài" * long) for number in range(count)))
    sift(tmp_path, [tmp_path / "t"], odd_goes)
    assert bool(called) == several


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_names_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shards, "POOLED_FROM", 0)
    monkeypatch.setattr(shards, "processors", lambda: count)
    with pytest.raises(ZeroDivisionError) as caught:
        sift(tmp_path, [table(tmp_path / "t", 4000)], failing)
    assert caught.value.__notes__ == ["at the record of s whose upstream is 2500"]


def test_ray_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Refusal, match="make setup EXTRAS=ray"):
        sift(tmp_path, [table(tmp_path / "t", 1)], odd_goes, "ray")


def test_workers_end_with_a_stage_that_is_killed(tmp_path: Path) -> None:
    """DVC, when it is killed, leaves its stage, and a stage must not leave its workers."""
    code = """if True:
        import sys, time
        from pathlib import Path
        from stages.lib import shards
        from tests import test_shards
        shards.POOLED_FROM, shards.processors = 0, lambda: 2
        if __name__ == "__main__":
            folder = Path(sys.argv[1])
            test_shards.sift(folder, [test_shards.table(folder / "t", 4000)], test_shards.sleeps)
    """
    (tmp_path / "stage.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MARKS": str(tmp_path)}
    with subprocess.Popen([sys.executable, tmp_path / "stage.py", tmp_path], env=environment) as stage:
        wait(lambda: len(list(tmp_path.glob("*.worker"))) == 2)
        stage.kill()
    workers = [Path("/proc") / path.stem for path in tmp_path.glob("*.worker")]
    wait(lambda: not any(map(Path.exists, workers)))


def sleeps(shard: pa.RecordBatch) -> shards.Sifted:
    Path(os.environ["MARKS"], f"{os.getpid()}.worker").touch()
    time.sleep(600)
    return odd_goes(shard)


def wait(holds: Callable[[], bool]) -> None:
    """Until it holds, for as long as a busy machine may need."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


RECORDS = st.builds(
    lambda number, texts: record(number, **texts),
    st.integers(0, 99),
    st.dictionaries(st.sampled_from(["user", "text", "chosen"]), st.text(st.characters(codec="utf-8"))),
)


@given(st.lists(RECORDS, max_size=8), st.integers(0, 8))
def test_records_are_laid_out_in_columns_and_pieces_of_them_packed(rows: list[Record], start: int) -> None:
    batch = records.batch(rows)
    assert batch.to_pylist() == rows
    assert batch.equals(pa.RecordBatch.from_pylist(list(rows), records.SCHEMA))
    assert shards.unpack(shards.pack(batch.slice(start, 3))).equals(batch.slice(start, 3))


def test_tables_are_read_in_pieces_that_fit(tmp_path: Path) -> None:
    records.write(tmp_path / "t", [record(number, text=f"{number} " + "dài " * 20_000) for number in range(200)])
    sizes = [len(batch) for batch in records.batches(tmp_path / "t", bytes=1 << 21)]
    assert sum(sizes) == 200 and max(sizes) < 60


def test_of_a_table_that_is_read_memory_holds_a_piece(tmp_path: Path) -> None:
    drawn = random.Random(1)
    rows = (record(number, text=drawn.randbytes(500).hex()) for number in range(8 * records.BATCH))
    records.write(tmp_path / "t", rows)
    before, held = pa.total_allocated_bytes(), []
    for _ in records.batches(tmp_path / "t", most=1000):
        held.append(pa.total_allocated_bytes() - before)
    assert max(held) < (tmp_path / "t").stat().st_size * 2 / 3
