"""Fair timing: ours and the peer take turns, in both orders; medians and bests are reported.

A ratio counts where nobody else used the cores meanwhile: every row says how many cores other
processes took during its rounds, and how much of this process lies on huge pages.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

Work = Callable[[], object]

_SLEEP_CYCLES = 4_000_000
"""About two milliseconds, longer than a host needs for the launches of any work timed here."""


def device() -> torch.device:
    """Return the device whose bodies are timed (``xscale bench --device``)."""
    return torch.device(os.environ.get("XSCALE_BENCH_DEVICE", "cpu"))


def milliseconds(
    works: dict[str, Work], *, seconds: float = 2.0, least: int = 5, most: int = 200
) -> dict[str, dict[str, float]]:
    """Time several pieces of work in turns.

    Args:
        works: Name to function; each is called once unmeasured first.
        seconds: Time to spend on all of them together, about.
        least: Rounds at least.
        most: Rounds at most.

    Returns:
        For each name the ``median`` and the ``best`` of its rounds, in milliseconds, the number of
        ``rounds``, and ``others``: cores that other processes used meanwhile.
    """
    on_gpu = device().type == "cuda"
    for work in works.values():
        _once(work, on_gpu)
    spent: dict[str, list[float]] = {name: [] for name in works}
    order = list(works)
    all_before, own_before = _cpu_seconds()
    start = time.perf_counter()
    rounds = 0
    while rounds < least or (rounds < most and time.perf_counter() - start < seconds):
        for name in order:
            spent[name].append(_once(works[name], on_gpu))
        order.reverse()
        rounds += 1
    all_after, own_after = _cpu_seconds()
    others = (all_after - all_before) - (own_after - own_before)
    shared = {"rounds": rounds, "others": max(others, 0.0) / (time.perf_counter() - start)}
    return {
        name: {"median": statistics.median(times), "best": min(times), **shared}
        for name, times in spent.items()
    }


def _cpu_seconds() -> tuple[float, float]:
    """Return the processor time that all processes and this one have had, in seconds."""
    own = os.times()
    used = own.user + own.system
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return used, used
    busy = sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7))
    return busy / os.sysconf("SC_CLK_TCK"), used


def _huge_megabytes() -> int | None:
    """Return how much of this process lies on huge pages, or None where the system hides it."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) >> 10 for x in lines if x.startswith("AnonHugePages")), None)


def _once(work: Work, on_gpu: bool) -> float:
    """Run once; milliseconds by the device's own events on a GPU."""
    if not on_gpu:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    # The device is kept busy until all launches are queued: the time between the events would be
    # that of the host's checks and launches otherwise. Work that waits for the device waits too.
    torch.cuda._sleep(_SLEEP_CYCLES)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def row(
    name: str,
    shape: str,
    times: dict[str, dict[str, float]],
    *,
    peer_name: str,
    ceiling: str | None = None,
) -> dict[str, object]:
    """Make a row of the bench table from :func:`milliseconds`' result.

    Args:
        name: What was computed.
        shape: The sizes, for people.
        times: Holds ``ours``, ``peer`` (unless the peer is not installed) and, where given, the
            ceiling's name.
        peer_name: What the peer is.
        ceiling: Name of the work that moves the same bytes and computes nothing.
    """
    from xscale import ops

    ours = times["ours"]["median"]
    peer = times["peer"]["median"] if "peer" in times else None
    return {
        "name": name,
        "shape": shape,
        "threads": torch.get_num_threads(),
        "isa": ops.isa() if device().type == "cpu" else "cuda",
        "unit": "ms",
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "ratio": None if peer is None else peer / ours,
        "share_of_ceiling": None if ceiling is None else times[ceiling]["median"] / ours,
        "best": times["ours"]["best"],
        "peer_best": None if peer is None else times["peer"]["best"],
        "rounds": times["ours"]["rounds"],
        "load": os.getloadavg()[0],
        "others": times["ours"]["others"],
        "huge_mb": _huge_megabytes(),
    }
