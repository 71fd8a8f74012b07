"""Usual causes of cameras and mesh that do not meet, each tried before it is advised.

A cause is named where photos agree through the mesh once it is undone. Where photos are too flat
to tell, the mesh must fill as much of the pictures as scenes usually do, and far more than before.
The mesh as it is is never advised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xscale.scene.checks.agree import Agreement, PhotoTrial
from xscale.scene.checks.conventions import CONVENTIONS, WORDS, Convention
from xscale.scene.checks.fit import Evidence, candidates, meant, transform_advice

if TYPE_CHECKING:
    from xscale.geometry.camera import Camera
    from xscale.geometry.mesh import Mesh

_MOST = 10
_TYPICAL, _TIMES = 0.3, 3.0
_LEAST = 0.05
"""Share of the pictures that a mesh must fill for photos to speak for it."""
_MORE = 1.25
"""Times as many compared points from which a change outdoes a mesh through which photos agree."""
_DEGREES_SPREAD, _DEGREES_TIMES = 0.5, 100.0


def advise(
    evidence: Evidence,
    trial: PhotoTrial,
    cameras: Sequence[Camera],
    mesh: Mesh,
    *,
    offset: np.ndarray | None,
    own: Convention,
    frames: Sequence[tuple[str, np.ndarray]],
) -> str | None:
    """Return the advice of the cause that was found, or None.

    Args:
        evidence: Samples of mesh, cameras and sparse points.
        trial: Of the scene's photos.
        cameras: Of all photos.
        mesh: The mesh.
        offset: What an offset file says is missing from the mesh, float64 [3].
        own: How the cameras' matrices were taken.
        frames: Frames that the scene's file names: words, and the matrix scene from mesh.
    """
    if in_degrees(cameras, mesh):
        return (
            "the cameras' positions look like degrees of longitude and latitude, the mesh does "
            "not: export the cameras in a projected or local coordinate system, in the mesh's unit"
        )
    found: list[tuple[Agreement, float, str, bool]] = []
    for words, matrix in frames:
        text = f"the mesh stands in {words}: {transform_advice(matrix)}"
        found.append((trial.of(matrix), evidence.coverage(matrix), text, False))
    for convention in (name for name in CONVENTIONS if name != own):
        other = meant(cameras, own, convention)
        text = (
            f"the cameras see the mesh when their matrices are taken as {WORDS[convention]}: add "
            f"--pose-convention {convention}"
        )
        few = [other[k * len(other) // 16] for k in range(16)] if len(other) > 16 else other
        found.append((trial.of(cameras=other), evidence.seen_by(few), text, False))
    for candidate in candidates(evidence, offset, _MOST):
        matrix = candidate.matrix
        agreement, covered = trial.of(matrix), evidence.coverage(matrix)
        found.append((agreement, covered, candidate.advice(), candidate.mirrors))
    # A mesh that shrank to a few pixels agrees with anything.
    agreeing = [entry for entry in found if entry[0].agrees and entry[1] >= _LEAST]
    now = trial.of()
    if now.agrees and evidence.coverage() >= _LEAST:
        # What some photos say of the mesh as it is must be outdone, not only matched: large or
        # mirrored meshes agree with them as well, at fewer points or about as many.
        agreeing = [entry for entry in agreeing if entry[0].points > _MORE * now.points]
        if not agreeing:
            return (
                "the photos that see the mesh agree through it: the cameras of the others look "
                "elsewhere, or the mesh lacks what they show; align those photos again, take them "
                "out, or export the whole mesh"
            )
    if agreeing:
        # The mirror image of a flat scene fits as well.
        return max(agreeing, key=lambda e: (round(e[0].correlation, 1), not e[3], e[1]))[2]
    least = _TIMES * evidence.coverage()
    unsure = [
        entry
        for entry in found
        if not entry[0].disagrees and not entry[0].compared and entry[1] >= max(_TYPICAL, least)
    ]
    # Points decide where they lie on the mesh as it is: then the cameras are wrong, not the mesh.
    return max(unsure, key=lambda entry: entry[1])[2] if unsure else None


def in_degrees(cameras: Sequence[Camera], mesh: Mesh) -> bool:
    """Tell whether cameras stand at longitudes and latitudes, while the mesh has lengths."""
    places = np.array([camera.position for camera in cameras])
    if len(places) < 2 or (np.abs(places[:, :2]).max(axis=0) > (180, 90)).any():
        return False
    if np.abs(places[:, :2]).max() < 1:
        return False
    spread = float(np.ptp(places[:, :2], axis=0).max())
    size = mesh.world_bounds.diagonal
    return 0 < spread < _DEGREES_SPREAD and size > _DEGREES_TIMES * spread
