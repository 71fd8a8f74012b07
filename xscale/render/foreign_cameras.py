"""Cameras as other programs write them: scenes of every layout, ns-export, instant-ngp.

- ``ns-export cameras`` writes a list of ``file_path`` and ``transform`` (3 x 4, camera to world,
  OpenGL axes) in nerfstudio's own frame, without intrinsics: those of the run's photos are taken,
  and the frame is found from the photos that both know.
- instant-ngp's ``base_cam.json`` holds key poses: ``R`` (quaternion x, y, z, w) and ``T`` of
  OpenCV cameras in its unit cube, whose axes are y, z, x of ``scale * world + offset``, and
  ``fov``, vertical, in degrees. ``scale`` and ``offset`` are 0.33 and 0.5, or those of
  ``transforms.json``.
  Source: instant-ngp, nerf_matrix_to_ngp and CameraPath.
- Paths drawn in nerfstudio's viewer stand in its own frame; ``dataparser_transforms.json`` of the
  training says which, and is followed where it lies beside the path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xscale.errors import CameraError, InputError, SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.frames import OPENCV_FROM_OPENGL, nearest_rotation, rotation_from_quaternion
from xscale.io.strict_json import matrix, number, read_json
from xscale.scene.layouts.applied import applied_world
from xscale.scene.layouts.kinds import detected
from xscale.scene.layouts.labels import parts_of
from xscale.scene.layouts.views import Choice

if TYPE_CHECKING:
    from xscale.render.camera_path import CameraPath

DATAPARSER = "dataparser_transforms.json"
_NGP_SCALE, _NGP_OFFSET = 0.33, 0.5
_NGP_AXES = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
"""instant-ngp's axes from the world's: x is y, y is z, z is x."""
_LEAST_SHARED = 3
_SAME = 0.02
"""Largest distance, as a share of the cameras' spread, at which two frames are one."""

Cameras = list[tuple[str, Camera | None, str | None]]
"""Photo name, camera, and what is wrong with it where there is none."""


@dataclass(frozen=True)
class Known:
    """Facts of a run, for files that say less."""

    cameras: Mapping[str, Camera] = field(default_factory=dict)
    """By photo name, in the scene's frame."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Provenance of the scene: ``undone`` and ``not_applied`` of a ``transforms.json``."""

    def like(self, name: str) -> Camera | None:
        """Return the camera of the photo of that file name, else the first."""
        last = parts_of(name)[-1:]
        for photo, camera in self.cameras.items():
            if parts_of(photo)[-1:] == last:
                return camera
        return next(iter(self.cameras.values()), None)


UNKNOWN = Known()


def from_layout(
    path: Path, size: tuple[int, int] | None, known: Known
) -> tuple[Cameras, tuple[str, ...]]:
    """Read the cameras of a scene of any layout, its cameras file or folder given.

    Raises:
        InputError: It is not such a file, or damaged.
    """
    like = known.like("")
    sizes = size or ((like.width, like.height) if like is not None else None)
    choice = Choice(cameras=path) if sizes is None else Choice(cameras=path, missing_size=sizes)
    if path.is_dir():
        choice = replace(choice, cameras=None)
    try:
        layout, _ = detected(path if path.is_dir() else path.parent, choice)
    except SceneError as error:
        raise InputError(
            "holds no known cameras: neither a camera path, a COLMAP model, *_cam.txt "
            "files nor the cameras of another layout",
            where=path,
            advice=error.advice if path.is_file() else "check the path",
        ) from error
    reading = layout.read(path if path.is_dir() else path.parent, choice)
    cameras: Cameras = []
    for view in reading.views:
        wanted = view.size or sizes
        if wanted is None or wanted == (1, 1):
            raise CameraError(
                "does not say the size of its pictures", where=view.where, advice="give --size WxH"
            )
        try:
            camera = Camera(view.model, *wanted, view.K, view.R, view.t, view.distortion)
            camera.packed()
            cameras.append((view.name, camera, None))
        except CameraError as error:
            cameras.append((view.name, None, f"{view.where}: {error}"))
    return cameras, tuple(reading.warnings)


