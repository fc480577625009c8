"""Which files ``generate`` reads, by the words of its command in dvc.yaml, so that a team's own are used, too."""

import shlex
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from stages.lib.contract import Refusal
from stages.lib.teachers.requests import Prompt

GRAPH = Path("dvc.yaml")


class Inputs(NamedTuple):
    """The first words of the command, as ``stages.generate.main`` names them."""

    seed_file: Path
    lists: Path
    wording: Path
    evolving: Path
    shipped: Path

    def prompts(self) -> tuple[Prompt, Prompt]:
        """For inventing and for evolving."""
        return Prompt.load(self.wording), Prompt.load(self.evolving)


def inputs() -> Inputs:
    """The files of the project in whose root this runs."""
    command = YAML(typ="safe").load(GRAPH.read_text(encoding="utf-8"))["stages"]["generate"]["cmd"]
    words = shlex.split(command)[3:]
    if len(words) < len(Inputs._fields):
        raise Refusal(f"{GRAPH}: stages.generate.cmd: found {command!r}; its words are {', '.join(Inputs._fields)}, …")
    return Inputs(*map(Path, words[: len(Inputs._fields)]))
