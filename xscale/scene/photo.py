"""A photo of a scene: its camera now, its pixels when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from xscale.errors import DamagedPhotoError, MaskError, PhotoError
from xscale.geometry.camera import Camera, downscaled_size
from xscale.io.names import png_name
from xscale.io.photo.colour_spaces import Color
from xscale.io.photo.decode_apart import read_pixels_safely
from xscale.io.photo.file import Mark, mark_of
from xscale.io.photo.images import Alpha, OutOfRange, Pixels, read_mask
from xscale.io.photo.resample import area_downscale, mask_downscale
from xscale.scene.layouts.views import some


@dataclass(eq=False)
class Notes:
    """Remarks from decoding a scene's photos, by their names."""

    out_of_range: dict[str, OutOfRange] = field(default_factory=dict)
    grey_masks: set[str] = field(default_factory=set)

    def lines(self) -> list[str]:
        """Return it as coded lines."""
        found = []
        for code, what, count in (
            ("W-PHOTO-NAN", "are not numbers; they are left out", lambda found: found.unreal),
            ("W-PHOTO-RANGE", "are negative or brighter than white; they are cut off there",
             lambda found: found.clipped),
        ):  # fmt: skip
            all_counts = {name: count(found) for name, found in sorted(self.out_of_range.items())}
            counts = {name: number for name, number in all_counts.items() if number}
            if counts:
                each = some([f"{name} ({n})" for name, n in counts.items()])
                found.append(f"{code}: {sum(counts.values())} pixels {what}: {each}")
        if self.grey_masks:
            found.append(
                f"W-MASK-GREY: {len(self.grey_masks)} masks have greys; only black is left out: "
                f"{some(sorted(self.grey_masks))}"
            )
        return found


