"""DISTS: deep image structure and texture similarity, of VGG's features, in plain torch.

Made for texture: pictures that show the same texture elsewhere are near each other. The weights of
its channels are read from the ``dists-pytorch`` package's file, without importing it (its import
needs torchvision); the backbone is that of ``lpips_vgg``.

Source: Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", 2020.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xscale.errors import IntegrityError, SetupError
from xscale.io.hashing import sha256_file
from xscale.metrics.lpips import MIN_SIDE, SLICES, unit_range
from xscale.metrics.lpips_weights import load_weights
from xscale.metrics.network import Pool, common_size, walk

_CHANNELS = (3, 64, 128, 256, 512, 512)
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_STEADY = 1e-6
_ADVICE = "pip install 'xscale[more-metrics]'"


def _l2_pool(tap: Tensor) -> Tensor:
    """Root of the window's mean square, stride 2; the window is Hann's, 3 x 3."""
    taps = torch.tensor([0.25, 0.5, 0.25])
    window = (taps[:, None] * taps[None]).expand(tap.shape[1], 1, 3, 3)
    return (functional.conv2d(tap * tap, window, stride=2, groups=tap.shape[1]) + 1e-12).sqrt()


_SLICES = tuple(part._replace(pool=part.pool and Pool(3, 1, _l2_pool)) for part in SLICES["vgg"])


def weights_file() -> Path:
    """Return the package's file of channel weights.

    Raises:
        SetupError: The package is not installed.
    """
    spec = importlib.util.find_spec("DISTS_pytorch")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / "weights.pt").is_file():
            return path
    raise SetupError("DISTS cannot be scored: dists-pytorch is not installed", advice=_ADVICE)


class DistsModel:
    """The DISTS distance.

    Args:
        weights_dir: Folder with VGG's weights; None looks in the usual places.

    Raises:
        SetupError: The package or VGG's weights are missing.
        IntegrityError: A file is damaged.
    """

    def __init__(self, weights_dir: str | Path | None = None) -> None:
        path = weights_file()
        backbone = load_weights("vgg", weights_dir)
        self._convolutions = {
            i: (c.weight.contiguous(memory_format=torch.channels_last), c.bias)
            for i, c in backbone.convolutions.items()
        }
        try:
            values = torch.load(path, weights_only=True)
            alpha, beta = (values[name].detach().double().reshape(-1) for name in ("alpha", "beta"))
            if len(alpha) != sum(_CHANNELS) or len(beta) != sum(_CHANNELS):
                raise ValueError(f"{len(alpha)} and {len(beta)} weights")
        except Exception as error:  # the reader raises many kinds for a bad file
            raise IntegrityError(f"is damaged: {error}", where=path, advice=_ADVICE) from error
        total = alpha.sum() + beta.sum()
        self._alpha = torch.split(alpha / total, _CHANNELS)
        self._beta = torch.split(beta / total, _CHANNELS)
        self.source = {
            **backbone.source,
            "channels": path.name,
            "channels_sha256": sha256_file(path),
        }

    @torch.inference_mode()
    def distances(
        self, pictures: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]]
    ) -> list[float | None]:
        """Compare pairs of pictures.

        Args:
            pictures: float [H, W, 3] in [0, 1], or uint8, all of one size.
            pairs: Indices into ``pictures``.

        Returns:
            A distance per pair; None for each if a side is shorter than 32 pixels.

        Raises:
            ShapeError: The pictures differ in shape.
        """
        height, width = common_size(pictures)
        if min(height, width) < MIN_SIDE:
            return [None] * len(pairs)
        mean, deviation = torch.tensor(_MEAN), torch.tensor(_DEVIATION)

        def values(number: int, rows: slice, columns: slice) -> Tensor:
            part = np.ascontiguousarray(unit_range(pictures[number][rows, columns]), np.float32)
            return torch.from_numpy(part)

        def crop(number: int, rows: slice, columns: slice) -> Tensor:
            part = (values(number, rows, columns) - mean) / deviation
            return part.permute(2, 0, 1)[None]

        moments = [[_Moments(n) for n in _CHANNELS] for _ in pairs]
        whole = slice(None)
        colours = [values(i, whole, whole).permute(2, 0, 1)[None] for i in range(len(pictures))]
        for (a, b), found in zip(pairs, moments, strict=True):
            found[0].add(colours[a], colours[b])
        size = (height, width)
        for part in walk(crop, len(pictures), size, _SLICES, self._convolutions):
            for (a, b), found in zip(pairs, moments, strict=True):
                taps = part.features[part.owner[a]], part.features[part.owner[b]]
                found[1 + part.number].add(*taps)
        return [self._distance(found) for found in moments]

    def _distance(self, moments: Sequence[_Moments]) -> float:
        total = 0.0
        for found, alpha, beta in zip(moments, self._alpha, self._beta, strict=True):
            texture, structure = found.similarities()
            total += float((alpha * texture + beta * structure).sum())
        return 1.0 - total


class _Moments:
    """Sums over pixels of two pictures' features, by channel."""

    def __init__(self, channels: int) -> None:
        self._sums = torch.zeros(5, channels, dtype=torch.float64)
        self._pixels = 0

    def add(self, first: Tensor, second: Tensor) -> None:
        """Add a part of the features, float32 [1, C, h, w] each."""
        x, y = (t.reshape(t.shape[1], -1).double() for t in (first, second))
        self._sums += torch.stack([v.sum(1) for v in (x, y, x * x, y * y, x * y)])
        self._pixels += x.shape[1]

    def similarities(self) -> tuple[Tensor, Tensor]:
        """Return those of the means (texture) and of the covariance (structure), [C] each."""
        x, y, xx, yy, xy = self._sums / self._pixels
        texture = (2 * x * y + _STEADY) / (x * x + y * y + _STEADY)
        spread = (xx - x * x).clamp(min=0) + (yy - y * y).clamp(min=0)
        return texture, (2 * (xy - x * y) + _STEADY) / (spread + _STEADY)
