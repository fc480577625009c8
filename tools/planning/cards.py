"""Graphics cards: those of ``gpus.yaml`` by name, and the one in this machine.

Not covered: what anything takes on them (``memory.py``, ``work.py``).
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from stages.lib import paramfile
from stages.lib.contract import Refusal
from tools.planning.memory import GIB

TABLE = Path(__file__).with_name("gpus.yaml")
MAKERS = re.compile("nvidia|geforce|quadro|tesla|rtx|[^a-z0-9]|gb$")  # what people write around a card's own name
BOARDS = re.compile(r"\b(\d+gb|sxm\d*|pcie|hbm\w*)\b")  # what drivers add: a card's memory, and how it is built in
TURING = 7.5  # the compute capability from which on torch's build on PyPI, and LLM.int8, have kernels
SAME = 0.1  # share by which a driver's memory is off the table's


@dataclass(frozen=True)
class Card:
    """A graphics card, or this machine's memory."""

    name: str
    memory: float  # GiB
    bandwidth: float = 0.0  # GB/s
    fp32: float = 0.0  # TFLOPS
    fp16: float = 0.0
    bf16: float = 0.0
    price: float = 0.0  # dollars an hour
    capability: float = TURING
    note: str = ""

    def precision(self, wanted: str) -> str:
        """What ``auto`` means here."""
        return wanted if wanted != "auto" else "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"


def known() -> dict[str, Card]:
    """The table."""
    return {name: Card(name, **entry) for name, entry in paramfile.load(TABLE).items()}


def named(gpu: str) -> Card:
    """A card of the table."""
    cards = known()
    if gpu not in cards:
        same = " or ".join(repr(name) for name in spellings(gpu, list(cards)))
        told = f"did you mean {same}?" if same else f"known: {', '.join(cards)}; take one of them, or add a line there"
        raise Refusal(f"GPU: {gpu!r} is not in tools/planning/gpus.yaml; {told}")
    return cards[gpu]


def spellings(gpu: str, names: list[str]) -> list[str]:
    """The same card otherwise written, or of several sizes of memory; a name that is only like it is another card."""
    wanted = MAKERS.sub("", gpu.casefold())
    plain = {name: MAKERS.sub("", name) for name in names}
    if same := [name for name in names if plain[name] == wanted]:
        return same
    return [name for name in names if MAKERS.sub("", re.sub(r"-\d+$", "", name)) == wanted]


def driven(name: str, memory: float) -> Card | None:
    """The card of the table that a driver calls so, with so many GiB; a Ti, a SUPER or another size is another card."""
    cards = known()
    near = [cards[found] for found in spellings(BOARDS.sub(" ", name.casefold()), list(cards))]
    return next((card for card in near if abs(card.memory / memory - 1) < SAME), None)


def at_hand(device: str) -> Card:
    """The first GPU of this machine; else, and for a recipe that keeps to the CPU, the machine's own memory."""
    if device == "auto" and shutil.which("nvidia-smi"):
        import torch

        if torch.cuda.is_available():
            found = torch.cuda.get_device_properties(0)
            capability = float(f"{found.major}.{found.minor}")
            bf16 = float(found.major >= 8)
            return Card(found.name, found.total_memory / GIB, fp16=1.0, bf16=bf16, capability=capability)
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Card("this machine's CPU", pages * size / GIB, fp32=1.0)
