"""dvc.yaml, the stages' signatures and their imports say the same, and a lie in any of them is found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tools import graph, imports
from tools.graph import Node, Signature

FILES = {"seed": "params.yaml", "sources": "params.yaml", "sft": "recipes/r.yaml"}


def test_dvc_yaml_the_signatures_and_the_imports_agree(root: Path) -> None:
    assert graph.faults(root) == []


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        text = (project / path).read_text(encoding="utf-8")
        assert old in text
        (project / path).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


LIES = {
    "an import": (
        edit("stages/dedup.py", "\nif __name__", "\ndef f() -> None:\n  from stages.lib.clean import pii\nif __name__"),
        "dedup: stages/dedup.py imports stages/lib/clean/pii.py, which dvc.yaml doesn't list under deps",
    ),
    "a param": (
        edit("stages/dedup.py", "dedup: Dedup)", "dedup: Dedup, seed: int)"),
        "dedup: stages/dedup.py reads seed of params.yaml, which dvc.yaml doesn't list under params",
    ),
    "an output": (
        edit("dvc.yaml", "    outs:\n      - data/dedup.parquet\n", "    outs:\n"),
        "dedup: stages/dedup.py writes data/dedup.parquet, which dvc.yaml doesn't list under outs, metrics or plots",
    ),
    "a benchmark": (
        edit("dvc.yaml", "      - data/sample/benchmark/weekdays.jsonl\n      - stages/decon", "      - stages/decon"),
        "decontaminate: dvc.yaml doesn't list data/sample/benchmark/weekdays.jsonl, which benchmark asks; "
        "add it to the cmd and the deps",
    ),
    "a source": (
        edit("params.yaml", "sources:\n", "sources:\n  new: {url: u, sha256: s, format: f, licence: l, lang: vi}\n"),
        "clean: dvc.yaml doesn't list data/vi/new.parquet, made by translate@new; add it to the cmd and the deps",
    ),
    "a bill": (
        edit("params.yaml", "sources:\n", "sources:\n  new: {url: u, sha256: s, format: f, licence: l, lang: vi}\n"),
        "report: dvc.yaml doesn't list data/vi/new.spend.parquet, made by translate@new; "
        "add it to the cmd and the deps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_dvc_yaml_does_not_know_is_reported(project: Path, run: Callable, lie: str) -> None:
    change, fault = LIES[lie]
    change(project)
    told = run(project, "tools.graph", PYTHONPATH="")
    assert told.returncode == 1
    assert fault in told.stdout.splitlines(), told.stdout + told.stderr


def node(cmd: str = "python -m stages.a x in out", **others: Any) -> Node:
    known: dict[str, Any] = {"deps": frozenset({"in", "stages/a.py"}), "outs": frozenset({"out"}), "desc": "d"}
    return Node(**{"name": "a", "cmd": cmd, **known, **others})


WORDS = [("name", "word", False), ("source", "dep", False), ("made", "out", False)]
SIGNATURE = Signature(words=WORDS, params={}, imports=frozenset({"stages/a.py"}))


def faults(node: Node, signature: Signature = SIGNATURE) -> list[str]:
    return list(graph.node_faults(node, signature, FILES))


def test_a_stage_that_says_what_it_does_has_no_fault() -> None:
    assert faults(node()) == []


def test_words_params_and_files_are_held_to_each_other() -> None:
    assert faults(node(desc="")) == ["a: dvc.yaml gives it no desc"]
    assert faults(node("bash a.sh")) == ["a: its cmd must begin with `python -m stages.a`, found: bash a.sh"]
    assert faults(node("python -m stages.a x in")) == [
        "a: stages/a.py: takes the word 'made', and the cmd has only 2 words"
    ]
    assert faults(node("python -m stages.a x in out more")) == ["a: stages/a.py: takes 3 words, and the cmd has 4"]
    assert faults(node(deps=frozenset({"in", "stages/a.py", "old"}))) == [
        "a: dvc.yaml lists the dep old, which stages/a.py neither takes as a word nor imports"
    ]
    assert faults(node(outs=frozenset({"out", "old"}))) == [
        "a: dvc.yaml lists the output old, which stages/a.py doesn't take as a word"
    ]
    assert faults(node(params=frozenset({("params.yaml", "seed")}))) == [
        "a: dvc.yaml lists the param seed of params.yaml, which stages/a.py doesn't take"
    ]


def test_params_are_looked_for_in_their_file_and_under_their_path() -> None:
    params = {"sft": "sft", "url": "sources.{name}.url"}
    reads = Signature(words=WORDS, params=params, imports=frozenset({"stages/a.py"}))
    right = frozenset({("recipes/r.yaml", "sft"), ("params.yaml", "sources.x.url")})
    assert faults(node(params=right), reads) == []
    assert faults(node(params=frozenset({("params.yaml", "sources.x.url")})), reads) == [
        "a: stages/a.py reads sft of recipes/r.yaml, which dvc.yaml doesn't list under params"
    ]
    [fault] = faults(node(), Signature(words=WORDS, params={"n": "nowhere"}, imports=frozenset({"stages/a.py"})))
    assert "reads the param nowhere, which no schema" in fault


def test_many_words_and_words_left_out_are_bound() -> None:
    many = Signature(words=[("made", "out", False), ("tables", "dep", True)])
    assert list(graph.bind(many, ["o", "a", "b"])) == [
        ("made", "out", "o"),
        ("tables", "dep", "a"),
        ("tables", "dep", "b"),
    ]
    left_out = Signature(words=[("models", "dep", False)], defaults={"models": "models"})
    assert list(graph.bind(left_out, [])) == [("models", "dep", "models")]


def test_only_the_first_stages_wait_for_the_dials() -> None:
    deps, reads = frozenset({"in", "data/checked"}), Signature(words=WORDS)
    assert faults(node("python -m stages.generate x in out", name="generate", deps=deps), reads) == []
    assert faults(node("python -m stages.clean x in out", name="clean", deps=deps), reads) == [
        "clean: dvc.yaml lists the dep data/checked, which stages/clean.py neither takes as a word nor imports"
    ]


def test_stages_and_files_freezing_and_caching() -> None:
    nodes = [node(), node(name="chat", frozen=True), node(name="report", uncached=frozenset({"m.json"}))]
    assert list(graph.graph_faults(nodes, {"a", "chat", "report"}, [])) == []
    assert list(graph.graph_faults(nodes, {"chat", "report", "b"}, [])) == [
        "stages/b.py is no stage of dvc.yaml",
        "a: dvc.yaml has this stage, and there is no stages/a.py",
    ]
    wrong = [node(frozen=True), node(name="chat"), node(name="b", uncached=frozenset({"x"}))]
    assert list(graph.graph_faults(wrong, {"a", "chat", "b"}, [])) == [
        "a: chat and no other stage is frozen",
        "chat: chat and no other stage is frozen",
        "b: only report may have cache: false, found on x",
    ]


class Inner(BaseModel):
    one: int
    two: int = 2


class Outer(BaseModel):
    recipe: str
    seed: int
    inner: list[Inner]
    sources: dict[str, Inner]


def test_schemas_have_no_defaults_no_doubles_and_no_key_that_nobody_reads() -> None:
    models: dict[str, type[BaseModel]] = {"o": Outer, "i": Inner}
    assert list(graph.schema_faults(models)) == [
        "o: inner.two has a default in its schema",
        "o: sources.two has a default in its schema",
        "i: two has a default in its schema",
    ]
    assert list(graph.schema_faults({"o": Outer, "p": Outer}))[-1] == "sources is a key of o and of p"
    reads = Signature(params={"a": "seed", "b": "sources.{name}.one"})
    assert list(graph.coverage_faults([reads], {"o": Outer})) == [
        "o: no stage reads inner",
        "o: no stage reads sources.{name}.two",
    ]


def test_imports_count_where_they_run_and_not_where_only_types_are_meant() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import never
else:
    import always
def f():
    from a.b import c
"""
    assert imports.imported(source) >= {"always", "a.b", "a.b.c"}
    assert "never" not in imports.imported(source)
    assert "pkg.lib.x" in imports.imported("from .lib import x", "pkg")
    assert "top.x" in imports.imported("from ..x import y", "top.sub")


def test_the_closure_follows_imports_into_packages_and_past_plumbing(tmp_path: Path) -> None:
    texts = {
        "stages/a.py": "from stages.lib import b, contract\nimport torch",
        "stages/lib/b.py": "import tools.pack.c",
        "stages/lib/contract.py": "from stages.lib import hidden",
        "stages/lib/hidden.py": "",
        "tools/pack/__init__.py": "",
        "tools/pack/c.py": "import stages.a",
    }
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert imports.closure(tmp_path, "stages/a.py") == {
        "stages/a.py", "stages/lib/b.py", "tools/pack/__init__.py", "tools/pack/c.py",
    }  # fmt: skip


def test_the_readmes_say_what_the_graph_and_the_metrics_say(root: Path, run: Callable) -> None:
    done = run(root, "tools.readme", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
