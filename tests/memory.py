"""How much memory readers take: each is run in a process of its own, under a limit.

    python -m tests.memory tests.io.hostile declared FOLDER

A module of cases has functions that write files into a folder and yield
``(name, bytes of the file, function that reads it)``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.house.tree import ROOT
from xscale.errors import XscaleError
from xscale.io import budget


class Taken(NamedTuple):
    """What reading one file came to."""

    size: int
    """Bytes of the file."""
    grown: int
    """Bytes by which the process grew at most."""
    outcome: str
    """``read``, our error's name and text, or a fault."""


def measured(module: str, function: str, folder: Path, *arguments: object) -> dict[str, Taken]:
    """Run the cases of a module one after the other, each in a fork of one fresh process."""
    command = [sys.executable, "-m", "tests.memory", module, function, str(folder)]
    command += map(str, arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: Taken(*row) for name, row in json.loads(done.stdout).items()}


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise LookupError(field)


def _forked(size: int, read: Callable[[], object]) -> Taken:
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before = _status("VmHWM")
        limit = _status("VmSize") + budget.GROWTH * size + (256 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            read()
            outcome = "read"
        except XscaleError as error:
            outcome = f"{type(error).__name__}: {error}"[:400]
        except BaseException as error:
            outcome = f"FAULT {type(error).__name__}: {error}"[:400]
        row = [size, _status("VmHWM") - before, outcome]
        os.write(send, json.dumps(row).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as answer:
        row = answer.read()
    os.waitpid(child, 0)
    return Taken(*json.loads(row)) if row else Taken(size, 0, "FAULT: the process died")


def assert_refused(found: dict[str, Taken]) -> None:
    """Files that declare more than they hold: each is refused, and costs next to nothing."""
    for name, taken in found.items():
        assert "Error: " in taken.outcome, f"{name}: {taken}"
        assert not taken.outcome.startswith("FAULT"), f"{name}: {taken}"
        assert taken.grown < 16 << 20, f"{name}: {taken}"


def assert_six_times(small: dict[str, Taken], large: dict[str, Taken]) -> None:
    """Memory grows by at most 6 bytes a byte of the file, beside 256 MiB."""
    for name, taken in large.items():
        assert not taken.outcome.startswith("FAULT"), f"{name}: {taken}"
        slope = (taken.grown - small[name].grown) / (taken.size - small[name].size)
        assert slope <= 6.05, f"{name}: {slope:.2f} bytes a byte, {taken}"
        assert taken.grown < 6 * taken.size + (256 << 20)


def main() -> None:
    """Print what every case took."""
    module, function, folder, *arguments = sys.argv[1:]
    if arguments:
        budget.SPARE = 1 << 20  # files of a few MB stand for large ones
    cases = getattr(importlib.import_module(module), function)
    found = cases(Path(folder), *map(int, arguments))
    sys.stdout.write(json.dumps({name: _forked(size, read) for name, size, read in found}))


if __name__ == "__main__":
    main()
