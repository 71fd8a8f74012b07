"""Footprints and coverage of a set of cameras, from small rasters of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import Surface

_LONG_SIDE = 96


class SceneStatistics(NamedTuple):
    """What the cameras see of the mesh."""

    coverage: Tensor
    """Float64 [C], share of each picture that the mesh covers."""
    footprints: Tensor
    """Float32 [N], a sample of pixel footprints at the cameras' own size, world units."""


def scene_statistics(
    surface: Surface, cameras: Tensor, sizes: Sequence[tuple[int, int]]
) -> SceneStatistics:
    """Rasterize every camera small and gather coverage and footprints.

    Args:
        surface: The mesh.
        cameras: Float64 [C, 32], packed.
        sizes: (width, height) of each camera.
    """
    coverage, footprints = [], [torch.zeros(0)]
    for camera, (width, height) in zip(cameras, sizes, strict=True):
        shrink = min(1.0, _LONG_SIDE / max(width, height))
        small_width, small_height = (max(1, round(x * shrink)) for x in (width, height))
        small = camera.clone()
        small[[12, 14, 16]] *= small_width / width
        small[[13, 15]] *= small_height / height
        samples, covered = build_gbuffer(surface, small, small_width, small_height)
        coverage.append(covered.double().mean().cpu())
        ratio = (small_width * small_height / (width * height)) ** 0.5
        footprints.append(samples.footprint.cpu() * ratio)
    return SceneStatistics(torch.stack(coverage), torch.cat(footprints))
