"""From a folder to a :class:`Scene`: which layout it is, and whether its parts fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xscale.errors import CameraError, InputError, MaskError, PhotoError, SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.images import ImageInfo, exif_orientation, image_info, image_size, read_rgb
from xscale.io.meshes import EXTENSIONS, read_mesh_arrays
from xscale.scene import check, mvsnet
from xscale.scene.layouts import detected
from xscale.scene.names import other_spellings, remark
from xscale.scene.photo import Photo, png_name
from xscale.scene.views import (
    Choice,
    Observations,
    Reading,
    View,
    name_bytes,
    photo_files,
    some,
)

PixelOrigin = Literal["corner", "center"]
_MASKS = "masks"
_NEAR_SHARE = 1e-4
_HALF_PIXEL = 0.5
_MOST_MISSING = 0.05
_SHORTEST_FOCAL = 1e-3
_LARGEST_INTRINSIC = 1e9
_TURNED = (5, 6, 7, 8)


class Opened(NamedTuple):
    """The checked parts of a scene."""

    root: Path
    layout: str
    reason: str
    photos: tuple[Photo, ...]
    mesh: Mesh
    mesh_path: Path
    points: np.ndarray | None
    warnings: tuple[str, ...]
    observe: Callable[[], Observations] | None
    provenance: dict[str, object]
    missing: tuple[str, ...]


def open_parts(
    path: str | Path,
    *,
    mesh: str | Path | None = None,
    pixel_origin: PixelOrigin = "corner",
    choice: Choice | None = None,
) -> Opened:
    """Read and check everything but the photos' pixels; see :meth:`Scene.open`."""
    if pixel_origin not in ("corner", "center"):
        raise CameraError(f"pixel origin must be corner or center, got {pixel_origin!r}")
    root, named_scale = mvsnet.split_path(Path(path))
    choice = choice or Choice()
    if choice.scale is None:
        choice = replace(choice, scale=named_scale)
    _check_folder(root)
    layout, warnings = detected(root, choice, named_scale is not None)
    mesh_path = find_mesh(root) if mesh is None else Path(mesh)
    reading = layout.read(root, choice)
    warnings += reading.warnings
    photos, missing = _photos(root, reading, pixel_origin, warnings)
    triangles, remarks = _read_mesh(mesh_path)
    warnings += remarks
    warnings += check.check_cameras(photos)
    warnings += check.check_points(reading.points, triangles, root, reading.advice)
    check.check_views([p.camera for p in photos], triangles, root, reading.advice)
    photos = _with_near(photos, triangles)
    return Opened(
        root,
        layout.name,
        reading.reason,
        photos,
        triangles,
        mesh_path,
        reading.points,
        tuple(warnings),
        reading.observe,
        reading.provenance,
        missing,
    )


def read_mesh(path: str | Path) -> Mesh:
    """Read, check and recentre a mesh file.

    Raises:
        MeshError: Missing, damaged, a point cloud, or with NaN corners.
        SetupError: The format needs a package that is not installed.
    """
    return _read_mesh(Path(path))[0]


def _read_mesh(path: Path) -> tuple[Mesh, list[str]]:
    arrays = read_mesh_arrays(path)
    mesh = Mesh.from_world(arrays.vertices, arrays.faces, where=path)
    return mesh, [*arrays.warnings, *check.check_mesh(mesh, path)]


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    if root.exists():
        raise SceneError(
            "a scene is a folder, this is a file", where=root, advice="unpack archives first"
        )
    raise SceneError("there is no such folder", where=root, advice="check the path")


def find_mesh(root: Path) -> Path:
    """Return the one ``mesh.*`` file in a scene folder.

    Raises:
        SceneError: There is none, or there are several.
    """
    found = sorted(p for p in root.glob("mesh.*") if p.suffix.lower() in EXTENSIONS)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(p.name for p in found)
        raise SceneError(f"has several meshes: {names}", where=root, advice="choose one by --mesh")
    raise SceneError(
        "has no mesh.ply (nor mesh.obj, .glb, .gltf, .stl, .off)",
        where=root,
        advice="put the photogrammetry mesh there or give it by --mesh",
    )


def _photos(
    root: Path, reading: Reading, pixel_origin: PixelOrigin, warnings: list[str]
) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """Join views with photo files, look at every header, and sort by the names' bytes.

    Returns:
        The photos, and the names of cameras whose photos are missing.
    """
    listed, missing, remarks = _found(reading.photo_folder, reading.views)
    warnings += remarks
    views = [replace(view, name=name) for name, view in listed.items()]
    views.sort(key=lambda view: name_bytes(view.name))
    _check_collisions(reading.photo_folder, views)
    photos, rescaled = [], []
    for view in views:
        path = reading.photo_folder / view.name
        info = image_info(path)
        if not info.complete:
            warnings.append(_check_tail(path))
        camera, changed = _fitted(view, pixel_origin, path, info)
        if changed:
            rescaled.append(view.name)
        mask = _mask(root, view, info)
        photos.append(
            Photo(
                view.name,
                camera,
                path,
                mask,
                info.has_alpha,
                info.file_size,
                listed[view.name].name,
            )
        )
    if rescaled:
        warnings.append(
            f"W-PHOTO-SIZE: {len(rescaled)} photos have another size than their cameras, of the "
            f"same aspect ratio; intrinsics rescaled: {some(rescaled)}"
        )
    names = {view.name for view in views}
    spare = [name for name in photo_files(reading.photo_folder) if name not in names]
    if spare:
        warnings.append(
            f"W-PHOTO-NO-CAMERA: {len(spare)} photos have no camera and are not used: {some(spare)}"
        )
    return tuple(photos), missing


