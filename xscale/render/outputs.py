"""Outputs: the one table of what a frame can hold, and how each is written into a file.

A new output is one row of ``TABLE``: the renderer, ``Frame``, the reduction of several samples, the
files and the command line's help take everything from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xscale.color import colour_scale, linear_from_srgb
from xscale.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from xscale.render.frame import Frame
    from xscale.render.renderer import Hits, Renderer

Depths = tuple[float, float]
"""Nearest and farthest depth that a job sees, for the colours of depth maps."""
Paint = Callable[["Frame", Depths], np.ndarray]
"""Makes rows of a file from rows of a frame."""
Resolve = Literal["any", "colour", "direction", "size", "nearest"]
"""How several samples become one pixel; see ``xscale.render.resolve``."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One row of the table."""

    meaning: str
    """The quantity, its unit and its frame, in one line."""
    miss: float
    """Value of a pixel that hits nothing."""
    resolve: Resolve
    smooth: bool = False
    """Whether pixels in which the surface breaks off become means (``xscale.render.edges``); all
    other outputs are their centre rays', which name one point of the surface."""
    dtype: type[np.generic]
    """Element type of the frame's tensor."""
    channels: int = 1
    values: Callable[[Hits], Tensor] | None = None
    """Values [N] or [N, channels] of the pixels that hit the mesh; None: the renderer makes the
    whole picture itself."""
    refusal: Callable[[Renderer], str | None] = lambda renderer: None
    """Why a renderer cannot give it; None: it can."""
    file: Literal["colour", "mask", "numbers", None] = "numbers"
    """File that ``--outputs`` writes it into; None: only Python gets it."""
    map: Paint | None = None
    """Paints the 8-bit RGB picture that ``--outputs NAME_map`` writes."""
    map_meaning: str = ""
    map_needs_depths: bool = False
    """Whether the picture's colours depend on the depths that the whole job sees."""


def _unless_known(name: str, what: str) -> Callable[[Renderer], str | None]:
    """Refuse where a renderer was not told how an output is computed."""
    reason = f"this renderer does not know the {what}"
    return lambda renderer: None if getattr(renderer, name) is not None else reason


def _no_levels(renderer: Renderer) -> str | None:
    encoding = renderer.model.settings.encoding
    has = encoding in ("hash", "volume")
    return None if has else f"model.encoding={encoding} has no levels"


def _depth_map(frame: Frame, depths: Depths) -> np.ndarray:
    """Even steps of the depth's logarithm, so that near and far both show detail."""
    near, far = depths
    depth = frame.depth.numpy().astype(np.float64)
    depth[~np.isfinite(depth)] = np.nan
    share = 1 - np.log(np.maximum(depth, near) / near) / np.log(max(far / near, 1 + 1e-9))
    return colour_scale(share)


def _normal_map(frame: Frame, depths: Depths) -> np.ndarray:
    picture = np.rint((frame.normal.numpy() + 1) * 127.5).astype(np.uint8)
    picture[~frame.coverage.numpy()] = 255
    return picture


def _uncertainty_map(frame: Frame, depths: Depths) -> np.ndarray:
    return colour_scale(frame.uncertainty.numpy().astype(np.float64) / UNCERTAINTY_END)


UNCERTAINTY_END = 0.15
"""Uncertainty, sRGB from 0 to 1, at the upper end of its map's colours."""

