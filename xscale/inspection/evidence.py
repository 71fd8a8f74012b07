"""Evidence: causes of photos that disagree, each undone on the scene before it is named.

A cause is named, and a matrix or an option advised, only where the scene so changed measures as
well as a right one, and clearly better than it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xscale.geometry.camera import Camera
from xscale.inspection.looks import Look
from xscale.inspection.measured import MOST_MISFIT, WELL_APART, Measured, marks_of
from xscale.inspection.trial import Trials
from xscale.inspection.turned import ADVICE as EXIF_ADVICE
from xscale.inspection.turned import CODE as EXIF
from xscale.scene.checks.agree import AGREES, SAMPLES, Agreement, PhotoTrial
from xscale.scene.checks.conventions import CONVENTIONS, WORDS
from xscale.scene.checks.fit import Evidence, candidates, meant, transform_advice
from xscale.scene.checks.pictures import Pictures
from xscale.scene.checks.placement import Placement, best_placement, sparse_points
from xscale.scene.checks.registration import Registrar
from xscale.scene.checks.sweep import seen_points
from xscale.scene.scene import Scene

_LENS_GAIN = 0.05
_MOST_CANDIDATES = 40
_LEAST_SEEN = 0.05
"""Share of the pictures that a mesh must fill for photos to speak for it."""
_VERIFIED = 3
"""Causes of one kind that are measured in full, the likeliest first."""
_HALF_MATCHED = 0.5
_MORE_MATCHED = 0.1
_GAP = 0.1
"""Small pixels by which rays of one spot miss each other where no camera is to blame."""
_REFINED = 2
_FINE = 0.1
"""Small pixels below which no place is made finer."""
_LEAST_MARKS = 60
_LEAST_SPARSE = 200
_MOST_SHIFT = 8
_NAMED = 40
_LENSES = (0.8, 0.87, 0.93, 0.96, 1.04, 1.075, 1.15, 1.25)


@dataclass(frozen=True, eq=False)
class Cause:
    """Why photos disagree, found by undoing it."""

    code: str
    what: str
    advice: str
    severity: float
    matrix: np.ndarray | None = None
    """float64 [4, 4], applied to the mesh to undo it; None where it is not the mesh's."""
    cameras: Sequence[Camera] | None = None
    """Cameras with which it is undone; None where it is not theirs."""

    @property
    def mirrors(self) -> bool:
        """Whether undoing it makes a mirror image of the mesh."""
        return self.matrix is not None and bool(np.linalg.det(self.matrix[:3, :3]) < 0)


_Found = tuple[Cause, float]
"""A cause, and the small pixels by which photos miss each other once it is undone."""


def _misfit(found: Measured) -> float:
    return (found.shift or 0.0) + (found.misfit or 0.0) + (found.gap or 0.0)


