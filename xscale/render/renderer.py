"""Renderer: a surface and a model turn cameras into frames, in bands of bounded memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import ResourceError, UsageError
from xscale.gbuffer.build import Rect, pixel_samples, visible
from xscale.gbuffer.edges import breaks
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera
from xscale.model.background import Background, Plain
from xscale.model.model import Model
from xscale.render.edges import smoothed
from xscale.render.frame import Frame
from xscale.render.outputs import TABLE
from xscale.render.source_photos import SourcePhotos, corrected
from xscale.render.vertex_values import interpolated

_BAND_PIXELS = 1 << 19
# The background's steps work on arrays that stay in the second-level cache and, unlike large ones,
# in memory that is not given back and cleared again between them.
_FILL_PIXELS = 1 << 13
# Where colours come in one pass, a pixel takes a face id and no surface point or features.
_FUSED_FACTOR = 8
_MOST_HALVED = 4
"""Times that bands are halved where a device has no memory left."""


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
    """Corrects colours [N, 3] of surface points by the source photos."""
    smooth: bool = False
    """Whether colours take more samples where the surface breaks off."""


Seen = tuple[Tensor, Tensor]
"""Face ids int32 and depths float32 [h, w] of a band."""


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
        source_photos: Photos that colours are corrected by; None leaves them as they are.
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
        source_photos: SourcePhotos | None = None,
        features: Callable[[GBuffer], Tensor] | None = None,
        at_vertices: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.surface = surface
        self.model = model
        self.origin = origin
        self.background = background
        self.photos = photos
        self.uncertainty = uncertainty
        self.source_photos = source_photos
        self.features = features
        self.at_vertices = at_vertices or {}
        has_body = ops.has_body("fused_frame", model.device.type)
        plain = model.settings.encoding == "hash" and ops.encoding() == "xscale"
        plain = plain and source_photos is None
        self.fused = fused and has_body and plain
        self._halved = 0
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
        *,
        smooth: bool = True,
    ) -> Frame:
        """Render one camera of the scene's frame at its own size, or a rectangle of its picture.

        A pixel's values do not depend on the rectangle: a part equals the crop of the whole.

        Args:
            camera: World-frame camera.
            outputs: Names of ``xscale.render.outputs.TABLE``; coverage is always computed.
            exposure: Affine exposure [12] in linear light; None takes the training mean.
            rect: (left, top, width, height) in pixels; None is the whole picture.
            smooth: Whether colours take more samples where the surface breaks off.

        Raises:
            UsageError: An output is not known or not to be had, or the rectangle leaves the
                picture.
            ResourceError: A device's memory holds no sixteenth of a band.
        """
        self.check(outputs)
        left, top, width, height = rect or (0, 0, camera.width, camera.height)
        inside = min(left, top) >= 0 and min(width, height) >= 1
        if not inside or left + width > camera.width or top + height > camera.height:
            raise UsageError(f"{rect} leaves the picture of {camera.width} x {camera.height}")
        local = camera.recentred(self.origin)
        near = [] if self.source_photos is None else self.source_photos.near(local)

        def correct(colour: Tensor, samples: GBuffer) -> Tensor:
            if not near:
                return colour
            return corrected(colour, samples, local, near, self.source_photos.shares)

        smooth = smooth and any(TABLE[name].smooth for name in outputs)
        asked = Asked(local, outputs, exposure, correct, smooth)
        fields = [name for name in outputs if TABLE[name].values is not None]
        factor = _FUSED_FACTOR if self.in_one_pass and not fields else 1
        rows = max(1, _BAND_PIXELS * factor // width)
        bands = self._in_bands(asked, (left, top, width, height), rows)
        return Frame(**{
            name: torch.cat([band[name] for band in bands]) if len(bands) > 1 else bands[0][name]
            for name in bands[0]
        })  # fmt: skip

    def _in_bands(self, asked: Asked, rect: Rect, rows: int) -> list[dict[str, Tensor]]:
        """Return the outputs of a rectangle in bands, lower ones where a device is full.

        Raises:
            ResourceError: Bands of a sixteenth do not fit into the device's memory either.
        """
        left, y, width, height = rect
        bottom, bands, rows = y + height, [], min(rows, height)
        while y < bottom:
            part = min(max(rows >> self._halved, 1), bottom - y)
            try:
                bands.append(self._finished(asked, (left, y, width, part)))
            except torch.OutOfMemoryError as error:
                self._halve_bands(part, width, error)
            else:
                y += part
        return bands

    def _halve_bands(self, rows: int, width: int, error: torch.OutOfMemoryError) -> None:
        """Halve the bands of this picture and of those to come; their pixels stay the same."""
        if self._halved == _MOST_HALVED or rows == 1:
            raise ResourceError(
                f"{rows} rows of {width} pixels do not fit into the memory of {self.model.device}",
                advice="end what else computes there, or use --device cpu",
            ) from error
        self._halved += 1
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _finished(self, asked: Asked, rect: Rect) -> dict[str, Tensor]:
        """Return a band's outputs, the background in its uncovered pixels and edges resolved."""
        band, seen = self._band(asked, rect)
        if self.background is not None and not band.keys().isdisjoint(("colour", "srgb")):
            for part in (~band["coverage"]).nonzero().split(_FILL_PIXELS):
                rows, columns = part.unbind(1)
                pixel = torch.stack([columns + rect[0], rows + rect[1]], 1).double() + 0.5
                colour = self._beyond(asked.camera, pixel)
                if "colour" in band:
                    band["colour"][rows, columns] = _bytes(colour)
                if "srgb" in band:
                    band["srgb"][rows, columns] = colour
        if asked.smooth:
            self._smooth(asked, rect, band, seen)
        return band

    def _beyond(self, camera: Camera, pixel: Tensor) -> Tensor:
        """Return the background's colours [N, 3] at (u, v) [N, 2] of a local camera.

        Pixels outside the lens's domain see nothing and are white.
        """
        device = self.model.device
        position = torch.from_numpy(camera.position).float().to(device)
        direction = torch.from_numpy(camera.rays(pixel.cpu().numpy())).float().to(device)
        finite = direction.isfinite()
        if finite.all():
            return self.background.colour(position, direction)
        colour, finite = torch.ones_like(direction), finite.all(1)
        colour[finite] = self.background.colour(position, direction[finite])
        return colour

    def _band(self, asked: Asked, rect: Rect) -> tuple[dict[str, Tensor], Seen | None]:
        """Return outputs at the pixels' centres, and what was seen there where that is known.

        Uncovered pixels have the values of ``TABLE``'s misses.
        """
        corner = (rect[0], rect[1])
        outputs, camera = asked.outputs, asked.camera
        packed = torch.from_numpy(camera.packed()).to(self.model.device)
        face_id, depth = visible(
            self.surface, packed, camera.width, camera.height, rect, depth=asked.smooth
        )
        band = {"coverage": face_id >= 0}
        coloured, exact = "colour" in outputs, "srgb" in outputs or not self.fused
        if coloured and not exact:
            band["colour"] = self.model.paint(self.surface, packed, face_id, corner, asked.exposure)
        shade = self._shade(asked) if exact and (coloured or "srgb" in outputs) else None
        band |= self._from_points(asked, packed, face_id, corner, shade)
        return band, (face_id, depth)

    def _shade(self, asked: Asked) -> Callable[[GBuffer], Tensor]:
        return lambda samples: asked.correct(self.model.colour(samples, asked.exposure), samples)

    def _smooth(self, asked: Asked, rect: Rect, band: dict[str, Tensor], seen: Seen | None) -> None:
        """Resolve a band's colours where the surface breaks off."""
        size, corner = (asked.camera.width, asked.camera.height), (rect[0], rect[1])
        packed = torch.from_numpy(asked.camera.packed()).to(self.model.device)
        seen = seen or visible(self.surface, packed, *size, rect)
        found = breaks(self.surface, packed, size, rect, *seen)
        exact, shade = "srgb" in band or not self.fused, self._shade(asked)

        def at_corners(face_id: Tensor, offset: tuple[float, float], unit: float) -> Tensor:
            if not exact:
                return self.model.paint(
                    self.surface, packed, face_id, corner, asked.exposure, offset
                )
            samples = pixel_samples(self.surface, packed, face_id, corner, offset)
            colour = torch.ones(face_id.numel(), 3, device=face_id.device)
            if len(samples.position):
                colour[samples.pixel_index] = shade(samples)
            return colour.mul_(unit).reshape(*face_id.shape, 3)

        # Only what was learned of the background says what stands beside the mesh.
        learned = isinstance(self.background, Background)
        for name, unit in (("srgb", 1.0), ("colour", 255.0)):
            if name == "colour" and name in band and "srgb" in band:
                at = found.flags > 0
                band[name][at] = _bytes(band["srgb"][at])
            elif name in band:
                smoothed(
                    found,
                    corner,
                    band[name],
                    partial(at_corners, unit=unit),
                    (lambda p, by=unit: self._beyond(asked.camera, p) * by) if learned else None,
                    band["coverage"],
                )

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
            colour[place] = _bytes(shaded)
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


def _bytes(colour: Tensor) -> Tensor:
    return (colour * 255 + 0.5).to(torch.uint8)
