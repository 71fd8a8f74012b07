"""LPIPS, version 0.1, in plain torch: the ``lpips`` package's distance without torchvision.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from xscale.metrics.lpips_weights import LpipsWeights, load_weights
from xscale.metrics.network import Layer, Pool, Slice, common_size, walk

MIN_SIDE = 32
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10


def _max_pool(width: int) -> Pool:
    return Pool(width, 0, lambda tap: functional.max_pool2d(tap, width, 2))


def _threes(*indices: int) -> tuple[Layer, ...]:
    return tuple(Layer(index, 3, 1, 1) for index in indices)


SLICES = {
    "vgg": (
        Slice(_threes(0, 2), 128, _max_pool(2)),
        Slice(_threes(5, 7), 64, _max_pool(2)),
        Slice(_threes(10, 12, 14), 32, _max_pool(2)),
        Slice(_threes(17, 19, 21), 32, _max_pool(2)),
        Slice(_threes(24, 26, 28), None, None),
    ),
    "alex": (
        Slice((Layer(0, 11, 4, 2),), None, _max_pool(3)),
        Slice((Layer(3, 5, 1, 2),), None, _max_pool(3)),
        Slice(_threes(6), None, None),
        Slice(_threes(8), None, None),
        Slice(_threes(10), None, None),
    ),
}
"""The networks up to their five taps."""


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
        height, width = common_size(pictures)
        if min(height, width) < MIN_SIDE:
            return [None] * len(pairs)

        def crop(number: int, rows: slice, columns: slice) -> torch.Tensor:
            return network_input(pictures[number][rows, columns], shifted)

        sums = np.zeros((len(self._slices), len(pairs)))
        pixels = np.zeros(len(self._slices))
        for part in walk(crop, len(pictures), (height, width), self._slices, self._convolutions):
            unit = {
                i: tap / (torch.linalg.vector_norm(tap, dim=1, keepdim=True) + EPSILON)
                for i, tap in part.features.items()
            }
            sample = next(iter(unit.values()))
            pixels[part.number] += sample.shape[2] * sample.shape[3]
            known: dict[tuple[int, int], float] = {}
            for k, (a, b) in enumerate(pairs):
                key = (part.owner[a], part.owner[b])
                if key not in known:
                    head = self._heads[part.number]
                    known[key] = _head_sum(unit[key[0]], unit[key[1]], head)
                sums[part.number, k] += known[key]
        return (sums / pixels[:, None]).sum(axis=0).tolist()

    def distance(self, render: np.ndarray, photo: np.ndarray) -> float | None:
        """Compare two pictures; see :meth:`distances`."""
        return self.distances([render, photo], [(0, 1)])[0]


def _head_sum(first: torch.Tensor, second: torch.Tensor, head: torch.Tensor) -> float:
    """Sum over pixels of the head's weighted squared difference of normalised features."""
    if first is second:
        return 0.0
    difference = first - second
    return functional.conv2d(difference.mul_(difference), head).sum(dtype=torch.float64).item()


def unit_range(picture: np.ndarray) -> np.ndarray:
    """Return a picture of uint8 as float64 in [0, 1]; others are returned as they are."""
    return picture / 255.0 if picture.dtype == np.uint8 else picture


def network_input(picture: np.ndarray, shifted: bool) -> torch.Tensor:
    """Turn a picture [H, W, 3] into the networks' input [1, 3, H, W], by way of [-1, 1] or not."""
    picture = unit_range(picture)
    if shifted:
        picture = 2 * picture - 1
    values = torch.from_numpy(np.ascontiguousarray(picture, np.float32))
    values = (values - torch.tensor(SHIFT)) / torch.tensor(SCALE)
    return values.permute(2, 0, 1)[None]
