"""Camera paths: nerfstudio's JSON, read and written.

A path holds the picture's size once, then for every camera ``camera_to_world`` (16 numbers by rows,
OpenGL axes: x right, y up, z backwards) and ``fov``, the vertical field of view in degrees. What
that cannot say (an off-centre principal point, unequal focal lengths, distortion, the near plane, a
name) stands in an object ``xscale`` of the camera, which others skip.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, InputError
from xscale.geometry.camera import Camera
from xscale.geometry.frames import OPENCV_FROM_OPENGL, nearest_rotation
from xscale.io.names import safe_name
from xscale.io.storage import write_json

_PATH_FIELDS = {
    "camera_type", "render_height", "render_width", "camera_path", "fps", "seconds", "is_cycle",
    "smoothness_value", "keyframes", "crop", "default_fov", "default_transition_sec", "version",
    "default_time",
}  # fmt: skip
_CAMERA_FIELDS = {
    *("camera_to_world", "fov", "aspect", "render_time", "file_path", "time", "xscale"),
}
_OWN_FIELDS = {"name", "model", "width", "height", "K", "distortion", "near"}
_TYPES = ("perspective", "fisheye", "equirectangular")


@dataclass(frozen=True, eq=False)
class NamedCamera:
    """One camera of a job. A bad one is kept with its fault, so that the others can go on."""

    name: str
    """Unique; the files that are made of it are called so."""
    camera: Camera | None
    fault: str | None = None
    """Fault of the entry, where there is no camera."""


@dataclass(frozen=True, eq=False)
class KeyCamera:
    """A key of a path: a camera, and when the path passes it."""

    camera: Camera
    seconds: float
    """From the path's beginning."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Cameras in the order of their frames."""

    cameras: tuple[NamedCamera, ...]
    fps: float = 24.0
    """Frames a second, for films."""
    warnings: tuple[str, ...] = ()
    """Coded lines about what the file says and is not followed."""
    keys: tuple[KeyCamera, ...] = ()
    """Keys that the frames were made of, where the file holds them."""


def parse_camera_path(document: dict, where: object) -> CameraPath:
    """Turn nerfstudio's camera-path JSON into cameras; errors of :func:`read_cameras`."""
    warnings = _unknown(document, _PATH_FIELDS, where)
    if document.get("crop"):
        warnings.append(f"W-CAMERAS-CROP: {where}: crop is not followed: the whole scene is shown")
    width, height = (_whole(document, f"render_{key}", where) for key in ("width", "height"))
    kind = document.get("camera_type", "perspective")
    kind = kind.lower() if isinstance(kind, str) else kind
    if kind not in _TYPES:
        raise CameraError(
            f"camera_type {kind!r} is not supported ({', '.join(_TYPES)} are)", where=where
        )
    entries = document["camera_path"]
    if not entries:
        raise InputError("camera_path is empty", where=where, advice="add cameras")
    fps = document.get("fps", 24.0)
    if not _is_number(fps) or not 0 < fps <= 1000:
        raise CameraError(f"fps is {fps!r}, it must be above 0", where=where)
    digits = max(5, len(str(len(entries) - 1)))
    cameras, names = [], set()
    for index, entry in enumerate(entries):
        place = f"{where}, camera_path[{index}]"
        if not isinstance(entry, dict):
            raise CameraError("is not an object", where=place)
        warnings += [line for line in _unknown(entry, _CAMERA_FIELDS, place) if index == 0]
        own = entry.get("xscale", {})
        if not isinstance(own, dict):
            raise CameraError("xscale is not an object", where=place)
        _refuse_unknown(own, _OWN_FIELDS, f"{place}, xscale")
        name = safe_name(str(own.get("name", f"{index:0{digits}d}")), place)
        if name in names:
            raise CameraError(f"the name {name} occurs twice", where=place)
        names.add(name)
        try:
            cameras.append(NamedCamera(name, _camera(entry, own, kind, width, height, place)))
        except CameraError as error:
            fault = str(error) if error.where else f"{place}: {error}"
            cameras.append(NamedCamera(name, None, fault))
    keys = _keys(document, kind, width, height, where)
    return CameraPath(tuple(cameras), float(fps), tuple(warnings), keys)


