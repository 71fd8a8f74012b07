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
    """Open a window on a run, or on a scene before any training; the key F1 lists all keys.

    A scene is never changed. Into a run only caches are written, to open it faster the next time.
    Without RUN a first screen lists what was opened lately. The window needs Python 3.11 or newer
    and the extra viewer: pip install 'xscale[viewer]'.
    """

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN|SCENE")] = None
    """Folder of a run or of a scene."""
    photo: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Start at the camera of this photo."""
    size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "1400x900"
    """Size of the window."""
    scale: Annotated[float | None, tyro.conf.arg(metavar="FACTOR")] = None
    """Size of text and controls, 0.5 to 4; default: that of the last time, at first 1."""
    theme: Literal["dark", "light"] | None = None
    """Colours of the window; default: those of the last time, at first dark."""
    unit: Literal["km", "m", "cm", "mm"] | None = None
    """Length of a scene unit, if it is known; sizes and measurements are then in that unit."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads that render; default: all."""
    device: Annotated[str, tyro.conf.arg(metavar="auto|cpu|webgpu[:N]")] = "auto"
    """Device that renders a run; auto takes a graphics chip that works with WebGPU, else the
    CPU."""
    low_power: bool = False
    """Render at half size while the view moves, and with one sample per pixel at rest."""


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
