"""Work on a Ray cluster: the one that ``RAY_ADDRESS`` names or that runs on this machine, else one started here.

Code and data travel by themselves: the cluster's other nodes need the same Python packages (``constraints.txt`` with
the extra ``ray``), but neither this repository nor a file system that all share. A task whose worker or node dies is
run again elsewhere. Not covered: setting a cluster up, and driving one from a machine that is none of its nodes.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from stages.lib.contract import Refusal

Given = TypeVar("Given")
Sent = TypeVar("Sent")
Made = TypeVar("Made")
RETRIES = 3  # times that a task may lose its worker
# nothing is told to anybody; what is started here works as hard as any process, and leaves accelerators alone
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, ready for work; what was connected before stays so."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise Refusal("params.yaml: engine: `ray` needs a package that is not there: make setup EXTRAS=ray") from None
    if ray.is_initialized():
        yield ray
        return
    if " " in sys.executable:  # Ray starts workers by a command line that it doesn't quote, and waits for ever
        raise Refusal(
            f"params.yaml: engine: `ray` starts no workers by {sys.executable}, whose path holds a space; "
            "move the project"
        )
    code = Path(__file__).parents[1]  # imported on every node as `stages`
    ray.init(runtime_env={"py_modules": [str(code)]}, logging_level=logging.WARNING)
    try:
        yield ray
    finally:
        ray.shutdown()


def spread(work: Callable[[Given, Sent], Made], items: Iterable[Sent], given: Given) -> Iterator[Made]:
    """``work(given, item)`` for each item, in order; few items are under way at a time."""
    with connected() as ray:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        shared = ray.put(given)
        most = 2 * int(ray.cluster_resources()["CPU"])
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(task.remote(shared, item))
            if len(waiting) > most:
                yield result(ray, waiting.popleft())
        while waiting:
            yield result(ray, waiting.popleft())


def result(ray: Any, task: Any) -> Any:
    """What a task made; where its workers died, a refusal that says so."""
    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)
    try:
        return ray.get(task)
    except lost as error:
        reason = str(error).split("\n")[0]
        raise Refusal(f"a Ray worker died {RETRIES + 1} times at the same rows: {reason}") from None
