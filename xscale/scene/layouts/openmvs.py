"""OpenMVS's interface file, ``scene.mvs`` with the signature ``MVSI``.

A flat little-endian stream: counts are uint64, ids uint32, matrices float64 by rows. A photo's pose
is that of its platform followed by the place of its camera on the platform. Pixels count from the
first pixel's centre, photos are free of distortion. The projects that OpenMVS's own programs write
in between (signature ``MVS``) have no fixed form and are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError, SceneError, UnsafePathError
from xscale.geometry.camera import FARTHEST
from xscale.geometry.frames import nearest_rotation
from xscale.scene.layouts.cameras_file import find_cameras
from xscale.scene.layouts.colmap_binary import Reader
from xscale.scene.layouts.labels import join_labels
from xscale.scene.layouts.paths import is_address, path_below
from xscale.scene.layouts.views import Choice, PhotoView, Reading, beginning, some

LAYOUT = "openmvs"
FILE = "scene.mvs"
_NO_CHOICE = Choice()
_INTERFACE = b"MVSI"
_PROJECT = b"MVS\0"
_NEWEST = 7
_NO_ID = 2**32 - 1
_LONGEST_NAME = 4096
_MOST_POINTS = 2_000_000
_PART_BYTES = 800
"""Most memory that a platform, camera, pose or image takes."""
_HALF_PIXEL = 0.5
_EXPORT = "export it with OpenMVS: InterfaceCOLMAP -i scene.mvs -o FOLDER, and open FOLDER"


class _Camera(NamedTuple):
    """A camera on a platform."""

    size: tuple[int, int]
    K: np.ndarray
    R: np.ndarray
    C: np.ndarray


class _Platform(NamedTuple):
    """Cameras that move together, and their poses."""

    cameras: list[_Camera]
    poses: list[tuple[np.ndarray, np.ndarray]]


class _Image(NamedTuple):
    """A photo, by the ids of its platform, camera and pose."""

    name: str
    mask: str
    platform: int
    camera: int
    pose: int


def _file(root: Path, choice: Choice) -> Path | None:
    return find_cameras(root, choice, ("*.mvs",), _signed, "OpenMVS files", FILE)


def _signed(path: Path) -> bool:
    return beginning(path).startswith((_INTERFACE, _PROJECT))


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    path = _file(root, choice)
    return None if path is None else f"{path.name} is an OpenMVS scene"


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read cameras and sparse points; photos without a pose are counted and named.

    Raises:
        CameraError: The file is cut, of a kind or version that is not known, or has an id that
            names nothing.
        SceneError: No photo has a pose.
        UnsafePathError: A photo lies outside the scene folder.
    """
    path = _file(root, choice)
    if path is None:
        raise SceneError("there is no OpenMVS scene", where=root)
    warnings: list[str] = []
    with Reader(path) as reader:
        version = _version(reader)
        platforms = [
            _platform(reader, version) for _ in range(reader.count(24, "platform", _PART_BYTES))
        ]
        images = [_image(reader, version) for _ in range(reader.count(20, "image", _PART_BYTES))]
        points = _points(reader, warnings)
    posed = [image for image in images if image.pose != _NO_ID]
    bare = [image.name for image in images if image.pose == _NO_ID]
    if bare:
        warnings.append(
            f"W-OPENMVS-IMAGES: {len(bare)} photos have no pose and are not used: {some(bare)}"
        )
    masked = [image.name for image in posed if image.mask]
    if masked:
        warnings.append(
            f"W-OPENMVS-MASKS: segmentations of {len(masked)} photos are not used; masks go into "
            "masks/NAME.png"
        )
    if not posed:
        raise SceneError("no photo has a pose", where=path, advice="align the photos first")
    folder, names = _names([image.name for image in posed], path, choice.images, warnings)
    views = [
        _view(image, name, platforms, f"{path}: image {name}")
        for image, name in zip(posed, names, strict=True)
    ]
    return Reading(LAYOUT, detect(root, choice) or "", folder, views, points, warnings)


def _version(reader: Reader) -> int:
    """Read the signature and the version.

    Raises:
        CameraError: It is one of OpenMVS's own projects, or newer than what is known.
    """
    if reader.bytes(4, "the signature") != _INTERFACE:
        raise CameraError(
            "is a project of OpenMVS's own programs, which has no fixed form",
            where=reader.path,
            advice=_EXPORT,
        )
    version, _ = reader.take("II", "the version")
    if not 1 <= version <= _NEWEST:
        raise CameraError(
            f"is of version {version}, known are 1 to {_NEWEST}", where=reader.path, advice=_EXPORT
        )
    return version


