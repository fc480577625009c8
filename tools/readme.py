"""Keep the READMEs true: `python -m tools.readme` rewrites what is generated in them, `--check` only looks.

A generated block stands between ``<!-- begin:name -->`` and ``<!-- end:name -->``: the graph as DVC draws it,
the scores as the report measured them, and the recipes as their table says. The Vietnamese page has its own words for
what these say in English (``readme.vi.yaml``).
"""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stages.lib import paramfile
from stages.lib.contract import Refusal
from tools.recipes import models

OWN_WORDS = Path(__file__).with_name("readme.vi.yaml")
READMES = (Path("README.md"), Path("README.vi.md"))
BLOCK = re.compile(r"(<!-- begin:(\w+) -->\n).*?(<!-- end:\2 -->)", re.DOTALL)
HEADS = {
    "README.md": ("model", "accuracy", "perplexity", "size"),
    "README.vi.md": ("mô hình", "độ chính xác", "perplexity", "dung lượng"),
}
RECIPES = {
    "README.md": ("recipe", "full", "lora", "qlora", "licence"),
    "README.vi.md": ("công thức", "full", "lora", "qlora", "giấy phép"),
}
GATED = {"README.md": "gated", "README.vi.md": "phải chấp nhận trên hub"}


def graph(_: Path) -> str:
    """The stages as a mermaid chart, one node a stage; an arrow that follows from others is left out."""
    import networkx
    from dvc.repo import Repo

    drawn = networkx.DiGraph()
    with Repo(".") as repo:
        edges = ((name(needed), name(stage)) for stage, needed in repo.index.graph.edges())
        drawn.add_edges_from(edge for edge in edges if edge[0] != edge[1])
    arrows = sorted(networkx.transitive_reduction(drawn).edges())
    return "```mermaid\nflowchart TD\n" + "".join(f"  {start} --> {end}\n" for start, end in arrows) + "```\n"


def name(stage: object) -> str:
    """A stage's name without its instance."""
    return str(getattr(stage, "name", stage)).split("@")[0]


def scores(readme: Path) -> str:
    """The scores of the default run as a table."""
    models = json.loads(Path("metrics/scores.json").read_text(encoding="utf-8"))["models"]
    lines = ["| " + " | ".join(HEADS[readme.name]) + " |", "|---|---|---|---|"]
    for model, found in models.items():
        accuracy = f"{100 * found['accuracy']:.1f}% ± {100 * found['accuracy_stderr']:.1f}"
        figures = f"{accuracy} | {found['perplexity']:.2f} | {found['size_bytes'] / 1e6:.2f} MB"
        lines.append(f"| {model} | {figures if readme.name == 'README.md' else figures.replace('.', ',')} |")
    return "\n".join(lines) + "\n"


def own_words(kind: str, readme: Path) -> dict[str, str]:
    """A page's own words for English ones; none where it is English."""
    return {} if readme.name == "README.md" else dict(paramfile.load(OWN_WORDS)[kind])


def recipes(readme: Path) -> str:
    """The models of recipes/: GB of the card that each way to train one is meant for, and the licence.

    A * stands at those that no commit is known of.
    """
    own = own_words("licences", readme)
    lines = ["| " + " | ".join(RECIPES[readme.name]) + " |", "|---|---|---|---|---|"]
    for model in models():
        cards = [str(model.cards.get(way, "–")).replace("x", " × ") for way in RECIPES[readme.name][1:4]]
        licence = own.get(model.licence, model.licence) + (f" ({GATED[readme.name]})" if model.gated else "")
        star = " *" if model.revision == "main" else ""
        lines.append(f"| `{model.name}`{star} | {' | '.join(cards)} | {licence} |")
    return "\n".join(lines) + "\n"


def stages(readme: Path) -> str:
    """`dvc stage list`, an instance of each stage."""
    own = own_words("stages", readme)
    listing = subprocess.run(["dvc", "stage", "list", "--all"], check=True, capture_output=True, text=True).stdout
    seen: dict[str, str] = {}
    for line in listing.splitlines():
        stage, description = line.split(maxsplit=1)
        seen.setdefault(stage.split("@")[0], " ".join(description.split()))
    if own and own.keys() != seen.keys():
        raise Refusal(f"{OWN_WORDS.name}: stages: found {', '.join(own)}; dvc.yaml has {', '.join(seen)}")
    seen |= own
    width = max(map(len, seen))
    return "```text\n" + "".join(f"{stage:<{width}}  {description}\n" for stage, description in seen.items()) + "```\n"


MAKERS: dict[str, Callable[[Path], str]] = {
    "graph": graph,
    "recipes": recipes,
    "scores": scores,
    "stages": stages,
}


def made(block: str, path: Path) -> str:
    """A generated block of a page."""
    return MAKERS[block](path)


def fill(text: str, make: Callable[[str], str]) -> str:
    """The text with each generated block made anew."""
    return BLOCK.sub(lambda match: match[1] + make(match[2]) + match[3], text)


def main() -> None:
    """Rewrite the READMEs, or with ``--check`` fail when one is not what it would be rewritten to."""
    stale = []
    for path in READMES:
        old = path.read_text(encoding="utf-8")
        new = fill(old, functools.partial(made, path=path))
        if new != old:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        raise SystemExit(f"{', '.join(stale)}: not what the graph and the metrics say; run `python -m tools.readme`")
    print("rewritten: " + ", ".join(stale) if stale else "The READMEs say what the graph and the metrics say.")


if __name__ == "__main__":
    main()
