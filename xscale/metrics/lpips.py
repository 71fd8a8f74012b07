"""LPIPS, version 0.1, in plain torch: the ``lpips`` package's distance without torchvision.

A photo is compared with many variants of one render, which differ from each other only where the
mesh covers or does not cover the frame. The network is therefore evaluated slice by slice in
blocks with their margins, and a block whose input several pictures share is computed once. The
result is that of whole pictures: margins are real pixels, never padding.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from xscale.errors import ShapeError
from xscale.metrics.lpips_weights import LpipsWeights, check_available, load_weights

MIN_SIDE = 32
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
# Memory for the pictures between two slices, in bytes; the first pooled slice needs 64 a pixel.
_LIVE_BYTES = 2 << 30
_BYTES_PER_PIXEL = 80


class _Slice(NamedTuple):
    """Layers between two taps of the network."""

    layers: tuple[int, ...]
    stride: int
    padding: int
    block: int | None
    """Side of a block of the output; None evaluates the picture whole."""
    pool: int | None
    """Width of the max pooling (stride 2) after the tap."""


SLICES = {
    "vgg": (
        _Slice((0, 2), 1, 1, 128, 2),
        _Slice((5, 7), 1, 1, 64, 2),
        _Slice((10, 12, 14), 1, 1, 32, 2),
        _Slice((17, 19, 21), 1, 1, 32, 2),
        _Slice((24, 26, 28), 1, 1, None, None),
    ),
    "alex": (
        _Slice((0,), 4, 2, None, 3),
        _Slice((3,), 1, 2, None, 3),
        _Slice((6,), 1, 1, None, None),
        _Slice((8,), 1, 1, None, None),
        _Slice((10,), 1, 1, None, None),
    ),
}


class _Block(NamedTuple):
    """A rectangle of a slice's output and where its input comes from."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    input_rows: slice
    input_columns: slice
    edges: tuple[bool, bool, bool, bool]
    """Whether it touches the picture's left, right, upper and lower edge."""


def _blocks(height: int, width: int, layers: _Slice) -> list[_Block]:
    if layers.block is None:
        whole = slice(None)
        return [_Block((0, height), (0, width), whole, whole, (True, True, True, True))]
    margin = layers.padding * len(layers.layers)
    return [
        _Block(
            (top, bottom),
            (left, right),
            slice(max(0, top - margin), min(height, bottom + margin)),
            slice(max(0, left - margin), min(width, right + margin)),
            (left == 0, right == width, top == 0, bottom == height),
        )
        for top, bottom in _spans(height, layers.block, margin)
        for left, right in _spans(width, layers.block, margin)
    ]


def _spans(length: int, side: int, margin: int) -> list[tuple[int, int]]:
    """Cut an axis; a rest thinner than a margin joins the last part, which needs all of it."""
    starts = list(range(0, length, side))
    if len(starts) > 1 and length - starts[-1] < margin:
        starts.pop()
    return list(zip(starts, [*starts[1:], length], strict=True))


def _first_equal(tensors: Sequence[torch.Tensor]) -> list[int]:
    """For each tensor the index of the first one with the same values."""
    owner: list[int] = []
    for i, tensor in enumerate(tensors):
        same = (j for j in dict.fromkeys(owner) if torch.equal(tensors[j], tensor))
        owner.append(next(same, i))
    return owner


