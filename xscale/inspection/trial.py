"""A scene looked at as it would be with the mesh moved, or with other cameras.

The measurement is that of a scene as it stands, so the two can be compared. A mesh is moved by
moving the cameras the other way: its surface is built once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xscale.gbuffer.build import build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.inspection.looks import Look, look_through
from xscale.inspection.measured import Measured, measured
from xscale.inspection.neighbours import Pair, pairs_of
from xscale.inspection.turned import all_as_exif_says
from xscale.scene.scene import Scene

_MOST, _NEIGHBOURS = 16, 2
"""Photos that are looked through in a trial, and neighbours laid on each."""


class Trials:
    """Looks at a scene again, under a supposition.

    Args:
        scene: The scene.
        looks: At its photos, as it stands.
    """

    def __init__(self, scene: Scene, looks: Sequence[Look]) -> None:
        self._scene = scene
        self._looks = _together(looks)

    def turned(self) -> Measured | None:
        """Measure with photos turned as EXIF says; None where it says so of few."""
        looks = all_as_exif_says(self._looks)
        return None if looks is None else measured(pairs_of(looks, _NEIGHBOURS), looks)

    def of(
        self, matrix: np.ndarray | None = None, cameras: Sequence[Camera] | None = None
    ) -> tuple[list[Look], list[Pair], Measured]:
        """Measure with the mesh moved, or with other cameras.

        Args:
            matrix: float64 [4, 4], applied to the mesh.
            cameras: As many as the scene's photos.

        Returns:
            The looks, whose coordinates are the unmoved mesh's, their pairs, and the sum of both.
        """
        scene = self._scene
        mesh = scene.mesh
        own = {photo.name: photo.camera for photo in scene.photos}
        if cameras is not None:
            own = dict(zip(own, cameras, strict=True))
        if matrix is not None and np.linalg.det(matrix[:3, :3]) < 0:
            mesh, matrix = _mirrored(mesh), matrix @ np.diag([-1.0, 1.0, 1.0, 1.0])
        surface = build_surface(mesh)
        looks = []
        for look in self._looks:
            camera = own[look.photo.name]
            if matrix is not None:
                camera = seen_from_mesh(camera, matrix)
            looks.append(look_through(look, camera, surface, mesh.origin))
        pairs = pairs_of(looks, _NEIGHBOURS)
        return looks, pairs, measured(pairs, looks)


def seen_from_mesh(camera: Camera, matrix: np.ndarray) -> Camera:
    """Return the camera that sees an unmoved mesh as ``camera`` sees the moved one.

    Args:
        camera: The camera.
        matrix: float64 [4, 4], a turn, a positive scale and a shift.
    """
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    turn = matrix[:3, :3] / scale
    return replace(
        camera,
        R=camera.R @ turn,
        t=(camera.R @ matrix[:3, 3] + camera.t) / scale,
        near=camera.near / scale,
    )


def _together(looks: Sequence[Look]) -> list[Look]:
    """Choose a few groups of photos that stand near each other."""
    if len(looks) <= _MOST:
        return list(looks)
    places = np.array([look.photo.camera.position for look in looks])
    chosen: dict[int, None] = {}
    for k in range(_MOST // 4):
        away = np.linalg.norm(places - places[k * len(looks) * 4 // _MOST], axis=1)
        chosen.update(dict.fromkeys(int(j) for j in np.argsort(away, kind="stable")[:4]))
    return [looks[k] for k in sorted(chosen)]


def _mirrored(mesh: Mesh) -> Mesh:
    vertices = (mesh.vertices.astype(np.float64) + mesh.origin) * (-1, 1, 1)
    return Mesh.from_world(vertices, mesh.faces[:, ::-1])
