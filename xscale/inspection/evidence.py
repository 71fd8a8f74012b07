"""Evidence: measurements of a scene, their amount, their spread, and their consequences.

Agreement counts only where it was measured: too few comparisons are a finding of their own. A
cause is named only after it was undone on the scene and photos agreed better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xscale.geometry.camera import Camera
from xscale.inspection.neighbours import Pair
from xscale.scene.checks.agree import AGREES, SAMPLES, Agreement, PhotoTrial
from xscale.scene.checks.conventions import CONVENTIONS, WORDS
from xscale.scene.checks.fit import Evidence, candidates, meant, transform_advice
from xscale.scene.checks.placement import Placement, best_placement
from xscale.scene.scene import Scene

Verdict = Literal["together", "partly", "apart", "unknown"]
MOST_APART = 1.0
"""Small pixels (512 along the photo) by which photos may lie apart."""
_WELL_MATCHED, _WELL_APART = 0.82, 0.6
_HARDLY_MATCHED = 0.3
_LEAST_SPREAD = 0.5
_LEAST_PATCHES = 12
_LENS_GAIN = 0.05
_MOST_CANDIDATES = 40
_SURELY = 0.9
"""Correlation that no chance likeness reaches."""
_LENSES = (0.8, 0.87, 0.93, 0.96, 1.04, 1.075, 1.15, 1.25)


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
        near = (self.shift or 0.0) <= _WELL_APART
        return "together" if self.matched >= _WELL_MATCHED and near else "partly"

    @property
    def line(self) -> str:
        """The comparisons in words."""
        apart = "" if self.shift is None else f", {self.shift:.1f} small pixels apart (median)"
        return (
            f"{self.compared} of {self.photos} photos compared, {self.matched:.0%} of "
            f"{self.patches:,} patches match{apart}"
        )


def measured(pairs: Sequence[Pair], photos: int) -> Measured:
    """Sum up the comparisons of neighbouring photos."""
    patches = sum(pair.patches for pair in pairs)
    matching = sum(pair.matched * pair.patches for pair in pairs)
    shifts = [pair.shift for pair in pairs if pair.shift is not None]
    compared = {k for pair in pairs if pair.patches for k in (pair.first, pair.second)}
    return Measured(
        photos,
        len(compared),
        len(pairs),
        patches,
        matching / patches if patches else 0.0,
        float(np.median(shifts)) if shifts else None,
    )


@dataclass(frozen=True)
class Cause:
    """Why photos disagree, found by undoing it."""

    code: str
    what: str
    advice: str
    severity: float
    correlation: float = 0.0
    """Agreement of the photos once it is undone."""


class Doubt:
    """Tries causes on a scene whose photos do not agree well.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.cameras = [photo.camera for photo in scene.photos]
        self._evidence = Evidence(scene.mesh, self.cameras, scene.points)
        surface = self._evidence.surface
        self.surface = surface[:: max(1, len(surface) // SAMPLES)]
        self.trial = PhotoTrial(scene.photos, self.surface)
        self.as_is = self.trial.of()

    def cause(self, fitted: np.ndarray | None = None) -> Cause | None:
        """Return the cause whose undoing makes photos agree best, or None.

        Args:
            fitted: A matrix [4, 4] by which sparse points ask the mesh to move.
        """
        found = [*self._frames(), *self._conventions(), *self._usual()]
        usual = max((entry[1] for entry in found), key=lambda c: c.correlation, default=None)
        if usual is not None and usual.correlation >= _SURELY:
            return usual
        starts = [] if fitted is None else [fitted]
        placed = best_placement(self.trial, self.cameras, self.surface, starts)
        if placed is None or not placed.clear:
            return usual or self._lens()
        # A chance likeness under other axes or units must not hide the mesh's own place nearby.
        if usual is not None and usual.correlation >= placed.after.correlation:
            return usual
        return self._placed(placed)

    def confirms(self, matrix: np.ndarray, cause: Cause | None) -> bool:
        """Tell whether a moved mesh explains the photos at least as well as another cause."""
        found = self.trial.of(matrix)
        if not found.compared or not self.as_is.compared:
            return not found.compared and not self.as_is.compared
        least = self.as_is.correlation - 0.02 if cause is None else cause.correlation - 0.01
        return found.agrees and found.correlation >= least

    def _better(self, found: Agreement) -> bool:
        return found.agrees and (
            not self.as_is.compared or found.correlation > self.as_is.correlation + 0.15
        )

    def _frames(self) -> list[tuple[Agreement, Cause]]:
        found = []
        for words, matrix in self.scene.frames:
            agreement = self.trial.of(matrix)
            if self._better(agreement):
                what = f"the mesh stands in {words}: photos agree once it is moved"
                advice = transform_advice(whole_transform(self.scene, matrix))
                found.append(
                    (agreement, Cause("W-MESH-FRAME", what, advice, 10.0, agreement.correlation))
                )
        return found

    def _conventions(self) -> list[tuple[Agreement, Cause]]:
        found = []
        for other in (name for name in CONVENTIONS if name != self.scene.convention):
            agreement = self.trial.of(cameras=meant(self.cameras, self.scene.convention, other))
            if self._better(agreement):
                what = f"photos agree when the cameras' matrices are taken as {WORDS[other]}"
                advice = f"add --pose-convention {other}"
                found.append(
                    (
                        agreement,
                        Cause("W-CAMERA-CONVENTION", what, advice, 10.0, agreement.correlation),
                    )
                )
        return found

    def _usual(self) -> list[tuple[Agreement, Cause]]:
        """Try other axes and units."""
        found = []
        for candidate in candidates(self._evidence, None, _MOST_CANDIDATES):
            agreement = self.trial.of(candidate.matrix)
            if self._better(agreement):
                what = f"photos agree with {candidate.axes}, in units of {candidate.unit:.6g}"
                advice = transform_advice(whole_transform(self.scene, candidate.matrix))
                found.append(
                    (agreement, Cause("W-MESH-FRAME", what, advice, 10.0, agreement.correlation))
                )
        return found

    def _placed(self, placed: Placement) -> Cause:
        matrix = whole_transform(self.scene, placed.matrix)
        return Cause(
            "W-MESH-PLACE",
            f"photos agree better (correlation {placed.after.correlation:.2f} for "
            f"{placed.before.correlation:.2f}) with the mesh {placed.words()}",
            f"export mesh and cameras from one alignment; or {transform_advice(matrix)}",
            1 + 100 * placed.moved,
            placed.after.correlation,
        )

    def _lens(self) -> Cause | None:
        """Tell whether photos ask for other focal lengths."""
        found = []
        for factor in _LENSES:
            cameras = [_zoomed(camera, factor) for camera in self.cameras]
            found.append((self.trial.of(cameras=cameras).correlation, factor))
        best, factor = max(found)
        gained = best >= max(AGREES, self.as_is.correlation + _LENS_GAIN)
        if not self.as_is.compared or not gained:
            return None
        return Cause(
            "W-CAMERA-LENS",
            f"photos agree better (correlation {best:.2f} for {self.as_is.correlation:.2f}) with "
            f"focal lengths {factor:g} times as long",
            "the cameras are not of these photos' lens: were they resized or undistorted after "
            "the alignment? export the cameras again",
            1 + 10 * abs(factor - 1),
        )


def whole_transform(scene: Scene, matrix: np.ndarray) -> np.ndarray:
    """Return the matrix for ``--transform``, with what was done to the mesh already."""
    whole = matrix
    if "mesh_offset" in scene.provenance:
        shift = np.eye(4)
        shift[:3, 3] = scene.provenance["mesh_offset"]
        whole = whole @ shift
    if "mesh_transform" in scene.provenance:
        whole = whole @ np.array(scene.provenance["mesh_transform"])
    return whole


def _zoomed(camera: Camera, factor: float) -> Camera:
    K = np.array(camera.K)
    K[[0, 1], [0, 1]] *= factor
    return replace(camera, K=K)
