"""Speed of ``breaks`` against the same arithmetic in PyTorch, for the pixels of a frame."""

from __future__ import annotations

from benchmarks._timing import milliseconds, row
from benchmarks.op_raster import terrain_frame
from xscale import ops
from xscale.gbuffer.build import visible


def rows() -> list[dict[str, object]]:
    """Time the search for pixels in which the surface breaks off, in one frame."""
    width, height = 1280, 720
    surface, packed = terrain_frame(width, height)
    centres = visible(surface, packed, width, height)
    corners = visible(surface, packed, width, height, (0, 0, width + 1, height + 1), (0.0, 0.0))
    step = 2 / float(packed[12] * packed[13]) ** 0.5

    def ours() -> object:
        return ops.breaks(*centres, *corners, step=step)

    def peer() -> object:
        with ops.use_backend("reference"):
            return ours()

    times = milliseconds({"ours": ours, "peer": peer})
    shape = f"{width} x {height} pixels of a 500,000-triangle terrain"
    return [row("breaks", shape, times, peer_name="PyTorch ops")]
