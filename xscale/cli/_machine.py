"""Description of this machine, for ``doctor``, bench files and crash reports."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from xscale import threads


def cpu_model() -> str:
    """Return the processor's name."""
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Return the memory this process may use: the machine's, cut by a cgroup's limit."""
    total = None
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _first_line(Path("/sys/fs/cgroup/memory.max"))
    if limit.isdigit():
        total = int(limit) if total is None else min(total, int(limit))
    return total


def gpu() -> dict[str, object] | None:
    """Return the first GPU's name, memory and driver, or None where torch sees none."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "count": torch.cuda.device_count(),
        "driver": _command("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
    }


def version(package: str) -> str | None:
    """Return the installed version of a package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the checkout's commit, with ``+`` where files differ from it; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    head = _command("git", "-C", str(folder), "rev-parse", "HEAD")
    if head is None:
        return None
    return head + (
        "+" if _command("git", "-C", str(folder), "status", "--porcelain", "-uno") else ""
    )


def describe() -> dict[str, object]:
    """Return the facts that a measurement depends on."""
    import torch

    from xscale import ops

    return {
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cores": threads.usable_cores(),
        "memory_bytes": memory_bytes(),
        "isa": ops.isa(),
        "threads": threads.count(),
        "gpu": gpu(),
        "driver": _command("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "").strip()


def _command(*words: str) -> str | None:
    """Return a program's first line of output; None where it is missing or fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), "").strip() or None