class PhotoReader(Protocol):
    """A photo opened for reading by rectangles."""

    def rect(
        self, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return uint8 [h, w, 3] and a mask bool [h, w] (False is left out) or None."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels of a file: whole in memory, since no codec in use reads less."""

    rgb: np.ndarray
    mask: np.ndarray | None

    def rect(
        self, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return views of the rectangle."""
        inside = np.s_[top : top + height, left : left + width]
        return self.rgb[inside], None if self.mask is None else self.mask[inside]


@dataclass(frozen=True, eq=False)
class Made:
    """Pixels that are made when they are asked for."""

    make: Callable[[int, int, int, int], np.ndarray]

    def rect(self, left: int, top: int, width: int, height: int) -> tuple[np.ndarray, None]:
        """Make the rectangle."""
        return self.make(left, top, width, height), None


def _turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation of 5 to 8 to [H, W, ...]: the result is [W, H, ...]."""
    swapped = np.swapaxes(picture, 0, 1)
    # 5 mirrors on the main diagonal; 6, 7 and 8 also flip columns, both, rows.
    columns, rows = orientation in (6, 7), orientation in (7, 8)
    return np.ascontiguousarray(swapped[:: -1 if rows else 1, :: -1 if columns else 1])


@dataclass(frozen=True, eq=False)
class Photo:
    """One posed photo. Decoded anew at every read; nothing is kept."""

    name: str
    """Path relative to the photo folder, with ``/``; unique in the scene."""
    camera: Camera
    """Camera in the scene's frame at the photo's stored size, near plane set."""
    path: Path
    """The file."""
    mask_path: Path | None = None
    """Mask file, 0 = left out; None where there is none (the photo may still have alpha)."""
    has_alpha: bool = False
    """Whether the photo brings a mask in its alpha channel."""
    file_size: int = 0
    """Bytes of the file when the scene was opened."""
    listed_as: str = ""
    """Its name in the camera model, which may differ in case or Unicode form."""
    orientation: int = 1
    """EXIF orientation that is applied to the stored pixels: 1 (none), or 5 to 8."""
    alpha: Alpha = "mask"
    """Meaning of its alpha channel (:func:`xscale.io.photo.images.read_pixels`)."""
    convert_cmyk: bool = False
    """Whether a CMYK JPEG is converted instead of refused."""
    color: Color = "srgb"
    """Meaning of its numbers (:func:`xscale.io.photo.colour_spaces.as_srgb`)."""
    mark: Mark | None = None
    """Fingerprint by which its file is recognised; None where that does not matter."""
    notes: Notes = field(default_factory=Notes)
    """Grows when the photo is decoded; all photos of a scene share one."""
    make: Callable[[int, int, int, int], np.ndarray] | None = None
    """Makes uint8 [h, w, 3] of a rectangle (left, top, width, height) at the stored size, always
    the same; for photos that are not files."""

    @property
    def png_name(self) -> str:
        """The name with its last extension replaced by ``.png``."""
        return png_name(self.name)

    def size(self, downscale: float = 1) -> tuple[int, int]:
        """Return ``(width, height)`` after reduction."""
        return downscaled_size(self.camera.width, self.camera.height, downscale)

    def camera_at(self, downscale: float = 1) -> Camera:
        """Return the camera of the reduced photo, in the scene's frame."""
        return self.camera.downscaled(downscale)

    def read(self, downscale: float = 1) -> np.ndarray:
        """Decode the photo, reduced by exact area averaging.

        Returns:
            uint8 [H', W', 3], sRGB.

        Raises:
            PhotoError: Missing, cut off, damaged, or changed since the scene was opened.
        """
        return self.load(downscale)[0]

    def read_mask(self, downscale: float = 1) -> np.ndarray | None:
        """Decode what may be used of the photo: mask file and alpha channel together.

        Returns:
            bool [H', W'], true = kept; reduced pixels are kept only where all of their source
            area is. None where the photo has no mask at all.

        Raises:
            MaskError: The mask cannot be read or has another size.
            PhotoError: As for :meth:`read`, where the alpha channel is needed.
        """
        if self.mask_path is None and not self.has_alpha:
            return None
        alpha = self._decode()[1] if self.has_alpha else None
        return self._reduced_mask(alpha, downscale)

    def load(self, downscale: float = 1) -> tuple[np.ndarray, np.ndarray | None]:
        """Decode pixels and mask in one go; as :meth:`read` and :meth:`read_mask`."""
        rgb, alpha = self._decode()
        reduced = area_downscale(rgb, *self.size(downscale))
        return reduced, self._reduced_mask(alpha, downscale)

    def pixels(self, downscale: float = 1) -> PhotoReader:
        """Open the photo for reading by rectangles; errors as for :meth:`load`."""
        if self.make is not None and downscale == 1:
            return Made(self.make)
        return Decoded(*self.load(downscale))

    def _decode(self) -> tuple[np.ndarray, np.ndarray | None]:
        if self.make is not None:
            return self.make(0, 0, self.camera.width, self.camera.height), None
        rgb, alpha = self._stored()
        if self.orientation > 1:
            rgb = _turned(rgb, self.orientation)
            alpha = None if alpha is None else _turned(alpha, self.orientation)
        if rgb.shape[:2] != (self.camera.height, self.camera.width):
            raise self._changed(f"is {rgb.shape[1]} x {rgb.shape[0]} now and was "
                                f"{self.camera.width} x {self.camera.height}")  # fmt: skip
        return rgb, alpha

    def _stored(self) -> Pixels:
        """Decode the file, which must be the one that was there when the scene was opened."""
        size = self.camera.width, self.camera.height
        try:
            found = read_pixels_safely(
                self.path,
                size,
                self.mark,
                partial(self.notes.out_of_range.__setitem__, self.name),
                alpha=self.alpha,
                convert_cmyk=self.convert_cmyk,
                color=self.color,
            )
        except DamagedPhotoError:
            self._check_unchanged()
            raise
        self._check_unchanged()
        return found

    def _check_unchanged(self) -> None:
        if self.mark is None:
            return
        try:
            now = mark_of(self.path)
        except OSError:
            return  # what cannot be read now is an error of its own, or was read already
        if now.size != self.mark.size:
            raise self._changed(f"has {now.size} bytes now and had {self.mark.size}")
        if now != self.mark:
            raise self._changed("was written again, with other content or at another time than")

    def _changed(self, what: str) -> PhotoError:
        return PhotoError(
            f"{what} when the scene was opened",
            where=self.path,
            advice="do not change photos during a run: start again",
        )

    def _reduced_mask(self, alpha: np.ndarray | None, downscale: float) -> np.ndarray | None:
        mask = alpha
        if self.mask_path is not None:
            mask = self._mask_file()
            mask = mask if alpha is None else mask & alpha
        if mask is not None and not mask.any():
            raise DamagedPhotoError(
                "its mask leaves nothing of it" if self.mask_path is None else
                f"its mask {self.mask_path.name} leaves nothing of it",
                where=self.path,
                advice="mend the mask (black is left out), or take the photo out of the scene",
            )  # fmt: skip
        return None if mask is None else mask_downscale(mask, *self.size(downscale))

    def _mask_file(self) -> np.ndarray:
        """Decode the mask at the photo's size."""
        size = self.camera.width, self.camera.height
        mask = read_mask(
            self.mask_path,
            read=partial(read_pixels_safely, size=size),
            on_grey=partial(self.notes.grey_masks.add, self.name),
        )
        return fitted_mask(mask, size, self.mask_path)


def mask_factor(mask: tuple[int, int], photo: tuple[int, int]) -> int | None:
    """Return by which whole number two sizes differ, None where by none.

    Returns:
        1 where they are equal, k where the mask is k times larger, -k where it is smaller.
    """
    for larger, smaller, sign in ((mask, photo, 1), (photo, mask, -1)):
        k = larger[0] // max(smaller[0], 1)
        if k and larger == (k * smaller[0], k * smaller[1]):
            return sign * k if k > 1 else 1
    return None


def fitted_mask(mask: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """Bring a mask of an exact multiple or part of its photo's size to that size.

    Args:
        mask: bool [H, W]. A larger one keeps a pixel where all of it is kept.
        size: The photo's (width, height).
        path: The mask, for the error.

    Raises:
        MaskError: Its size is not a whole multiple or part.
    """
    found = mask.shape[1], mask.shape[0]
    factor = mask_factor(found, size)
    if factor is None:
        raise MaskError(
            f"is {found[0]} x {found[1]}, its photo is {size[0]} x {size[1]}",
            where=path,
            advice="masks need the size of their photos, or a whole multiple or part of it",
        )
    if factor > 0:
        return mask if factor == 1 else mask_downscale(mask, *size)
    return mask.repeat(-factor, axis=0).repeat(-factor, axis=1)
