"""Renderer: a surface and a model turn cameras into frames, in bands of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xscale.errors import UsageError
from xscale.gbuffer.build import pixel_samples, visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.model.model import Model
from xscale.render.frame import Frame

OUTPUTS = ("colour", "depth", "normal", "footprint")
_MISSES = {"depth": float("inf"), "footprint": 0.0, "normal": 0.0}

# Pixels of a band: a face id each where colours come in one pass, surface points and features
# beside it otherwise.
_FUSED_PIXELS = 1 << 22
_CHAIN_PIXELS = 1 << 19


class Renderer:
    """Inference only; the same line as training, run forwards on whole bands of a frame.

    Args:
        surface: The mesh, ready for the ops, in its local frame.
        model: The learned appearance.
        origin: World position of the local frame's origin, [3].
        fused: Whether colours come from face ids in one pass (``ops.fused_frame``); else by the
            chain of single ops, its reference.
    """

    def __init__(
        self, surface: Surface, model: Model, origin: Sequence[float], *, fused: bool = True
    ) -> None:
        self.surface = surface
        self.model = model
        self.origin = origin
        self.fused = fused

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
        fields = [name for name in _MISSES if name in outputs]
        pixels = _FUSED_PIXELS if self.fused and not fields else _CHAIN_PIXELS
        rows = max(1, pixels // width)
        bands = [
            self._band(packed, (width, height), top, min(rows, height - top), fields, exposure)
            for top in range(0, height, rows)
        ]
        if len(bands) == 1:
            return Frame(**bands[0])
        joined = {name: torch.cat([band[name] for band in bands]) for name in bands[0]}
        return Frame(**joined)

    def _band(
        self,
        packed: Tensor,
        size: tuple[int, int],
        top: int,
        rows: int,
        fields: Sequence[str],
        exposure: Tensor | None,
    ) -> dict[str, Tensor]:
        width = size[0]
        face_id = visibility(self.surface, packed, *size, rect=(0, top, width, rows))
        band = {"coverage": face_id >= 0}
        if self.fused:
            band["colour"] = self.model.paint(self.surface, packed, face_id, (0, top), exposure)
        if fields or not self.fused:
            samples = pixel_samples(self.surface, packed, face_id, (0, top))
            place = samples.pixel_index
        if not self.fused:
            colour = torch.full((rows * width, 3), 255, dtype=torch.uint8, device=packed.device)
            if len(place):
                shaded = self.model.colour(samples, exposure)
                colour[place] = (shaded * 255 + 0.5).to(torch.uint8)
            band["colour"] = colour.reshape(rows, width, 3)
        for name in fields:
            values = getattr(samples, name)
            shape = (rows * width, *values.shape[1:])
            full = torch.full(shape, _MISSES[name], device=packed.device)
            full[place] = values
            band[name] = full.reshape(rows, width, *values.shape[1:])
        return band