TABLE: dict[str, Output] = {
    "coverage": Output(
        meaning="whether the pixel's centre ray, or one of its samples, hits the mesh",
        miss=0, resolve="any", dtype=np.bool_, file="mask",
    ),
    "colour": Output(
        meaning="sRGB, 8 bits; the background, or white, where nothing is hit",
        miss=255, resolve="colour", smooth=True, dtype=np.uint8, channels=3, file="colour",
    ),
    "depth": Output(
        meaning="z in the camera's frame, world units; +inf where nothing is hit",
        miss=float("inf"), resolve="nearest", dtype=np.float32,
        values=lambda hits: hits.points.depth,
        map=_depth_map, map_meaning="depth as colours, bright is near", map_needs_depths=True,
    ),
    "normal": Output(
        meaning="unit normal, world frame; zero where nothing is hit",
        miss=0.0, resolve="direction", dtype=np.float32, channels=3,
        values=lambda hits: hits.points.normal,
        map=_normal_map, map_meaning="-1 to 1 on each axis as 0 to 255",
    ),
    "position": Output(
        meaning="surface point, world units in the mesh's local frame (world minus the run's "
        "origin); NaN where nothing is hit",
        miss=float("nan"), resolve="nearest", dtype=np.float32, channels=3,
        values=lambda hits: hits.points.position,
    ),
    "face": Output(
        meaning="row of the mesh's faces; -1 where nothing is hit",
        miss=-1, resolve="nearest", dtype=np.int32,
    ),
    "footprint": Output(
        meaning="size of the pixel on the surface, world units; 0 where nothing is hit",
        miss=0.0, resolve="size", dtype=np.float32,
        values=lambda hits: hits.points.footprint,
    ),
    "level": Output(
        meaning="grid level (from 0) whose cells are as large as the footprint; NaN where nothing "
        "is hit",
        miss=float("nan"), resolve="nearest", dtype=np.float32,
        values=lambda hits: hits.renderer.model.field.level(hits.points.footprint),
        refusal=_no_levels,
    ),
    "photos": Output(
        meaning="number of training photos that see the point; where it is 0 the colour is made up",
        miss=0.0, resolve="nearest", dtype=np.float32,
        values=lambda hits: hits.renderer.photos(hits.points.position),
        refusal=_unless_known("photos", "training photos"),
    ),
    "uncertainty": Output(
        meaning="likely error of the colour: mean of the channels, sRGB from 0 to 1; NaN where "
        "nothing is hit",
        miss=float("nan"), resolve="nearest", dtype=np.float32,
        values=lambda hits: hits.renderer.uncertainty(
            hits.points.face_id, hits.points.position
        ),
        refusal=_unless_known("uncertainty", "training photos"),
        map=_uncertainty_map, map_meaning="the same colour for the same number in every picture",
    ),
    "features": Output(
        meaning="the three strongest components of the point's features, 0 to 1; 1 where nothing "
        "is hit",
        miss=1.0, resolve="colour", dtype=np.float32, channels=3,
        values=lambda hits: hits.renderer.features(hits.points),
        refusal=_unless_known("features", "features"), file=None,
    ),
    "srgb": Output(
        meaning="colour from 0 to 1 before it is rounded to 8 bits; the background or 1 where "
        "nothing is hit",
        miss=1.0, resolve="colour", smooth=True, dtype=np.float32, channels=3,
        values=lambda hits: hits.colour, file=None,
    ),
}  # fmt: skip
"""All outputs by name. Pixels that hit nothing are white in the pictures to look at."""

COLOUR_FORMATS = ("png", "png16", "jpg", "exr", "tiff", "tiff16")
DATA_FORMATS = ("npy", "exr", "tiff")
SIDE_BY_SIDE = "side_by_side"
"""Name of the file that holds several outputs."""
_MAP = "_map"


def output_names() -> tuple[str, ...]:
    """Return what ``--outputs`` takes: outputs that have a file, each with its map behind it."""
    names: list[str] = []
    for name, row in TABLE.items():
        names += [name] if row.file else []
        names += [name + _MAP] if row.map else []
    return tuple(names)


def output_meanings() -> str:
    """Return what ``--outputs`` takes as text: a name and its meaning in brackets each."""
    parts = []
    for name in output_names():
        row = TABLE[name.removesuffix(_MAP)]
        meaning = row.map_meaning if name.endswith(_MAP) else row.meaning
        parts.append(f"{name} ({meaning})")
    return ", ".join(parts)


