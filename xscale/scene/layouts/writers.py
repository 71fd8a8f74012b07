"""Cameras as other programs' files hold them: the inverse of the readers, number for number.

COLMAP stores quaternions: the one that is written gives the same rotation matrix to the last bit.
nerfstudio stores positions, from which t comes back up to rounding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import product
from pathlib import PurePosixPath

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.frames import (
    OPENCV_FROM_OPENGL,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from xscale.geometry.models import BY_NAME

_GREY = (128, 128, 128)
_MOVES = sorted(product(range(-3, 4), repeat=4), key=lambda move: sum(map(abs, move)))
_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")
_AS_OPENCV = {"SIMPLE_RADIAL": ("k1",), "RADIAL": ("k1", "k2")}
_AS_FISHEYE = {
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
}


def parameters(camera: Camera) -> list[float]:
    """Return COLMAP's parameter list of a camera.

    Raises:
        CameraError: The lens or K's skew is none that COLMAP's models have.
    """
    if BY_NAME[camera.model].colmap_id is None:
        raise CameraError(
            f"COLMAP has no camera model {camera.model}",
            advice="export undistorted photos from the program that made the cameras",
        )
    if camera.skew:
        raise CameraError(
            f"K has a skew of {camera.skew:g} pixels, which COLMAP's models do not have",
            advice="--to mvsnet can hold it",
        )
    named = {"f": camera.fx, "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    named.update(w=float(camera.width), h=float(camera.height))
    bending = iter(camera.distortion)
    names = BY_NAME[camera.model].parameters
    return [named[name] if name in named else float(next(bending)) for name in names]


def stored_quaternion(R: np.ndarray) -> np.ndarray:
    """Return the quaternion (w, x, y, z) that reads back as R, to the last bit where there is one.

    R came from a quaternion of a file; it, or another that gives the same R, lies within a few
    steps of rounding of the computed one.
    """
    start = quaternion_from_rotation(R)
    found = (start + np.spacing(np.abs(start)) * move for move in _MOVES)
    exact = (q for q in found if np.array_equal(rotation_from_quaternion(q, "")[0], R))
    return next(exact, start)


class ColmapTables:
    """COLMAP's three tables before they become bytes or text."""

    def __init__(
        self,
        cameras: dict[str, Camera],
        points: np.ndarray,
        seen: dict[str, tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Number cameras, photos and points.

        Args:
            cameras: By photo name.
            points: float64 [P, 3].
            seen: By photo name, pixels [N, 2] and the points [N, 3] seen there.
        """
        self.points = points
        self.models: dict[tuple, int] = {}
        self.photos = []
        ids = {row.tobytes(): k for k, row in enumerate(np.ascontiguousarray(points), start=1)}
        self.tracks: list[list[tuple[int, int]]] = [[] for _ in points]
        for image_id, (name, camera) in enumerate(cameras.items(), start=1):
            key = (camera.model, camera.width, camera.height, *parameters(camera))
            camera_id = self.models.setdefault(key, len(self.models) + 1)
            keypoints = []
            for pixel, point in zip(*seen.get(name, ((), ())), strict=True):
                number = ids.get(np.ascontiguousarray(point).tobytes())
                if number is not None:
                    self.tracks[number - 1].append((image_id, len(keypoints)))
                    keypoints.append((float(pixel[0]), float(pixel[1]), number))
            pose = [float(v) for v in (*stored_quaternion(camera.R), *camera.t)]
            self.photos.append((image_id, pose, camera_id, name, keypoints))

    def binary(self) -> dict[str, bytes]:
        """Encode ``cameras.bin``, ``images.bin`` and ``points3D.bin``."""
        cameras = [struct.pack("<Q", len(self.models))]
        for (model, width, height, *values), camera_id in self.models.items():
            number = BY_NAME[model].colmap_id
            cameras.append(struct.pack("<IiQQ", camera_id, number, width, height))
            cameras.append(struct.pack(f"<{len(values)}d", *values))
        images = [struct.pack("<Q", len(self.photos))]
        for image_id, pose, camera_id, name, keypoints in self.photos:
            images.append(struct.pack("<I7dI", image_id, *pose, camera_id))
            images.append(name.encode("utf-8", "surrogateescape") + b"\0")
            images.append(struct.pack("<Q", len(keypoints)))
            images += [struct.pack("<ddq", *keypoint) for keypoint in keypoints]
        points = [struct.pack("<Q", len(self.points))]
        for number, (point, track) in enumerate(zip(self.points, self.tracks, strict=True), 1):
            points.append(struct.pack("<Q3d3Bd", number, *point, *_GREY, 0.0))
            points.append(struct.pack("<Q", len(track)))
            points += [struct.pack("<II", *entry) for entry in track]
        return {
            "cameras.bin": b"".join(cameras),
            "images.bin": b"".join(images),
            "points3D.bin": b"".join(points),
        }

    def text(self) -> dict[str, bytes]:
        """Encode ``cameras.txt``, ``images.txt`` and ``points3D.txt``, every digit kept.

        Raises:
            SceneError: A photo's name has a line end, which the text form cannot hold.
        """
        cameras = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
        for (model, width, height, *values), camera_id in self.models.items():
            cameras.append(f"{camera_id} {model} {width} {height} {_row(values)}")
        images = [
            "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
            "# POINTS2D[] as (X, Y, POINT3D_ID)",
        ]
        for image_id, pose, camera_id, name, keypoints in self.photos:
            if name != name.strip() or len(name.splitlines()) != 1:
                raise SceneError(
                    f"the name {name!r} cannot stand in a text file", advice="leave out --text"
                )
            images.append(f"{image_id} {_row(pose)} {camera_id} {name}")
            images.append(" ".join(f"{u!r} {v!r} {number}" for u, v, number in keypoints))
        points = ["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)"]
        for number, (point, track) in enumerate(zip(self.points, self.tracks, strict=True), 1):
            entries = "".join(f" {image} {index}" for image, index in track)
            points.append(f"{number} {_row(point)} {_row(_GREY)} 0{entries}")
        tables = {"cameras.txt": cameras, "images.txt": images, "points3D.txt": points}
        return {
            name: ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
            for name, lines in tables.items()
        }


def _row(values: Iterable[float]) -> str:
    """Write numbers with as many digits as they need."""
    return " ".join(repr(v) if isinstance(v, int) else repr(float(v)) for v in values)


def mvsnet_camera(camera: Camera) -> str:
    """Write one ``_cam.txt``.

    Raises:
        CameraError: The lens bends rays, which this layout cannot say.
    """
    if camera.model not in _PINHOLES and (camera.model == "EQUIRECTANGULAR" or _bends(camera)):
        raise CameraError(
            f"the authors' layout has no camera model {camera.model}, only pinholes",
            advice="--to colmap can hold it",
        )
    rows = [_row(row) for row in camera.camera_from_world]
    return "\n".join(["extrinsic", *rows, "", "intrinsic", *map(_row, camera.K), ""])


def _bends(camera: Camera) -> bool:
    return "FISHEYE" in camera.model or bool(np.any(camera.distortion))


def nerfstudio_intrinsics(camera: Camera) -> dict[str, object]:
    """Return a camera's intrinsics and ``camera_model`` in nerfstudio's words.

    Raises:
        CameraError: There are no words for them.
    """
    if camera.skew:
        raise CameraError(
            f"transforms.json has no skew, K has {camera.skew:g} pixels",
            advice="--to mvsnet can hold it",
        )
    size: dict[str, object] = {"w": camera.width, "h": camera.height}
    if camera.model == "EQUIRECTANGULAR":
        return {"camera_model": camera.model, **size}
    values = dict(zip(("fl_x", "fl_y"), (camera.fx, camera.fy), strict=True))
    return {
        "camera_model": _nerfstudio_model(camera),
        **size,
        **values,
        "cx": camera.cx,
        "cy": camera.cy,
        **_nerfstudio_bending(camera),
    }


def _nerfstudio_model(camera: Camera) -> str:
    return "OPENCV_FISHEYE" if "FISHEYE" in camera.model else "OPENCV"


def _nerfstudio_bending(camera: Camera) -> dict[str, float]:
    bending = [float(v) for v in camera.distortion]
    fisheye = dict.fromkeys(("k1", "k2", "k3", "k4"), 0.0)
    perspective = dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0)
    if camera.model in _PINHOLES:
        return perspective
    if camera.model in _AS_OPENCV:
        return {**perspective, **dict(zip(_AS_OPENCV[camera.model], bending, strict=True))}
    if camera.model == "OPENCV":
        return dict(zip(("k1", "k2", "p1", "p2"), bending, strict=True))
    if camera.model == "FULL_OPENCV" and not any(bending[5:]):
        return dict(zip(("k1", "k2", "p1", "p2", "k3"), bending, strict=False))
    if camera.model == "OPENCV_FISHEYE":
        return dict(zip(("k1", "k2", "k3", "k4"), bending, strict=True))
    if camera.model in _AS_FISHEYE:
        return {**fisheye, **dict(zip(_AS_FISHEYE[camera.model], bending, strict=True))}
    held = BY_NAME[camera.model].colmap_id is not None
    raise CameraError(
        f"transforms.json has no camera model {camera.model}",
        advice="--to colmap can hold it" if held else "no other layout can hold it either",
    )


def nerfstudio_transforms(
    cameras: dict[str, Camera], masks: dict[str, str], points: str | None
) -> dict[str, object]:
    """Return the content of ``transforms.json``.

    Args:
        cameras: By photo name, relative to ``images/``.
        masks: Path of a photo's mask relative to the file, by photo name.
        points: Path of the sparse points relative to the file.

    Raises:
        CameraError: A camera cannot be expressed, or cameras need different models.
    """
    intrinsics = {name: nerfstudio_intrinsics(camera) for name, camera in cameras.items()}
    models = sorted({str(words["camera_model"]) for words in intrinsics.values()})
    if len(models) > 1:
        raise CameraError(
            f"transforms.json has one camera model for all photos, here are {', '.join(models)}",
            advice="--to colmap can hold them",
        )
    first = next(iter(intrinsics.values()))
    shared = all(words == first for words in intrinsics.values())
    content: dict[str, object] = dict(first) if shared else {"camera_model": models[0]}
    if points is not None:
        content["ply_file_path"] = points
    content["frames"] = [
        {
            "file_path": (PurePosixPath("images") / name).as_posix(),
            **({"mask_path": masks[name]} if name in masks else {}),
            **({} if shared else {k: v for k, v in intrinsics[name].items() if k[:6] != "camera"}),
            "transform_matrix": _opengl_pose(camera),
        }
        for name, camera in cameras.items()
    ]
    return content


def _opengl_pose(camera: Camera) -> list[list[float]]:
    """Return the camera to world matrix in OpenGL axes."""
    pose = np.eye(4)
    pose[:3, :3] = camera.R.T @ OPENCV_FROM_OPENGL
    pose[:3, 3] = camera.position
    return pose.tolist()