class Doubt:
    """Tries causes on a scene whose photos do not agree well.

    Args:
        scene: The scene.
        looks: At its photos.
        photos: What neighbouring photos say together, as the scene stands.
    """

    def __init__(self, scene: Scene, looks: Sequence[Look], photos: Measured) -> None:
        self.scene = scene
        self.cameras = [photo.camera for photo in scene.photos]
        self._evidence = Evidence(scene.mesh, self.cameras, scene.points)
        index = {photo.name: k for k, photo in enumerate(scene.photos)}
        decoded = {index[look.photo.name]: (look.rgb, look.usable) for look in looks}
        self._pictures = Pictures(scene.photos, decoded)
        self.surface = self._evidence.surface[:: max(1, len(self._evidence.surface) // SAMPLES)]
        self.trial = PhotoTrial(scene.photos, self.surface, self._pictures)
        self.as_is = self.trial.of()
        self._trials = Trials(scene, looks)
        self._before = photos

    def cause(self, fitted: np.ndarray | None = None) -> Cause | None:
        """Return the cause whose undoing makes photos fit together, or None.

        Args:
            fitted: A matrix [4, 4] by which sparse points ask the mesh to move.
        """
        turned = self._trials.turned()
        if turned is not None and self._mended(turned):
            what = "photos agree once they are turned as their EXIF orientation says"
            return Cause(EXIF, what, EXIF_ADVICE, 10.0)
        for group in ([*self._frames(), *self._conventions()], self._usual()):
            # The mirror image of a symmetrical mesh fits as well: a turn is likelier.
            group.sort(key=lambda entry: (-round(entry[0].correlation, 2), entry[1].mirrors))
            for _, cause in group[:_VERIFIED]:
                if self.mends(cause.matrix, cause.cameras):
                    return cause
        placed = self._place([] if fitted is None else [fitted])
        if placed is not None and (self._before.gap or 0.0) < _GAP:
            return placed[0]
        # A mesh of another size and place nearly makes up for another lens: what fits better is it.
        lens = self._lens()
        found = [one for one in (placed, lens) if one is not None]
        if found:
            return min(found, key=lambda one: one[1])[0]
        return self._order()

    def allows(self, matrix: np.ndarray) -> bool:
        """Tell whether photos fit with the mesh moved as sparse points ask, and no worse for it."""
        found, before = self._trials.of(matrix)[2], self._before
        if not found.enough:
            return not before.enough
        near = (found.shift or 0.0) <= WELL_APART and (found.misfit or 0.0) <= MOST_MISFIT
        return near and found.matched >= before.matched - _MORE_MATCHED

    def refined(self, matrix: np.ndarray) -> np.ndarray:
        """Return a place of the mesh made finer by the sparse points, where they allow it."""
        points = self.scene.points
        if points is None or len(points) < _LEAST_SPARSE:
            return matrix
        near = sparse_points(points, self.cameras)
        registrar = Registrar(near, self._evidence.surface, self._evidence.normals)
        found = registrar.refined(matrix)
        return matrix if found is None else found.matrix

    def mends(
        self, matrix: np.ndarray | None = None, cameras: Sequence[Camera] | None = None
    ) -> bool:
        """Tell whether a change makes the scene measure as a right one, and better than it did."""
        return self._mended(self._trials.of(matrix, cameras)[2])

    def _mended(self, found: Measured) -> bool:
        before = self._before
        apart = WELL_APART if found.shift is None else found.shift
        misfit = found.misfit or 0.0
        if not found.enough or apart > WELL_APART or misfit > MOST_MISFIT:
            return False
        if found.matched < _HALF_MATCHED:
            return False
        off = (before.misfit or 0.0) > MOST_MISFIT or (before.shift or 0.0) > WELL_APART
        more = found.matched > before.matched + _MORE_MATCHED
        return not before.enough or more or (off and found.matched >= before.matched)

    def _place(self, starts: list[np.ndarray]) -> _Found | None:
        """Lay the mesh on the points, and look whether photos then fit."""
        sparse = self.scene.points
        given = sparse is not None and len(sparse) >= _LEAST_SPARSE
        if given:
            points = sparse_points(sparse, self.cameras)
        else:
            points = seen_points(self.cameras, self._pictures.grey)
        ranked = candidates(self._evidence, None, _VERIFIED)
        placed = best_placement(
            points, self._evidence, self.cameras, [*starts, *(c.matrix for c in ranked)]
        )
        if placed is None or not placed.clear:
            return None
        matrix = placed.matrix
        looks, pairs, found = self._trials.of(matrix)
        mirrored = np.linalg.det(matrix[:3, :3]) < 0
        for _ in range(0 if given or mirrored else _REFINED):
            if (found.misfit or 0.0) < _FINE and (found.shift or 0.0) < _FINE:
                break
            # Matching patches of larger photos are exact where the sweep's were nearly so.
            marks = marks_of(pairs, looks).points(self.scene.mesh.origin)
            if len(marks) < _LEAST_MARKS:
                break
            finer = Registrar(marks, self._evidence.surface, self._evidence.normals)
            step = finer.refined(np.eye(4))
            if step is None:
                break
            again = self._trials.of(matrix @ step.matrix)
            if (again[2].misfit or 0.0) > (found.misfit or 0.0) + 0.1:
                break
            matrix, (looks, pairs, found) = matrix @ step.matrix, again
        if not self._mended(found) and not (given and self.allows(matrix)):
            return None
        return self._placed(replace(placed, matrix=matrix), found), _misfit(found)

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
                found.append((agreement, Cause("W-MESH-FRAME", what, advice, 10.0, matrix=matrix)))
        return found

    def _conventions(self) -> list[tuple[Agreement, Cause]]:
        found = []
        for other in (name for name in CONVENTIONS if name != self.scene.convention):
            cameras = meant(self.cameras, self.scene.convention, other)
            agreement = self.trial.of(cameras=cameras)
            if self._better(agreement):
                what = f"photos agree when the cameras' matrices are taken as {WORDS[other]}"
                advice = f"add --pose-convention {other}"
                cause = Cause("W-CAMERA-CONVENTION", what, advice, 10.0, cameras=cameras)
                found.append((agreement, cause))
        return found

    def _usual(self) -> list[tuple[Agreement, Cause]]:
        """Try other axes and units."""
        found = []
        for candidate in candidates(self._evidence, None, _MOST_CANDIDATES):
            agreement = self.trial.of(candidate.matrix)
            # A mesh that shrank to a few pixels agrees with anything.
            seen = self._better(agreement) and self._evidence.coverage(candidate.matrix)
            if seen >= _LEAST_SEEN:
                what = f"photos agree with {candidate.axes}, in units of {candidate.unit:.6g}"
                advice = transform_advice(whole_transform(self.scene, candidate.matrix))
                cause = Cause("W-MESH-FRAME", what, advice, 10.0, matrix=candidate.matrix)
                found.append((agreement, cause))
        return found

    def _placed(self, placed: Placement, found: Measured) -> Cause:
        matrix = whole_transform(self.scene, placed.matrix)
        return Cause(
            "W-MESH-PLACE",
            f"photos agree better ({found.matched:.0%} of their patches match instead of "
            f"{self._before.matched:.0%}, {found.shift or 0:.1f} small pixels apart instead of "
            f"{self._before.shift or 0:.1f}) with the mesh {placed.words()}",
            f"export mesh and cameras from one alignment; or {transform_advice(matrix)}",
            1 + 100 * placed.moved,
            matrix=placed.matrix,
        )

    def _order(self) -> Cause | None:
        """Tell whether photos fit the cameras of other names."""
        photos, best = self.scene.photos, None
        for order in _orders([photo.name for photo in photos]):
            cameras = [self.cameras[k] for k in order]
            pairs = zip(photos, cameras, strict=True)
            trial = PhotoTrial(
                [replace(photo, camera=camera) for photo, camera in pairs],
                self.surface,
                self._pictures,
            )
            found = trial.of()
            if self._better(found) and (best is None or found.correlation > best[0]):
                best = (found.correlation, order, cameras)
        if best is None or not self.mends(cameras=best[2]):
            return None
        names = [photo.name for photo in photos]
        moved = [f"{name} to {names[k]}" for name, k in zip(names, best[1], strict=True)]
        return Cause(
            "W-PHOTO-ORDER",
            "photos fit the cameras of other photos' names: their order changed after the "
            "alignment",
            f"rename the photos: {', '.join(moved[:_NAMED])}"
            + (f" and so on for {len(moved)} photos" if len(moved) > _NAMED else ""),
            10.0,
            cameras=best[2],
        )

    def _lens(self) -> _Found | None:
        """Tell whether photos ask for other focal lengths."""
        factors = list(_LENSES)
        best = (0.0, 1.0)
        for step in (0.02, 0.01, 0.005):
            tried = [(self.trial.of(cameras=self._zoomed(f)).correlation, f) for f in factors]
            best = max(best, *tried)
            factors = [best[1] - step, best[1] + step]
        gained = best[0] >= max(AGREES, self.as_is.correlation + _LENS_GAIN)
        if not self.as_is.compared or not gained:
            return None
        found = self._trials.of(cameras=self._zoomed(best[1]))[2]
        if not self._mended(found):
            return None
        cause = Cause(
            "W-CAMERA-LENS",
            f"photos agree better (correlation {best[0]:.2f}, not {self.as_is.correlation:.2f}) "
            f"with focal lengths {best[1]:.3g} times as long",
            "the cameras are not of these photos' lens: were they resized or undistorted after "
            "the alignment? export the cameras again",
            1 + 10 * abs(best[1] - 1),
        )
        return cause, _misfit(found)

    def _zoomed(self, factor: float) -> list[Camera]:
        return [_zoomed(camera, factor) for camera in self.cameras]


def _orders(names: Sequence[str]) -> Iterator[list[int]]:
    """Yield the orders in which photos are mixed up: shifted, reversed, sorted another way."""
    count = len(names)
    seen = {tuple(range(count))}
    natural = sorted(range(count), key=lambda k: _numbers(names[k]))
    back = sorted(range(count), key=natural.__getitem__)
    shifts = [s for k in range(1, _MOST_SHIFT + 1) for s in (k, -k)]
    for order in (
        list(range(count))[::-1],
        natural,
        back,
        *([(k + s) % count for k in range(count)] for s in shifts),
    ):
        if tuple(order) not in seen:
            seen.add(tuple(order))
            yield order


def _numbers(name: str) -> list[tuple[int, str]]:
    """Return the key by which people sort: numbers by value."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


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