class LpipsModel:
    """One LPIPS network.

    Args:
        net: ``vgg`` or ``alex``.
        weights_dir: Folder with the backbone's weights; None looks in the usual places.
        weights: Weights already loaded, instead of ``weights_dir``.

    Raises:
        SetupError: Weights or the lpips package are missing; the message says how to get them.
        UsageError: ``weights_dir`` is not a folder.
        IntegrityError: A weights file is damaged.
    """

    def __init__(
        self,
        net: str,
        weights_dir: str | Path | None = None,
        *,
        weights: LpipsWeights | None = None,
    ) -> None:
        self.net = net
        weights = weights or load_weights(net, weights_dir)
        self.source = weights.source
        self._slices = SLICES[net]
        self._convolutions = {
            i: (c.weight.contiguous(memory_format=torch.channels_last), c.bias)
            for i, c in weights.convolutions.items()
        }
        self._heads = weights.heads

    @torch.inference_mode()
    def distances(
        self,
        pictures: Sequence[np.ndarray],
        pairs: Sequence[tuple[int, int]],
        *,
        shifted: bool = True,
    ) -> list[float | None]:
        """Compare pairs of pictures; those with much in common cost little more than one.

        Args:
            pictures: float [H, W, 3] in [0, 1], or uint8, all of one size.
            pairs: Indices into ``pictures``.
            shifted: Whether values are mapped to [-1, 1], as the lpips package wants them;
                otherwise the network is given [0, 1], as splatting codes do.

        Returns:
            A distance per pair, 0 for identical pictures; None for each if a side is shorter
            than 32 pixels, where the network has no output.

        Raises:
            ShapeError: The pictures differ in shape.
        """
        if len({p.shape for p in pictures}) > 1:
            raise ShapeError(f"pictures differ in shape: {sorted({p.shape for p in pictures})}")
        height, width = pictures[0].shape[:2]
        if min(height, width) < MIN_SIDE:
            return [None] * len(pairs)
        live = max(2, _LIVE_BYTES // (_BYTES_PER_PIXEL * height * width))
        result: list[float | None] = []
        for group in _groups(pairs, live):
            used = sorted({i for pair in group for i in pair})
            inputs = [_normalised_input(pictures[i], shifted) for i in used]
            owner = _first_equal(inputs)
            distinct = {i: n for n, i in enumerate(dict.fromkeys(owner))}
            place = {i: distinct[owner[k]] for k, i in enumerate(used)}
            inputs = [inputs[i] for i in distinct]
            result += self._distances(inputs, [(place[a], place[b]) for a, b in group])
        return result

    def distance(self, render: np.ndarray, photo: np.ndarray) -> float | None:
        """Compare two pictures; see :meth:`distances`."""
        return self.distances([render, photo], [(0, 1)])[0]

    def _distances(
        self, pictures: list[torch.Tensor], pairs: Sequence[tuple[int, int]]
    ) -> list[float]:
        totals = [0.0] * len(pairs)
        for layers, head in zip(self._slices, self._heads, strict=True):
            pictures, sums, pixels = self._advance(pictures, pairs, layers, head)
            totals = [t + s / pixels for t, s in zip(totals, sums, strict=True)]
        return totals

    def _advance(
        self,
        pictures: list[torch.Tensor],
        pairs: Sequence[tuple[int, int]],
        layers: _Slice,
        head: torch.Tensor,
    ) -> tuple[list[torch.Tensor], list[float], int]:
        """Carry all pictures through one slice; also the distance's sum per pair, and pixels."""
        height, width = pictures[0].shape[2:]
        sums, pixels = [0.0] * len(pairs), 0
        following: list[torch.Tensor] = []
        for block in _blocks(height, width, layers):
            inputs = [p[:, :, block.input_rows, block.input_columns] for p in pictures]
            owner = _first_equal(inputs)
            onward, features = {}, {}
            for i in dict.fromkeys(owner):
                tap = self._convolve(inputs[i], layers, block.edges)
                features[i] = tap / (torch.linalg.vector_norm(tap, dim=1, keepdim=True) + EPSILON)
                onward[i] = _pooled(tap, layers.pool)
            pixels += features[0].shape[2] * features[0].shape[3]
            known: dict[tuple[int, int], float] = {}
            for k, (a, b) in enumerate(pairs):
                key = (owner[a], owner[b])
                if key not in known:
                    known[key] = _head_sum(features[key[0]], features[key[1]], head)
                sums[k] += known[key]
            if layers.block is None:
                following = [onward[i] for i in owner]
            else:
                following = following or _empty(len(pictures), onward[0], height, width)
                _place(following, onward, owner, block)
        return following, sums, pixels

    def _convolve(
        self, picture: torch.Tensor, layers: _Slice, edges: tuple[bool, ...]
    ) -> torch.Tensor:
        """Run a slice's layers on a block with margins; zeros are added at picture edges only."""
        pad = layers.padding
        for index in layers.layers:
            weight, bias = self._convolutions[index]
            if all(edges):
                picture = functional.conv2d(picture, weight, bias, layers.stride, pad)
            else:
                if any(edges):
                    picture = functional.pad(picture, [pad * edge for edge in edges])
                picture = functional.conv2d(picture, weight, bias, layers.stride)
            picture = picture.relu_()
        return picture


def _pooled(tap: torch.Tensor, pool: int | None) -> torch.Tensor | None:
    """Max pooling with stride 2; None where the block is too small for one output."""
    if pool is None:
        return tap
    return functional.max_pool2d(tap, pool, 2) if min(tap.shape[2:]) >= pool else None


def _head_sum(first: torch.Tensor, second: torch.Tensor, head: torch.Tensor) -> float:
    """Sum over pixels of the head's weighted squared difference of normalised features."""
    if first is second:
        return 0.0
    difference = first - second
    return functional.conv2d(difference.mul_(difference), head).sum(dtype=torch.float64).item()


def _empty(count: int, block: torch.Tensor, height: int, width: int) -> list[torch.Tensor]:
    """Room for the pooled output of whole pictures."""
    shape = (1, block.shape[1], height // 2, width // 2)
    return [torch.empty(shape, memory_format=torch.channels_last) for _ in range(count)]


def _place(
    pictures: list[torch.Tensor],
    onward: dict[int, torch.Tensor | None],
    owner: list[int],
    block: _Block,
) -> None:
    """Write a pooled block into each picture at its place."""
    for picture, i in zip(pictures, owner, strict=True):
        part = onward[i]
        if part is not None:
            top, left = block.rows[0] // 2, block.columns[0] // 2
            picture[:, :, top : top + part.shape[2], left : left + part.shape[3]] = part


def unit_range(picture: np.ndarray) -> np.ndarray:
    """Return a picture of uint8 as float64 in [0, 1]; others are returned as they are."""
    return picture / 255.0 if picture.dtype == np.uint8 else picture


def _normalised_input(picture: np.ndarray, shifted: bool) -> torch.Tensor:
    """Turn a picture [H, W, 3] into the networks' input [1, 3, H, W], by way of [-1, 1] or not."""
    picture = unit_range(picture)
    if shifted:
        picture = 2 * picture - 1
    values = torch.from_numpy(np.ascontiguousarray(picture, np.float32))
    values = (values - torch.tensor(SHIFT)) / torch.tensor(SCALE)
    return values.permute(2, 0, 1)[None]


def _groups(pairs: Sequence[tuple[int, int]], live: int) -> list[list[tuple[int, int]]]:
    """Cut the pairs, in order, so that each part uses at most ``live`` (2 or more) pictures."""
    groups: list[list[tuple[int, int]]] = []
    used: set[int] = set()
    for pair in pairs:
        if not groups or len(used | set(pair)) > live:
            groups.append([])
            used = set()
        groups[-1].append(pair)
        used |= set(pair)
    return groups


def load_models(
    weights_dir: str | Path | None = None,
) -> tuple[dict[str, LpipsModel], list[str]]:
    """Load every network whose weights are there.

    Returns:
        Models by name, and a line on how to get the others; none if all are there.

    Raises:
        UsageError: The named folder does not exist.
        IntegrityError: A weights file is damaged.
    """
    found, notice = check_available(weights_dir)
    return {net: LpipsModel(net, weights_dir) for net in found}, [notice] if notice else []
