"""Key frames on a device: pictures whose colours views near them take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xscale.geometry.camera import Camera
from xscale.webgpu import source
from xscale.webgpu.device import faults, module
from xscale.webgpu.passes import READ, UNIFORM, WRITE, Entry, Pass, Passes, mesh_entries
from xscale.webgpu.targets import Target, row_words

_MOST = 4
_KEY_WORDS, _HEAD_WORDS = 24, 8
PLANES = 3
"""Planes of the picture that ``KeyFrames.reproject`` gives: colours, depths, faces to shade."""
_NOWHERE = np.float32(-1e30)
"""Depth where a key frame has no colour; WGSL promises nothing about infinities."""


class Limits(NamedTuple):
    """Limits of what is taken, as for ``ops.reproject``."""

    tolerance: float = 3.0
    sharper: float = 0.8
    coarser: float = 2.0


_LIMITS = Limits()


class KeyFrames:
    """Pictures of one size that were rendered in full, on a device.

    Args:
        passes: The run's.
        width: Of the pictures, in pixels.
        height: Likewise.
        number: Of the pictures, at most four.
    """

    def __init__(self, passes: Passes, width: int, height: int, number: int = _MOST) -> None:
        self._passes = passes
        self._width, self._height, self._number = width, height, number
        self._stride = row_words(width)
        use = module().BufferUsage
        make = passes.device.handle.create_buffer
        size = self.bytes_of(width, height, number)
        self._colour, self._depth = (
            make(size=size, usage=use.STORAGE | use.COPY_DST) for _ in range(2)
        )
        words = _HEAD_WORDS + _MOST * _KEY_WORDS
        self._keys = make(size=4 * words, usage=use.UNIFORM | use.COPY_DST)

    @staticmethod
    def bytes_of(width: int, height: int, number: int = _MOST) -> int:
        """Return the bytes of one of its two bindings."""
        return 4 * row_words(width) * height * number

    def write(self, number: int, top: int, colour: np.ndarray, depth: np.ndarray) -> None:
        """Put rows of a key frame on the device.

        Args:
            number: Of the key frame.
            top: The first row.
            colour: Uint8 [h, width, 4].
            depth: Float32 [h, width], not finite where there is no colour.

        Raises:
            DeviceError: The device was lost.
        """
        fill = ((0, 0), (0, self._stride - self._width))
        begin = 4 * self._stride * (number * self._height + top)
        queue = self._passes.device.handle.queue
        words = np.ascontiguousarray(colour).view(np.uint32)[..., 0]
        known = np.where(np.isfinite(depth), depth, _NOWHERE).astype(np.float32)
        with faults(self._passes.device):
            queue.write_buffer(self._colour, begin, np.pad(words, fill))
            queue.write_buffer(self._depth, begin, np.pad(known, fill))

    def reproject(
        self,
        target: Target,
        frame: np.ndarray,
        camera: Camera,
        keys: Sequence[tuple[int, Camera]],
        limits: Limits = _LIMITS,
    ) -> None:
        """Take the colours of what is drawn in a target from key frames.

        Args:
            target: Its faces are drawn; gets the picture's ``PLANES`` planes.
            frame: The shaders' record of the view.
            camera: The view, a pinhole camera of the local frame.
            keys: Numbers and cameras of the key frames in the order in which they are tried.
            limits: Of what is taken.
        """
        passes = self._passes
        stage = module().ShaderStage.COMPUTE
        entries: list[Entry] = [
            *mesh_entries(stage),
            (4, {"visibility": stage, "buffer": UNIFORM}),
            (5, {"visibility": stage, "texture": {"sample_type": "uint"}}),
            *((n, {"visibility": stage, "buffer": READ}) for n in (6, 7)),
            (8, {"visibility": stage, "buffer": WRITE}),
        ]
        layouts, pipeline = passes.pipeline(
            "reproject", lambda _: source.reproject_source(), "reproject", (entries,)
        )
        record = self._record(camera, keys[:_MOST], limits)
        passes.device.handle.queue.write_buffer(self._keys, 0, record)
        own = [self._keys, target.face_view, self._colour, self._depth, target.picture]
        groups = [
            [passes.group(layouts[0], [*passes.mesh(piece), *own])] for piece in passes.resident
        ]
        Pass(passes, pipeline, groups, 8).run(frame, target.width, target.height)

    def _record(
        self, view: Camera, keys: Sequence[tuple[int, Camera]], limits: Limits
    ) -> np.ndarray:
        """Return the shader's record; what is relative between cameras is made in float64."""
        record = np.zeros(_HEAD_WORDS + _MOST * _KEY_WORDS, np.float32)
        record[:3] = limits.sharper**2, limits.coarser**2, limits.tolerance
        record.view(np.uint32)[4:8] = len(keys), self._width, self._height, self._stride
        rows = record[_HEAD_WORDS:].reshape(_MOST, 6, 4)
        for row, (number, key) in zip(rows, keys, strict=False):
            turn = key.R @ view.R.T
            move = key.t - turn @ view.t
            row[:3, :3], row[:3, 3] = turn, move
            row[3] = *(-turn.T @ move), key.skew
            row[4] = key.fx, key.fy, key.cx, key.cy
            row.view(np.uint32)[5, 0] = number
        return record
