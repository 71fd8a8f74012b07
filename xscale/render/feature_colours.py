"""Colours that show what the grid has learned: the strongest components of a point's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.geometry.camera import Camera
from xscale.model.model import Model

_MOST_CAMERAS = 12
_SIDE = 48
_SHARES = (0.02, 0.98)
"""Values of the components that are shown as 0 and 1."""


class FeatureColours:
    """A principal component analysis of the features that cameras see; made when first needed.

    Args:
        model: The learned appearance.
        surface: The mesh.
        cameras: Gives the cameras, local frame; of many an even spread is looked at.
    """

    def __init__(
        self, model: Model, surface: Surface, cameras: Callable[[], Sequence[Camera]]
    ) -> None:
        self._model = model
        self._surface = surface
        self._cameras = cameras

    def of(self, samples: GBuffer) -> Tensor:
        """Return colours [N, 3] in [0, 1] of surface points."""
        mean, components, low, high = self._basis
        values = (self._model.field.features(samples).float() - mean) @ components
        return ((values - low) / (high - low)).clamp_(0, 1)

    @cached_property
    def _basis(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean [channels], components [channels, 3], and the values shown as 0 and 1 [3]."""
        return _fitted(self._model, self._surface, self._cameras())


def _fitted(
    model: Model, surface: Surface, cameras: Sequence[Camera]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    step = max(1, len(cameras) // _MOST_CAMERAS)
    parts = [torch.zeros(0, model.field.channels, device=model.device)]
    for camera in cameras[::step]:
        small = camera.scaled(_SIDE, _SIDE)
        packed = torch.from_numpy(small.packed()).to(model.device)
        points, _ = build_gbuffer(surface, packed, _SIDE, _SIDE)
        # As large as the photo's own pixels, not as this small picture's.
        points.footprint.mul_(_SIDE / (camera.width * camera.height) ** 0.5)
        parts.append(model.field.features(points).float())
    features = torch.cat(parts)
    channels = features.shape[1]
    if len(features) < 2:
        features = torch.eye(channels, device=model.device)
    mean = features.mean(0)
    _, _, directions = torch.linalg.svd((features - mean).double(), full_matrices=False)
    components = torch.zeros(channels, 3, device=model.device)
    count = min(3, len(directions))
    # The sign of a component is nobody's choice: the largest entry is positive.
    strongest = directions[:count].T.float()
    sign = strongest.gather(0, strongest.abs().argmax(0, keepdim=True)).sign()
    components[:, :count] = strongest * sign
    values = (features - mean) @ components
    shares = torch.tensor(_SHARES, device=model.device)
    low, high = torch.quantile(values, shares, dim=0)
    return mean, components, low, torch.maximum(high, low + 1e-6)
