"""Where a run's squared error on its test photos lies: exposure, depth edges, little-seen surface.

Shares of the covered pixels' squared error; a pixel counts for the first cause that it has.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks import tables
from xscale.gbuffer.build import build_gbuffer
from xscale.metrics.variants import colour_fitted
from xscale.render.run import Run
from xscale.scene.scene import Scene

EDGE_PIXELS = 3
EDGE_STEP = 0.02
"""Depth jump between neighbours, as a share of depth, that counts as an edge."""
CAUSES = ("depth edge", "seen by one photo or none", "seen by two or three", "seen by more")


def split_error(scene: Scene, run: Run) -> dict:
    """Return pixel and error shares of each cause, means over the test photos.

    Returns:
        ``{"exposure": share of the raw error that the colour fit removes, "pixels": {cause:
        share}, "error": {cause: share of the error after the fit}}``.
    """
    train = [_packed(run, scene, name) for name in run.names("train")]
    depths = [_depth(run, *camera) for camera in train]
    removed, pixels, errors = [], [], []
    for name in run.names("test"):
        packed, width, height = _packed(run, scene, name)
        samples, coverage = build_gbuffer(run.surface, packed, width, height)
        if not coverage.any():
            continue
        photo = scene.photo(name).read(run.downscale)
        render = run.render(run.camera(name)).colour.numpy()
        covered = coverage.numpy()
        raw = np.square((render - photo.astype(np.float64)) / 255).sum(2)[covered]
        fitted = colour_fitted(render, photo, covered)
        error = np.square(fitted - photo / 255).sum(2)[covered]
        edge = _edges(_depth(run, packed, width, height).numpy())[covered]
        seen = sum(
            _sees(samples.position, camera[0], depth)
            for camera, depth in zip(train, depths, strict=True)
        ).numpy()
        cause = np.select([edge, seen <= 1, seen <= 3], [0, 1, 2], 3)
        removed.append(1 - error.sum() / raw.sum())
        pixels.append(np.bincount(cause, minlength=4) / len(cause))
        errors.append(np.bincount(cause, error, minlength=4) / error.sum())
    means = [np.mean(rows, axis=0).round(4).tolist() for rows in (pixels, errors)]
    return {
        "exposure": round(float(np.mean(removed)), 4),
        "pixels": dict(zip(CAUSES, means[0], strict=True)),
        "error": dict(zip(CAUSES, means[1], strict=True)),
    }


def table(found: dict[str, dict]) -> list[str]:
    """Return the lines of the table.

    Args:
        found: By scene what ``split_error`` returns, with the run's ``downscale`` and ``rays``.
    """
    heads = ["scene", "cause", "share of pixels", "share of error"]
    rows = []
    for scene, parts in found.items():
        rows.append([scene, "exposure (of the raw error)", "-", f"{parts['exposure']:.2f}"])
        rows += [
            [scene, cause, f"{parts['pixels'][cause]:.2f}", f"{parts['error'][cause]:.2f}"]
            for cause in CAUSES
        ]
    notes = [
        f"- {scene}: photos reduced by {parts['downscale']:g}, {parts['rays'] / 1e6:.0f} M rays"
        for scene, parts in found.items()
    ]
    return [*tables.table(heads, rows, text_columns=2), "", *notes]


def _packed(run: Run, scene: Scene, name: str) -> tuple[Tensor, int, int]:
    camera = run.camera(name)
    packed = torch.from_numpy(camera.recentred(scene.origin).packed())
    return packed, camera.width, camera.height


def _depth(run: Run, packed: Tensor, width: int, height: int) -> Tensor:
    """Return depths [H, W], 0 where the mesh is missed."""
    samples, coverage = build_gbuffer(run.surface, packed, width, height)
    depth = torch.zeros(height * width)
    depth[samples.pixel_index] = samples.depth
    return depth.reshape(coverage.shape)


def _edges(depth: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: within EDGE_PIXELS of a jump in depth or of the mesh's border."""
    far, near = ndimage.maximum_filter(depth, 3), ndimage.minimum_filter(depth, 3)
    jump = far - near > EDGE_STEP * far
    return ndimage.binary_dilation(jump, iterations=EDGE_PIXELS - 1)


def _sees(position: Tensor, packed: Tensor, depth: Tensor) -> Tensor:
    """Return int [N], 1 where an undistorted camera sees a point of the surface.

    The tolerance is that of a depth map whose pixels lie beside the point.
    """
    at = position.double() @ packed[:9].reshape(3, 3).T + packed[9:12]
    z = at[:, 2]
    front = z > packed[17]
    x, y = (at[:, axis] / torch.where(front, z, 1.0) for axis in (0, 1))
    column = (packed[12] * x + packed[16] * y + packed[14]).floor().long()
    row = (packed[13] * y + packed[15]).floor().long()
    height, width = depth.shape
    inside = front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    there = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return (inside & (z <= there * (1 + EDGE_STEP / 2))).int()
