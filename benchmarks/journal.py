"""How fast and how large a journal of a million answers is: ``python -m benchmarks.journal [answers] [folder]``.

Makes the answers from a seed (about 600 bytes of Vietnamese each, in lines of about 1.2 kB), opens the journal in a
fresh process, asks for every answer in the order in which it was bought and in a random one, and prints times and
the peak of the memory.
The file lies in the system's page cache, as it does right after it was written. Not covered: a cold disk.
"""

import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.lib.teachers.journal import Entry, Journal, line

WORDS = (
    "nước biển trời đất người nhà đường cây lúa gạo sông núi học làm việc thời gian ngày đêm mùa xuân hạ thu đông"
    " bạn nên hãy có thể để cho với của những các một hai ba bốn năm rất nhiều ít hơn nhất khi nếu thì vì nên"
    " đẹp tốt nhanh chậm lớn nhỏ cao thấp mới cũ trong ngoài trên dưới trước sau giữa qua lại đi về đến"
).split()
SOURCE = "the water of a river and land house road tree rice hill learn work time day night spring you can make".split()


def key(number: int) -> str:
    """The key of an answer, spread like real ones."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def make(path: Path, count: int) -> None:
    """A journal of so many answers, the same for the same count."""
    rng = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            source = " ".join(rng.choices(SOURCE, k=60))
            answer = ""
            while len(answer.encode()) < 600:
                answer += " ".join(rng.choices(WORDS, k=8)).capitalize() + ". "
            usage = {"prompt_tokens": 310, "completion_tokens": 280}
            shown = json.dumps([{"role": "user", "text": source}])
            reply = json.dumps({"texts": [answer.strip()]}, ensure_ascii=False)
            entry = Entry(
                key=key(number), model="gpt-4o-mini", prompt="translate", input=shown, answer=reply,
                finish_reason="stop", usage=usage,
            )  # fmt: skip
            file.write(line(entry))


def measure(path: Path, count: int) -> None:
    """Open the journal, ask for everything, say what it took."""
    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, busy = time.perf_counter(), time.process_time()
    journal = Journal(own=path)
    opened = time.perf_counter() - wall, time.process_time() - busy
    order = [key(number) for number in range(count)]
    in_order = serve(journal, order)
    random.Random(2).shuffle(order)
    shuffled = serve(journal, order)
    wall, busy = time.perf_counter(), time.process_time()
    absent = sum(key(-number) in journal.answers for number in range(1, count + 1))
    missed = time.perf_counter() - wall, time.process_time() - busy
    if absent:
        raise SystemExit(f"{absent} answers were found that are not there")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"answers {count:,}; file {path.stat().st_size / 2**20:,.0f} MiB")
    print("seconds by the clock, of the processor")
    print(f"open: {opened[0]:.2f}, {opened[1]:.2f}")
    print(f"serve all as bought: {in_order[0]:.2f}, {in_order[1]:.2f} ({count / in_order[1]:,.0f} a second)")
    print(f"serve all shuffled: {shuffled[0]:.2f}, {shuffled[1]:.2f} ({count / shuffled[1]:,.0f} a second)")
    print(f"ask for as many that are not there: {missed[0]:.2f}, {missed[1]:.2f}")
    print(f"open and serve all as bought: {opened[0] + in_order[0]:.2f}, {opened[1] + in_order[1]:.2f}")
    print(f"peak memory {peak:,.0f} MiB, of which {empty:,.0f} MiB before the journal was opened")


def serve(journal: Journal, order: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor to read every answer, each checked to be the one asked for."""
    wall, busy = time.perf_counter(), time.process_time()
    for wanted in order:
        if journal.answers[wanted]["key"] != wanted:
            raise SystemExit(f"{wanted}: another answer came back")
    return time.perf_counter() - wall, time.process_time() - busy


def main() -> None:
    """Make, then measure in a process of its own, whose memory holds nothing of the making."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 3:
        measure(Path(sys.argv[3]), count)
        return
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        path = Path(folder) / "journal.jsonl"
        make(path, count)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.journal", str(count), folder, str(path)], check=True, stdout=sys.stdout
        )


if __name__ == "__main__":
    main()
