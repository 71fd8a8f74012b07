"""Photos whose pixels lie otherwise than their cameras take them: the EXIF orientation says so.

Where a turn changes a photo's size, its camera tells whether it is applied. A photo turned over, or
a square one, has the same size either way: only its neighbours tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xscale.inspection.looks import Look
from xscale.inspection.neighbours import best_of, pairs_of
from xscale.io.photo.images import exif_orientation

CODE = "W-PHOTO-EXIF"
ADVICE = (
    "save the photos with turned pixels and without the orientation, for example by ImageMagick's "
    "mogrify -auto-orient"
)
_PARTNERS = 6
_FITS = 0.6
"""Share of patches that match once a photo is turned."""


def as_exif_says(look: Look) -> Look | None:
    """Return a look at the turned photo; None where EXIF asks for no turn that keeps the size."""
    if look.photo.orientation != 1 or look.photo.make is not None:
        return None
    orientation = exif_orientation(look.photo.path)
    height, width = look.usable.shape
    if orientation == 1 or (orientation > 4 and height != width):
        return None
    return replace(
        look, rgb=_turned(look.rgb, orientation), usable=_turned(look.usable, orientation)
    )


def all_as_exif_says(looks: Sequence[Look]) -> list[Look] | None:
    """Return looks at photos turned as EXIF says; None where it says so of less than half."""
    turned = [as_exif_says(look) for look in looks]
    if 2 * sum(new is not None for new in turned) < len(looks):
        return None
    return [look if new is None else new for look, new in zip(looks, turned, strict=True)]


def fits_turned(looks: Sequence[Look], index: int) -> bool:
    """Tell whether a photo matches its neighbours once it is turned as EXIF says."""
    turned = as_exif_says(looks[index])
    if turned is None:
        return False
    places = np.array([look.photo.camera.position for look in looks])
    nearest = np.argsort(np.linalg.norm(places - places[index], axis=1), kind="stable")
    partners = [looks[k] for k in nearest if k != index][:_PARTNERS]
    _, matched = best_of(pairs_of([turned, *partners]), 0)
    return matched is not None and matched > _FITS


def _turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation of 2 to 8."""
    if orientation > 4:
        picture = np.swapaxes(picture, 0, 1)
    rows = orientation in (3, 4, 7, 8)
    columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(picture[:: -1 if rows else 1, :: -1 if columns else 1])
