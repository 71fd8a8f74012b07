"""Comparisons of neighbouring photos, summed up: their amount, their spread, and what they ask.

Patches of two photos that show the same spot meet in a point of the true surface. Where those
points ask the mesh to move, by more than their scatter explains, the mesh is not in its place, even
if each patch alone is nearly where it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xscale.inspection.looks import Look
from xscale.inspection.neighbours import Pair
from xscale.scene.checks.registration import similarity_step
from xscale.scene.checks.sweep import Points

Verdict = Literal["together", "partly", "apart", "unknown"]
MOST_APART = 1.0
"""Small pixels (512 along the photo) by which photos may lie apart."""
MOST_MISFIT = 1.0
"""Small pixels by which the mesh may lie beside its place."""
WELL_APART = 0.6
_WELL_MATCHED = 0.82
_HARDLY_MATCHED = 0.3
_LEAST_SPREAD = 0.5
_LEAST_PATCHES = 12
_LEAST_MARKS = 20
_ROUNDS = 6
_PRIOR = 0.02
_SURELY = 3.0
"""Standard errors that are taken off a misfit."""


@dataclass(frozen=True)
class Measured:
    """How far photos were compared through the mesh."""

    photos: int
    """Photos that were looked at."""
    compared: int
    """Photos that could be compared with a neighbour."""
    pairs: int
    patches: int
    """Patches with contrast in all pairs."""
    matched: float
    """Share of the patches that match; 0 where there are none."""
    shift: float | None
    """Median distance by which matching photos lie apart, small pixels."""
    misfit: float | None = None
    """Small pixels by which the mesh surely lies beside the place that patches ask for (median)."""
    gap: float | None = None
    """Median distance of matching patches from each other's rays, small pixels: what cameras and
    lenses decide, not the mesh."""

    @property
    def enough(self) -> bool:
        """Whether the comparisons are many enough, and spread over the scene."""
        return self.patches >= _LEAST_PATCHES and self.compared >= _LEAST_SPREAD * self.photos

    @property
    def verdict(self) -> Verdict:
        """Conclusion from the comparisons alone."""
        if not self.enough:
            return "unknown"
        if self.matched < _HARDLY_MATCHED or (self.shift or 0.0) > MOST_APART:
            return "apart"
        near = (self.shift or 0.0) <= WELL_APART and (self.misfit or 0.0) <= MOST_MISFIT
        return "together" if self.matched >= _WELL_MATCHED and near else "partly"

    @property
    def line(self) -> str:
        """The comparisons in words."""
        apart = ""
        if self.shift is not None:
            apart = f", {self.shift:.1f} of at most {WELL_APART:g} small pixels apart (median)"
        if self.misfit is not None:
            apart += f", the mesh {self.misfit:.1f} of at most {MOST_MISFIT:g} beside its place"
        return (
            f"{self.compared} of {self.photos} photos compared, {self.matched:.0%} of "
            f"{self.patches:,} patches match{apart}"
        )


def measured(pairs: Sequence[Pair], looks: Sequence[Look]) -> Measured:
    """Sum up the comparisons of neighbouring photos."""
    patches = sum(pair.patches for pair in pairs)
    matching = sum(pair.matched * pair.patches for pair in pairs)
    shifts = [pair.shift for pair in pairs if pair.shift is not None]
    compared = {k for pair in pairs if pair.patches for k in (pair.first, pair.second)}
    marks = marks_of(pairs, looks)
    return Measured(
        len(looks),
        len(compared),
        len(pairs),
        patches,
        matching / patches if patches else 0.0,
        float(np.median(shifts)) if shifts else None,
        marks.misfit(looks),
        float(np.median(marks.gap)) if len(marks.gap) else None,
    )


@dataclass(frozen=True, eq=False)
class Marks:
    """Spots of the true surface that two photos show, beside the mesh's; the mesh's local frame."""

    position: np.ndarray
    """float64 [N, 3]."""
    at: np.ndarray
    """The mesh there, float64 [N, 3]."""
    normal: np.ndarray
    """float64 [N, 3]."""
    distance: np.ndarray
    """float64 [N], from the photo."""
    gap: np.ndarray
    """float64 [N], distance of the two patches' rays, small pixels."""

    def points(self, origin: np.ndarray) -> Points:
        """Return the spots in the world."""
        return Points(self.position + origin, self.distance)

    def misfit(self, looks: Sequence[Look]) -> float | None:
        """Return by how many small pixels the mesh surely lies beside its place, in the median."""
        if len(self.position) < _LEAST_MARKS:
            return None
        step, share, turned = np.eye(4), None, self.normal
        at = self.at
        for _ in range(_ROUNDS):
            off = ((self.position - at) * turned).sum(axis=1) / self.distance
            reach = max(6 * float(np.median(np.abs(off))), 1e-6)
            weight = (1 - (off / reach).clip(-1, 1) ** 2) ** 2
            more, share = similarity_step(
                self.position, at, turned, weight, self.distance, prior=_PRIOR
            )
            step = more @ step
            at = self.at @ step[:3, :3].T + step[:3, 3]
            turned = self.normal @ step[:3, :3].T
            turned = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        moved = np.linalg.norm(at - self.at, axis=1) / self.distance
        surely = np.maximum(moved - _SURELY * share, 0.0)
        focal = float(np.median([look.camera.fx for look in looks]))
        return float(np.median(surely)) * focal


def marks_of(pairs: Sequence[Pair], looks: Sequence[Look]) -> Marks:
    """Let the patches that two photos share meet in space."""
    found: list[list[np.ndarray]] = [[] for _ in range(5)]
    for pair in pairs:
        if pair.marks is None or not len(pair.marks):
            continue
        a, b = looks[pair.first].camera, looks[pair.second].camera
        seen, other, at, normal = np.split(pair.marks, [2, 4, 7], axis=1)
        position, gap, good = _met(a, b, seen, other)
        distance = np.linalg.norm(at - a.position, axis=1)
        for values, more in zip(
            found, (position, at, normal, distance, gap * a.fx / distance), strict=True
        ):
            values.append(more[good])
    if not found[0]:
        none = np.zeros((0, 3))
        return Marks(none, none, none, np.zeros(0), np.zeros(0))
    return Marks(*(np.concatenate(values) for values in found))


def _met(a, b, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return where rays of two cameras come nearest, how near, and whether that is in front."""
    with np.errstate(all="ignore"):
        u, v = a.rays(first), b.rays(second)
        between = b.position - a.position
        cosine = (u * v).sum(axis=1)
        along, across = u @ between, v @ between
        bend = 1 - cosine**2
        s = (along - cosine * across) / bend
        t = (cosine * along - across) / bend
        p, q = a.position + s[:, None] * u, b.position + t[:, None] * v
        good = (bend > 1e-4) & (s > 0) & (t > 0)
    return (p + q) / 2, np.linalg.norm(p - q, axis=1), good
