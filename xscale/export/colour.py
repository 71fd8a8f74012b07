"""Colours for surface points, fitted to how the training cameras see them.

One colour a point is what standard files hold: the mean of the training views, each counted by how
many of its pixels the point takes, which is the least-squares answer over all training pixels.
Spherical harmonics of the direction follow the viewer: a least-squares fit over the same views.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.errors import UsageError
from xscale.render.run import Run
from xscale.render.sight import Sight

DEGREES = (0, 1, 2)
"""Degree of the harmonics; 0 is one colour."""
_CHUNK = 1 << 17
_PROBES = 1 << 12
"""Points of a chunk that tell which cameras see it."""
_VIEWS = 8
"""Cameras of a probe that are taken, those that see it largest first."""
_RIDGE = 0.0025
"""Pull of harmonics towards none, against a weight of one for all views: keeps points that few
views see from swinging, and costs the others little."""


class SurfaceColour:
    """Colours of surface points as the training cameras see them.

    Cameras whose view of a point is blocked do not count: how the model continues there was never
    trained. What no camera sees takes the colour from straight ahead.

    Args:
        run: The opened run.
        degree: Of the harmonics that ``fit`` gives, 0 to 2.

    Raises:
        UsageError: The run's features are not in a hash grid.
    """

    def __init__(self, run: Run, degree: int = 0) -> None:
        if run.model.settings.encoding != "hash":
            raise UsageError(
                f"runs of model.encoding={run.model.settings.encoding} cannot be exported",
                where=run.path,
                advice="train with model.encoding=hash",
            )
        self.degree = degree
        self._model = run.model
        self._views = run.views

    def __call__(self, position: np.ndarray, normal: np.ndarray, size: float) -> np.ndarray:
        """Return one colour a point, sRGB uint8 [N, 3]; arguments of ``fit``."""
        return self.fit(position, normal, size)[0]

    @torch.inference_mode()
    def fit(
        self, position: np.ndarray, normal: np.ndarray, size: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one colour a point, and its harmonics.

        Args:
            position: Float32 [N, 3], local frame.
            normal: Float32 [N, 3], unit; either side.
            size: World units that a sample stands for.

        Returns:
            sRGB uint8 [N, 3], and float32 [N, (degree + 1)^2, 3]: seen along the unit direction d
            from camera to point, a point's sRGB is 0.5 plus the sum of its rows times
            ``ops.spherical_harmonics(d)``.
        """
        terms = (self.degree + 1) ** 2
        colour = np.zeros((len(position), 3), np.uint8)
        harmonics = np.zeros((len(position), terms, 3), np.float32)
        for first in range(0, len(position), _CHUNK):
            part = slice(first, first + _CHUNK)
            colour[part], harmonics[part] = self._chunk(position[part], normal[part], size)
        return colour, harmonics

    def _chunk(
        self, position: np.ndarray, normal: np.ndarray, size: float
    ) -> tuple[np.ndarray, np.ndarray]:
        model, bands = self._model, self.degree + 1
        points = torch.from_numpy(np.ascontiguousarray(position, np.float32)).to(model.device)
        footprint = torch.full((len(points),), float(size), device=model.device)
        features = model.field.encode(points, footprint)

        def shade(rows: np.ndarray, direction: np.ndarray) -> Tensor:
            picked = torch.from_numpy(rows).to(model.device)
            tensor = torch.from_numpy(np.ascontiguousarray(direction, np.float32))
            colour = model.shader.shade(features[picked], tensor.to(model.device))
            return (colour * (model.settings.photo_range / 255)).clamp(0, 1).cpu()

        # Sums of the normal equations, so that no view's colours have to be kept.
        weights = torch.zeros(len(points), 1)
        total = torch.zeros(len(points), 3)
        left = torch.zeros(len(points), bands**2, bands**2)
        right = torch.zeros(len(points), bands**2, 3)

        def add(views: Sequence[Sight], among: np.ndarray) -> None:
            for view in views:
                direction, weight = view.seen(position[among], normal[among])
                hit = weight > 0
                if not hit.any():
                    continue
                rows, direction = among[hit], direction[hit].astype(np.float32)
                w = torch.from_numpy(weight[hit])[:, None]
                colour = shade(rows, direction)
                weights[rows] += w
                total[rows] += w * colour
                if bands > 1:
                    basis = ops.spherical_harmonics(torch.from_numpy(direction), bands)
                    left[rows] += w[..., None] * basis[:, :, None] * basis[:, None, :]
                    right[rows] += w[..., None] * basis[:, :, None] * (colour - 0.5)[:, None]

        near, far = self._split(position, normal)
        add(near, np.arange(len(points)))
        add(far, np.flatnonzero(weights[:, 0].numpy() == 0))
        unseen = np.flatnonzero(weights[:, 0].numpy() == 0)
        if len(unseen):
            total[unseen] = shade(unseen, -normal[unseen])
            weights[unseen] = 1
        mean = total / weights
        harmonics = torch.zeros(len(points), bands**2, 3)
        constant = ops.spherical_harmonics(torch.zeros(1, 3), 1)
        harmonics[:, 0] = (mean - 0.5) / constant
        if bands > 1:
            pull = torch.full((bands**2,), _RIDGE)
            pull[0] = _RIDGE * 1e-3
            left = left / weights[..., None] + torch.diag(pull)
            solved = torch.linalg.solve(left.double(), (right / weights[..., None]).double())
            seen = torch.ones(len(points), dtype=torch.bool)
            seen[unseen] = False
            harmonics[seen] = solved.float()[seen]
        return (mean * 255 + 0.5).to(torch.uint8).numpy(), harmonics.numpy()

    def _split(self, position: np.ndarray, normal: np.ndarray) -> tuple[list[Sight], list[Sight]]:
        """Return the views that see the points largest, and the rest."""
        step = max(1, len(position) // _PROBES)
        probe, ahead = position[::step], normal[::step]
        seen = np.stack([view.seen(probe, ahead)[1] for view in self._views])
        rank = np.argsort(np.argsort(-seen, axis=0, kind="stable"), axis=0, kind="stable")
        taken = ((seen > 0) & (rank < _VIEWS)).any(1)
        near = [view for view, yes in zip(self._views, taken, strict=True) if yes]
        return near, [view for view, yes in zip(self._views, taken, strict=True) if not yes]
