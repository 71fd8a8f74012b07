"""xscale render."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from xscale.cli._console import parse, progress_bar, result


@dataclass(frozen=True)
class Options:
    """Render a run's views to PNG files; needs the run folder only, not the photos."""

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    views: Literal["test", "train", "all"] = "test"
    """Which photos' cameras to render."""
    out: Path | None = None
    """Folder for the pictures; RUN/renders/VIEWS where not given."""


def run(argv: list[str]) -> int:
    """Parse the options and render."""
    options = parse(Options, argv, "render")
    out = render_run(options.run, options.views, options.out)
    result(out)
    return 0


def render_run(path: Path, views: str, out: Path | None = None) -> Path:
    """Render a run's views with a progress bar; return the folder."""
    from xscale.render.run import Run
    from xscale.render.views import render_views

    opened = Run.open(path)
    names = opened.names(views)
    folder = out or path / "renders" / views
    coverage = path / "renders" / f"{views}_coverage" if out is None else None
    with progress_bar() as bar:
        task = bar.add_task("rendering", total=len(names))
        render_views(
            opened, names, folder, coverage, lambda done, name: bar.update(task, completed=done)
        )
    return folder
