"""A disk that gets full while a model or a checkpoint is written.

Not covered: downloads (``stages/lib/hub.py``).
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.contract import Refusal

FULL = re.compile(
    r"No space left|File too large|quota exceeded|os error (27|28|122)\b"  # the system, and safetensors
    r"|PytorchStreamWriter|unexpected pos"  # torch, which doesn't say why it could not write
)


@contextmanager
def room(say: Callable[[], str], begun: Path | None = None) -> Iterator[None]:
    """Refuse in these words where the disk is full, and remove the folder that was begun; other errors go on."""
    try:
        yield
    except Exception as error:  # safetensors, torch and tokenizers raise three kinds, the last of them just Exception
        if not FULL.search(str(error)):
            raise
        if begun:
            shutil.rmtree(begun, ignore_errors=True)
        raise Refusal(say()) from None
