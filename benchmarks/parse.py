"""``stages.parse`` beside ``datasets.load_dataset`` + ``map``: the same file to the same records, in one run.

    python -m benchmarks.parse                        # 1,000,000 instructions as JSON lines
    python -m benchmarks.parse --format text --gigabytes 5 --no-peer

Each side runs in a process of its own, so that its peak memory is its own; both make the same fields with the
same functions and one process. Not covered: fetching, and reading from slow disks.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WORDS = (
    "hãy viết một đoạn văn ngắn về mùa thu ở Hà Nội với những hàng cây bên hồ và gió nhẹ thổi qua phố cổ người dân "
    "đi bộ trò chuyện cùng bạn bè sau giờ làm việc trẻ em chơi đùa trong công viên gần nhà giải thích vì sao nước "
    "biển mặn trong khi nước sông ngọt liệt kê các bước nấu cơm ngon bằng nồi đất cho gia đình bốn người"
).split()
SHA = "0" * 64


def sentences(rng: random.Random, count: int) -> str:
    """Some words in Vietnamese that make no sense together."""
    return " ".join(rng.choices(WORDS, k=count)).capitalize() + "."


def instructions(records: int) -> Iterator[str]:
    """Alpaca rows of about 800 bytes as JSON lines, every fifth with an input."""
    rng = random.Random(1)
    for number in range(records):
        row = {
            "instruction": sentences(rng, 12),
            "input": sentences(rng, 20) if number % 5 == 0 else "",
            "output": sentences(rng, 90),
        }
        yield json.dumps(row, ensure_ascii=False) + "\n"


def paragraphs(size: int) -> Iterator[str]:
    """Plain lines of about 500 bytes until so many bytes are reached."""
    rng = random.Random(1)
    pool = [sentences(rng, 70) for _ in range(5000)]
    written = 0
    while written < size:
        line = f"{written:x} {rng.choice(pool)}\n"
        written += len(line.encode())
        yield line


OURS = """
import sys
from pathlib import Path
from stages import parse
from stages.lib import params
raw, form, out = sys.argv[1:]
source = params.Source(url="x.jsonl", sha256="{sha}", format=form, licence="CC0-1.0", lang="vi")
parse.main("bench", Path(raw), Path(out) / "x.parquet", Path(out) / "x.refused.jsonl", source=source,
           parse=params.Parse(max_refused=0.1))
""".replace("{sha}", SHA)

PEER = (
    """
import sys
from datasets import load_dataset
from stages import parse
from stages.lib import params
from stages.lib.sources import formats
from stages.lib.sources.fields import Parsed
raw, form, out = sys.argv[1:]
source = params.Source(url="x", sha256="{sha}", format=form, licence="CC0-1.0", lang="vi")
def instruction(row, number):
    return parse.to_record(next(iter(formats.alpaca(str(number + 1), row))), "bench", source)
def line(row, number):
    row = Parsed("text", [{{"role": "text", "content": row["text"].strip()}}], str(number + 1))
    return parse.to_record(row, "bench", source)
loader, function = ("json", instruction) if form == "alpaca" else ("text", line)
rows = load_dataset(loader, data_files=raw, split="train", cache_dir=out)
rows.map(function, with_indices=True, remove_columns=rows.column_names)
""".replace("{sha}", SHA)
    .replace("{{", "{")
    .replace("}}", "}")
)


def timed(program: str, raw: Path, form: str) -> tuple[float, float]:
    """(seconds, peak memory in MB) of a program in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        watch = (
            "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); sys.exit(done.returncode)"
        )
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", watch, sys.executable, "-c", program, str(raw), form, out],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return time.perf_counter() - start, float(done.stdout.split()[-1])


def main() -> None:
    """Print a line for each side, and the ratio."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--format", choices=["alpaca", "text"], default="alpaca")
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--gigabytes", type=float, default=0.5, help="of plain text")
    arguments.add_argument("--no-peer", action="store_true")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw, count = Path(folder) / "raw", 0
        with raw.open("w", encoding="utf-8") as file:
            size = int(chosen.gigabytes * 1e9)
            for line in instructions(chosen.records) if chosen.format == "alpaca" else paragraphs(size):
                file.write(line)
                count += 1
        print(f"{count:,} records, {raw.stat().st_size / 1e9:.2f} GB, as {chosen.format}", flush=True)
        sides = {"stages.parse": OURS} | ({} if chosen.no_peer else {"load_dataset + map": PEER})
        seconds = {}
        for name, program in sides.items():
            seconds[name], peak = timed(program, raw, chosen.format)
            rate = count / seconds[name]
            print(f"{name:20} {seconds[name]:8.1f} s {rate:10,.0f} records/s   peak {peak:6,.0f} MB", flush=True)
        if len(seconds) == 2:
            ours, peer = seconds.values()
            print(f"ratio {peer / ours:.2f}")


if __name__ == "__main__":
    main()