@dataclass(frozen=True)
class OutputFile:
    """One file of a frame."""

    output: str
    """Name that the user asks for; also the folder's."""
    kind: str
    """png, jpg, exr, tiff or npy."""
    needs: tuple[str, ...]
    """Outputs that the renderer has to compute."""
    channels: int
    dtype: np.dtype
    values: Paint
    across: int = 1
    """Width of the file in widths of the frame."""
    needs_depths: bool = False
    """Whether its colours depend on the depths that the whole job sees."""

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of a pixel before compression."""
        return self.channels * np.dtype(self.dtype).itemsize


def output_file(output: str, colour: str = "png", data: str = "npy") -> OutputFile:
    """Return how an output is written.

    Args:
        output: One of ``output_names()``. Those that end in ``_map`` are 8-bit pictures to look
            at, ``coverage`` is an 8-bit mask (255 = seen); the rest but colour are numbers.
        colour: Format of colours: png, jpg, tiff (8 bits sRGB), png16, tiff16 (16 bits sRGB),
            exr (float32, linear light).
        data: Format of numbers: npy, exr or tiff. Integers are written as npy where exr is asked
            for, which has no negative ones.

    Raises:
        UsageError: There is no such output or format.
    """
    for value, known, option in (
        (output, output_names(), "--outputs"), (colour, COLOUR_FORMATS, "--format"),
        (data, DATA_FORMATS, "--data"),
    ):  # fmt: skip
        if value not in known:
            raise UsageError(f"{option} has no {value!r}; there are {', '.join(known)}")
    byte, word, real = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)
    name = output.removesuffix(_MAP)
    row = TABLE[name]
    if output != name:
        return OutputFile(
            output, "png", (name,), 3, byte, row.map, needs_depths=row.map_needs_depths
        )
    if row.file == "colour":
        if colour == "exr":
            return OutputFile(output, "exr", ("srgb",), 3, real, _linear)
        if colour.endswith("16"):
            return OutputFile(output, colour[:-2], ("srgb",), 3, word, _sixteen)
        return OutputFile(output, colour, (name,), 3, byte, _plain(name))
    if row.file == "mask":
        return OutputFile(output, "png", (name,), 1, byte, _mask(name))
    whole = np.issubdtype(row.dtype, np.integer)
    kind = "npy" if whole and data == "exr" else data
    return OutputFile(output, kind, (name,), row.channels, np.dtype(row.dtype), _plain(name))


def side_by_side(files: Sequence[OutputFile]) -> OutputFile:
    """Return one picture that holds several, left to right; grey ones become RGB.

    Raises:
        UsageError: One is not an 8-bit picture.
    """
    for file in files:
        if file.dtype != np.uint8:
            raise UsageError(
                f"{file.output} is not an 8-bit picture to put side by side",
                advice="take colour, coverage and what ends in _map, --format png, jpg or tiff",
            )

    def values(frame: Frame, depths: Depths) -> np.ndarray:
        parts = [file.values(frame, depths) for file in files]
        wide = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in parts]
        return np.concatenate(wide, axis=1)

    kind = next((file.kind for file in files if file.output == "colour"), "png")
    needs = tuple(sorted({name for file in files for name in file.needs}))
    deep = any(file.needs_depths for file in files)
    byte = np.dtype(np.uint8)
    return OutputFile(SIDE_BY_SIDE, kind, needs, 3, byte, values, len(files), deep)


def _plain(name: str) -> Paint:
    return lambda frame, depths: getattr(frame, name).numpy()


def _mask(name: str) -> Paint:
    return lambda frame, depths: getattr(frame, name).numpy().astype(np.uint8) * 255


def _linear(frame: Frame, depths: Depths) -> np.ndarray:
    return linear_from_srgb(frame.srgb.numpy())


def _sixteen(frame: Frame, depths: Depths) -> np.ndarray:
    return np.rint(frame.srgb.numpy() * 65535).astype(np.uint16)
