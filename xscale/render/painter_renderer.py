"""Renderer whose faces and colours come from a WebGPU painter."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import Rect
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.render.renderer import Asked, Renderer, Seen
from xscale.webgpu.painter import Painted, Painter

_PAINTED = frozenset(("coverage", "colour", "depth", "face", "srgb"))
"""Outputs that the painter gives; others come from the surface points behind its faces."""


class PainterRenderer(Renderer):
    """A renderer that paints on a GPU of any maker.

    Faces and colours come from the GPU. Outputs that are neither of these nor depths are computed
    on the CPU, in float64, for the faces that the GPU saw.

    Args:
        painter: Of the same surface and model.
        *args: As for ``Renderer``.
        **options: As for ``Renderer``.
    """

    def __init__(self, painter: Painter, *args: object, **options: object) -> None:
        super().__init__(*args, **options, fused=False)
        self.painter = painter
        self.in_one_pass = True

    def over(self, surface: Surface) -> Renderer:
        """Return a renderer on the CPU: the painter holds the whole mesh and nothing else."""
        return Renderer(
            surface, self.model, self.origin, self.background, photos=self.photos,
            uncertainty=self.uncertainty, source_photos=self.source_photos,
            features=self.features, at_vertices=self.at_vertices,
        )  # fmt: skip

    def _band(self, asked: Asked, rect: Rect) -> tuple[dict[str, Tensor], Seen | None]:
        outputs = asked.outputs
        corrects = self.source_photos is not None and not {"colour", "srgb"}.isdisjoint(outputs)
        direct = not corrects and _PAINTED.issuperset(outputs)
        painted = self.painter.paint(
            asked.camera,
            rect,
            self.model.shader.frame_shader(asked.exposure),
            floats=corrects or "srgb" in outputs,
            depth=direct and "depth" in outputs,
            faces=not direct or "face" in outputs or self.surface.sides is not None,
        )
        colour = torch.from_numpy(painted.colour)
        packed = torch.from_numpy(asked.camera.packed())
        hidden = self.hide_backs(painted, packed)
        if hidden is not None:
            colour[hidden] = 255 if colour.dtype == torch.uint8 else 1
        band = {"coverage": torch.from_numpy(painted.covered)}
        if "colour" in outputs:
            bytes_ = colour if colour.dtype == torch.uint8 else (colour * 255 + 0.5).to(torch.uint8)
            band["colour"] = bytes_
        if direct:
            found = {"depth": painted.depth, "face": painted.face}
            band |= {n: torch.from_numpy(v) for n, v in found.items() if n in outputs}
            return band | ({"srgb": colour} if "srgb" in outputs else {}), None
        flat = colour.reshape(-1, 3)

        def shade(samples: GBuffer) -> Tensor:
            return asked.correct(flat[samples.pixel_index], samples)

        face_id = torch.from_numpy(painted.face)
        shaded = shade if colour.dtype == torch.float32 else None
        corner = (rect[0], rect[1])
        return band | self._from_points(asked, packed, face_id, corner, shaded), None

    def hide_backs(self, painted: Painted, packed: Tensor) -> Tensor | None:
        """Leave out pixels whose sides are not surface, in place; return where, if anywhere."""
        surface = self.surface
        if surface.sides is None:
            return None
        points = (surface.vertices, surface.faces, surface.normals)
        face_id = torch.from_numpy(painted.face)
        kept = ops.sides(*points, packed, face_id, surface.sides, side=False)[1]
        hidden = kept != face_id
        face_id.copy_(kept)
        torch.from_numpy(painted.covered)[hidden] = False
        if painted.depth is not None:
            torch.from_numpy(painted.depth)[hidden] = torch.inf
        return hidden
