"""How many threads xscale computes with; every pool of threads asks here.

``--threads N`` decides, then OMP_NUM_THREADS, then the cores that this process may use: its
affinity, cut by a container's quota. Results do not depend on the number.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from xscale import cgroups

_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_chosen: int | None = None


def count() -> int:
    """Return the number of threads to compute with, 1 or more."""
    return _chosen or _default()


def use(threads: int | None) -> None:
    """Let this process and those that it starts compute with so many threads.

    Args:
        threads: The number; None leaves it to OMP_NUM_THREADS and the cores.

    Libraries read their numbers when they are loaded: this is for a program's first lines.
    """
    global _chosen
    if threads is None:
        if _default() < _affinity():  # libraries know nothing of a container's quota
            os.environ.setdefault("OMP_NUM_THREADS", str(_default()))
        return
    _chosen = threads
    os.environ.update(dict.fromkeys(_LIBRARIES, str(threads)))
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(threads)


def sleep_while_waiting() -> None:
    """Let threads that wait for others sleep instead of spin, for programs that must stay smooth.

    Spinning is a little faster where the cores are free; beside other programs it stops pictures
    for seconds. For a program's first lines, like ``use``.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pool(name: str, *, most: int | None = None, share: float = 1.0) -> ThreadPoolExecutor:
    """Return a pool of threads.

    Args:
        name: What the pool does, for tools that list threads.
        most: Threads that it can use at all.
        share: Share of all threads that it takes.
    """
    threads = max(1, int(count() * share))
    return ThreadPoolExecutor(min(threads, most or threads), thread_name_prefix=f"xscale-{name}")


def aside(name: str) -> ThreadPoolExecutor:
    """Return a pool of one thread, for what goes on beside the main work."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"xscale-{name}")


def usable_cores() -> float:
    """Return how many cores this process may use: affinity, cut by a cgroup's quota."""
    quota = cgroups.cores()
    return float(_affinity()) if quota is None else min(float(_affinity()), quota)


@cache
def _default() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked) if asked.isdigit() and int(asked) else max(1, int(usable_cores()))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
