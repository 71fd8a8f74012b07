"""The layout of the method's authors: ``images_{k}/NAME.png`` with ``cams_{k}/NAME_cam.txt``.

A camera file holds ``extrinsic`` and 16 numbers (world to camera), ``intrinsic`` and 9 numbers,
and an optional line of depths that we do not need. K refers to the photos of the same k.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xscale.errors import CameraError, SceneError
from xscale.geometry.frames import nearest_rotation
from xscale.scene.layouts.colmap_text import parse_number
from xscale.scene.layouts.views import PHOTO_SUFFIXES, Choice, PhotoView, Reading, some
from xscale.scene.names import other_spellings, remark

LAYOUT = "mvsnet"
_SUFFIX = "_cam.txt"
_FOLDER = re.compile(r"(images|cams)(?:_(\d+(?:\.\d+)?))?")
_MOST_BYTES = 1 << 16
_DEPTH_NUMBERS = (0, 2, 3, 4)
_LEAST_SHARE = 0.95
_NO_CHOICE = Choice()


class Pair(NamedTuple):
    """Photos and cameras of one size."""

    scale: float
    images: Path
    cams: Path


def split_path(path: Path) -> tuple[Path, float | None]:
    """Return the scene folder and, where the path names ``images_{k}`` or ``cams_{k}``, k."""
    match = _FOLDER.fullmatch(path.name)
    if match and match.group(2) and path.is_dir():
        return path.parent, float(match.group(2))
    return path, None


def _pairs(root: Path) -> list[Pair]:
    """List the sizes for which both folders are there, the largest photos first."""
    pairs = []
    for folder in root.iterdir() if root.is_dir() else ():
        match = _FOLDER.fullmatch(folder.name)
        if not match or match.group(1) != "images" or not folder.is_dir():
            continue
        cams = folder.with_name("cams" + folder.name[len("images") :])
        if cams.is_dir() and any(cams.glob(f"*{_SUFFIX}")):
            pairs.append(Pair(float(match.group(2) or 1), folder, cams))
    return sorted(pairs)


def _chosen(root: Path, choice: Choice) -> Pair | None:
    if choice.cameras is not None:
        if not choice.cameras.is_dir() or not any(choice.cameras.glob(f"*{_SUFFIX}")):
            return None
        match = _FOLDER.fullmatch(choice.cameras.name)
        beside = choice.cameras.with_name("images" + choice.cameras.name[len("cams") :])
        images = choice.images or (beside if match and beside.is_dir() else choice.cameras)
        return Pair(float(match.group(2) or 1) if match else 1.0, images, choice.cameras)
    pairs = [
        pair if choice.images is None else pair._replace(images=choice.images)
        for pair in _pairs(root)
        if choice.scale in (None, pair.scale)
    ]
    return pairs[0] if pairs else None


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    pair = _chosen(root, choice)
    if pair is None:
        return None
    return f"{pair.cams.name}/*{_SUFFIX} and {pair.images.name}/ found"


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Read the cameras of one size; photos are joined to them by name, never by position.

    Raises:
        CameraError: A camera file is damaged.
        SceneError: Photos are missing or two could belong to one camera.
    """
    pair = _chosen(root, choice)
    if pair is None:
        raise SceneError("there is no images_{k} with cams_{k}", where=root)
    photos = _photos_by_stem(pair.images)
    cameras = {p.name[: -len(_SUFFIX)]: p for p in sorted(pair.cams.glob(f"*{_SUFFIX}"))}
    absent = [stem for stem in cameras if stem not in photos]
    spelled = other_spellings(absent, photos.keys() - cameras.keys(), pair.images)
    photos |= {stem: photos.pop(there) for stem, there in spelled.items()}
    missing = [stem for stem in absent if stem not in spelled]
    if missing:
        raise SceneError(
            f"{len(missing)} of {len(cameras)} cameras have no photo: {some(missing)}",
            where=pair.images,
            advice=f"add the photos or take their files out of {pair.cams.name}/",
        )
    share = sum(stem in cameras for stem in photos) / max(len(photos), 1)
    if share < _LEAST_SHARE:
        bare = sorted(stem for stem in photos if stem not in cameras)
        raise SceneError(
            f"only {share:.0%} of the photos have a camera; without are {some(bare)}",
            where=pair.cams,
            advice="names must agree: NAME.png and NAME_cam.txt",
        )
    views = []
    for stem, path in cameras.items():
        K, R, t = read_camera(path)
        views.append(PhotoView(photos[stem], str(path), "PINHOLE", K, R, t, np.zeros(0), None))
    warnings = remark(spelled)
    others = [p.images.name for p in _pairs(root) if p.cams != pair.cams]
    if others and choice.scale is None and choice.cameras is None:
        warnings.append(f"W-LAYOUT-SCALE: {pair.images.name} is used, not {', '.join(others)}")
    return Reading(LAYOUT, detect(root, choice) or "", pair.images, views, None, warnings)


