"""Feature networks on pictures of any size, for distances between several pictures at once.

A photo is compared with many variants of one render, which differ from each other only where the
mesh covers or does not cover the frame. A picture is therefore cut into tiles, which bound the
memory, and each slice of a tile into blocks: a block that several pictures share is computed once.
The result is that of whole pictures: margins are real pixels, and zeros are added at the picture's
edges only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xscale.errors import ShapeError

Span = tuple[int, int]
Crop = Callable[[int, slice, slice], Tensor]
"""Gives rows and columns of a picture, by its number, as the network's input [1, 3, h, w]."""

_TILE = 1024
"""Nominal side of a tile in pixels: its features take about 120 MB a picture."""


def common_size(pictures: Sequence[np.ndarray]) -> tuple[int, int]:
    """Return height and width of pictures [H, W, 3] that are to be compared.

    Raises:
        ShapeError: They differ in shape.
    """
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        raise ShapeError(f"pictures differ in shape: {sorted(shapes)}")
    return pictures[0].shape[:2]


class Layer(NamedTuple):
    """A convolution; a ReLU follows each."""

    index: int
    """Its place in torchvision's ``features``."""
    kernel: int
    stride: int
    padding: int


class Pool(NamedTuple):
    """A pooling between two slices; always with stride 2."""

    width: int
    padding: int
    apply: Callable[[Tensor], Tensor]
    """Pools [1, C, h, w] without padding."""


class Slice(NamedTuple):
    """Layers up to a tap of the network."""

    layers: tuple[Layer, ...]
    block: int | None
    """Side of a block of the output; None computes a tile at once."""
    pool: Pool | None


class Convolution(NamedTuple):
    """Weights of one layer, float32."""

    weight: Tensor
    """[out, in, k, k]."""
    bias: Tensor
    """[out]."""


class Taps(NamedTuple):
    """A part of a slice's output."""

    number: int
    """Number of the slice, from 0."""
    owner: list[int]
    """For each picture the first one that is equal here."""
    features: dict[int, Tensor]
    """[1, C, h, w] of each picture that owns; parts cover a picture's output exactly once."""


def walk(
    crop: Crop,
    count: int,
    size: tuple[int, int],
    slices: Sequence[Slice],
    convolutions: Mapping[int, Convolution],
) -> Iterator[Taps]:
    """Run a network over pictures of one size.

    Args:
        crop: Gives parts of the pictures.
        count: Number of pictures.
        size: Their height and width.
        slices: The network.
        convolutions: Weights by layer.

    Yields:
        Parts of the output, tile by tile.
    """
    for rows in _tiles(size[0], slices):
        for columns in _tiles(size[1], slices):
            first = (slice(*rows[0].input), slice(*columns[0].input))
            pictures = [crop(i, *first) for i in range(count)]
            for number, layers in enumerate(slices):
                place = (rows[number], columns[number])
                following: list[Tensor] = []
                for block in itertools.product(*(_parts(axis, layers) for axis in place)):
                    owner, taps = _block(pictures, block, place, layers, convolutions)
                    own = [_within(part.own, part.tap) for part in block]
                    # Blocks in a tile's margin are the neighbour's own.
                    if all(part.own[0] < part.own[1] for part in block):
                        yield Taps(number, owner, {i: _cut(tap, own) for i, tap in taps.items()})
                    if number < len(slices) - 1:
                        given = {i: _pooled(tap, block, place, layers) for i, tap in taps.items()}
                        following = following or _empty(count, given[0], place)
                        _put(following, given, owner, block, place)
                pictures = following


class _Axis(NamedTuple):
    """A tile along one axis at one slice; all in pixels of the picture at that depth."""

    length: int
    """Length of the whole picture's output."""
    input_length: int
    input: Span
    """Pixels that the slice is given."""
    own: Span
    """Pixels that this tile alone counts."""
    onward: Span
    """Pixels that it hands on: those of the next slice's input, or its own after the last."""


class _Part(NamedTuple):
    """A block along one axis."""

    own: Span
    tap: Span
    onward: Span


def _before(span: Span, kernel: int, stride: int, padding: int, length: int) -> tuple[Span, Span]:
    """Return the input of an output span, and the zeros that lie outside on either side."""
    low, high = span[0] * stride - padding, (span[1] - 1) * stride - padding + kernel
    inside = (max(low, 0), min(high, length))
    return inside, (inside[0] - low, high - inside[1])


def _after(length: int, kernel: int, stride: int, padding: int) -> int:
    return (length + 2 * padding - kernel) // stride + 1


def _lengths(length: int, layers: Sequence[Layer]) -> list[int]:
    """Return the lengths before each layer and after the last."""
    lengths = [length]
    for layer in layers:
        lengths.append(_after(lengths[-1], layer.kernel, layer.stride, layer.padding))
    return lengths


def _tiles(length: int, slices: Sequence[Slice]) -> list[list[_Axis]]:
    """Cut an axis into tiles, each with its spans in every slice."""
    inputs, outputs = [], []
    for part in slices:
        inputs.append(length)
        outputs.append(_lengths(length, part.layers)[-1])
        length = outputs[-1]
        if part.pool:
            length = _after(length, part.pool.width, 2, part.pool.padding)
    count = max(1, round(inputs[0] / _TILE))
    return [_tile(j, count, inputs, outputs, slices) for j in range(count)]