def _keys(
    document: dict, kind: str, width: int, height: int, where: object
) -> tuple[KeyCamera, ...]:
    """Return the keys as nerfstudio writes them today; none where they make no sense.

    A key's matrix is that of its camera; its time is the sum of the transitions up to it.
    """
    entries, usual = document.get("keyframes"), document.get("default_transition_sec")
    keys: list[KeyCamera] = []
    seconds = 0.0
    for entry in entries if isinstance(entries, list) else []:
        try:
            if not isinstance(entry, dict):
                return ()
            own = entry.get("override_transition_sec")
            step = own if entry.get("override_transition_enabled") else usual
            if keys:
                if not _is_number(step) or not 0 < step < math.inf:
                    return ()
                seconds += float(step)
            plain = {"camera_to_world": entry.get("matrix"), "fov": entry.get("fov")}
            keys.append(KeyCamera(_camera(plain, {}, kind, width, height, str(where)), seconds))
        except CameraError:
            return ()
    return tuple(keys)


def _key_fields(keys: tuple[KeyCamera, ...]) -> dict:
    """Return the fields that say a path's keys in nerfstudio's way."""
    entries, before = [], 0.0
    for key in keys:
        entry = _entry(key.camera, "perspective", key.camera.width, key.camera.height)
        entries.append({
            "matrix": entry["camera_to_world"],
            "fov": entry["fov"],
            "aspect": entry["aspect"],
            "override_transition_enabled": True,
            "override_transition_sec": key.seconds - before,
        })  # fmt: skip
        before = key.seconds
    return {
        "keyframes": entries,
        "default_fov": entries[0]["fov"],
        "default_transition_sec": keys[-1].seconds / max(len(keys) - 1, 1),
        "is_cycle": False,
        "smoothness_value": 0.0,
    }


def _camera(entry: dict, own: dict, kind: str, width: int, height: int, where: str) -> Camera:
    matrix = _numbers(entry.get("camera_to_world"), 16, "camera_to_world", where).reshape(4, 4)
    axes = matrix[:3, :3]
    length = np.linalg.norm(axes, axis=0)
    # A path drawn beside a scaled mesh has that scale in its axes; its positions are right.
    if length.min() > 1e-6 and length.max() < 1.001 * length.min() < 1e9:
        axes = axes / length if abs(length.mean() - 1) > 1e-3 else axes
    R = nearest_rotation(OPENCV_FROM_OPENGL @ axes.T, where)
    if own.get("K") is not None:
        model = str(own.get("model", "PINHOLE"))
        K = _numbers(own["K"], 9, "xscale.K", where).reshape(3, 3)
        distortion = _numbers(own.get("distortion", []), None, "xscale.distortion", where)
        width, height = (
            _whole(own, key, where) if key in own else size
            for key, size in (("width", width), ("height", height))
        )
    else:
        model, K, distortion = _model(kind, entry, width, height, where)
    near = own.get("near", 0.0)
    if not _is_number(near) or not 0 <= near < math.inf:
        raise CameraError(f"near is {near!r}, it must be 0 or more", where=where)
    camera = Camera(model, width, height, K, R, -R @ matrix[:3, 3], distortion, float(near))
    camera.packed()  # refuses models that cannot be computed
    return camera


def _model(
    kind: str, entry: dict, width: int, height: int, where: str
) -> tuple[str, np.ndarray, np.ndarray]:
    """Return model, K and distortion of a camera that only says its field of view."""
    centre = (width / 2, height / 2)
    if kind == "equirectangular":
        return "EQUIRECTANGULAR", _K(width / (2 * math.pi), height / math.pi, *centre), np.zeros(0)
    fov = entry.get("fov")
    if not _is_number(fov) or not 0 < fov < 180:
        raise CameraError(f"fov is {fov!r}, it must lie between 0 and 180 degrees", where=where)
    focal = height / 2 / math.tan(math.radians(fov) / 2)
    if kind == "fisheye":
        return "OPENCV_FISHEYE", _K(focal, focal, *centre), np.zeros(4)
    return "PINHOLE", _K(focal, focal, *centre), np.zeros(0)


