"""Frame: what a camera sees, as the renderer gives it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """Requested outputs of one camera, and the coverage; row 0 is the top."""

    coverage: Tensor
    """Bool [H, W]: the pixel's centre ray (or one of its samples) hits the mesh."""
    colour: Tensor | None = None
    """Uint8 [H, W, 3], sRGB; where the mesh does not cover the pixel the background, or
    white."""
    depth: Tensor | None = None
    """Float32 [H, W], the camera's z in world units; +inf where nothing is hit."""
    normal: Tensor | None = None
    """Float32 [H, W, 3], unit, world frame; zero where nothing is hit."""
    footprint: Tensor | None = None
    """Float32 [H, W], a pixel's size on the surface in world units; zero where nothing is hit."""
    position: Tensor | None = None
    """Float32 [H, W, 3], world units in the mesh's local frame (world minus the renderer's
    origin, so that large coordinates lose nothing); NaN where nothing is hit."""
    face: Tensor | None = None
    """Int32 [H, W], row of the mesh's faces; -1 where nothing is hit."""
    level: Tensor | None = None
    """Float32 [H, W], the grid level (counted from 0) whose cells are as large as the footprint,
    between the coarsest and the finest; NaN where nothing is hit."""
    photos: Tensor | None = None
    """Float32 [H, W], in how many training photos the pixel's point is seen; 0 where nothing is
    hit."""
    uncertainty: Tensor | None = None
    """Float32 [H, W], how far the colour is likely to be off: mean of the channels, sRGB from 0 to
    1, see ``xscale.render.uncertainty``; NaN where nothing is hit."""
    features: Tensor | None = None
    """Float32 [H, W, 3], the three strongest components of the point's features, in [0, 1]; 1 where
    nothing is hit."""
    srgb: Tensor | None = None
    """Float32 [H, W, 3], the colour in [0, 1] before it is rounded to 8 bits; the background
    or 1 where nothing is hit."""

    def on_cpu(self) -> Frame:
        """Return the frame in the CPU's memory, where files are written from."""
        parts = {name: part.cpu() for name, part in vars(self).items() if part is not None}
        return Frame(**parts)
