"""Where the hash grid lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Box:
    """Where the grid lies: position in [0, 1] = (x - centre) / extent + 0.5."""

    centre: tuple[float, float, float]
    """Local frame, world units."""
    extent: tuple[float, float, float]
    """Length of each side, world units; all equal unless the settings ask for per-axis scaling."""

    @classmethod
    def around(cls, low: Tensor, high: Tensor, per_axis: bool) -> Box:
        """Return the box of a mesh whose bounds are ``low`` and ``high`` ([3], local frame)."""
        centre = (low.double() + high.double()) / 2
        extent = (high - low).double() + 1e-6
        if not per_axis:
            # A sliver of margin keeps vertices on the border inside the last cell.
            extent = extent.max().expand(3) * (1 + 1e-4)
        return cls(tuple(centre.tolist()), tuple(extent.tolist()))