def _text(reader: Reader, what: str) -> str:
    (size,) = reader.take("Q", what)
    if size > _LONGEST_NAME:
        raise CameraError(
            f"{what} at byte {reader.offset} has {size} letters",
            where=reader.path,
            advice="the file is cut or damaged: export it again",
        )
    return reader.bytes(size, what).decode("utf-8", "surrogateescape")


def _matrix(reader: Reader, what: str) -> np.ndarray:
    return np.array(reader.take("9d", what)).reshape(3, 3)


def _platform(reader: Reader, version: int) -> _Platform:
    _text(reader, "the name of a platform")
    cameras = []
    for _ in range(reader.count(176, "camera", _PART_BYTES)):
        _text(reader, "the name of a camera")
        if version > 3:
            _text(reader, "the band of a camera")
        size = reader.take("II", "a camera")
        K, R = _matrix(reader, "a camera"), _matrix(reader, "a camera")
        cameras.append(_Camera(size, K, R, np.array(reader.take("3d", "a camera"))))
    poses = [
        (_matrix(reader, "a pose"), np.array(reader.take("3d", "a pose")))
        for _ in range(reader.count(96, "pose", _PART_BYTES))
    ]
    return _Platform(cameras, poses)


def _image(reader: Reader, version: int) -> _Image:
    name = _text(reader, "the name of an image")
    mask = _text(reader, "the mask of an image") if version > 4 else ""
    ids = reader.take("III", "an image")
    if version > 2:
        reader.skip(4, "an image")
    if version > 6:
        reader.skip(12, "an image")
        (scores,) = reader.take("Q", "an image")
        reader.skip(24 * scores, f"the {scores} scores of an image")
    return _Image(name, mask, *ids)


def _points(reader: Reader, warnings: list[str]) -> np.ndarray | None:
    """Read the points' positions; they only serve checks, so dense clouds are passed over."""
    count = reader.count(20, "point")
    if count > _MOST_POINTS:
        warnings.append(f"W-POINTS: {count} points are a dense cloud and not used for checks")
        return None
    found = np.empty((count, 3))
    for k in range(count):
        x, y, z, views = reader.take("3fQ", f"point {k + 1} of {count}")
        reader.skip(8 * views, f"the {views} views of point {k + 1}")
        found[k] = x, y, z
    good = np.isfinite(found).all(axis=1)
    if not good.all():
        warnings.append(
            f"W-POINTS-FINITE: {int((~good).sum())} sparse points are NaN or infinite and left out"
        )
    return found[good]


def _names(
    given: list[str], path: Path, images: Path | None, warnings: list[str]
) -> tuple[Path, list[str]]:
    """Return the photo folder (the folder that all share, if any) and the names in it."""
    base = path.parent
    try:
        paths = [path_below(name, base, path) for name in given]
    except UnsafePathError:
        # Only the end of another computer's path can be found, in the folder named.
        if images is None or any(is_address(name) for name in given):
            raise
        joined = join_labels(given, images, path)
        warnings += joined.warnings
        return images, joined.names
    first = paths[0].split("/")[0]
    if all(p.startswith(f"{first}/") for p in paths):
        return images or base / first, [p[len(first) + 1 :] for p in paths]
    return images or base, paths


def _view(image: _Image, name: str, platforms: list[_Platform], where: str) -> PhotoView:
    if image.platform >= len(platforms):
        raise CameraError(f"platform {image.platform} is missing", where=where, advice=_EXPORT)
    platform = platforms[image.platform]
    if image.camera >= len(platform.cameras) or image.pose >= len(platform.poses):
        raise CameraError(
            f"camera {image.camera} or pose {image.pose} of platform {image.platform} is missing",
            where=where,
            advice=_EXPORT,
        )
    camera, (turn, centre) = platform.cameras[image.camera], platform.poses[image.pose]
    if not all(camera.size):
        # OpenMVS's versions differ by half a pixel in how they scale such a K.
        raise CameraError(
            "its camera has no picture size, so its intrinsics are not in pixels",
            where=where,
            advice=_EXPORT,
        )
    if not np.isfinite(camera.K).all() or camera.K[1, 0] or np.any(camera.K[2] != (0, 0, 1)):
        raise CameraError("its K is not [fx s cx; 0 fy cy; 0 0 1]", where=where, advice=_EXPORT)
    if not np.abs([*camera.C, *centre]).max() <= FARTHEST:
        raise CameraError(
            "the position is NaN, infinite or much too far away", where=where, advice=_EXPORT
        )
    turn = nearest_rotation(turn, where)
    R = nearest_rotation(camera.R, where) @ turn
    position = turn.T @ camera.C + centre
    K = np.array(camera.K)
    K[:2, 2] += _HALF_PIXEL
    return PhotoView(name, where, "PINHOLE", K, R, -R @ position, np.zeros(0), camera.size)
