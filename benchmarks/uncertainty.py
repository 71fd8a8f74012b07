"""How well a run's uncertainty tells where held-out photos are missed.

    python -m benchmarks.uncertainty SCENE=RUN ...

For each test photo the true error of a covered pixel is the mean of the channels of what one affine
colour fit a photo leaves (sRGB, 0 to 1). Printed are Spearman's rank correlation of uncertainty and
error over pixels and over squares of 8 x 8, and the mean error of the fifths of the pixels from the
surest to the least sure, with the uncertainty that stood there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import xscale
from xscale.metrics.colour_transform import apply_colour_transform, fit_colour_transform
from xscale.render.run import Run
from xscale.scene.scene import Scene

_EDGE = 8
_LEAST = 32
"""Covered pixels of a square that counts."""
_MOST = 400_000


def main() -> None:
    """Print a table row for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="SCENE=RUN")
    print("| run | pixels | of pixels | of 8 x 8 squares | error by fifths | uncertainty there |")
    print("| --- | ---: | ---: | ---: | --- | --- |")
    for pair in parser.parse_args().runs:
        scene, run = (Path(part) for part in pair.split("=", 1))
        print(_row(xscale.Scene.open(scene), xscale.open(run)))


def _row(scene: Scene, run: Run) -> str:
    parts = [_photo(scene, run, name) for name in run.names("test")]
    error, doubt = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    squares = np.concatenate([part[2] for part in parts], 1)
    chosen = np.random.default_rng(0).permutation(len(error))[:_MOST]
    by_pixel = spearmanr(doubt[chosen], error[chosen])[0]
    by_square = spearmanr(squares[0], squares[1])[0]
    fifths = np.array_split(np.argsort(doubt, kind="stable"), 5)
    errors, doubts = (" ".join(f"{v[f].mean():.4f}" for f in fifths) for v in (error, doubt))
    return (
        f"| {run.path.name} | {len(error):,} | {by_pixel:.2f} | {by_square:.2f} | {errors} | "
        f"{doubts} |"
    )


def _photo(scene: Scene, run: Run, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors and uncertainties [N] of covered pixels, and of squares [2, S]."""
    frame = run.render(run.camera(name), ("srgb", "uncertainty"))
    photo, mask = scene.photo(name).load(run.downscale)
    hit = frame.coverage.numpy() if mask is None else frame.coverage.numpy() & mask
    render, truth = frame.srgb.numpy().astype(np.float64), photo / 255
    transform = fit_colour_transform(render, truth, hit)
    error = np.abs(apply_colour_transform(transform, render) - truth).mean(2)
    doubt = frame.uncertainty.numpy()
    sums = [_squares(np.where(hit, values, 0)) for values in (hit, doubt, error)]
    full = sums[0] >= _LEAST
    return error[hit], doubt[hit], np.stack([s[full] / sums[0][full] for s in sums[1:]])


def _squares(values: np.ndarray) -> np.ndarray:
    rows, columns = (edge // _EDGE * _EDGE for edge in values.shape)
    cut = values[:rows, :columns].astype(np.float64)
    return cut.reshape(rows // _EDGE, _EDGE, columns // _EDGE, _EDGE).sum((1, 3)).ravel()


if __name__ == "__main__":
    main()
