"""One view and its file become a posed photo: header, size, turn and mask must fit its camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from xscale.errors import (
    CameraError,
    DamagedPhotoError,
    InputError,
    MaskError,
    PhotoError,
    UnsafePathError,
)
from xscale.geometry.camera import Camera
from xscale.io.photo.images import (
    ImageInfo,
    exif_orientation,
    image_info,
    image_size,
    read_pixels,
)
from xscale.scene.layouts.views import PhotoView, some
from xscale.scene.masks import MaskFolder
from xscale.scene.options import PixelOrigin, SceneOptions
from xscale.scene.photo import Notes, Photo, mask_factor

_MASKS = "masks"
_HALF_PIXEL = 0.5
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


class WrongSizeError(CameraError):
    """A photo's size is not its camera's, in no scale."""


@dataclass
class Remarks:
    """Names of photos that were taken otherwise than a viewer of pictures would."""

    rescaled: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    profiles: dict[str, list[str]] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    masks: MaskFolder | None = None
    """The scene's masks, listed when the first photo asks."""
    scaled_masks: list[str] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    """Remarks that only decoding brings."""

    def masks_in(self, folder: Path) -> MaskFolder:
        """Return the masks of a folder, which is listed once."""
        if self.masks is None:
            self.masks = MaskFolder(folder)
        return self.masks

    def lines(self) -> list[str]:
        """Return them as coded lines."""
        found = [f"W-PHOTO-TAIL: {n}: bytes after the picture's end ignored" for n in self.tails]
        found += _photo_remarks(self.profiles, self.misnamed, self.turned)
        if self.outside:
            found.append(
                f"W-PHOTO-OUTSIDE: {len(self.outside)} photos are links out of the photo folder: "
                f"{some(self.outside)}"
            )
        if self.scaled_masks:
            found.append(
                f"W-MASK-SIZE: {len(self.scaled_masks)} masks are scaled to their photos' size: "
                f"{some(self.scaled_masks)}"
            )
        if self.rescaled:
            found.append(
                f"W-PHOTO-SIZE: {len(self.rescaled)} photos have another size than their cameras, "
                f"of the same aspect ratio; intrinsics rescaled: {some(self.rescaled)}"
            )
        return found


def posed_photo(
    view: PhotoView, path: Path, root: Path, options: SceneOptions, remarks: Remarks
) -> Photo:
    """Look at a photo's header and join it with its camera and mask.

    Args:
        view: Its camera as the file gives it.
        path: The photo.
        root: The scene's folder, where masks are.
        options: The user's choices for photos and cameras.
        remarks: Grows by what is worth a remark.

    Raises:
        PhotoError: It cannot be used; DamagedPhotoError where its bytes make no sense.
        WrongSizeError: Its size is not its camera's, in no scale.
        CameraError: The camera is impossible.
        MaskError: Its mask cannot be used.
    """
    if _leaves(path, view.name):
        if options.no_outside:
            raise UnsafePathError(
                f"photo {view.name} is a link out of the photo folder",
                where=path,
                advice="copy the photo there, or leave --no-outside out",
            )
        remarks.outside.append(view.name)
    info = image_info(path, convert_cmyk=options.convert_cmyk)
    if not info.complete:
        _check_tail(path, options)
        remarks.tails.append(path.name)
    if info.profile and options.color == "srgb":
        remarks.profiles.setdefault(info.profile, []).append(view.name)
    if path.suffix.lower() not in _SUFFIXES[info.kind]:
        remarks.misnamed.append(f"{view.name} ({info.kind})")
    info, orientation = _as_shown(view, path, info)
    if orientation > 1:
        remarks.turned.append(view.name)
    camera, changed = _fitted(view, options.pixel_origin, path, info)
    if changed:
        remarks.rescaled.append(view.name)
    return Photo(
        view.name,
        camera,
        path,
        _mask(root, view, info, remarks),
        info.has_alpha and options.alpha == "mask",
        info.file_size,
        orientation=orientation,
        alpha=options.alpha,
        convert_cmyk=options.convert_cmyk,
        color=options.color,
        mark=info.mark,
        notes=remarks.notes,
    )


def _leaves(path: Path, name: str) -> bool:
    """Tell whether a photo's file, links followed, lies outside of the photo folder."""
    folder = path
    for _ in PurePosixPath(name).parts:
        folder = folder.parent
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False  # a loop of links, which opening names


def _check_tail(path: Path, options: SceneOptions) -> None:
    """Decide by decoding whether a JPEG without a visible end marker is whole."""
    try:
        read_pixels(path, convert_cmyk=options.convert_cmyk)
    except PhotoError as error:
        raise DamagedPhotoError(
            f"is cut off: no JPEG end marker in its last 64 KiB ({error.what})",
            where=path,
            advice="copy it again from the camera or take it out of the scene",
        ) from error


def _photo_remarks(
    profiles: dict[str, list[str]], misnamed: list[str], turned: list[str]
) -> list[str]:
    """Say what was taken otherwise than a viewer of pictures would."""
    found = []
    for profile, names in sorted(profiles.items()):
        found.append(
            f"W-PHOTO-PROFILE: {len(names)} photos have a colour profile that is not sRGB "
            f"({profile}); their numbers are taken as sRGB "
            f"(--color icc converts them): {some(names)}"
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


def _as_shown(view: PhotoView, path: Path, info: ImageInfo) -> tuple[ImageInfo, int]:
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
    view: PhotoView, pixel_origin: PixelOrigin, path: Path, info: ImageInfo
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
        raise WrongSizeError(
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
            f"{camera.cy:g} are not a camera's"
        )


def _same_aspect(camera: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Tell whether one factor carries both sizes over, within half a pixel on each axis."""
    lows = [(p - _HALF_PIXEL) / c for c, p in zip(camera, photo, strict=True)]
    highs = [(p + _HALF_PIXEL) / c for c, p in zip(camera, photo, strict=True)]
    return max(lows) <= min(highs)


def _mask(root: Path, view: PhotoView, info: ImageInfo, remarks: Remarks) -> Path | None:
    """Find the photo's mask and compare its size with the photo's."""
    found = remarks.masks_in(root / _MASKS).of(view.name) if view.mask is None else view.mask
    for path in () if found is None else (found,):
        if path.is_file():
            try:
                size = image_size(path)
            except InputError as error:
                raise MaskError(error.what, where=path, advice=error.advice) from error
            factor = mask_factor(size, (info.width, info.height))
            if factor is None:
                raise MaskError(
                    f"is {size[0]} x {size[1]}, its photo is {info.width} x {info.height}",
                    where=path,
                    advice="masks need the size of their photos, or a whole multiple or part",
                )
            if factor != 1:
                remarks.scaled_masks.append(view.name)
            return path
    return None