def _photos_by_stem(folder: Path) -> dict[str, str]:
    """Map each photo's name without its last extension to its name."""
    photos: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            continue
        if path.stem in photos:
            raise SceneError(
                f"{photos[path.stem]} and {path.name} could both belong to {path.stem}{_SUFFIX}",
                where=folder,
                advice="remove one of them",
            )
        photos[path.stem] = path.name
    return photos


def read_camera(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read one camera file.

    Returns:
        K float64 [3, 3], R float64 [3, 3] (camera from world, made orthonormal), t float64 [3].

    Raises:
        CameraError: It is cut, has something else than numbers, or is not a camera.
    """
    blocks = _blocks(path)
    extrinsic = blocks["extrinsic"].reshape(4, 4)
    K = blocks["intrinsic"].reshape(3, 3)
    if not np.allclose(extrinsic[3], (0, 0, 0, 1), atol=1e-6):
        raise CameraError(
            f"the last row of the extrinsic is {extrinsic[3].tolist()}, it must be 0 0 0 1",
            where=path,
            advice="the matrix may be transposed: write world to camera by rows",
        )
    if K[2, 2] == 0 or np.abs(K[[1, 2, 2], [0, 0, 1]]).max() > 1e-6 * np.abs(K).max():
        raise CameraError(
            "the intrinsic is not [fx s cx; 0 fy cy; 0 0 1]",
            where=path,
            advice="the matrix may be transposed: write it by rows",
        )
    K = K / K[2, 2]
    K[[1, 2, 2], [0, 0, 1]] = 0.0
    return K, nearest_rotation(extrinsic[:3, :3], path), extrinsic[:3, 3]


def _blocks(path: Path) -> dict[str, np.ndarray]:
    """Collect the numbers behind each word of a camera file: tokens, not lines, decide."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CameraError("is larger than 64 KiB, no camera is", where=path)
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise CameraError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    found: dict[str, list[float]] = {}
    current: list[float] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        for token in line.split():
            if token in ("extrinsic", "intrinsic"):
                if token in found:
                    raise CameraError(f"{token} occurs twice", where=f"{path}:{number}")
                current = found.setdefault(token, [])
            elif current is None:
                raise CameraError(
                    f"begins with {token!r}, not with 'extrinsic'",
                    where=f"{path}:{number}",
                    advice="write the camera file again",
                )
            else:
                current.append(parse_number(token, f"{path}:{number}"))
    for word, allowed in (
        ("extrinsic", (16,)),
        ("intrinsic", tuple(9 + n for n in _DEPTH_NUMBERS)),
    ):
        count = len(found.get(word, ()))
        if count not in allowed:
            raise CameraError(
                f"{word} has {count} numbers, needs {allowed[0]}",
                where=path,
                advice="the file is cut or was edited: write it again",
            )
    return {
        "extrinsic": np.array(found["extrinsic"]),
        "intrinsic": np.array(found["intrinsic"][:9]),
    }
