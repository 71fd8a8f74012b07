"""``xscale bench``: every op against its peer, from the checkout's ``benchmarks`` folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import tyro

import xscale
from xscale import threads
from xscale.cli import _machine
from xscale.cli._console import console, parse, print_table, result, warn
from xscale.errors import SetupError, UsageError
from xscale.render.options import parse_size

_COLUMNS = (
    "name",
    "shape",
    "threads",
    "isa",
    "unit",
    "ours",
    "peer",
    "peer_name",
    "ratio",
    "share_of_ceiling",
)

_VIEW_COLUMNS = ("what", "figure", "unit", "goal", "met", "others")


@dataclass(frozen=True)
class Options:
    """Time every op against its peer on this machine and print a table.

    xscale and the peer take turns; figures are medians in milliseconds. The ceiling is a kernel
    that only moves the same bytes or computes the same products; the table shows its time as a
    share of xscale's. Figures from a busy machine mean little, so a high load is reported, and
    the file records it with the cores that other processes used during each row.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")] = "all"
    """Op to time: encode, shade, adam, raster, interpolate, step, frame, reproject, decode, or all.
    view measures the viewer on a run instead."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """view: the run to move through; default: a new run of fountain, if XSCALE_SCENES has it, else
    of the tiny demo."""
    size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "1280x720"
    """view: size of the pictures."""
    seconds: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 12.0
    """view: length of the motion."""
    minutes: Annotated[float, tyro.conf.arg(metavar="MINUTES")] = 3.0
    """view: length of the training, if a run has to be made."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write rows, machine and commit into this file."""
    overwrite: bool = False
    """Replace an existing file."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device to time; auto takes the GPU if the kernels run on it."""


def run(argv: list[str]) -> int:
    """Find the row files, run them, print and write."""
    options = parse(Options, argv, "bench")
    folder = benchmarks_folder()
    viewing = options.name == "view"
    if viewing:
        threads.sleep_while_waiting()
    files = [folder / "view.py"] if viewing else _chosen(folder, options.name)
    machine = _machine.describe()
    busy = machine["load"][0] > machine["cores"] + 0.5
    if busy:
        warn(f"W-LOAD: {machine['load'][0]} processes want {machine['cores']:g} cores")
    from xscale import ops

    os.environ["XSCALE_BENCH_DEVICE"] = ops.pick_device(options.device, warn).type
    rows: list[dict] = []
    for path in files:
        console.print(f"timing {path.stem.removeprefix('op_')}", markup=False)
        measure = _load(path).rows
        rows += _view(measure, options) if viewing else measure()
    columns = _VIEW_COLUMNS if viewing else _COLUMNS
    print_table(
        f"{machine['cpu']}, {machine['cores']:g} cores, {machine['isa']}",
        columns,
        [[row.get(column) for column in columns] for row in rows],
    )
    if options.json is not None:
        from xscale.io.storage import write_json

        found = {"rows": rows, "machine": machine, "busy": busy, "commit": _machine.commit()}
        write_json(options.json, found, overwrite=options.overwrite)
        result(options.json)
    return 0


def _view(measure: Callable[..., list[dict]], options: Options) -> list[dict]:
    """Check the options of ``view`` and measure.

    Raises:
        UsageError: The size or a length makes no sense.
    """
    size = parse_size(options.size)
    if not options.seconds > 0 or not options.minutes > 0:
        raise UsageError("--seconds and --minutes must be above 0")
    return measure(options.run, size, options.seconds, None, options.minutes)


def benchmarks_folder() -> Path:
    """Return the checkout's ``benchmarks``, which no wheel carries.

    Raises:
        SetupError: There is no checkout around this installation.
    """
    # Never those of the current folder: they are executed.
    folder = Path(xscale.__file__).resolve().parents[1] / "benchmarks"
    if (folder / "_timing.py").is_file():
        return folder
    raise SetupError(
        "the benchmarks are in the source checkout, not in the installed package",
        advice="clone the repository and run `make bench` there",
    )


def _chosen(folder: Path, name: str) -> list[Path]:
    """Return the row files whose op begins with ``name``."""
    files = sorted(folder.glob("op_*.py"))
    if name == "all":
        return files
    chosen = [path for path in files if path.stem.removeprefix("op_").startswith(name)]
    if not chosen:
        names = ", ".join(path.stem.removeprefix("op_") for path in files)
        raise UsageError(f"no op is called {name!r}", advice=f"choose from {names}")
    return chosen


def _load(path: Path) -> ModuleType:
    """Import one row file; it may import its neighbours as ``benchmarks.NAME``."""
    root = str(path.parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    spec = importlib.util.spec_from_file_location(f"benchmarks.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SetupError("is not a Python file", where=path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
