"""``xscale view``: a window to walk through a run or a scene, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from xscale import threads
from xscale.cli import _viewer
from xscale.cli._console import parse
from xscale.config import check_device_name
from xscale.errors import InputError, SetupError
from xscale.render.options import parse_size


@dataclass(frozen=True)
class Options:
    """Open a window on a run, or on a scene before any training; F1 in it shows all keys.

    Nothing is written into a scene, and into a run only what would be made again each time. Without
    RUN a first screen lists what was opened lately. Needs the extra viewer: pip install
    'xscale[viewer]', Python 3.11 or newer.
    """

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN|SCENE")] = None
    """A run's folder, or a scene's."""
    photo: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Start at this photo's pose."""
    size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "1400x900"
    """Size of the window."""
    scale: Annotated[float | None, tyro.conf.arg(metavar="FACTOR")] = None
    """Size of text and controls, 0.5 to 4; default: as last time, 1 at first."""
    theme: Literal["dark", "light"] | None = None
    """Colours of the window; default: as last time, dark at first."""
    unit: Literal["km", "m", "cm", "mm"] | None = None
    """Length of a scene unit, where it is known: sizes and measurements are then given in it."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads that render; default: all."""
    device: Annotated[str, tyro.conf.arg(metavar="auto|cpu|webgpu[:N]")] = "auto"
    """Where a run's pictures are computed; auto takes a graphics chip that WebGPU reaches, else the
    CPU."""
    low_power: bool = False
    """Half-size pictures while moving, one sample a pixel at rest."""


def run(argv: list[str]) -> int:
    """Check the options, start the window's process and wait for it."""
    options = parse(Options, argv, "view")
    size = parse_size(options.size)
    check_device_name(options.device)
    _viewer.check_packages()
    if options.run is not None and not options.run.is_dir():
        kind = "is not a folder" if options.run.exists() else "does not exist"
        raise InputError(kind, where=options.run, advice="name a run's or a scene's folder")
    start = {
        "path": None if options.run is None else str(options.run),
        "photo": options.photo,
        "scale": options.scale,
        "theme": options.theme,
        "size": size,
        "unit": options.unit,
        "threads": options.threads,
        "device": options.device,
        "low_power": options.low_power or None,
    }
    threads.sleep_while_waiting()
    # The window's process ends when nobody holds its standard input any more: an interrupt may come
    # before this process knows of it.
    process = subprocess.Popen(_viewer.command("--tied", json.dumps(start)), stdin=subprocess.PIPE)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        process.stdin.close()
    if code < 0 or code == 1:
        # The window's process says why it ends by any other code.
        raise SetupError(
            f"the window's process ended by itself (code {code}): its display was lost, or a "
            "graphics driver failed",
            advice="start it again; xscale doctor checks the display",
        )
    return code