def is_export(document: object) -> bool:
    """Tell whether a document is what ``ns-export cameras`` writes."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(entry, dict) and "transform" in entry for entry in document)
    )


def from_export(
    document: list[dict], path: Path, size: tuple[int, int] | None, known: Known
) -> tuple[Cameras, tuple[str, ...]]:
    """Read what ``ns-export cameras`` writes."""
    cameras: Cameras = []
    for index, entry in enumerate(document):
        where = f"{path}, [{index}]"
        name = str(entry.get("file_path") or f"{index:05d}")
        pose = matrix(entry["transform"], where)
        shape = _shaped(known.like(name), size, where)
        R = OPENCV_FROM_OPENGL @ nearest_rotation(pose[:3, :3], where).T
        cameras.append(("/".join(parts_of(name)), replace(shape, R=R, t=-R @ pose[:3, 3]), None))
    frame = _beside(path) or _shared_frame(cameras, known)
    return frame.applied(cameras) if frame else (cameras, ())


def is_ngp(document: object) -> bool:
    """Tell whether a document is a camera path of instant-ngp."""
    if not isinstance(document, dict) or not isinstance(document.get("path"), list):
        return False
    return all(isinstance(key, dict) and {"R", "T"} <= set(key) for key in document["path"])


def from_ngp(
    document: dict, path: Path, size: tuple[int, int] | None, known: Known
) -> tuple[Cameras, tuple[str, ...]]:
    """Read the key poses of instant-ngp's ``base_cam.json``."""
    box = known.provenance.get("not_applied", {})
    scale = float(box.get("scale", _NGP_SCALE))
    offset = np.broadcast_to(np.asarray(box.get("offset", _NGP_OFFSET), np.float64), (3,))
    world = applied_world(dict(known.provenance.get("undone", {})), path)
    cameras: Cameras = []
    if not document["path"]:
        raise InputError("the path is empty", where=path, advice="add key poses in instant-ngp")
    for index, key in enumerate(document["path"]):
        where = f"{path}, path[{index}]"
        x, y, z, w = _list(key["R"], 4, f"{where}/R")
        turn, _ = rotation_from_quaternion(np.array([w, x, y, z]), where)
        rotation = _NGP_AXES.T @ turn
        position = (_NGP_AXES.T @ np.array(_list(key["T"], 3, f"{where}/T")) - offset) / scale
        if world is not None:
            rotation, position = world.undo(rotation, position)
        like = known.like("")
        if size is None and like is None:
            raise CameraError("does not say the picture's size", where=path, advice="give --size")
        width, height = size or (like.width, like.height)
        fov = number(key.get("fov"), f"{where}/fov")
        if not 0 < fov < 180:
            raise CameraError(f"fov is {fov:g}, it must lie between 0 and 180", where=where)
        focal = height / 2 / math.tan(math.radians(fov) / 2)
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        camera = Camera("PINHOLE", width, height, K, rotation.T, -rotation.T @ position)
        cameras.append((f"{index:05d}", camera, None))
    return cameras, (
        f"W-CAMERAS-KEYS: {path}: its {len(cameras)} key poses are rendered; "
        "xscale path RUN flythrough --keys FILE goes smoothly through them",
    )


def in_run_frame(read: CameraPath, path: Path) -> CameraPath:
    """Bring a camera path from nerfstudio's own frame, where the file beside it says which."""
    frame = _beside(path)
    if frame is None:
        return read
    named = [(c.name, c.camera, c.fault) for c in read.cameras]
    cameras, warnings = frame.applied(named)
    moved = [replace(n, camera=c[1]) for n, c in zip(read.cameras, cameras, strict=True)]
    at, _ = frame.applied([("", key.camera, None) for key in read.keys])
    keys = [replace(k, camera=c[1]) for k, c in zip(read.keys, at, strict=True)]
    return replace(
        read, cameras=tuple(moved), warnings=(*read.warnings, *warnings), keys=tuple(keys)
    )


@dataclass(frozen=True)
class _Frame:
    """Scene from file: ``factor * turn @ x + shift``."""

    turn: np.ndarray
    factor: float
    shift: np.ndarray
    source: str

    def applied(self, cameras: Cameras) -> tuple[Cameras, tuple[str, ...]]:
        """Return cameras in the scene's frame, and what was done."""
        moved: Cameras = []
        for name, camera, fault in cameras:
            if camera is not None:
                R = camera.R @ self.turn.T
                position = self.factor * self.turn @ camera.position + self.shift
                camera = replace(camera, R=R, t=-R @ position)
            moved.append((name, camera, fault))
        return moved, (f"W-CAMERAS-FRAME: brought from nerfstudio's own frame by {self.source}",)


def _beside(path: Path) -> _Frame | None:
    """Read nerfstudio's ``dataparser_transforms.json`` beside a file."""
    file = path.with_name(DATAPARSER)
    if not file.is_file():
        return None
    content = read_json(file)
    pose = matrix(content.get("transform"), f"{file}: /transform")
    factor = number(content.get("scale"), f"{file}: /scale")
    turn = nearest_rotation(pose[:3, :3], file)
    if not factor > 0:
        raise CameraError(f"scale is {factor:g}", where=file)
    return _Frame(turn.T, 1 / factor, -turn.T @ pose[:3, 3], DATAPARSER)


def _shared_frame(cameras: Cameras, known: Known) -> _Frame | None:
    """Find the similarity that takes a file's cameras to the run's of the same photos.

    Source: Umeyama, Least-squares estimation of transformation parameters, 1991; with rotations
    taken into account, so that cameras on a line suffice.
    """
    by_file = {parts_of(name)[-1]: camera for name, camera in known.cameras.items()}
    pairs = [
        (camera, by_file[parts_of(name)[-1]])
        for name, camera, _ in cameras
        if camera is not None and parts_of(name)[-1] in by_file
    ]
    if len(pairs) < _LEAST_SHARED:
        return None
    mean = np.mean([ours.R.T @ theirs.R for theirs, ours in pairs], axis=0)
    u, _, v = np.linalg.svd(mean)
    turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    a = np.array([theirs.position for theirs, _ in pairs]) @ turn.T
    b = np.array([ours.position for _, ours in pairs])
    left, right = a - a.mean(0), b - b.mean(0)
    spread = float(np.linalg.norm(right))
    if not spread or not np.linalg.norm(left):
        return None
    factor = float((left * right).sum() / (left * left).sum())
    rest = float(np.linalg.norm(factor * left - right))
    if factor <= 0 or rest > _SAME * spread:
        return None
    shift = b.mean(0) - factor * a.mean(0)
    return _Frame(turn, factor, shift, f"the {len(pairs)} photos that the run knows")


def _shaped(like: Camera | None, size: tuple[int, int] | None, where: str) -> Camera:
    """Return a camera with the run's lens at the size wanted."""
    if like is None:
        raise CameraError("has no intrinsics", where=where, advice="give cameras that say them")
    return like if size is None else like.scaled(*size)


def _list(values: object, count: int, where: str) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise CameraError(f"needs {count} numbers", where=where)
    return [number(value, where) for value in values]
