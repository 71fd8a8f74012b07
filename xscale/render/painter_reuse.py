"""Moving pictures whose key frames lie on a GPU of any maker."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale import ops
from xscale.geometry.camera import Camera
from xscale.render.painter_renderer import PainterRenderer
from xscale.render.renderer import Renderer
from xscale.render.reuse import MovingRenderer
from xscale.webgpu.key_frames import KeyFrames
from xscale.webgpu.painter import Painted


class PainterMovingRenderer(MovingRenderer):
    """Renders moving pictures on a GPU: faces, colours of key frames, and what they lack.

    Args:
        renderer: Of the run.
        size: (width, height) of the pictures.
        exposure: As for ``Renderer.render``.
        room: Room for key frames of that size.
    """

    renderer: PainterRenderer

    def __init__(
        self,
        renderer: PainterRenderer,
        size: tuple[int, int],
        exposure: Tensor | None,
        room: KeyFrames,
    ) -> None:
        super().__init__(renderer, size, exposure)
        self._room = room

    def _reproject(
        self, local: Camera, order: list[int], check: Callable[[], None]
    ) -> tuple[ops.Reprojected, Tensor, Tensor]:
        tried = [(row, self._cameras[row]) for row in order]
        found = self.renderer.painter.reproject(local, self._room, tried)
        check()
        rgba, missing, depth, face_id = (torch.from_numpy(part) for part in found)
        covered = face_id.numpy() >= 0
        hidden = self.renderer.hide_backs(
            Painted(covered, found.rgba[..., :3], found.depth, found.face), self._packed(local)
        )
        if hidden is not None:
            missing[hidden] = -1
        self._paint_backdrop(rgba, face_id, local)
        return ops.Reprojected(rgba, missing), face_id, depth

    def _paint_backdrop(self, rgba: Tensor, face_id: Tensor, local: Camera) -> None:
        """Paint what pixels without a face show, in place."""
        outside = face_id < 0
        backdrop = self._backdrop(face_id, local)
        if backdrop is None:
            rgba[outside] = 255
            return
        surface = self.renderer.surface
        nothing = ops.reproject(
            surface.vertices, surface.faces, self._packed(local), torch.full_like(face_id, -1),
            torch.full(face_id.shape, torch.inf), self._keys, torch.zeros(0, dtype=torch.int32),
            backdrop=backdrop,
        )  # fmt: skip
        torch.where(outside[..., None], nothing.rgba, rgba, out=rgba)

    def _faces(self, local: Camera) -> Tensor:
        return torch.from_numpy(self.renderer.painter.faces(local))

    def _colours(self, local: Camera, face_id: Tensor, top: int = 0) -> Tensor:
        shader = self.renderer.model.shader.frame_shader(self.exposure)
        painter = self.renderer.painter
        return torch.from_numpy(painter.shade(local, face_id.numpy(), (0, top), shader))

    def _stored(self, slot: int, rows: slice) -> None:
        colour, depth = (part[slot, rows].numpy() for part in (self._keys.colour, self._keys.depth))
        self._room.write(slot, rows.start, colour, depth)


def can_reuse(renderer: Renderer, camera: Camera) -> bool:
    """Whether moving pictures of a renderer take colours from key frames.

    Lenses that bend rays are reprojected on the CPU alone: a painter renders their pictures in
    full, at the size that it can draw in time.
    """
    if isinstance(renderer, PainterRenderer):
        room = renderer.painter.keeps(camera.width, camera.height)
        return room and renderer.source_photos is None and not camera.lens.projection
    return renderer.fused


def mover(renderer: Renderer, size: tuple[int, int], exposure: Tensor | None) -> MovingRenderer:
    """Return what renders moving pictures: on the GPU where the renderer's painter is."""
    if isinstance(renderer, PainterRenderer):
        return PainterMovingRenderer(renderer, size, exposure, renderer.painter.key_frames(*size))
    return MovingRenderer(renderer, size, exposure)
