"""A disk that is full, as a process meets it: files of this process that can't grow."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def small_files() -> Iterator[Callable[[int], None]]:
    """A function after which no file can grow beyond so many bytes, until the context ends.

    What is said meanwhile goes nowhere: pytest keeps words in a file, too, and a bar of tqdm that can't be written
    keeps the lock of all bars, for which other threads would wait for ever.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
