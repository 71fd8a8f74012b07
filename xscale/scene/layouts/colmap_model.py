"""COLMAP's three tables as values, and the checks that binary and text readers share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.frames import rotation_from_quaternion
from xscale.geometry.models import CameraModel
from xscale.io.names import safe_name

CAMERA_BYTES, PHOTO_BYTES = 600, 1600
"""Most memory that one of them takes."""


class ColmapCamera(NamedTuple):
    """One row of the cameras table."""

    model: CameraModel
    width: int
    height: int
    params: np.ndarray
    """float64 [n], in COLMAP's order."""
    where: str


class ColmapImage(NamedTuple):
    """One row of the images table."""

    name: str
    R: np.ndarray
    t: np.ndarray
    camera_id: int
    where: str
    pixels: np.ndarray | None
    """float64 [N, 2] keypoints, where they were asked for."""
    point_ids: np.ndarray | None
    """int64 [N], -1 where a keypoint has no 3D point."""


class ColmapPoints(NamedTuple):
    """The points table."""

    ids: np.ndarray
    """int64 [P]."""
    positions: np.ndarray
    """float64 [P, 3]."""


@dataclass
class Tables:
    """Cameras and images while they are read."""

    cameras: dict[int, ColmapCamera] = field(default_factory=dict)
    images: dict[int, ColmapImage] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    poses: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """R and t by image id, from rigs and frames, where the model has them."""
    differing: list[str] = field(default_factory=list)
    """Photos whose frame says another pose than the images table."""
    _names: set[str] = field(default_factory=set)

    def add_camera(self, camera_id: int, camera: ColmapCamera) -> None:
        """Keep a camera after checking its numbers.

        Raises:
            CameraError: The id is used twice, a number is not finite or the size is absurd.
        """
        if camera_id in self.cameras:
            raise CameraError(
                f"camera id {camera_id} occurs twice", where=camera.where, advice=_AGAIN
            )
        if not np.isfinite(camera.params).all():
            raise CameraError(
                f"camera {camera_id} has NaN or infinite parameters",
                where=camera.where,
                advice=_AGAIN,
            )
        if not (1 <= camera.width < 2**31 and 1 <= camera.height < 2**31):
            raise CameraError(
                f"camera {camera_id} is {camera.width} x {camera.height} pixels",
                where=camera.where,
                advice=_AGAIN,
            )
        self.cameras[camera_id] = camera

    def add_image(
        self,
        image_id: int,
        quaternion: np.ndarray,
        t: np.ndarray,
        camera_id: int,
        name: str,
        where: str,
        observations: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    ) -> None:
        """Keep a posed photo after checking it.

        Raises:
            CameraError: Id or name twice, missing camera, or a pose that is not a pose.
            UnsafePathError: The name leaves the photo folder.
        """
        name = safe_name(name, where)
        where = f"{where} ({name})"
        if image_id in self.images or name in self._names:
            what = f"image id {image_id}" if image_id in self.images else f"photo {name}"
            raise CameraError(f"{what} occurs twice", where=where, advice=_AGAIN)
        if camera_id not in self.cameras:
            raise CameraError(
                f"camera {camera_id} is not in the cameras file", where=where, advice=_AGAIN
            )
        in_frame = self.poses.get(image_id)
        if in_frame is not None and not np.any(quaternion):
            R, t = in_frame
            loud = False
        else:
            R, loud = rotation_from_quaternion(quaternion, where)
        if loud:
            self.warnings.append(
                f"W-POSE-QUATERNION: {name}: quaternion of length "
                f"{math.hypot(*quaternion):.4f} normalised"
            )
        if not np.isfinite(t).all():
            raise CameraError(
                "the position has NaN or infinite numbers",
                where=where,
                advice="take this photo out of the model and export it again",
            )
        if in_frame is not None and _differ((R, t), in_frame):
            self.differing.append(name)
        self._names.add(name)
        self.images[image_id] = ColmapImage(name, R, t, camera_id, where, *observations)


_AGAIN = "the file is damaged or was edited: export the model again"
_ROUNDING = 1e-4


def spread_over(places: np.ndarray, most: int) -> np.ndarray:
    """Take at most ``most`` of some places, evenly spread."""
    if len(places) <= most:
        return places
    return places[np.arange(most) * len(places) // most]


def _differ(listed: tuple[np.ndarray, np.ndarray], composed: tuple[np.ndarray, np.ndarray]) -> bool:
    """Tell whether two poses (R, t) of one photo differ by more than rounding."""
    reach = 1.0 + np.abs(composed[1]).max()
    turn = np.abs(listed[0] - composed[0]).max()
    return bool(max(turn, np.abs(listed[1] - composed[1]).max() / reach) > _ROUNDING)