def _tile(
    number: int, count: int, inputs: list[int], outputs: list[int], slices: Sequence[Slice]
) -> list[_Axis]:
    low, high = (outputs[-1] * (number + i) // count for i in (0, 1))
    spans: list[_Axis] = []
    onward: Span | None = None
    for k in reversed(range(len(slices))):
        part = slices[k]
        if k < len(slices) - 1 and part.pool:
            low, high = 2 * low, 2 * high
        own = (low, outputs[k] if number == count - 1 else high)
        handed = own if onward is None else onward
        need = _joined(own, _tap_of(handed, part.pool, outputs[k]))
        onward = _input_of(need, part.layers, inputs[k])
        spans.append(_Axis(outputs[k], inputs[k], onward, own, handed))
    return spans[::-1]


def _joined(one: Span, other: Span) -> Span:
    return min(one[0], other[0]), max(one[1], other[1])


def _tap_of(onward: Span, pool: Pool | None, length: int) -> Span:
    """Return what a span of the pooled output is made of."""
    return _before(onward, pool.width, 2, pool.padding, length)[0] if pool else onward


def _input_of(span: Span, layers: Sequence[Layer], length: int) -> Span:
    lengths = _lengths(length, layers)
    for layer, before in zip(reversed(layers), reversed(lengths[:-1]), strict=True):
        span, _ = _before(span, layer.kernel, layer.stride, layer.padding, before)
    return span


def _parts(axis: _Axis, layers: Slice) -> Iterator[_Part]:
    """Cut a tile's axis into blocks."""
    pool = layers.pool
    low, high = axis.onward
    scale = 2 if pool else 1
    step = high - low if layers.block is None else layers.block // scale
    starts = range(low, high, step)
    for start in starts:
        end = min(start + step, high)
        # A pooled pixel stands for two of the output; the first and last take what is left over.
        first = axis.own[0] if start == low else max(scale * start, axis.own[0])
        last = axis.own[1] if end == high else min(scale * end, axis.own[1])
        own = (first, max(first, last))
        tap = _tap_of((start, end), pool, axis.length)
        yield _Part(own, _joined(own, tap) if own[0] < own[1] else tap, (start, end))


def _block(
    pictures: Sequence[Tensor],
    block: tuple[_Part, ...],
    place: tuple[_Axis, _Axis],
    layers: Slice,
    convolutions: Mapping[int, Convolution],
) -> tuple[list[int], dict[int, Tensor]]:
    """Return the owner of each picture in a block, and the output of those that own."""
    paddings = []
    window = []
    for part, axis in zip(block, place, strict=True):
        span, zeros = part.tap, []
        lengths = _lengths(axis.input_length, layers.layers)
        for layer, length in zip(reversed(layers.layers), reversed(lengths[:-1]), strict=True):
            span, outside = _before(span, layer.kernel, layer.stride, layer.padding, length)
            zeros.insert(0, outside)
        window.append(_within(span, axis.input))
        paddings.append(zeros)
    inputs = [_cut(picture, window) for picture in pictures]
    owner = _first_equal(inputs)
    taps = {}
    for i in dict.fromkeys(owner):
        x = inputs[i]
        for layer, (rows, columns) in zip(layers.layers, zip(*paddings, strict=True), strict=True):
            if any((*rows, *columns)):
                x = functional.pad(x, [*columns, *rows])
            weight, bias = convolutions[layer.index]
            x = functional.conv2d(x, weight, bias, layer.stride).relu_()
        taps[i] = x
    return owner, taps


def _first_equal(tensors: Sequence[Tensor]) -> list[int]:
    """For each tensor the index of the first one with the same values."""
    owner: list[int] = []
    for i, tensor in enumerate(tensors):
        same = (j for j in dict.fromkeys(owner) if torch.equal(tensors[j], tensor))
        owner.append(next(same, i))
    return owner


def _within(span: Span, outer: Span) -> slice:
    return slice(span[0] - outer[0], span[1] - outer[0])


def _cut(picture: Tensor, window: Sequence[slice]) -> Tensor:
    """Return rows and columns of [1, C, H, W]."""
    return picture[:, :, window[0], window[1]]


def _pooled(
    tap: Tensor, block: tuple[_Part, ...], place: tuple[_Axis, _Axis], layers: Slice
) -> Tensor:
    """Return what a block hands on."""
    pool = layers.pool
    if pool is None:
        return _cut(tap, [_within(part.onward, part.tap) for part in block])
    window, zeros = [], []
    for part, axis in zip(block, place, strict=True):
        span, outside = _before(part.onward, pool.width, 2, pool.padding, axis.length)
        window.append(_within(span, part.tap))
        zeros = [*outside, *zeros]
    tap = _cut(tap, window)
    return pool.apply(functional.pad(tap, zeros) if any(zeros) else tap)


def _empty(count: int, example: Tensor, place: tuple[_Axis, _Axis]) -> list[Tensor]:
    """Room for what a tile of each picture hands on."""
    shape = (1, example.shape[1], *(axis.onward[1] - axis.onward[0] for axis in place))
    return [torch.empty(shape, memory_format=torch.channels_last) for _ in range(count)]


def _put(
    pictures: Sequence[Tensor],
    given: Mapping[int, Tensor],
    owner: Sequence[int],
    block: tuple[_Part, ...],
    place: tuple[_Axis, _Axis],
) -> None:
    """Write a block into each picture at its place."""
    window = [_within(part.onward, axis.onward) for part, axis in zip(block, place, strict=True)]
    for picture, i in zip(pictures, owner, strict=True):
        _cut(picture, window).copy_(given[i])
