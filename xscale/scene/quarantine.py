"""Damaged photos: a few training photos are left out, counted and named; test photos never are.

A scene that loses many photos is another scene: then nothing is left out and the first damaged
photo is the error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from xscale.errors import DamagedPhotoError, InputError
from xscale.scene.layouts.views import some

if TYPE_CHECKING:
    from xscale.geometry.camera import Camera
    from xscale.scene.layouts.views import PhotoView

OnBadPhoto = Literal["skip", "stop"]
_FEW = 2
_MOST_OF_ALL = 0.01
_MOST_OF_A_GROUP = 0.2


class LeftOut(NamedTuple):
    """A photo that is not used."""

    error: InputError
    """Its fault."""
    listed_as: str
    """Its name in the camera model."""


def group_of(view: PhotoView | Camera) -> Hashable:
    """Return what photos of one camera have in common."""
    return view.model, view.K.tobytes(), view.distortion.tobytes()


def check_left_out(groups: Mapping[str, Hashable], left_out: Mapping[str, LeftOut]) -> None:
    """Refuse to go on without too many photos.

    Args:
        groups: Of every photo the camera that took it (:func:`group_of`). Photos with a camera of
            their own are one group together.
        left_out: The damaged ones.

    Raises:
        DamagedPhotoError: More than max(2, 1 %) of all photos or a fifth of a camera's are damaged.
    """
    sizes = Counter(groups.values())
    lost = Counter(_own(groups[name], sizes) for name in left_out if name in groups)
    whole = Counter(_own(group, sizes) for group in groups.values())
    few = len(left_out) <= max(_FEW, _MOST_OF_ALL * len(groups))
    if few and all(count <= _MOST_OF_A_GROUP * whole[group] for group, count in lost.items()):
        return
    first = next(iter(left_out.values())).error
    reach = "" if not few else " of one camera, more than a fifth"
    raise DamagedPhotoError(
        f"{first.what} ({len(left_out)} of {len(groups)} photos are damaged{reach}, too many to "
        f"leave out: {some(list(left_out))})",
        where=first.where,
        advice=first.advice,
    )


def _own(group: Hashable, sizes: Counter) -> Hashable:
    return group if sizes[group] > 1 else None


def notice(left_out: Mapping[str, LeftOut]) -> str:
    """Say in one coded line which photos are left out and why."""
    reasons = [f"{name} {left.error.what}" for name, left in left_out.items()]
    return f"W-PHOTO: {len(left_out)} damaged training photos are left out: {some(reasons)}"


def refuse_test_photos(left_out: Mapping[str, LeftOut], test: Iterable[str]) -> None:
    """Refuse a split whose test photos are not all there.

    Raises:
        DamagedPhotoError: A test photo is damaged.
    """
    for name in test:
        if name in left_out:
            raise as_test_photo(left_out[name].error)


def as_test_photo(error: InputError) -> DamagedPhotoError:
    """Return the error of a test photo: a score over fewer photos is another score."""
    return DamagedPhotoError(
        f"{error.what}; it is a test photo, and those are never left out",
        where=error.where,
        advice=error.advice,
    )


def record(left_out: Mapping[str, LeftOut]) -> list[dict[str, str]]:
    """Return the list for a run's record."""
    return [{"photo": name, "reason": left.error.what} for name, left in left_out.items()]
