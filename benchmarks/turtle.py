"""Turtle parsers side by side on PROHOW files, and the whole reader: `python -m benchmarks.turtle [triples …]`.

Each run is a process of its own, so that its peak memory is its own; a row's ratio is rdflib's seconds over its own.
Needs rdflib, which the project itself doesn't. Linux only. Not covered: parsers without a Python package.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stages.lib.sources.prohow import PREFIXES, HowTo, how_tos

WORDS = (
    "rửa sạch rau củ rồi cắt nhỏ đun nước sôi thêm muối đường và khuấy đều trong năm phút cho đến khi chín mềm".split()
)
HEADER = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in PREFIXES.items())


def generate(triples: int, seed: int = 0) -> Iterator[str]:
    """How-tos of three methods of eight steps in the crawler's words, until there are so many triples."""
    chance = random.Random(seed)
    node = written = 0

    def new() -> str:
        nonlocal node
        node += 1
        return f"w:{node}e{1488000000000 + node}"

    def words(count: int) -> str:
        return " ".join(chance.choices(WORDS, k=count))

    while written < triples:
        page = new()
        lines = [f"{page} rdf:type prohow:instruction_set", f'{page} rdfs:label """{words(6)}"""@vn']
        lines += [f'{page} {kind} """{words(40)}"""@vn' for kind in ("dbo:abstract", "prohow:html_abstract")]
        for _ in range(3):
            method, before = new(), ""
            lines += [f"{page} prohow:has_method {method}", f'{method} rdfs:label """{words(4)}"""@vn']
            for _ in range(8):
                step, text = new(), words(30)
                lines += [f"{method} prohow:has_step {step}", f'{step} rdfs:label """{words(9)}."""@vn']
                lines += [
                    f'{step} dbo:abstract """[{node % 20}] {text} "vừa" """@vn',
                    f'{step} prohow:html_abstract """<sup>[{node % 20}]</sup>\n  <ul><li>{text}</li></ul>"""@vn',
                ]
                lines += [f"{step} prohow:requires {before}"] * bool(before)
                before = step
        written += len(lines)
        yield "".join(f"{line} .\n" for line in lines)


def by_rdflib(path: Path) -> int:
    """The whole graph in memory."""
    from rdflib import Graph

    return len(Graph().parse(data=HEADER + path.read_text(encoding="utf-8"), format="turtle"))


def by_pyoxigraph(path: Path) -> int:
    """Triple by triple."""
    import pyoxigraph

    text = HEADER.encode() + path.read_bytes()
    return sum(1 for _ in pyoxigraph.parse(text, pyoxigraph.RdfFormat.TURTLE, lenient=True))


def by_reader(path: Path) -> int:
    """Our reader: parse, order the steps, compose the answers."""
    with path.open("rb") as file:
        return sum(isinstance(item, HowTo) for item in how_tos(file))


WAYS = {"rdflib, parse": by_rdflib, "pyoxigraph, parse": by_pyoxigraph, "how_tos, all": by_reader}


def run(way: str, path: Path) -> None:
    """One way over one file, in this process."""
    idle = peak_memory()
    start = time.perf_counter()
    found = WAYS[way](path)
    seconds = time.perf_counter() - start
    print(found, seconds, peak_memory() - idle)


def peak_memory() -> float:
    """MB of this process; `resource` would count its parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(path: Path) -> None:
    """The rows of one file."""
    base = 0.0
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.turtle", "--run", way, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found, seconds, peak = done.stdout.split()
        base = base or float(seconds)
        times = base / float(seconds)
        print(f"| {path.name} | {way} | {found} | {float(seconds):.2f} | {times:.1f} | {float(peak):.0f} |")


def main(sizes: list[int]) -> None:
    """The table, for files of so many triples."""
    print("| file | way | triples or how-tos | s | times as fast | peak MB |\n|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder, f"{size}.ttl")
            path.write_text("".join(generate(size)), encoding="utf-8")
            measure(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], Path(sys.argv[3]))
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
