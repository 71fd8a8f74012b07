"""``xscale score``: scores of a run's test views, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from xscale.cli._ahead import importing
from xscale.cli._bars import bars
from xscale.cli._console import parse, result, say, warn
from xscale.config import check_device_name

if TYPE_CHECKING:
    from xscale.scoring import Scored


@dataclass(frozen=True)
class Options:
    """Render the test views, compare them with their photos, write scores.json and report.html."""

    run: tyro.conf.Positional[Path]
    """The run folder that xscale train made."""
    scene: Path | None = None
    """Scene folder with the photos; default: where it was during the training."""
    mesh: Path | None = None
    """Mesh file to use instead of the scene folder's mesh.*."""
    source_photos: bool = False
    """Score pictures whose colours are corrected with the training photos that the run keeps."""
    two_sided: bool = False
    """Count both sides of every face as covered, for comparison with scores of earlier versions."""
    threads: int | None = None
    """Threads to compute with; default: all cores that this process may use."""
    metrics: list[str] | None = None
    """Also score these: dists, flip, lpips_vgg_unit, _ccq (docs/scoring.md)."""
    lpips_weights: Path | None = None
    """Folder with the weights of the LPIPS networks; default: XSCALE_LPIPS_WEIGHTS, then
    torchvision's cache."""
    device: str = "auto"
    """Device to compute on; auto takes CUDA if the kernels run on it, else another GPU through
    WebGPU (webgpu, webgpu:N; xscale doctor lists them), else the CPU."""


def run(argv: list[str]) -> int:
    """Parse the options, render, score, write the report."""
    options = parse(Options, argv, "score")
    check_device_name(options.device)
    scored = score_with_bars(
        options.run,
        scene=options.scene,
        mesh=options.mesh,
        lpips_weights=options.lpips_weights,
        metrics=options.metrics or (),
        source_photos=options.source_photos,
        two_sided=options.two_sided,
        device=options.device,
    )
    from xscale.report.table import score_table

    result(score_table(scored.scores))
    result(scored.report)
    return 0


def score_with_bars(
    path: Path,
    *,
    device: str = "cpu",
    groups: Mapping[str, str] | None = None,
    **options: object,
) -> Scored:
    """Score a run with progress bars; options of ``xscale.scoring.score_run``."""
    from xscale.run.folder import RunFolder

    with importing("xscale.scoring"):
        _ = RunFolder(path).manifest
    from xscale.render.devices import pick_render_device
    from xscale.scoring import score_run

    device = pick_render_device(device, path, warn)
    with bars("rendering", "scoring") as (on_render, on_score):
        scored = score_run(
            path,
            device=device,
            groups=groups,
            on_render=on_render,
            on_score=on_score,
            on_warning=warn,
            **options,
        )
    for line in scored.scores["protocol"]["warnings"]:
        if line not in scored.warnings:
            say(line)
    return scored
