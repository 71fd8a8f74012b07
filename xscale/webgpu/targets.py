"""Textures and buffers that pictures are drawn into, kept from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xscale.webgpu.device import Device, module

_ROW = 64
"""Copies between textures and buffers take rows of so many words, or a multiple."""


def row_words(width: int) -> int:
    """Return the words from row to row of buffers that pictures of a width are kept in."""
    return -(-width // _ROW) * _ROW


@dataclass(eq=False)
class Target:
    """Where a rectangle is drawn: faces and depths, and the picture's words."""

    device: Device
    width: int
    height: int
    planes: int

    @property
    def stride(self) -> int:
        """Words from row to row of buffers."""
        return row_words(self.width)

    @cached_property
    def face(self) -> object:
        """Face ids + 1, 0 where nothing is hit."""
        use = module().TextureUsage
        return self.device.handle.create_texture(
            size=(self.width, self.height, 1),
            format="r32uint",
            usage=use.RENDER_ATTACHMENT | use.TEXTURE_BINDING | use.COPY_SRC | use.COPY_DST,
        )

    @cached_property
    def face_view(self) -> object:
        """View of ``face``."""
        return self.face.create_view()

    @cached_property
    def depth_view(self) -> object:
        """Depth buffer of the rasterizer."""
        return _depth(self.device, self.width, self.height).create_view()

    @cached_property
    def picture(self) -> object:
        """The picture's words, [planes, height, stride]."""
        use = module().BufferUsage
        size = 4 * self.planes * self.height * self.stride
        return self.device.handle.create_buffer(size=size, usage=use.STORAGE | use.COPY_SRC)

    @cached_property
    def chosen(self) -> object:
        """Faces and depths of bent rays, [2, height, stride]."""
        use = module().BufferUsage
        size = 8 * self.height * self.stride
        return self.device.handle.create_buffer(size=size, usage=use.STORAGE | use.COPY_SRC)

    def write_faces(self, face: np.ndarray) -> None:
        """Put face ids, int32 [height, width], where faces are drawn; -1 is nothing."""
        self.device.handle.queue.write_texture(
            {"texture": self.face},
            np.ascontiguousarray((face + 1).astype(np.uint32)),
            {"bytes_per_row": 4 * self.width, "rows_per_image": self.height},
            (self.width, self.height, 1),
        )

    def wait(self) -> None:
        """Wait until the device has done what was submitted: four bytes of it come back."""
        self.device.handle.queue.read_buffer(self.picture, 0, 4)

    def read_picture(self) -> np.ndarray:
        """Return the words, uint32 [planes, height, stride]."""
        raw = self.device.handle.queue.read_buffer(self.picture)
        return np.frombuffer(raw, np.uint32).reshape(self.planes, self.height, self.stride)

    def read_faces(self) -> np.ndarray:
        """Return the face ids, int32 [height, width], -1 where nothing is hit."""
        raw = self.device.handle.queue.read_texture(
            {"texture": self.face},
            {"bytes_per_row": 4 * self.stride, "rows_per_image": self.height},
            (self.width, self.height, 1),
        )
        words = np.frombuffer(raw, np.uint32).reshape(self.height, self.stride)[:, : self.width]
        return words.astype(np.int32) - 1


@dataclass(frozen=True)
class Layer:
    """One layer of ``Candidates``, to draw into."""

    face_view: object
    depth_view: object


@dataclass(eq=False)
class Candidates:
    """Pinhole pictures of face ids, a layer each."""

    device: Device
    size: int
    layers: int

    def __post_init__(self) -> None:
        use = module().TextureUsage
        self._face = self.device.handle.create_texture(
            size=(self.size, self.size, self.layers),
            format="r32uint",
            usage=use.RENDER_ATTACHMENT | use.TEXTURE_BINDING,
        )
        self._depth = _depth(self.device, self.size, self.size).create_view()

    @cached_property
    def view(self) -> object:
        """All layers, to read."""
        return self._face.create_view(dimension="2d-array")

    def layer(self, number: int) -> Layer:
        """Return one layer, to draw into."""
        view = self._face.create_view(dimension="2d", base_array_layer=number, array_layer_count=1)
        return Layer(view, self._depth)


class Targets:
    """The targets of the last sizes.

    Args:
        device: Where they lie.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._target: dict[tuple[int, int, int], Target] = {}
        self._candidates: Candidates | None = None

    def of(self, width: int, height: int, planes: int) -> Target:
        """Return a target of a size; the one before may be kept."""
        key = (width, height, planes)
        if key not in self._target:
            while len(self._target) >= 2:
                self._target.pop(next(iter(self._target)))
            self._target[key] = Target(self._device, width, height, planes)
        return self._target[key]

    def candidates(self, size: int, layers: int) -> Candidates:
        """Return pinhole pictures of a size."""
        now = self._candidates
        if now is None or (now.size, now.layers) != (size, layers):
            self._candidates = now = None
            self._candidates = Candidates(self._device, size, layers)
        return self._candidates


def _depth(device: Device, width: int, height: int) -> object:
    return device.handle.create_texture(
        size=(width, height, 1),
        format="depth32float",
        usage=module().TextureUsage.RENDER_ATTACHMENT,
    )
