"""Display modes of a viewer: each names the frame values it needs and turns them into colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xscale.color import colour_scale
from xscale.errors import UsageError
from xscale.render.frame import Frame
from xscale.render.outputs import UNCERTAINTY_END, output_file

_MOST_PHOTOS = 12
"""Photo count at the upper end of the colour scale."""
_MOST_ERROR = 0.25
"""Mean difference of the channels, sRGB from 0 to 1, at the upper end of its colour scale."""


@dataclass(frozen=True)
class Scale:
    """Values at the ends of a mode's colour scale."""

    depths: tuple[float, float] = (1.0, 2.0)
    """Nearest and farthest depth, world units."""
    footprints: tuple[float, float] = (1.0, 2.0)
    """Smallest and largest footprint, world units."""
    levels: int = 1
    """Levels of the grid."""


@dataclass(frozen=True)
class Legend:
    """Values that the ends of a mode's colours stand for."""

    dark: float
    """Value at the dark end."""
    bright: float
    """Value at the bright end; colours go from one to the other."""
    unit: str
    """length (world units), photos, level, or "of 255" (sRGB)."""


def legend_of(name: str, scale: Scale) -> Legend | None:
    """Return what a mode's colours mean; None where they do not form a scale."""
    if name == "depth":
        return Legend(scale.depths[1], scale.depths[0], "length")
    ends = {
        "footprint": (*scale.footprints, "length"),
        "level": (0.0, float(scale.levels - 1), "level"),
        "photos": (0.0, float(_MOST_PHOTOS), "photos"),
        "uncertainty": (0.0, 255 * UNCERTAINTY_END, "of 255"),
        "error": (0.0, 255 * _MOST_ERROR, "of 255"),
    }
    return Legend(*ends[name]) if name in ends else None


@dataclass(frozen=True)
class Mode:
    """One way to show a view."""

    needs: tuple[str, ...]
    """Outputs of ``Renderer.render``."""
    paint: Callable[[Frame, Scale], np.ndarray]
    """Turns rows of a frame into uint8 [h, w, 3]."""
    needs_range: bool = False
    """Whether the colours depend on the range of depths or footprints in view."""
    of_photo: bool = False
    """Whether it shows, or compares with, the photo that the request names."""


def mode_of(name: str) -> Mode:
    """Return a mode by its name.

    Raises:
        UsageError: There is no such mode.
    """
    if name not in MODES:
        raise UsageError(f"no mode {name!r}; there are {', '.join(MODES)}")
    return MODES[name]


def _of_output(name: str, needs_range: bool = False) -> Mode:
    file = output_file(name)
    return Mode(file.needs, lambda frame, scale: file.values(frame, scale.depths), needs_range)


def _face(frame: Frame, scale: Scale) -> np.ndarray:
    """Colours that tell neighbouring faces apart; white where nothing is hit."""
    face = frame.face.numpy().astype(np.uint32)
    mixed = face * np.uint32(2654435761)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(2246822519)
    picture = np.stack([mixed >> np.uint32(s) & np.uint32(255) for s in (0, 8, 16)], 2)
    picture = (picture // 2 + 64).astype(np.uint8)
    picture[frame.face.numpy() < 0] = 255
    return picture


def _footprint(frame: Frame, scale: Scale) -> np.ndarray:
    """Even steps of the logarithm; white where nothing is hit."""
    footprint = frame.footprint.numpy().astype(np.float64)
    footprint[footprint <= 0] = np.nan
    low, high = scale.footprints
    return colour_scale(np.log(footprint / low) / np.log(max(high / low, 1 + 1e-9)))


def _level(frame: Frame, scale: Scale) -> np.ndarray:
    return colour_scale(frame.level.numpy().astype(np.float64) / max(scale.levels - 1, 1))


def _coverage(frame: Frame, scale: Scale) -> np.ndarray:
    return np.repeat((frame.coverage.numpy().astype(np.uint8) * 255)[..., None], 3, axis=2)


def _photos(frame: Frame, scale: Scale) -> np.ndarray:
    """The same colours for the same counts in every picture; white where nothing is hit."""
    count = frame.photos.numpy().astype(np.float64)
    count[~frame.coverage.numpy()] = np.nan
    return colour_scale(count / _MOST_PHOTOS)


def _features(frame: Frame, scale: Scale) -> np.ndarray:
    return np.rint(frame.features.numpy() * 255).astype(np.uint8)


def difference(photo: np.ndarray, render: np.ndarray) -> np.ndarray:
    """Return the colours of the error between two pictures uint8 [h, w, 3]: one scale for all."""
    apart = np.abs(photo.astype(np.int16) - render).mean(2) / 255
    return colour_scale(apart / _MOST_ERROR)


def _rendered(frame: Frame, scale: Scale) -> np.ndarray:
    return frame.colour.numpy()


MODES: dict[str, Mode] = {
    "colour": _of_output("colour"),
    "depth": _of_output("depth_map", needs_range=True),
    "normal": _of_output("normal_map"),
    "face": Mode(("face",), _face),
    "footprint": Mode(("footprint",), _footprint, needs_range=True),
    "level": Mode(("level",), _level),
    "coverage": Mode(("coverage",), _coverage),
    "photos": Mode(("photos",), _photos),
    "uncertainty": _of_output("uncertainty_map"),
    "features": Mode(("features",), _features),
    "photo": Mode((), _rendered, of_photo=True),
    "render": Mode(("colour",), _rendered, of_photo=True),
    "error": Mode(("colour",), _rendered, of_photo=True),
}
"""Modes by name, in the order in which a viewer lists them."""
