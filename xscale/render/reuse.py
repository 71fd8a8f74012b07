"""Pictures of a moving camera: colours are taken from key frames, only the rest is shaded.

A key frame is a picture that was rendered in full. Surface points do not move, so what it shows of
them is right for a new view too, but for reflections, which change slowly
(``xscale.ops.reproject``). Outlines, depths and face ids are exact in every picture. A picture that
was made from key frames is never one itself, so that errors do not add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import visibility
from xscale.geometry.camera import Camera
from xscale.render.frame import Frame
from xscale.render.renderer import Renderer

_MOST_KEYS = 4
_TRIED_KEYS = 3
"""Key frames that a pixel is looked for in."""
_NEAR_ENOUGH = 0.02
"""A new key frame is begun when the nearest one is farther away than this (``_apart``)."""
_MOST_MISSING = 0.03
"""Share of missing pixels above which a new key frame is begun."""
_TURN = 0.2
"""Weight of a turn by one radian beside a move by the distance of what is in view."""
_BAND_PIXELS = 1 << 15
_COARSE = 2
"""Edge of the blocks of pixels that share a colour where the time for single ones is lacking."""


@dataclass(eq=False)
class _Pending:
    """A key frame in the making."""

    camera: Camera
    colour: Tensor
    depth: Tensor
    rows: int = 0


class MovingRenderer:
    """Renders pictures of one size and light, from key frames where they show the same.

    Args:
        renderer: Of the run; its colours must come in one pass (``renderer.fused``).
        size: (width, height) of the pictures.
        exposure: As for ``Renderer.render``.
        seconds: Time that the shading of a picture may take; beyond it 2 x 2 pixels share a colour.
    """

    def __init__(
        self,
        renderer: Renderer,
        size: tuple[int, int],
        exposure: Tensor | None = None,
        seconds: float = 0.05,
    ) -> None:
        self.renderer = renderer
        self.size = size
        self.exposure = exposure
        self.seconds = seconds
        device = renderer.model.device
        width, height = size
        # Ordinary tensors: those of inference mode could not be written to outside it.
        with torch.inference_mode(False):
            self._keys = ops.KeyFrames(
                cameras=torch.zeros(_MOST_KEYS, 32, dtype=torch.float64, device=device),
                colour=torch.zeros(_MOST_KEYS, height, width, 3, dtype=torch.uint8, device=device),
                depth=torch.full((_MOST_KEYS, height, width), float("inf"), device=device),
            )
        self._cameras: list[Camera | None] = [None] * _MOST_KEYS
        self._distance = [1.0] * _MOST_KEYS
        self._pending: _Pending | None = None
        self._pixel_seconds = 3e-7
        self._wanted: Camera | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a key frame."""
        return any(camera is not None for camera in self._cameras)

    @torch.inference_mode()
    def render(self, camera: Camera) -> tuple[Frame, float]:
        """Return colour, coverage, depth and face ids of a view, and the share reused.

        Args:
            camera: World frame, of this renderer's size.
        """
        surface = self.renderer.surface
        local = camera.recentred(self.renderer.origin)
        packed = self._packed(local)
        width, height = self.size
        face_id = visibility(surface, packed, width, height)
        order = self._order(local)
        if not order:
            frame = self.renderer.render(camera, ("colour", "depth", "face"), self.exposure)
            self.keep(camera, frame.colour, frame.depth)
            return frame.on_cpu(), 0.0
        tried = torch.tensor(order[:_TRIED_KEYS], dtype=torch.int32, device=packed.device)
        found = ops.reproject(surface.vertices, surface.faces, packed, face_id, self._keys, tried)
        coverage = face_id >= 0
        covered = int(coverage.sum())
        missing = int((found.missing >= 0).sum())
        colour = self._shade(packed, local, found.missing, found.rgb, missing)
        self._fill(colour, coverage, local)
        share = missing / max(covered, 1)
        if share > _MOST_MISSING or self._apart(local, order[0]) > _NEAR_ENOUGH:
            self._wanted = camera
        frame = Frame(coverage=coverage, colour=colour, depth=found.depth, face=face_id)
        return frame.on_cpu(), 1.0 - share if covered else 0.0

    def keep(self, camera: Camera, colour: Tensor, depth: Tensor) -> None:
        """Keep a picture that was rendered in full, in place of the one farthest away.

        Args:
            camera: World frame, of this renderer's size.
            colour: Uint8 [H, W, 3], under this renderer's exposure.
            depth: Float32 [H, W]; rows that are not rendered yet hold +inf.
        """
        local = camera.recentred(self.renderer.origin)
        empty = [row for row, known in enumerate(self._cameras) if known is None]
        row = empty[0] if empty else self._order(local)[-1]
        self._keys.cameras[row] = self._packed(local)
        self._keys.colour[row] = colour
        self._keys.depth[row] = depth
        self._cameras[row] = local
        seen = depth[torch.isfinite(depth)]
        self._distance[row] = float(seen.median()) if len(seen) else 1.0
        self._wanted = None

    def improve(self, stop: Callable[[], bool]) -> None:
        """Work on the next key frame, where one is wanted, until it is finished or ``stop()``."""
        if self._pending is None:
            if self._wanted is None:
                return
            self._pending = self._begin(self._wanted)
        pending = self._pending
        width, height = self.size
        while pending.rows < height:
            rows = min(max(1, _BAND_PIXELS // width), height - pending.rows)
            rect = (0, pending.rows, width, rows)
            frame = self.renderer.render(pending.camera, ("colour", "depth"), self.exposure, rect)
            inside = slice(pending.rows, pending.rows + rows)
            pending.colour[inside] = frame.colour
            pending.depth[inside] = frame.depth
            pending.rows += rows
            if stop():
                return
        self._pending = None
        self.keep(pending.camera, pending.colour, pending.depth)

    def _begin(self, camera: Camera) -> _Pending:
        width, height = self.size
        device = self.renderer.model.device
        with torch.inference_mode(False):
            colour = torch.zeros(height, width, 3, dtype=torch.uint8, device=device)
            return _Pending(camera, colour, torch.zeros(height, width, device=device))

    def _packed(self, local: Camera) -> Tensor:
        return torch.from_numpy(local.packed()).to(self.renderer.model.device)

    def _order(self, local: Camera) -> list[int]:
        """Return the rows of the key frames, nearest view first."""
        known = [row for row, camera in enumerate(self._cameras) if camera is not None]
        return sorted(known, key=lambda row: self._apart(local, row))

    def _apart(self, local: Camera, row: int) -> float:
        """Return how far a view is from a key frame's, in units of the distance it looks over."""
        key = self._cameras[row]
        moved = float(np.linalg.norm(local.position - key.position)) / self._distance[row]
        cosine = (np.trace(local.R @ key.R.T) - 1) / 2
        return moved + _TURN * float(np.arccos(np.clip(cosine, -1, 1)))

    def _shade(
        self, packed: Tensor, local: Camera, missing: Tensor, rgb: Tensor, count: int
    ) -> Tensor:
        """Return the reused colours joined with those of the missing pixels, shaded now."""
        if count == 0:
            return rgb
        start = time.perf_counter()
        model, surface = self.renderer.model, self.renderer.surface
        if count * self._pixel_seconds <= self.seconds:
            shaded = model.paint(surface, packed, missing, (0, 0), self.exposure)
            self._learn(time.perf_counter() - start, count)
            # Each is 255 where the other is not.
            return torch.minimum(shaded, rgb)
        width, height = self.size
        small = (-(-width // _COARSE), -(-height // _COARSE))
        coarse = self._packed(local.scaled(*small))
        face_id = visibility(surface, coarse, *small)
        left = missing >= 0
        face_id[~_any_of_block(left)] = -1
        shaded = model.paint(surface, coarse, face_id, (0, 0), self.exposure)
        self._learn(time.perf_counter() - start, int((face_id >= 0).sum()))
        wide = _repeated(shaded, self.size)
        found = _repeated((face_id >= 0)[..., None], self.size)[..., 0]
        rest = torch.where(found, -1, missing)
        rgb = torch.where((left & found)[..., None], wide, rgb)
        return torch.minimum(model.paint(surface, packed, rest, (0, 0), self.exposure), rgb)

    def _learn(self, seconds: float, count: int) -> None:
        if count > 2000:
            self._pixel_seconds = 0.7 * self._pixel_seconds + 0.3 * seconds / count

    def _fill(self, colour: Tensor, coverage: Tensor, local: Camera) -> None:
        """Paint the background, one colour for 2 x 2 pixels: it is smooth."""
        background = self.renderer.background
        if background is None or bool(coverage.all()):
            return
        place = _any_of_block(~coverage).nonzero()
        pixel = (place.flip(1).double() + 0.5) * _COARSE
        direction = torch.from_numpy(local.rays(pixel.cpu().numpy())).float().to(colour.device)
        finite = direction.isfinite().all(1)
        rows, columns = place[finite].unbind(1)
        position = torch.from_numpy(local.position).float().to(colour.device)
        values = background.colour(position, direction[finite])
        across = -(-self.size[0] // _COARSE)
        small = torch.full((-(-self.size[1] // _COARSE) * across, 3), 255, dtype=torch.uint8)
        small = small.to(colour.device)
        small[rows * across + columns] = (values * 255 + 0.5).to(torch.uint8)
        y, x = (~coverage).nonzero().unbind(1)
        source = small.index_select(0, y // _COARSE * across + x // _COARSE)
        colour.reshape(-1, 3).index_copy_(0, y * self.size[0] + x, source)


def _any_of_block(flags: Tensor) -> Tensor:
    """Return for each block of 2 x 2 pixels whether a flag is set: bool [ceil(h/2), ceil(w/2)]."""
    height, width = flags.shape
    padded = torch.nn.functional.pad(flags, (0, width % _COARSE, 0, height % _COARSE))
    blocks = padded.reshape(padded.shape[0] // _COARSE, _COARSE, -1, _COARSE)
    return blocks.any(3).any(1)


def _repeated(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [h, w, C] with every value repeated over 2 x 2 pixels, cut to (width, height)."""
    wide = small.repeat_interleave(_COARSE, 0).repeat_interleave(_COARSE, 1)
    return wide[: size[1], : size[0]].contiguous()
