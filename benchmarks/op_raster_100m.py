"""Speed of ``rasterize`` on a hundred million triangles; making them takes minutes and 10 GB."""

from __future__ import annotations

from benchmarks.op_raster import terrain_row


def rows() -> list[dict[str, object]]:
    """Time the largest mesh, all of it in view."""
    return [terrain_row(7071, 1920, 1080)]
