"""Frame: what a camera sees, as the renderer gives it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """The picture of one camera and what else was asked for; row 0 is the top."""

    colour: Tensor
    """Uint8 [H, W, 3], sRGB; white where the mesh does not cover the pixel."""
    coverage: Tensor
    """Bool [H, W]: the pixel's centre ray hits the mesh."""
    depth: Tensor | None = None
    """Float32 [H, W], the camera's z in world units; +inf where nothing is hit."""
    normal: Tensor | None = None
    """Float32 [H, W, 3], unit, world frame; zero where nothing is hit."""
    footprint: Tensor | None = None
    """Float32 [H, W], a pixel's size on the surface in world units; zero where nothing is hit."""
