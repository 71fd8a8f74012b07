"""Renderer: a surface and a model turn cameras into frames, in bands of bounded memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import UsageError
from xscale.gbuffer.build import Rect, pixel_samples, visibility
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera
from xscale.model.background import Background, Plain
from xscale.model.model import Model
from xscale.render.frame import Frame
from xscale.render.outputs import TABLE
from xscale.render.photos_at_hand import PhotosAtHand, corrected
from xscale.render.vertex_values import interpolated

_BAND_PIXELS = 1 << 19
# The background's steps work on arrays that stay in the second-level cache and, unlike large ones,
# in memory that is not given back and cleared again between them.
_FILL_PIXELS = 1 << 13
# Where colours come in one pass, a pixel takes a face id and no surface point or features.
_FUSED_FACTOR = 8


@dataclass(frozen=True)
class Hits:
    """Pixels of a band that hit the mesh."""

    renderer: Renderer
    points: GBuffer
    """Their surface points, N of them."""
    colour: Tensor
    """Float32 [N, 3], sRGB from 0 to 1; empty where nobody asked for colours."""


@dataclass(frozen=True)
class Asked:
    """A picture that is asked for."""

    camera: Camera
    """In the local frame."""
    outputs: Sequence[str]
    exposure: Tensor | None
    correct: Callable[[Tensor, GBuffer], Tensor]
    """Corrects colours [N, 3] of surface points by the photos at hand."""


class Renderer:
    """Inference only; the same line as training, run forwards on whole bands of a frame.

    Args:
        surface: The mesh, ready for the ops, in its local frame.
        model: The learned appearance.
        origin: World position of the local frame's origin, [3].
        background: What uncovered pixels show; None paints them white.
        fused: Whether colours come from face ids in one pass (``ops.fused_frame``) where the device
            has a body of it; else by the chain of single ops. Unrounded colours always do.
        photos: Tells in how many training photos points [N, 3] of the local frame are seen; without
            it there is no output of that name.
        uncertainty: Tells from face ids [N] and those points how far off their colours may be;
            likewise.
        at_hand: Photos that colours are corrected by; None leaves them as the model gives them.
        features: Turns surface points into colours [N, 3] that show their features; likewise.
        at_vertices: Values [V] at the mesh's vertices, by output: photos and uncertainty are then
            interpolated between these, which is coarser and much faster.
    """

    def __init__(
        self,
        surface: Surface,
        model: Model,
        origin: Sequence[float],
        background: Background | Plain | None = None,
        *,
        fused: bool = True,
        photos: Callable[[Tensor], Tensor] | None = None,
        uncertainty: Callable[[Tensor, Tensor], Tensor] | None = None,
        at_hand: PhotosAtHand | None = None,
        features: Callable[[GBuffer], Tensor] | None = None,
        at_vertices: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.surface = surface
        self.model = model
        self.origin = origin
        self.background = background
        self.photos = photos
        self.uncertainty = uncertainty
        self.at_hand = at_hand
        self.features = features
        self.at_vertices = at_vertices or {}
        has_body = ops.has_body("fused_frame", model.device.type)
        plain = model.settings.encoding == "hash" and ops.encoding() == "xscale"
        plain = plain and at_hand is None
        self.fused = fused and has_body and plain
        self.in_one_pass = self.fused
        """Whether colours take no surface points and features of whole bands."""

    def over(self, surface: Surface) -> Renderer:
        """Return a renderer of the same model over another surface, a cut or simplified one."""
        other = copy.copy(self)
        other.surface = surface
        return other

    def check(self, outputs: Sequence[str]) -> None:
        """Refuse outputs that this renderer cannot give.

        Raises:
            UsageError: One is not known, or needs what the run does not have.
        """
        for name in outputs:
            if name not in TABLE:
                raise UsageError(f"no output {name!r}; there are {', '.join(TABLE)}")
            reason = None if name in self.at_vertices else TABLE[name].refusal(self)
            if reason is not None:
                raise UsageError(reason)

    @torch.inference_mode()
    def render(
        self,
        camera: Camera,
        outputs: Sequence[str] = ("colour",),
        exposure: Tensor | None = None,
        rect: Rect | None = None,
    ) -> Frame:
        """Render one camera of the scene's frame at its own size, or a rectangle of its picture.

        A pixel's values do not depend on the rectangle: a part equals the crop of the whole.

        Args:
            camera: World-frame camera.
            outputs: Names of ``xscale.render.outputs.TABLE``; coverage is always computed.
            exposure: Affine exposure [12] in linear light; None takes the training mean.
            rect: (left, top, width, height) in pixels; None is the whole picture.

        Raises:
            UsageError: An output is not known or not to be had, or the rectangle leaves the
                picture.
        """
        self.check(outputs)
        left, top, width, height = rect or (0, 0, camera.width, camera.height)
        inside = min(left, top) >= 0 and min(width, height) >= 1
        if not inside or left + width > camera.width or top + height > camera.height:
            raise UsageError(f"{rect} leaves the picture of {camera.width} x {camera.height}")
        local = camera.recentred(self.origin)
        near = [] if self.at_hand is None else self.at_hand.near(local)

        def correct(colour: Tensor, samples: GBuffer) -> Tensor:
            return corrected(colour, samples, local, near, self.at_hand.shares) if near else colour

        asked = Asked(local, outputs, exposure, correct)
        fields = [name for name in outputs if TABLE[name].values is not None]
        factor = _FUSED_FACTOR if self.in_one_pass and not fields else 1
        rows = max(1, _BAND_PIXELS * factor // width)
        bands = [
            self._band(asked, (left, y, width, min(rows, top + height - y)))
            for y in range(top, top + height, rows)
        ]
        joined = {
            name: torch.cat([band[name] for band in bands]) if len(bands) > 1 else bands[0][name]
            for name in bands[0]
        }
        if self.background is not None and not joined.keys().isdisjoint(("colour", "srgb")):
            self._fill(joined, local, (left, top))
        return Frame(**joined)

    def _fill(self, frame: dict[str, Tensor], camera: Camera, corner: tuple[int, int]) -> None:
        """Paint the background into a frame's uncovered pixels; ``camera`` is the local frame's."""
        position = torch.from_numpy(camera.position).float().to(frame["coverage"].device)
        for part in (~frame["coverage"]).nonzero().split(_FILL_PIXELS):
            rows, columns = part.unbind(1)
            pixel = torch.stack([columns + corner[0], rows + corner[1]], 1).double() + 0.5
            direction = torch.from_numpy(camera.rays(pixel.cpu().numpy())).float().to(rows.device)
            # Pixels outside the lens's domain see nothing and stay white.
            finite = direction.isfinite()
            if not finite.all():
                seen = finite.all(1)
                rows, columns, direction = rows[seen], columns[seen], direction[seen]
            colour = self.background.colour(position, direction)
            if "colour" in frame:
                frame["colour"][rows, columns] = (colour * 255 + 0.5).to(torch.uint8)
            if "srgb" in frame:
                frame["srgb"][rows, columns] = colour

    def _band(self, asked: Asked, rect: Rect) -> dict[str, Tensor]:
        corner = (rect[0], rect[1])
        outputs, camera = asked.outputs, asked.camera
        packed = torch.from_numpy(camera.packed()).to(self.model.device)
        face_id = visibility(self.surface, packed, camera.width, camera.height, rect=rect)
        band = {"coverage": face_id >= 0}
        coloured, exact = "colour" in outputs, "srgb" in outputs or not self.fused
        if coloured and not exact:
            band["colour"] = self.model.paint(self.surface, packed, face_id, corner, asked.exposure)

        def shade(samples: GBuffer) -> Tensor:
            return asked.correct(self.model.colour(samples, asked.exposure), samples)

        shaded = exact and (coloured or "srgb" in outputs)
        return band | self._from_points(asked, packed, face_id, corner, shade if shaded else None)

    def _from_points(
        self,
        asked: Asked,
        packed: Tensor,
        face_id: Tensor,
        corner: tuple[int, int],
        shade: Callable[[GBuffer], Tensor] | None,
    ) -> dict[str, Tensor]:
        """Return what a band's outputs take from surface points, and its face ids if asked for.

        Args:
            asked: See ``Asked``.
            packed: Its camera.
            face_id: Int32 [rows, width].
            corner: Left and top pixel of the band.
            shade: Gives the colours of surface points; None: colours are not to come from here.
        """
        rows, width = face_id.shape
        outputs = asked.outputs
        band = {"face": face_id} if "face" in outputs else {}
        fields = [name for name in outputs if TABLE[name].values is not None]
        coloured = "colour" in outputs and shade is not None
        if not fields and not coloured:
            return band
        samples = pixel_samples(self.surface, packed, face_id, corner)
        place = samples.pixel_index
        shaded = shade(samples) if shade is not None and len(place) else torch.zeros(0, 3)
        if coloured:
            colour = torch.full((rows * width, 3), 255, dtype=torch.uint8, device=packed.device)
            colour[place] = (shaded * 255 + 0.5).to(torch.uint8)
            band["colour"] = colour.reshape(rows, width, 3)
        hits = Hits(self, samples, shaded)
        for name in fields:
            values = self._values(name, hits)
            shape = (rows * width, *values.shape[1:])
            full = torch.full(shape, TABLE[name].miss, device=packed.device)
            full[place] = values
            band[name] = full.reshape(rows, width, *values.shape[1:])
        return band

    def _values(self, name: str, hits: Hits) -> Tensor:
        """Return an output's values [N, ...] of pixels that hit the mesh."""
        if name in self.at_vertices:
            points = hits.points
            values = self.at_vertices[name]
            return interpolated(self.surface, values, points.face_id, points.position)
        return TABLE[name].values(hits)
