"""How many samples a pixel views need: more where pixels are larger than those of the training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xscale.gbuffer.build import build_gbuffer, surface_samples
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera
from xscale.render.run import Run

_MOST = 4
"""Samples along an edge; from farther away still each stands for more than was trained."""
_MOST_VIEWS = 16
_MOST_PHOTOS = 128
_SIDE = 12
"""Rays along the edge of a look at a view."""
_LOOKED_UP = ("position", "normal", "direction", "footprint", "face_id", "depth")


def samples_for(run: Run, cameras: Sequence[Camera]) -> int:
    """Return how many samples along a pixel's edge views need: 1, or up to 4 from afar.

    A model knows what pixels show that are as large on the surface as its photos' were; the mean
    over a larger one takes samples of about that size (benchmarks/RESULTS.md, near and far). The
    answer is one for all cameras, that of the remotest, so that a path does not change its look on
    the way.

    Args:
        run: What is rendered.
        cameras: World frame; of many an even spread is looked at.
    """
    farthest = max(remoteness(run, _spread(cameras, _MOST_VIEWS)), default=1.0)
    return min(max(round(farthest), 1), _MOST)


def remoteness(run: Run, cameras: Sequence[Camera]) -> list[float]:
    """Return how large views' pixels are on the surface, in units of the training's at each point.

    A view's is the median over its points, a point's the mean over the training pixels there (the
    logarithm's; an even spread of many photos is asked). A photo counts that looks at the same
    side of a point; what stands between is not looked for. 0 where no photo shows what a view does.

    Args:
        run: Whose training photos are compared with.
        cameras: World frame.
    """
    origin = run.origin
    looks = [_look(run.surface, camera.recentred(origin)) for camera in cameras]
    if not looks:
        return []
    points = GBuffer(**{n: torch.cat([vars(look)[n] for look in looks]) for n in _LOOKED_UP})
    weights, logs = torch.zeros(2, len(points.footprint), dtype=torch.float64)
    for name in _spread(run.names("train"), _MOST_PHOTOS):
        index, footprint = _footprints(run.surface, run.camera(name).recentred(origin), points)
        # So many pixels of the photo lie on a unit of area.
        pixels = footprint**-2
        weights[index] += pixels
        logs[index] += pixels * footprint.log()
    ratios = points.footprint.double().cpu() / (logs / weights).exp()
    parts = ratios.split([len(look.footprint) for look in looks])
    seen = [part[part.isfinite()] for part in parts]
    return [float(part.median()) if len(part) else 0.0 for part in seen]


def _look(surface: Surface, camera: Camera) -> GBuffer:
    """Return a few of the points that a local camera sees, with the footprints of its pixels."""
    packed = torch.from_numpy(camera.scaled(_SIDE, _SIDE).packed()).to(surface.vertices.device)
    points, _ = build_gbuffer(surface, packed, _SIDE, _SIDE)
    points.footprint.mul_(_SIDE / (camera.width * camera.height) ** 0.5)
    return points


def _footprints(surface: Surface, camera: Camera, points: GBuffer) -> tuple[Tensor, Tensor]:
    """Return which points a local camera sees, int64 [M], and its footprints there, float64 [M]."""
    pixel, depth = camera.project(points.position.cpu().numpy())
    with np.errstate(invalid="ignore"):
        inside = (depth > camera.near) & (pixel >= 0).all(1)
        inside &= (pixel < (camera.width, camera.height)).all(1)
    device = surface.vertices.device
    index = torch.from_numpy(inside.nonzero()[0])
    there = index.to(device)
    rays = surface_samples(
        surface,
        torch.from_numpy(camera.packed())[None].to(device),
        torch.zeros(len(index), dtype=torch.int32, device=device),
        torch.from_numpy(pixel[inside]).float().to(device),
        points.face_id[there],
        normals=True,
    )
    from_here = (points.normal * points.direction).sum(1)[there]
    same = ((rays.normal * rays.direction).sum(1) * from_here > 0).cpu()
    return index[same], rays.footprint.double().cpu()[same]


def _spread(items: Sequence, most: int) -> list:
    """Return at most so many of a list, evenly spread, the first one among them."""
    count = min(len(items), most)
    return [items[i * len(items) // count] for i in range(count)]
