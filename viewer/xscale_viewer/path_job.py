"""Rendering of a camera path for the window, in a process of its own.

It does what ``xscale render`` does, by the same job: started again it renders what is missing. It
says on its standard output how far it is, a JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

_NICE = 5
"""How much the window goes first."""


def _tell(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def render(order: dict) -> int:
    """Render as an order of ``rendering.PathRender`` says; return the exit code."""
    from xscale.errors import InputError, XscaleError
    from xscale.render.devices import pick_render_device
    from xscale.render.options import RenderOptions
    from xscale.render.render_job import render_job
    from xscale.render.run import Run

    options = RenderOptions(
        cameras=Path(order["cameras"]),
        samples=order["samples"],
        background=order["background"],
        video=order["video"],
    )
    path, out = Path(order["run"]), Path(order["out"])
    try:
        options.validate(out, overwrite=order["overwrite"], run=path)
        run = Run.open(path, pick_render_device(order["device"], path, lambda line: None))
        if run.manifest.run != order["run_id"]:
            raise InputError(
                "another run is in this folder now", where=path, advice="open it again"
            )
        made = render_job(
            run,
            options,
            out,
            overwrite=order["overwrite"],
            on_frame=lambda done, total, name: _tell(what="frame", done=done, total=total),
            on_film=lambda done, total: _tell(what="film", done=done, total=total),
        )
    except XscaleError as error:
        _tell(what="fault", line=str(error))
        return error.exit_code
    _tell(
        what="done",
        path=str(made.film or made.folder),
        rendered=made.summary.rendered,
        kept=made.summary.kept,
    )
    return 0


def main(argv: list[str]) -> int:
    """Run the process."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    try:
        return render(json.loads(argv[0]))
    except KeyboardInterrupt:
        return 130
