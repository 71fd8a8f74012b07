"""COLMAP's rigs and frames (since 3.12): poses of cameras that were mounted together.

A frame is one moment of a rig. Its pose is that of the rig, ``rig from world``; each of its photos
was taken by a sensor with a fixed place on the rig, ``sensor from rig``. The photo's pose is both
composed. COLMAP also writes the composed pose into the images table; the two must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.camera import FARTHEST
from xscale.geometry.frames import rotation_from_quaternion
from xscale.io.budget import check_growth
from xscale.scene.layouts.colmap_binary import Reader
from xscale.scene.layouts.colmap_model import PHOTO_BYTES
from xscale.scene.layouts.colmap_text import integer, parse_number, rows, short

CAMERA = 0
_KINDS = {"CAMERA": CAMERA, "IMU": 1}
_AGAIN = "the file is damaged or was edited: export the model again"
_SMALLEST_RIG = 8
_SMALLEST_FRAME = 68
_SMALLEST_SENSOR = 9
_SMALLEST_DATA = 11
_SENSOR_BYTES = 250
"""Memory that a sensor or a data id takes."""
_DATA_ID = 16
_POSE = 7

Sensor = tuple[int, int]
"""Kind (0 camera, 1 IMU) and id of a sensor."""


class Pose(NamedTuple):
    """A rigid motion: ``x_to = R x_from + t``."""

    R: np.ndarray
    t: np.ndarray


class Rig(NamedTuple):
    """Where the sensors of a rig sit."""

    rig_id: int
    sensors: dict[Sensor, Pose | None]
    """Sensor from rig; None where it was never calibrated."""


class RigFrame(NamedTuple):
    """One moment of a rig."""

    frame_id: int
    rig_id: int
    rig_from_world: Pose
    data: list[tuple[Sensor, int]]
    """Which sensor took which image id."""
    where: str


_IDENTITY = Pose(np.eye(3), np.zeros(3))


def _pose(numbers: tuple[float, ...] | list[float], where: object) -> Pose:
    values = np.array(numbers, dtype=np.float64)
    R, _ = rotation_from_quaternion(values[:4], where)
    if not np.abs(values[4:]).max() <= FARTHEST:
        raise CameraError(
            "the position is NaN, infinite or much too far away", where=where, advice=_AGAIN
        )
    return Pose(R, values[4:])


def read_poses(folder: Path, extension: str, warnings: list[str]) -> dict[int, Pose]:
    """Compose the pose of every image that belongs to a frame.

    Args:
        folder: Of the model.
        extension: ``bin`` or ``txt``.
        warnings: Gets remarks.

    Returns:
        Camera from world by image id; empty where the model has no rigs and frames.

    Raises:
        CameraError: One of the two files is missing, cut or damaged, or a frame needs a sensor
            without a place on its rig.
    """
    rigs_file, frames_file = (folder / f"{name}.{extension}" for name in ("rigs", "frames"))
    present = [path.is_file() for path in (rigs_file, frames_file)]
    if not any(present):
        return {}
    if not all(present):
        missing = rigs_file if present[1] else frames_file
        raise CameraError(
            f"{missing.name} is missing: rigs and frames belong together",
            where=folder,
            advice="copy the whole model",
        )
    for path, smallest in ((rigs_file, _SMALLEST_SENSOR), (frames_file, _SMALLEST_DATA)):
        most = path.stat().st_size // smallest
        check_growth(most * _SENSOR_BYTES, path, f"the {most} sensors that it has room for")
    if extension == "bin":
        rigs = list(_rigs_binary(rigs_file, warnings))
        frames = list(_frames_binary(frames_file, warnings))
    else:
        rigs, frames = list(_rigs_text(rigs_file)), list(_frames_text(frames_file))
    return _composed(_by_id(rigs, rigs_file), frames)


def _by_id(rigs: list[Rig], where: Path) -> dict[int, Rig]:
    found = {rig.rig_id: rig for rig in rigs}
    if len(found) != len(rigs):
        raise CameraError("a rig id occurs twice", where=where, advice=_AGAIN)
    return found


def _composed(rigs: dict[int, Rig], frames: list[RigFrame]) -> dict[int, Pose]:
    poses: dict[int, Pose] = {}
    for frame in frames:
        rig = rigs.get(frame.rig_id)
        if rig is None:
            raise CameraError(
                f"frame {frame.frame_id} is of rig {frame.rig_id}, which is not in the rigs file",
                where=frame.where,
                advice=_AGAIN,
            )
        for sensor, image_id in frame.data:
            if sensor[0] != CAMERA:
                continue
            if sensor not in rig.sensors:
                raise CameraError(
                    f"frame {frame.frame_id} has a photo of camera {sensor[1]}, which is not on "
                    f"rig {rig.rig_id}",
                    where=frame.where,
                    advice=_AGAIN,
                )
            place = rig.sensors[sensor]
            if place is None:
                raise CameraError(
                    f"camera {sensor[1]} has no pose on rig {rig.rig_id}, but frame "
                    f"{frame.frame_id} has a photo of it",
                    where=frame.where,
                    advice="calibrate the rig with colmap rig_configurator and map again",
                )
            if image_id in poses:
                raise CameraError(
                    f"image {image_id} is in two frames", where=frame.where, advice=_AGAIN
                )
            R, t = frame.rig_from_world
            poses[image_id] = Pose(place.R @ R, place.R @ t + place.t)
    return poses


def _rigs_binary(path: Path, warnings: list[str]) -> Iterator[Rig]:
    with Reader(path) as reader:
        for record in range(reader.count(_SMALLEST_RIG, "rig")):
            what = f"rig {record + 1}"
            rig_id, count = reader.take("II", what)
            if count * _SMALLEST_SENSOR > reader.left + 1:
                raise reader.cut(f"the {count} sensors of {what}")
            sensors: dict[Sensor, Pose | None] = {}
            if count:
                sensors[reader.take("iI", what)] = _IDENTITY
            for _ in range(count - 1):
                where = f"{path}: {what} at byte {reader.offset}"
                kind, sensor_id, has_pose = reader.take("iIB", what)
                pose = _pose(reader.take("7d", what), where) if has_pose else None
                sensors[kind, sensor_id] = pose
            yield _checked(Rig(rig_id, sensors), count, path)
        reader.end(warnings)


def _checked(rig: Rig, count: int, where: object) -> Rig:
    if len(rig.sensors) != count:
        raise CameraError(f"rig {rig.rig_id} has a sensor twice", where=where, advice=_AGAIN)
    return rig


def _frames_binary(path: Path, warnings: list[str]) -> Iterator[RigFrame]:
    with Reader(path) as reader:
        for record in range(reader.count(_SMALLEST_FRAME, "frame", PHOTO_BYTES)):
            what = f"frame {record + 1}"
            where = f"{path}: frame record {record + 1} at byte {reader.offset}"
            frame_id, rig_id, *numbers = reader.take("II7d", what)
            (count,) = reader.take("I", what)
            if count * _DATA_ID > reader.left:
                raise reader.cut(f"the {count} data ids of {what}")
            data = []
            for _ in range(count):
                kind, sensor_id, data_id = reader.take("iIQ", what)
                data.append(((kind, sensor_id), data_id))
            yield RigFrame(frame_id, rig_id, _pose(numbers, where), data, where)
        reader.end(warnings)


def _kind(token: str, where: object) -> int:
    if token not in _KINDS:
        raise CameraError(
            f"{token!r} is not a kind of sensor ({', '.join(_KINDS)})", where=where, advice=_AGAIN
        )
    return _KINDS[token]


def _rigs_text(path: Path) -> Iterator[Rig]:
    """RIG_ID, NUM_SENSORS, REF_TYPE, REF_ID, then per other sensor TYPE, ID, HAS_POSE, [pose]."""
    for where, line in rows(path):
        fields = line.split()
        if len(fields) < 2:
            raise short("rig", len(fields), 2, where)
        rig_id, count = integer(fields[0], where), integer(fields[1], where)
        sensors: dict[Sensor, Pose | None] = {}
        at = 2
        while at < len(fields):
            if len(fields) < at + (3 if sensors else 2):
                raise short("rig", len(fields), at + 3, where)
            sensor = (_kind(fields[at], where), integer(fields[at + 1], where))
            at += 2
            if not sensors:
                sensors[sensor] = _IDENTITY
                continue
            has_pose = integer(fields[at], where)
            at += 1
            pose = None
            if has_pose:
                if len(fields) < at + _POSE:
                    raise short("rig", len(fields), at + _POSE, where)
                pose = _pose([parse_number(f, where) for f in fields[at : at + _POSE]], where)
                at += _POSE
            sensors[sensor] = pose
        yield _checked(Rig(rig_id, sensors), count, where)


def _frames_text(path: Path) -> Iterator[RigFrame]:
    """FRAME_ID, RIG_ID, pose, NUM_DATA_IDS, then SENSOR_TYPE, SENSOR_ID, DATA_ID each."""
    head = 2 + _POSE + 1
    for where, line in rows(path):
        fields = line.split()
        if len(fields) < head:
            raise short("frame", len(fields), head, where)
        count = integer(fields[head - 1], where)
        if len(fields) != head + 3 * count:
            raise short("frame", len(fields), head + 3 * count, where)
        data = []
        for at in range(head, len(fields), 3):
            sensor = (_kind(fields[at], where), integer(fields[at + 1], where))
            data.append((sensor, integer(fields[at + 2], where)))
        pose = _pose([parse_number(f, where) for f in fields[2 : 2 + _POSE]], where)
        yield RigFrame(integer(fields[0], where), integer(fields[1], where), pose, data, where)
