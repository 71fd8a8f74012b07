"""Pictures of a moving camera: colours are taken from key frames, only the rest is shaded.

A key frame is a picture that was rendered in full, or the part of it that was. Surface points do
not move, so what it shows of them is right for a new view too, but for reflections, which change
slowly (``xscale.ops.reproject``). Outlines, depths and face ids are exact in every picture. Colours
that were taken from a key frame never go into another one, so that errors do not add up.
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
_NEAR_ENOUGH = 0.08
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
    """A key frame in the making: its slot, and the pixels whose colours are not its own yet."""

    slot: int
    packed: Tensor
    depth: Tensor
    """Float32 [H, W], of the whole view; the slot has it where the colour is exact."""
    left: Tensor
    """Int32 [H, W], faces of the pixels to be shaded, else -1."""
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

    @property
    def ready(self) -> bool:
        """Whether there is a key frame."""
        return any(camera is not None for camera in self._cameras)

    @torch.inference_mode()
    def render(
        self, camera: Camera, check: Callable[[], None] = lambda: None
    ) -> tuple[Frame, float]:
        """Return colour, coverage, depth and face ids of a view, and the share reused.

        Args:
            camera: World frame, of this renderer's size.
            check: Called between the steps; may raise to give the picture up.
        """
        surface = self.renderer.surface
        local = camera.recentred(self.renderer.origin)
        packed = self._packed(local)
        width, height = self.size
        face_id = visibility(surface, packed, width, height)
        check()
        order = self._order(local)
        if not order:
            frame = self.renderer.render(
                camera, ("colour", "depth", "face"), self.exposure, smooth=False
            )
            self.keep(camera, frame.colour, frame.depth)
            return frame.on_cpu(), 0.0
        tried = torch.tensor(order[:_TRIED_KEYS], dtype=torch.int32, device=packed.device)
        found = ops.reproject(surface.vertices, surface.faces, packed, face_id, self._keys, tried)
        check()
        coverage = face_id >= 0
        covered = int(coverage.sum())
        missing = int((found.missing >= 0).sum())
        colour, exact = self._shade(packed, local, found.missing, found.rgb, missing)
        check()
        share = missing / max(covered, 1)
        wanted = share > _MOST_MISSING or self._apart(local, order[0]) > _NEAR_ENOUGH
        if wanted and self._pending is None:
            self._begin(local, packed, colour, found.depth, face_id, exact)
        self._fill(colour, coverage, local)
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
        seen = depth[torch.isfinite(depth)]
        slot = self._slot(local, float(seen.median()) if len(seen) else 1.0)
        self._keys.colour[slot] = colour
        self._keys.depth[slot] = depth

    @torch.inference_mode()
    def improve(self, stop: Callable[[], bool]) -> None:
        """Shade what the newest key frame lacks, until it is finished or ``stop()``."""
        pending = self._pending
        if pending is None:
            return
        width, height = self.size
        model, surface = self.renderer.model, self.renderer.surface
        while pending.rows < height:
            rows = min(max(1, _BAND_PIXELS // width), height - pending.rows)
            inside = slice(pending.rows, pending.rows + rows)
            left = pending.left[inside]
            if bool((left >= 0).any()):
                corner = (0, pending.rows)
                shaded = model.paint(surface, pending.packed, left, corner, self.exposure)
                colour = self._keys.colour[pending.slot, inside]
                torch.where((left >= 0)[..., None], shaded, colour, out=colour)
            self._keys.depth[pending.slot, inside] = pending.depth[inside]
            pending.rows += rows
            if stop():
                break
        if pending.rows == height:
            self._pending = None

    def _slot(self, local: Camera, distance: float) -> int:
        """Return the place of a new key frame: an empty one, else that of the farthest."""
        empty = [slot for slot, known in enumerate(self._cameras) if known is None]
        slot = empty[0] if empty else self._order(local)[-1]
        if self._pending is not None and self._pending.slot == slot:
            self._pending = None
        self._keys.cameras[slot] = self._packed(local)
        self._cameras[slot] = local
        self._distance[slot] = distance
        return slot

    def _begin(
        self,
        local: Camera,
        packed: Tensor,
        colour: Tensor,
        depth: Tensor,
        face_id: Tensor,
        exact: Tensor,
    ) -> None:
        """Begin a key frame of a view with the pixels that were shaded for it: ``exact``."""
        seen = depth[::8, ::8]
        seen = seen[torch.isfinite(seen)]
        slot = self._slot(local, float(seen.median()) if len(seen) else 1.0)
        self._keys.colour[slot] = colour
        self._keys.depth[slot] = torch.where(exact, depth, float("inf"))
        left = torch.where(exact, -1, face_id)
        self._pending = _Pending(slot, packed, depth, left)

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
    ) -> tuple[Tensor, Tensor]:
        """Return the reused colours joined with those of the missing pixels, shaded now.

        With them come the pixels whose colours are exact, bool [H, W].
        """
        left = missing >= 0
        if count == 0:
            return rgb, left
        start = time.perf_counter()
        model, surface = self.renderer.model, self.renderer.surface
        if count * self._pixel_seconds <= self.seconds:
            shaded = model.paint(surface, packed, missing, (0, 0), self.exposure)
            self._learn(time.perf_counter() - start, count)
            # Each is 255 where the other is not.
            return torch.minimum(shaded, rgb), left
        width, height = self.size
        small = (-(-width // _COARSE), -(-height // _COARSE))
        coarse = self._packed(local.scaled(*small))
        face_id = visibility(surface, coarse, *small)
        face_id = torch.where(_any_of_block(left), face_id, -1)
        shaded = model.paint(surface, coarse, face_id, (0, 0), self.exposure)
        self._learn(time.perf_counter() - start, int((face_id >= 0).sum()))
        wide = _repeated(shaded, self.size)
        found = _repeated((face_id >= 0)[..., None], self.size)[..., 0]
        rest = torch.where(found, -1, missing)
        rgb = torch.where((left & found)[..., None], wide, rgb)
        shaded = model.paint(surface, packed, rest, (0, 0), self.exposure)
        return torch.minimum(shaded, rgb), rest >= 0

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
