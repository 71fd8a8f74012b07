"""Cameras from files: whatever holds cameras, recognised by its content."""

from __future__ import annotations

import json
from pathlib import Path

from xscale.errors import CameraError, InputError
from xscale.geometry.camera import Camera
from xscale.geometry.models import supported_model
from xscale.io.budget import check_json
from xscale.io.names import safe_name
from xscale.render import foreign_cameras as foreign
from xscale.render.camera_path import CameraPath, NamedCamera, parse_camera_path
from xscale.render.foreign_cameras import UNKNOWN, Known
from xscale.render.gltf_cameras import from_gltf
from xscale.scene.layouts import colmap_binary, colmap_text
from xscale.scene.layouts.colmap_model import Tables
from xscale.scene.layouts.mvsnet import read_camera
from xscale.scene.layouts.views import beginning

_MOST_BYTES = 1 << 30
_CAM = "_cam.txt"


def read_cameras(
    path: str | Path, size: tuple[int, int] | None = None, known: Known = UNKNOWN
) -> CameraPath:
    """Read a camera path (.json), or cameras of any kind that a scene's may have.

    Args:
        path: File or folder: also a COLMAP model's, one of ``_cam.txt`` files,
            ``transforms.json``, what ``ns-export cameras`` writes, instant-ngp's
            ``base_cam.json``, the cameras of a glTF file, and the camera files of the other
            layouts.
        size: (width, height) of the pictures, where the file does not say it.
        known: What the run knows of its own photos.

    Raises:
        InputError: It is none of these, or damaged as a whole.
        CameraError: A field is not known, or a table of COLMAP's is damaged.
    """
    path = Path(path)
    if path.is_dir():
        for folder in (path, path / "sparse" / "0", path / "sparse"):
            for reader, end in ((colmap_binary, "bin"), (colmap_text, "txt")):
                if (folder / f"cameras.{end}").is_file() and (folder / f"images.{end}").is_file():
                    return CameraPath(_from_colmap(folder, reader, end))
        files = sorted(path.glob(f"*{_CAM}"))
        if files:
            return CameraPath(tuple(_from_cam(file, size) for file in files))
        return CameraPath(*_of_scene(path, size, known))
    head = beginning(path, 64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[:4] == b"glTF":
        return _of_gltf(path, size, known)
    if head[:1] not in (b"{", b"[") and head[:1] not in (b"",):
        return CameraPath(*_of_scene(path, size, known))
    document = _load(path)
    if isinstance(document, dict) and isinstance(document.get("asset"), dict):
        return _of_gltf(path, size, known)
    if foreign.is_export(document):
        cameras, warnings = foreign.from_export(document, path, size, known)
    elif foreign.is_ngp(document):
        cameras, warnings = foreign.from_ngp(document, path, size, known)
    elif isinstance(document, dict) and isinstance(document.get("frames"), list):
        return CameraPath(*_of_scene(path, size, known))
    else:
        return foreign.in_run_frame(parse_camera_path(_checked(document, path), path), path)
    return CameraPath(_named(cameras), warnings=warnings)


def _of_scene(
    path: Path, size: tuple[int, int] | None, known: Known
) -> tuple[tuple[NamedCamera, ...], float, tuple[str, ...]]:
    """Read the cameras of a scene, as training would; photos need not exist."""
    cameras, warnings = foreign.from_layout(path, size, known)
    return _named(cameras), 24.0, warnings


def _of_gltf(path: Path, size: tuple[int, int] | None, known: Known) -> CameraPath:
    cameras, rate, warnings = from_gltf(path, size, known)
    return CameraPath(_named(cameras), rate, warnings)


def _named(cameras: list[tuple[str, Camera | None, str | None]]) -> tuple[NamedCamera, ...]:
    """Give every camera the name of its photo, which is made unique where it is not."""
    found, names = [], set()
    for photo, camera, fault in cameras:
        name = safe_name(_stem(photo), photo)
        name = name if name not in names else safe_name(photo, photo)
        if name in names:
            raise CameraError(f"the name {name} occurs twice", where=photo)
        names.add(name)
        found.append(NamedCamera(name, camera, fault))
    return tuple(found)


def _load(path: Path) -> object:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("is larger than 1 GB, no camera path is", where=path)
        data = path.read_bytes()
        check_json(data, path)
        document = json.loads(data)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"is not JSON: {error}", where=path, advice="make the path again with xscale path"
        ) from error
    return document


def _checked(document: object, path: Path) -> dict:
    if not isinstance(document, dict) or not isinstance(document.get("camera_path"), list):
        raise InputError(
            "has no list camera_path", where=path, advice="xscale path makes such files"
        )
    return document


def _from_colmap(folder: Path, reader: object, end: str) -> tuple[NamedCamera, ...]:
    tables = Tables()
    reader.read_cameras(folder / f"cameras.{end}", tables)
    reader.read_images(folder / f"images.{end}", tables)
    cameras = []
    for image in sorted(tables.images.values(), key=lambda image: image.name.encode()):
        own = tables.cameras[image.camera_id]
        try:
            model = supported_model(own.model, own.where)
            K, distortion = model.intrinsics(own.params)
            camera = Camera(model.name, own.width, own.height, K, image.R, image.t, distortion)
            cameras.append(NamedCamera(_stem(image.name), camera))
        except CameraError as error:
            cameras.append(NamedCamera(_stem(image.name), None, str(error)))
    if not cameras:
        raise InputError("the model has no posed photo", where=folder)
    return tuple(cameras)


def _from_cam(file: Path, size: tuple[int, int] | None) -> NamedCamera:
    name = file.name[: -len(_CAM)]
    if size is None:
        raise CameraError(
            "does not say the size of its picture", where=file, advice="give it: --size WxH"
        )
    try:
        K, R, t = read_camera(file)
        return NamedCamera(name, Camera("PINHOLE", *size, K, R, t))
    except CameraError as error:
        return NamedCamera(name, None, str(error))


def _stem(name: str) -> str:
    """Return a photo's name without its last extension."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)
