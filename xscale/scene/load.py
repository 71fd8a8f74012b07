"""From a folder to a :class:`Scene`: which layout it is, and whether its parts fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xscale.errors import CameraError, InputError, MaskError, PhotoError, SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.io.images import ImageInfo, exif_orientation, image_info, image_size, read_rgb
from xscale.scene import check, fit, mvsnet
from xscale.scene.layouts import detected
from xscale.scene.names import other_spellings, remark
from xscale.scene.photo import Photo, png_name
from xscale.scene.surface import MeshRepair, Surface, find_meshes, moved, read_surface
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
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "EXR": (".exr",),
}


class Opened(NamedTuple):
    """The checked parts of a scene."""

    root: Path
    layout: str
    reason: str
    photos: tuple[Photo, ...]
    mesh: Mesh
    mesh_files: tuple[Path, ...]
    points: np.ndarray | None
    warnings: tuple[str, ...]
    observe: Callable[[], Observations] | None
    provenance: dict[str, object]
    missing: tuple[str, ...]


def open_parts(
    path: str | Path,
    *,
    mesh: Sequence[Path] = (),
    transform: Path | None = None,
    mesh_repair: MeshRepair = "none",
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
    files = tuple(mesh) or find_meshes(root)
    reading = layout.read(root, choice)
    warnings += reading.warnings
    photos, missing = _photos(root, reading, pixel_origin, warnings)
    warnings += check.check_cameras(photos)
    surface = read_surface(files, transform=transform, repair=mesh_repair)
    warnings += surface.warnings
    triangles = _placed(surface, photos, reading, root, warnings)
    if transform is None:
        evidence = fit.Evidence(triangles, [photo.camera for photo in photos], reading.points)
        warnings += fit.check_frame(evidence, surface.offset, root)
    warnings += check.check_parallax([photo.camera for photo in photos], triangles)
    photos = _with_near(photos, triangles)
    return Opened(
        root,
        layout.name,
        reading.reason,
        photos,
        triangles,
        files,
        reading.points,
        tuple(warnings),
        reading.observe,
        {**reading.provenance, **surface.provenance},
        missing,
    )


def read_mesh(path: str | Path) -> Mesh:
    """Read, check and recentre a mesh file.

    Raises:
        MeshError: Missing, damaged, a point cloud, or with NaN corners.
        SetupError: The format needs a package that is not installed.
    """
    return read_surface([Path(path)]).mesh


def _placed(
    surface: Surface,
    photos: tuple[Photo, ...],
    reading: Reading,
    root: Path,
    warnings: list[str],
) -> Mesh:
    """Return the mesh in the cameras' frame, or refuse it with the option that sets it right."""
    mesh, cameras = surface.mesh, [photo.camera for photo in photos]
    evidence = fit.Evidence(mesh, cameras, reading.points)
    offset = surface.offset
    if offset is not None and fit.offset_helps(evidence, offset):
        mesh, offset = moved(surface, offset), None
        evidence = fit.Evidence(mesh, cameras, reading.points)
        surface.provenance["mesh_offset"] = surface.offset.tolist()
        warnings.append(
            f"W-MESH-SHIFT: the offset in {surface.offset_file.name} was added to the mesh, which "
            "brings it to the cameras"
        )
    try:
        warnings += check.check_points(reading.points, mesh, root, reading.advice)
        check.check_views(cameras, mesh, root, reading.advice)
    except SceneError as error:
        advice = reading.advice or fit.advice_for(evidence, offset) or error.advice
        raise SceneError(error.what, where=error.where, advice=advice) from error
    return mesh


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    if root.exists():
        raise SceneError(
            "a scene is a folder, this is a file", where=root, advice="unpack archives first"
        )
    raise SceneError("there is no such folder", where=root, advice="check the path")


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
    photos, rescaled, turned = [], [], []
    profiles: dict[str, list[str]] = {}
    misnamed = []
    for view in views:
        path = reading.photo_folder / view.name
        info = image_info(path)
        if not info.complete:
            warnings.append(_check_tail(path))
        if info.profile:
            profiles.setdefault(info.profile, []).append(view.name)
        if path.suffix.lower() not in _SUFFIXES[info.kind]:
            misnamed.append(f"{view.name} ({info.kind})")
        info, orientation = _as_shown(view, path, info)
        if orientation > 1:
            turned.append(view.name)
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
                orientation,
            )
        )
    warnings += _photo_remarks(profiles, misnamed, turned)
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


def _photo_remarks(
    profiles: dict[str, list[str]], misnamed: list[str], turned: list[str]
) -> list[str]:
    """Say what was taken otherwise than a viewer of pictures would."""
    found = []
    for profile, names in sorted(profiles.items()):
        found.append(
            f"W-PHOTO-PROFILE: {len(names)} photos have a colour profile that is not sRGB "
            f"({profile}); their numbers are taken as sRGB: {some(names)}"
        )
    if misnamed:
        found.append(
            f"W-PHOTO-TYPE: {len(misnamed)} photos are of another kind than their names say: "
            f"{some(misnamed)}"
        )
    if turned:
        found.append(
            f"W-PHOTO-TURNED: {len(turned)} photos are turned as their EXIF orientation says, "
            f"since only so they have their cameras' size: {some(turned)}"
        )
    return found


def _as_shown(view: View, path: Path, info: ImageInfo) -> tuple[ImageInfo, int]:
    """Return the header and orientation to apply: 1, unless only a turn gives the camera's size.

    Cameras refer to stored pixels (docs/conventions.md); a camera of exactly the turned size
    cannot.
    """
    stored, turned = (info.width, info.height), (info.height, info.width)
    if not view.size or view.size == stored or tuple(view.size) != turned:
        return info, 1
    orientation = exif_orientation(path)
    if orientation not in _TURNED:
        return info, 1
    return info._replace(width=info.height, height=info.width), orientation


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
