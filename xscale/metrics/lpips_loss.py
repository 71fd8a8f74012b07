"""LPIPS as a loss: the same distance as ``lpips``, on small squares, with a gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xscale.metrics.lpips import EPSILON, SCALE, SHIFT, SLICES
from xscale.metrics.lpips_weights import load_weights


class FeatureDistance:
    """Mean distance between the features of two stacks of squares.

    Args:
        net: ``vgg`` or ``alex``.
        device: Where the squares will be.

    Raises:
        SetupError: Weights or the lpips package are missing; the message says how to get them.
        IntegrityError: A weights file is damaged.
    """

    def __init__(self, net: str, device: torch.device) -> None:
        weights = load_weights(net)
        self._slices = SLICES[net]
        self._layers = {
            index: tuple(part.to(device) for part in layer)
            for index, layer in weights.convolutions.items()
        }
        self._heads = [head.to(device) for head in weights.heads]
        self._shift = torch.tensor(SHIFT, device=device).reshape(1, 3, 1, 1)
        self._scale = torch.tensor(SCALE, device=device).reshape(1, 3, 1, 1)

    def __call__(self, picture: Tensor, photo: Tensor) -> Tensor:
        """Return the mean of LPIPS over squares [P, 3, S, S] of values in [0, 1].

        Differentiable in ``picture``; squares are seen without what lies around them.
        """
        with torch.no_grad():
            theirs = self._taps(photo)
        total = picture.new_zeros(())
        for ours, other, head in zip(self._taps(picture), theirs, self._heads, strict=True):
            total = total + ((ours - other).square() * head).sum(1).mean()
        return total

    def _taps(self, squares: Tensor) -> list[Tensor]:
        """Return the unit features after each slice."""
        x = ((2 * squares - 1) - self._shift) / self._scale
        x = x.contiguous(memory_format=torch.channels_last)
        taps = []
        for part in self._slices:
            for layer in part.layers:
                weight, bias = self._layers[layer.index]
                x = functional.conv2d(x, weight, bias, layer.stride, layer.padding)
                x = functional.relu(x)
            taps.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPSILON))
            if part.pool:
                x = part.pool.apply(x)
        return taps
