"""Painter: a run's mesh, table and network resident on a device, and pictures of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.ops import FilmShaderLayout, FrameGrid, FrameShader
from xscale.webgpu import layout, source
from xscale.webgpu.device import Device, faults
from xscale.webgpu.key_frames import PLANES, KeyFrames
from xscale.webgpu.lens import LensViews, lens_views
from xscale.webgpu.passes import Pass, Passes
from xscale.webgpu.pieces import cluster_boxes, mesh_pieces
from xscale.webgpu.targets import Target, Targets

_BAND_SECONDS = 0.25
"""Aimed time of a dispatch: systems stop a graphics driver that answers nothing for seconds."""
_FIRST_PIXELS = 1 << 15
_TILE = 4096
"""Longest side of what is drawn at once."""
_MISS_DEPTH = np.float32(np.inf)


@dataclass(frozen=True)
class Painted:
    """A rectangle of a picture."""

    covered: np.ndarray
    """Bool [h, w]."""
    colour: np.ndarray
    """Uint8 [h, w, 3], 255 where nothing is hit; float32 with 1 there where that was asked for."""
    depth: np.ndarray | None = None
    """Float32 [h, w], camera z (distance for wide lenses), +inf where nothing is hit."""
    face: np.ndarray | None = None
    """Int32 [h, w], -1 where nothing is hit."""


class Reused(NamedTuple):
    """A picture as far as key frames show it."""

    rgba: np.ndarray
    """Uint8 [h, w, 4], 255 where nothing was taken; alpha is 255."""
    missing: np.ndarray
    """Int32 [h, w], faces of the pixels that are still to be shaded, else -1."""
    depth: np.ndarray
    """Float32 [h, w], camera z, +inf where nothing is hit."""
    face: np.ndarray
    """Int32 [h, w], -1 where nothing is hit."""


class Painter:
    """Pictures of one run on one device; may be asked from several threads.

    Args:
        device: See ``xscale.webgpu.device``.
        surface: The mesh, in the CPU's memory.
        grid: The hash grid.
        kind: A shader of the run: its sizes.
        photo_range: As for ``ops.fused_frame``.
        table: The grid's numbers in another form; None takes them as they are.
        half: Whether a ReLU network computes in float16, where the device has it. (The sines of
            the other need all of float32.)

    Raises:
        NumericsError: The table holds numbers that are not finite.
        ResourceError: The run does not fit the adapter's limits.
    """

    def __init__(
        self,
        device: Device,
        surface: Surface,
        grid: FrameGrid,
        kind: FrameShader,
        *,
        photo_range: float = 255,
        table: layout.Table | None = None,
        half: bool = False,
    ) -> None:
        self.device = device
        self._table = table or layout.plain_table(grid)
        self._grid = grid
        self._range = photo_range / 255
        film = isinstance(kind.layout, FilmShaderLayout)
        self._half = half and not film and "shader-f16" in device.features
        box = grid.box.detach().cpu().double().numpy()
        self._box = box
        self._unit = float(box[1].min()) * max(grid.footprint_scale, 0.0)
        vertices, faces = surface.vertices.numpy(), surface.faces.numpy()
        size = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 1.0
        self._least_near = max(size, 1e-6) * 1e-6
        self._seconds: float | None = None
        self._lock = threading.Lock()
        net = layout.LEVEL_BYTES * grid.layout.levels + len(
            layout.net_bytes(kind, self._table.steps, self._half)
        )
        small = net <= min(device.limits["max-uniform-buffer-binding-size"], layout.UNIFORM_LIMIT)
        # Vertices, faces and the picture take a binding each, and so does a large network.
        free = device.limits["max-storage-buffers-per-shader-stage"] - 3 - (not small)
        groups = layout.table_groups(
            grid.layout, self._table.number, device.binding_bytes, max(free, 1)
        )
        self.sizes = source.Sizes(
            levels=grid.layout.levels,
            width=grid.layout.features_per_level,
            hidden=kind.layout.hidden,
            shader="film" if film else "relu",
            sh_degree=4 if film else kind.layout.sh_degree,
            smoothstep=grid.interpolation == "smoothstep",
            number=self._table.number,
            groups=groups,
            weights="uniform" if small else "storage",
            half=self._half,
        )
        self._levels = layout.level_bytes(grid.layout, groups)
        with faults(device):
            pieces = mesh_pieces(vertices, faces, device.binding_bytes)
            tables = layout.group_bytes(self._table, grid.layout, groups)
            self._passes = Passes(device, pieces, tables, net, lambda: cluster_boxes(surface))
            self._targets = Targets(device)

    def paint(
        self,
        camera: Camera,
        rect: tuple[int, int, int, int],
        shader: FrameShader,
        *,
        floats: bool = False,
        depth: bool = False,
        faces: bool = False,
    ) -> Painted:
        """Paint a rectangle of a camera's picture.

        Args:
            camera: Of the local frame.
            rect: (left, top, width, height) in pixels; it may leave the picture.
            shader: Weights, light and one exposure, of the sizes given before.
            floats: Whether colours are float32, not rounded.
            depth: Whether depths are wanted.
            faces: Whether face ids are wanted.

        Raises:
            DeviceError: The device was lost.
            ResourceError: Its memory is full.
        """
        left, top, width, height = rect
        net = self._levels + layout.net_bytes(shader, self._table.steps, self._half)
        sizes = replace(self.sizes, floats=floats, depth=depth and not floats)
        with self._lock, faults(self.device):
            self._passes.write_net(net)
            rows = [
                [
                    self._tile(camera, (x, y, w, h), sizes, faces)
                    for x, w in _steps(left, width)
                ]
                for y, h in _steps(top, height)
            ]  # fmt: skip
        if len(rows) == 1 and len(rows[0]) == 1:
            return _trimmed(rows[0][0], floats, depth)
        joined = {
            name: np.concatenate(
                [np.concatenate([getattr(tile, name) for tile in row], 1) for row in rows]
            )
            for name, value in vars(rows[0][0]).items()
            if value is not None
        }
        return _trimmed(Painted(**joined), floats, depth)

    def keeps(self, width: int, height: int) -> bool:
        """Whether the device's limits leave room for key frames of a size."""
        fits = KeyFrames.bytes_of(width, height) <= self.device.binding_bytes
        return fits and max(width, height) <= self.device.limits["max-texture-dimension-2d"]

    def key_frames(self, width: int, height: int) -> KeyFrames:
        """Return room for key frames of a size.

        Raises:
            ResourceError: The device's memory is full.
        """
        with faults(self.device):
            return KeyFrames(self._passes, width, height)

    def reproject(
        self, camera: Camera, keys: KeyFrames, tried: Sequence[tuple[int, Camera]]
    ) -> Reused:
        """Take a picture's colours from key frames.

        Args:
            camera: A pinhole camera of the local frame.
            keys: Of its size.
            tried: Numbers and cameras of those to try, in order; cameras of the local frame.

        Raises:
            DeviceError: The device was lost.
            ResourceError: Its memory is full.
        """
        width, height = camera.width, camera.height
        with self._lock, faults(self.device):
            target = self._targets.of(width, height, PLANES)
            frame = self.frame(camera, (0, 0, width, height), target.stride)
            self._passes.draw(target, frame)
            keys.reproject(target, frame, camera, tried)
            words = target.read_picture()[:, :, :width]
            face = target.read_faces()
        depth = words[1].view(np.float32).copy()
        depth[face < 0] = _MISS_DEPTH
        rgba = np.ascontiguousarray(words[0]).view(np.uint8).reshape(height, width, 4)
        return Reused(rgba, words[2].astype(np.int32) - 1, depth, face)

    def faces(self, camera: Camera) -> np.ndarray:
        """Return the nearest face of each pixel of a pinhole camera, int32 [h, w], -1 for none.

        Raises:
            DeviceError: The device was lost.
        """
        with self._lock, faults(self.device):
            target = self._targets.of(camera.width, camera.height, 1)
            rect = (0, 0, camera.width, camera.height)
            self._passes.draw(target, self.frame(camera, rect, target.stride))
            return target.read_faces()

    def shade(
        self, camera: Camera, face: np.ndarray, corner: tuple[int, int], shader: FrameShader
    ) -> np.ndarray:
        """Return the colours of faces that are known, uint8 [h, w, 3], 255 where there is none.

        Args:
            camera: A pinhole camera of the local frame.
            face: Int32 [h, w], -1 for none.
            corner: Left and top pixel of these in the camera's picture.
            shader: As for ``paint``.

        Raises:
            DeviceError: The device was lost.
        """
        height, width = face.shape
        net = self._levels + layout.net_bytes(shader, self._table.steps, self._half)
        with self._lock, faults(self.device):
            self._passes.write_net(net)
            target = self._targets.of(width, height, 1)
            target.write_faces(face)
            frame = self.frame(camera, (*corner, width, height), target.stride)
            self._shade(self._passes.paint(self.sizes, target, None), target, frame)
            return _unpacked(target.read_picture()[:, :, :width], self.sizes, None).colour

    def _tile(
        self, camera: Camera, rect: tuple[int, int, int, int], sizes: source.Sizes, faces: bool
    ) -> Painted:
        width, height = rect[2:]
        target = self._targets.of(width, height, sizes.planes)
        if camera.lens.projection:
            views = lens_views(camera, rect, self.device.limits["max-texture-dimension-2d"])
            if views is None:
                return _nothing(width, height, sizes, faces)
            frame = self.frame(camera, rect, target.stride)
            self._choose(target, frame, views)
            job = self._passes.paint(replace(sizes, lens=True), target, views.rays)
        else:
            frame = self.frame(camera, rect, target.stride)
            self._passes.draw(target, frame)
            job = self._passes.paint(sizes, target, None)
        self._shade(job, target, frame)
        words = target.read_picture()
        face = target.read_faces() if faces else None
        return _unpacked(words[:, :, :width], sizes, face)

    def _choose(self, target: Target, frame: np.ndarray, views: LensViews) -> None:
        """Find the faces that bent rays hit; they then lie where a pinhole's are drawn."""
        size = views.size
        candidates = self._targets.candidates(size, len(views.views))
        for number, view in enumerate(views.views):
            seen = self.frame(view, (0, 0, size, size), size)
            self._passes.draw(candidates.layer(number), seen)
        self._passes.choose(target, frame, candidates, views)

    def _shade(self, job: Pass, target: Target, frame: np.ndarray) -> None:
        """Shade band by band, so that no dispatch takes long."""
        height, width = target.height, target.width
        row = 0
        while row < height:
            most = _FIRST_PIXELS if self._seconds is None else _BAND_SECONDS / self._seconds
            rows = min(max(8, int(most / width) // 8 * 8), height - row)
            frame.view(np.uint32)[7, 3] = row
            start = time.perf_counter()
            job.run(frame, width, rows)
            if rows < height or self._seconds is None:
                target.wait()
                spent = (time.perf_counter() - start) / (rows * width)
                self._seconds = max(spent, 1e-12)
            row += rows

    def frame(self, camera: Camera, rect: tuple[int, int, int, int], stride: int) -> np.ndarray:
        """Return the shaders' record of a camera and rectangle, float32 [11, 4]."""
        left, top, width, height = rect
        eye = camera.position
        high = eye.astype(np.float32)
        frame = np.zeros((11, 4), np.float32)
        frame[0:3, :3] = camera.R
        frame[3, :3] = high
        frame[4, :3] = eye - high
        frame[5] = camera.fx, camera.fy, camera.cx - left, camera.cy - top
        near = max(camera.near, self._least_near)
        frame[6] = camera.skew, near, 0.5, 0.5
        frame.view(np.uint32)[7] = width, height, stride, 0
        frame[8, :3] = self._box[0]
        frame[9, :3] = self._box[1]
        frame[10, :2] = self._range, self._unit
        return frame


def _steps(begin: int, length: int) -> list[tuple[int, int]]:
    return [(begin + at, min(_TILE, length - at)) for at in range(0, length, _TILE)]


def _nothing(width: int, height: int, sizes: source.Sizes, faces: bool) -> Painted:
    """Return a rectangle whose rays all leave the lens's domain."""
    words = np.full((sizes.planes, height, width), 0x00FFFFFF, np.uint32)
    if sizes.planes > 1:
        words[:] = 0
    face = np.full((height, width), -1, np.int32) if faces else None
    return _unpacked(words, sizes, face)


def _unpacked(words: np.ndarray, sizes: source.Sizes, face: np.ndarray | None) -> Painted:
    """Return a picture's words [planes, h, w] as arrays."""
    depth = None
    if sizes.planes > 1:
        depth = words[-1].view(np.float32).copy()
        covered = depth > 0
        depth[~covered] = _MISS_DEPTH
    else:
        covered = words[0] >> 24 != 0
    if sizes.floats:
        colour = np.stack([plane.view(np.float32) for plane in words[:3]], -1)
        colour[~covered] = 1
    else:
        colour = words[0].copy().view(np.uint8).reshape(*words[0].shape, 4)[..., :3]
        colour = np.ascontiguousarray(colour)
        colour[~covered] = 255
    return Painted(covered, colour, depth, face)


def _trimmed(painted: Painted, floats: bool, depth: bool) -> Painted:
    return replace(painted, depth=None) if floats and not depth else painted
