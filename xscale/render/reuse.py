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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import visibility, visible
from xscale.geometry.camera import Camera
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
_BAND_PIXELS = 1 << 14
_FILL_NODES = 1 << 13
"""Nodes of a backdrop whose colours are found together: their numbers stay in the cache."""
_COARSE = 2
"""Edge of the blocks of pixels that share a colour where the time for single ones is lacking."""


class Moving(NamedTuple):
    """Picture of a moving camera, on the CPU."""

    rgba: Tensor
    """Uint8 [H, W, 4], sRGB; alpha is 255."""
    depth: Tensor
    """Float32 [H, W], as ``ops.rasterize`` gives it; +inf where nothing is hit."""
    face: Tensor
    """Int32 [H, W], -1 where nothing is hit."""
    reused: float
    """Share of the covered pixels whose colours were taken from key frames."""


@dataclass(eq=False)
class _Pending:
    """A key frame in the making: its slot, and the pixels whose colours are not its own yet."""

    slot: int
    camera: Camera
    """The view, in the local frame."""
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
        seconds: float = 0.02,
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
                colour=torch.zeros(_MOST_KEYS, height, width, 4, dtype=torch.uint8, device=device),
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
    def render(self, camera: Camera, check: Callable[[], None] = lambda: None) -> Moving:
        """Return the picture of a view.

        Args:
            camera: World frame, of this renderer's size.
            check: Called between the steps; may raise to give the picture up.
        """
        local = camera.recentred(self.renderer.origin)
        order = self._order(local)
        if not order:
            return self._whole(camera)
        found, face_id, depth = self._reproject(local, order[:_TRIED_KEYS], check)
        check()
        left = (found.missing.reshape(-1) >= 0).nonzero().squeeze(1)
        covered = int((face_id >= 0).sum())
        exact = self._shade(local, found, left)
        check()
        share = len(left) / max(covered, 1)
        wanted = share > _MOST_MISSING or self._apart(local, order[0]) > _NEAR_ENOUGH
        if wanted and self._pending is None:
            self._begin(local, found.rgba, depth, face_id, exact)
        parts = (part.cpu() for part in (found.rgba, depth, face_id))
        return Moving(*parts, 1.0 - share if covered else 0.0)

    def _reproject(
        self, local: Camera, order: list[int], check: Callable[[], None]
    ) -> tuple[ops.Reprojected, Tensor, Tensor]:
        """Return what key frames show of a view, its face ids and its depths.

        Args:
            local: The view, local frame.
            order: Rows of the key frames to try.
            check: As for ``render``.
        """
        surface, packed = self.renderer.surface, self._packed(local)
        face_id, depth = visible(surface, packed, *self.size)
        check()
        found = ops.reproject(
            surface.vertices, surface.faces, packed, face_id, depth, self._keys,
            torch.tensor(order, dtype=torch.int32, device=packed.device),
            backdrop=self._backdrop(face_id, local),
        )  # fmt: skip
        return found, face_id, depth

    def _faces(self, local: Camera) -> Tensor:
        """Return the face ids of a view."""
        return visibility(self.renderer.surface, self._packed(local), local.width, local.height)

    def _colours(self, local: Camera, face_id: Tensor, top: int = 0) -> Tensor:
        """Return the colours of the rows of a view from ``top``, uint8 [h, w, 3]."""
        renderer = self.renderer
        return renderer.model.paint(
            renderer.surface, self._packed(local), face_id, (0, top), self.exposure
        )

    def _stored(self, slot: int, rows: slice) -> None:
        """Take note that rows of a key frame are new."""

    def _whole(self, camera: Camera) -> Moving:
        """Render a view in full and keep it: there is no key frame yet."""
        outputs = ("colour", "depth", "face")
        frame = self.renderer.render(camera, outputs, self.exposure, smooth=False)
        self.keep(camera, frame.colour, frame.depth)
        rgba = with_alpha(frame.colour)
        return Moving(rgba.cpu(), frame.depth.cpu(), frame.face.cpu(), 0.0)

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
        self._keys.colour[slot, ..., :3] = colour
        self._keys.depth[slot] = depth
        self._stored(slot, slice(0, self.size[1]))

    @torch.inference_mode()
    def improve(self, stop: Callable[[], bool]) -> None:
        """Shade what the newest key frame lacks, until it is finished or ``stop()``."""
        pending = self._pending
        if pending is None:
            return
        width, height = self.size
        while pending.rows < height:
            rows = min(max(1, _BAND_PIXELS // width), height - pending.rows)
            inside = slice(pending.rows, pending.rows + rows)
            left = pending.left[inside]
            if bool((left >= 0).any()):
                shaded = self._colours(pending.camera, left, pending.rows)
                self._keys.colour[pending.slot, inside][left >= 0] = with_alpha(shaded)[left >= 0]
            self._keys.depth[pending.slot, inside] = pending.depth[inside]
            self._stored(pending.slot, inside)
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
        rgba: Tensor,
        depth: Tensor,
        face_id: Tensor,
        exact: Tensor,
    ) -> None:
        """Begin a key frame of a view with the pixels that were shaded for it.

        Args:
            local: The view, local frame.
            rgba: Its picture.
            depth: Its depths.
            face_id: Its faces.
            exact: Int64 [N], the pixels whose colours are the model's own.
        """
        seen = depth[::8, ::8]
        seen = seen[torch.isfinite(seen)]
        slot = self._slot(local, float(seen.median()) if len(seen) else 1.0)
        self._keys.colour[slot] = rgba
        known = torch.full_like(depth, float("inf"))
        known.reshape(-1)[exact] = depth.reshape(-1)[exact]
        self._keys.depth[slot] = known
        self._stored(slot, slice(0, self.size[1]))
        left = face_id.clone()
        left.reshape(-1)[exact] = -1
        self._pending = _Pending(slot, local, depth, left)

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

    def _shade(self, local: Camera, found: ops.Reprojected, left: Tensor) -> Tensor:
        """Shade the pixels that no key frame shows, into the picture.

        Args:
            local: The view, local frame.
            found: The picture so far.
            left: Int64 [N], the missing pixels.

        Returns:
            The pixels that have their own colours now, int64 [M].
        """
        if not len(left):
            return left
        start = time.perf_counter()
        if len(left) * self._pixel_seconds <= self.seconds:
            self._paint(local, found.missing, found.rgba, left)
            self._learn(time.perf_counter() - start, len(left))
            return left
        small = (-(-self.size[0] // _COARSE), -(-self.size[1] // _COARSE))
        coarse = local.scaled(*small)
        face_id = torch.where(_any_of_block(found.missing >= 0), self._faces(coarse), -1)
        shaded = self._colours(coarse, face_id)
        self._learn(time.perf_counter() - start, int((face_id >= 0).sum()))
        row, column = left // self.size[0] // _COARSE, left % self.size[0] // _COARSE
        block = row * small[0] + column
        shared = face_id.reshape(-1)[block] >= 0
        taken = left[shared]
        colours = with_alpha(shaded.reshape(-1, 3)[block[shared]])
        found.rgba.reshape(-1, 4)[taken] = colours
        alone = left[~shared]
        missing = torch.full_like(found.missing, -1)
        missing.reshape(-1)[alone] = found.missing.reshape(-1)[alone]
        self._paint(local, missing, found.rgba, alone)
        return alone

    def _paint(self, local: Camera, face_id: Tensor, rgba: Tensor, pixels: Tensor) -> None:
        """Shade the covered pixels of ``face_id``, whose numbers are int64 [N], into a picture."""
        shaded = self._colours(local, face_id)
        rgba.reshape(-1, 4)[pixels] = with_alpha(shaded.reshape(-1, 3)[pixels])

    def _learn(self, seconds: float, count: int) -> None:
        if count > 2000:
            self._pixel_seconds = 0.7 * self._pixel_seconds + 0.3 * seconds / count

    def _backdrop(self, face_id: Tensor, local: Camera) -> Tensor | None:
        """Return what uncovered pixels show, as ``ops.reproject`` takes it; None is white."""
        background = self.renderer.background
        if background is None:
            return None
        width, height = self.size
        step = ops.BACKDROP_STEP
        columns, rows = ops.backdrop_size(width, height)
        padded = face_id
        if width % step or height % step:
            room = (0, -width % step, 0, -height % step)
            padded = torch.nn.functional.pad(face_id, room, value=-1)
        cell = padded.reshape(rows - 1, step, columns - 1, step).amin((1, 3)) < 0
        # A node belongs to the four cells around it.
        node = torch.zeros(rows, columns, dtype=torch.bool, device=face_id.device)
        for down in (0, 1):
            for right in (0, 1):
                node[down : rows - 1 + down, right : columns - 1 + right] |= cell
        place = node.nonzero()
        if not len(place):
            return None
        direction = torch.from_numpy(local.rays(place.flip(1).cpu().numpy() * float(step)))
        direction = direction.float().to(face_id.device)
        position = torch.from_numpy(local.position).float().to(face_id.device)
        values = torch.cat(
            [background.colour(position, part) for part in direction.split(_FILL_NODES)]
        )
        # Outside the lens's domain nothing is seen: white, as everywhere.
        values = torch.where(direction.isfinite(), values, 1.0)
        nodes = torch.full((rows, columns, 4), 255, dtype=torch.uint8, device=face_id.device)
        nodes[node] = with_alpha((values * 255 + 0.5).to(torch.uint8))
        return nodes


def with_alpha(rgb: Tensor) -> Tensor:
    """Return colours uint8 [..., 4] of colours [..., 3]; alpha is 255."""
    return torch.nn.functional.pad(rgb, (0, 1), value=255)


def _any_of_block(flags: Tensor) -> Tensor:
    """Return for each block of 2 x 2 pixels whether a flag is set: bool [ceil(h/2), ceil(w/2)]."""
    height, width = flags.shape
    padded = torch.nn.functional.pad(flags, (0, width % _COARSE, 0, height % _COARSE))
    blocks = padded.reshape(padded.shape[0] // _COARSE, _COARSE, -1, _COARSE)
    return blocks.any(3).any(1)
