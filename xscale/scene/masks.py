"""The masks of a scene: ``masks/NAME.png`` and how other programs call the same file.

The mask of ``a/x.JPG`` is ``a/x`` or ``a/x.JPG``, with ``_mask`` or ``.mask`` after it or not, and
with the ending of any picture; upper and lower case and Unicode form do not count. Where several
fit, the first of these names wins, and PNG wins over other endings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from xscale.scene.layouts.views import PHOTO_SUFFIXES, photo_files, some
from xscale.scene.names import caseless
from xscale.scene.photo import Photo

_MARKS = ("", "_mask", ".mask", "-mask")
_OTHER_PICTURES = (".gif", ".bmp", ".tga", ".jp2", ".psd")


class MaskFolder:
    """The files of a folder of masks by the names of photos that they may belong to.

    Args:
        folder: Mostly SCENE/masks; it may be missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = photo_files(folder) if folder.is_dir() else []
        names.sort(key=lambda name: PHOTO_SUFFIXES.index(PurePosixPath(name).suffix.lower()))
        self._exact = set(names)
        self._files: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._files[caseless(PurePosixPath(name).with_suffix("").as_posix())].append(name)

    def of(self, photo: str) -> Path | None:
        """Return the mask of a photo, by the photo's name in its folder; None without one."""
        stem = PurePosixPath(photo).with_suffix("").as_posix()
        for wanted in (stem, photo):
            if f"{wanted}.png" in self._exact:
                return self.folder / f"{wanted}.png"
        for mark in _MARKS:
            for wanted in (stem, photo):
                if fits := self._files.get(caseless(wanted + mark)):
                    return self.folder / fits[0]
        return None

    def unused(self, used: Iterable[Path], photos: Iterable[str]) -> list[str]:
        """Name the files that are not a photo's mask, without those of photos that are not used."""
        taken = {path.relative_to(self.folder).as_posix() for path in used}
        for name in photos:
            path = self.of(name)
            if path is not None:
                taken.add(path.relative_to(self.folder).as_posix())
        spare = [name for names in self._files.values() for name in names if name not in taken]
        if self.folder.is_dir():
            spare += [
                path.relative_to(self.folder).as_posix()
                for path in self.folder.rglob("*")
                if path.suffix.lower() in _OTHER_PICTURES
            ]
        return sorted(spare)


def mask_remarks(masks: MaskFolder, photos: Sequence[Photo], names: Iterable[str]) -> list[str]:
    """Remark on masks that no photo has, and on photos without a mask where others have one."""
    used = {photo.mask_path for photo in photos if photo.mask_path is not None}
    found = []
    bare = [photo.name for photo in photos if photo.mask_path is None and not photo.has_alpha]
    if used and bare:
        found.append(
            f"W-MASK-MISSING: {len(bare)} of {len(photos)} photos have no mask and are used whole: "
            f"{some(bare)}"
        )
    inside = [path for path in used if path.is_relative_to(masks.folder)]
    spare = masks.unused(inside, names)
    if spare:
        found.append(
            f"W-MASK-UNUSED: {len(spare)} files in {masks.folder.name}/ are not a photo's mask: "
            f"{some(spare)}; a mask is called as its photo, with .png"
        )
    return found
