"""Footprints and coverage of a set of cameras, from small rasters of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import GBuffer, Surface

_LONG_SIDE = 96
_FACE_BUDGET = 1_500_000_000
"""Faces that all small rasters together may meet: seconds on two cores."""
_LEAST_CAMERAS = 64
_POINTS = 128


class SceneStatistics(NamedTuple):
    """Statistics of what the cameras see of the mesh."""

    looked_at: Tensor
    """Int64 [L], which cameras were looked through: all, or an even spread of many."""
    coverage: Tensor
    """Float64 [L], share of each of these pictures that the mesh covers."""
    footprints: Tensor
    """Float32 [N], a sample of pixel footprints at the cameras' own size, world units."""
    samples: list[GBuffer]
    """Up to 128 surface points of each picture that was looked at, with normals."""

    def covered_pixels(self, sizes: Sequence[tuple[int, int]]) -> float:
        """Return how many pixels of all cameras the mesh covers, by what was looked at."""
        pixels = torch.tensor([width * height for width, height in sizes], dtype=torch.float64)
        seen = float((self.coverage * pixels[self.looked_at]).sum())
        return seen * len(sizes) / max(len(self.looked_at), 1)


def scene_statistics(
    surface: Surface, cameras: Tensor, sizes: Sequence[tuple[int, int]]
) -> SceneStatistics:
    """Rasterize cameras small and gather coverage and footprints.

    The larger the mesh, the fewer cameras are looked through, so that thousands of photos of tens
    of millions of faces take seconds.

    Args:
        surface: The mesh.
        cameras: Float64 [C, 32], packed.
        sizes: (width, height) of each camera.
    """
    most = max(_LEAST_CAMERAS, _FACE_BUDGET // max(len(surface.faces), 1))
    count = min(len(cameras), most)
    looked_at = torch.arange(count) * len(cameras) // max(count, 1)
    coverage, footprints, points = [], [torch.zeros(0)], []
    for index in looked_at.tolist():
        camera, (width, height) = cameras[index], sizes[index]
        shrink = min(1.0, _LONG_SIDE / max(width, height))
        small_width, small_height = (max(1, round(x * shrink)) for x in (width, height))
        small = camera.clone()
        small[[12, 14, 16]] *= small_width / width
        small[[13, 15]] *= small_height / height
        samples, covered = build_gbuffer(surface, small, small_width, small_height)
        coverage.append(covered.double().mean().cpu())
        ratio = (small_width * small_height / (width * height)) ** 0.5
        footprints.append(samples.footprint.cpu() * ratio)
        points.append(_thinned(samples))
    return SceneStatistics(looked_at, torch.stack(coverage), torch.cat(footprints), points)


def _thinned(samples: GBuffer) -> GBuffer:
    """Return an even spread of a picture's points."""
    count = len(samples.position)
    kept = torch.arange(min(count, _POINTS)) * count // max(min(count, _POINTS), 1)
    kept = kept.to(samples.position.device)
    return GBuffer(
        *(part[kept] for part in (samples.position, samples.normal, samples.direction)),
        footprint=samples.footprint[kept],
        depth=samples.depth[kept],
    )