def _found(folder: Path, views: list[View]) -> tuple[dict[str, View], tuple[str, ...], list[str]]:
    """Join views with the photos on the disk.

    Returns:
        The views by their photos' names, the names of the few that have no photo, and remarks.

    Raises:
        CameraError: A photo has several poses.
        SceneError: More than a twentieth of the photos are missing.
    """
    posed: dict[str, View] = {}
    for view in views:
        if view.name in posed:
            raise CameraError(
                f"photo {view.name} has a second pose there",
                where=view.where,
                advice="take one of them out: a photo has one pose",
            )
        posed[view.name] = view
    there = [view.name for view in views if (folder / view.name).exists()]
    absent = sorted({view.name for view in views}.difference(there))
    spelled = {}
    if absent:
        spelled = other_spellings(absent, set(photo_files(folder)).difference(there), folder)
    remarks = remark(spelled)
    missing = [name for name in absent if name not in spelled]
    if missing:
        told = f"{len(missing)} of {len(views)} photos with a camera are missing: {some(missing)}"
        if len(missing) > _MOST_MISSING * len(views):
            raise SceneError(
                told, where=folder, advice="add them, or take them out of the camera model"
            )
        remarks.append(f"W-PHOTO-MISSING: {told}; they are left out")
    found = [view for view in views if view.name not in set(missing)]
    return {spelled.get(view.name, view.name): view for view in found}, tuple(missing), remarks


def _check_collisions(folder: Path, views: list[View]) -> None:
    """Refuse photos whose renders would have one name."""
    taken: dict[str, str] = {}
    for view in views:
        name = png_name(view.name)
        if name in taken:
            raise SceneError(
                f"{taken[name]} and {view.name} would both be rendered to {name}",
                where=folder,
                advice="rename one of them, in the camera model too",
            )
        taken[name] = view.name


def _check_tail(path: Path) -> str:
    """Decide by decoding whether a JPEG without a visible end marker is whole."""
    try:
        read_rgb(path)
    except PhotoError as error:
        raise PhotoError(
            f"is cut off: no JPEG end marker in its last 64 KiB ({error.what})",
            where=path,
            advice="copy it again from the camera or take it out of the scene",
        ) from error
    return f"W-PHOTO-TAIL: {path.name}: bytes after the picture's end ignored"


def _fitted(
    view: View, pixel_origin: PixelOrigin, path: Path, info: ImageInfo
) -> tuple[Camera, bool]:
    """Build the camera at the photo's stored size; tell whether it had to be rescaled."""
    K = np.array(view.K)
    if pixel_origin == "center":
        K[:2, 2] += _HALF_PIXEL
    width, height = view.size or (info.width, info.height)
    try:
        camera = Camera(view.model, width, height, K, view.R, view.t, view.distortion)
        _check_intrinsics(camera)
    except CameraError as error:
        raise CameraError(
            error.what, where=view.where, advice=error.advice or "export the cameras again"
        ) from error
    if (width, height) == (info.width, info.height):
        return camera, False
    if not _same_aspect((width, height), (info.width, info.height)):
        advice = "undistort or resize the photos and their cameras together"
        turned = (info.height, info.width)
        if _same_aspect((width, height), turned) and exif_orientation(path) in _TURNED:
            advice = (
                "the photo is turned by its EXIF orientation only: save turned pixels "
                "(mogrify -auto-orient), or calibrate stored pixels"
            )
        raise CameraError(
            f"the photo is {info.width} x {info.height}, its camera {width} x {height}",
            where=path,
            advice=advice,
        )
    return camera.scaled(info.width, info.height), True


def _check_intrinsics(camera: Camera) -> None:
    """Refuse numbers that overflow in the first division: they come from damaged files.

    Raises:
        CameraError: A focal length or the principal point is out of all proportion.
    """
    least = min(camera.fx, camera.fy)
    largest = float(np.abs(camera.K).max())
    if least < _SHORTEST_FOCAL or largest > _LARGEST_INTRINSIC:
        raise CameraError(
            f"focal lengths {camera.fx:g} and {camera.fy:g} with principal point {camera.cx:g}, "
            f"{camera.cy:g} are no camera's"
        )


def _same_aspect(camera: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Tell whether one factor carries both sizes over, within half a pixel on each axis."""
    lows = [(p - _HALF_PIXEL) / c for c, p in zip(camera, photo, strict=True)]
    highs = [(p + _HALF_PIXEL) / c for c, p in zip(camera, photo, strict=True)]
    return max(lows) <= min(highs)


def _mask(root: Path, view: View, info: ImageInfo) -> Path | None:
    """Find the layout's mask, ``masks/NAME.png`` or ``masks/NAME.jpg.png``; compare its size."""
    usual = [root / _MASKS / name for name in (png_name(view.name), f"{view.name}.png")]
    for path in usual if view.mask is None else [view.mask]:
        if path.is_file():
            try:
                size = image_size(path)
            except InputError as error:
                raise MaskError(error.what, where=path, advice=error.advice) from error
            if size != (info.width, info.height):
                raise MaskError(
                    f"is {size[0]} x {size[1]}, its photo is {info.width} x {info.height}",
                    where=path,
                    advice="masks need the size of their photos",
                )
            return path
    return None


def _with_near(photos: tuple[Photo, ...], mesh: Mesh) -> tuple[Photo, ...]:
    """Set every near plane to 1e-4 of the median distance from cameras to the mesh's centre."""
    positions = np.array([photo.camera.position for photo in photos])
    distance = float(np.median(np.linalg.norm(positions - mesh.origin, axis=1)))
    near = _NEAR_SHARE * (distance or mesh.world_bounds.diagonal)
    return tuple(replace(p, camera=replace(p.camera, near=near)) for p in photos)
