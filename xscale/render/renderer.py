"""Renderer: a surface and a model turn cameras into frames, in bands of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xscale.errors import UsageError
from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.model.model import Model
from xscale.render.frame import Frame

OUTPUTS = ("colour", "depth", "normal", "footprint")
_BAND_PIXELS = 1 << 19


class Renderer:
    """Inference only; the same line as training, run forwards on whole bands of a frame.

    Args:
        surface: The mesh, ready for the ops, in its local frame.
        model: The learned appearance.
        origin: World position of the local frame's origin, [3].
    """

    def __init__(self, surface: Surface, model: Model, origin: Sequence[float]) -> None:
        self.surface = surface
        self.model = model
        self.origin = origin

    @torch.inference_mode()
    def render(
        self,
        camera: Camera,
        outputs: Sequence[str] = ("colour",),
        exposure: Tensor | None = None,
    ) -> Frame:
        """Render one camera of the scene's frame at its own size.

        Args:
            camera: World-frame camera.
            outputs: Any of "colour", "depth", "normal", "footprint".
            exposure: Affine exposure [12] in linear light; None takes the training mean.

        Raises:
            UsageError: An output is not known.
        """
        for name in outputs:
            if name not in OUTPUTS:
                raise UsageError(f"no output {name!r}; there are {', '.join(OUTPUTS)}")
        packed = torch.from_numpy(camera.recentred(self.origin).packed()).to(self.model.device)
        width, height = camera.width, camera.height
        rows = max(1, _BAND_PIXELS // width)
        bands = [
            self._band(packed, width, height, top, min(rows, height - top), outputs, exposure)
            for top in range(0, height, rows)
        ]
        joined = {name: torch.cat([band[name] for band in bands]) for name in bands[0]}
        return Frame(**joined)

    def _band(
        self,
        packed: Tensor,
        width: int,
        height: int,
        top: int,
        rows: int,
        outputs: Sequence[str],
        exposure: Tensor | None,
    ) -> dict[str, Tensor]:
        samples, coverage = build_gbuffer(
            self.surface, packed, width, height, rect=(0, top, width, rows)
        )
        device = coverage.device
        colour = torch.full((rows * width, 3), 255, dtype=torch.uint8, device=device)
        if len(samples.pixel_index):
            shaded = self.model.colour(samples, exposure)
            colour[samples.pixel_index] = (shaded * 255 + 0.5).to(torch.uint8)
        band = {"colour": colour.reshape(rows, width, 3), "coverage": coverage}
        misses = {"depth": float("inf"), "footprint": 0.0, "normal": 0.0}
        for name, miss in misses.items():
            if name in outputs:
                values = getattr(samples, name)
                full = torch.full((rows * width, *values.shape[1:]), miss, device=device)
                full[samples.pixel_index] = values
                band[name] = full.reshape(rows, width, *values.shape[1:])
        return band