def _K(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:  # noqa: N802
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def write_camera_path(path: str | Path, cameras: CameraPath, *, overwrite: bool = False) -> None:
    """Write cameras as nerfstudio's camera-path JSON; bad ones are left out.

    Raises:
        StorageError: It could not be written, or it already exists.
    """
    write_json(path, camera_path_document(cameras), overwrite=overwrite)


def camera_path_document(cameras: CameraPath) -> dict:
    """Return what :func:`write_camera_path` writes."""
    good = [c for c in cameras.cameras if c.camera is not None]
    if not good:
        raise InputError("there is no usable camera to write")
    first = good[0].camera
    kinds = {"OPENCV_FISHEYE": "fisheye", "EQUIRECTANGULAR": "equirectangular"}
    kind = kinds.get(first.model, "perspective")
    digits = max(5, len(str(len(cameras.cameras) - 1)))
    entries = []
    for index, named in enumerate(cameras.cameras):
        if named.camera is None:
            continue
        entry = _entry(named.camera, kind, first.width, first.height)
        name = {} if named.name == f"{index:0{digits}d}" == f"{len(entries):0{digits}d}" else {
            "name": named.name
        }  # fmt: skip
        own = {**name, **entry.pop("xscale", {})}
        entries.append({**entry, **({"xscale": own} if own else {})})
    return {
        "camera_type": kind,
        "render_height": first.height,
        "render_width": first.width,
        "fps": cameras.fps,
        "seconds": len(entries) / cameras.fps,
        "camera_path": entries,
        **(_key_fields(cameras.keys) if cameras.keys else {}),
    }


def _entry(camera: Camera, kind: str, width: int, height: int) -> dict:
    matrix = np.eye(4)
    matrix[:3, :3] = camera.R.T @ OPENCV_FROM_OPENGL
    matrix[:3, 3] = camera.position
    entry = {
        "camera_to_world": matrix.reshape(-1).tolist(),
        "fov": math.degrees(2 * math.atan(camera.height / 2 / camera.fy)),
        "aspect": camera.width / camera.height,
    }
    model, K, distortion = _model(kind, entry, width, height, "")
    same = (
        model == camera.model
        and (width, height) == (camera.width, camera.height)
        and np.allclose(K, camera.K, rtol=1e-12, atol=1e-12)
        and np.array_equal(distortion, camera.distortion)
    )
    own: dict[str, object] = {"near": camera.near} if camera.near else {}
    if not same:
        own["model"] = camera.model
        if (width, height) != (camera.width, camera.height):
            own |= {"width": camera.width, "height": camera.height}
        own["K"] = camera.K.reshape(-1).tolist()
        if len(camera.distortion):
            own["distortion"] = camera.distortion.tolist()
    return {**entry, **({"xscale": own} if own else {})}


def _unknown(entry: dict, known: set[str], where: object) -> list[str]:
    """Report fields that have no meaning here; what looks like a known one, misspelled, is refused.

    Raises:
        CameraError: A field is nearly a known one.
    """
    others = [key for key in entry if key not in known]
    for key in others:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        if near:
            raise CameraError(
                f"has a field {key!r} that is not known: {near[0]} is",
                where=where,
                advice="correct or remove it",
            )
    names = ", ".join(sorted(others))
    return [f"W-CAMERAS-FIELDS: {where}: not followed: {names}"] if others else []


def _refuse_unknown(entry: dict, known: set[str], where: object) -> None:
    for key in entry:
        if key not in known:
            raise CameraError(
                f"has a field {key!r} that is not known (known: {', '.join(sorted(known))})",
                where=where,
                advice="correct or remove it",
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(entry: dict, key: str, where: object) -> int:
    value = entry.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**24:
        raise CameraError(
            f"{key} is {value!r}, it must be a whole number of pixels from 1 to 2^24", where=where
        )
    return value


def _numbers(value: object, count: int | None, key: str, where: object) -> np.ndarray:
    if isinstance(value, list) and value and isinstance(value[0], list):
        rows = count and all(isinstance(row, list) for row in value)
        value = [number for row in value for number in row] if rows else None
    good = isinstance(value, list) and all(_is_number(number) for number in value)
    if not good or (count is not None and len(value) != count):
        raise CameraError(f"{key} must be {count or 'a list of'} numbers", where=where)
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError as error:
        raise CameraError(f"{key} has a number that is far too large", where=where) from error
