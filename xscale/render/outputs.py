"""Outputs as files hold them: which values of a frame, in which type, under which name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xscale.color import colour_scale, linear_from_srgb
from xscale.errors import UsageError
from xscale.render.frame import Frame


@dataclass(frozen=True)
class OutputFile:
    """One kind of file that a frame gives."""

    output: str
    """The name the user asks for; also the folder's."""
    kind: str
    """png, jpg, exr, tiff or npy."""
    needs: tuple[str, ...]
    """Outputs that the renderer has to compute."""
    channels: int
    dtype: np.dtype
    values: Callable[[Frame, tuple[float, float]], np.ndarray]
    """Rows of the file from rows of a frame and the job's (nearest, farthest) depth."""
    across: int = 1
    """How many times as wide as the frame it is."""

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of a pixel before compression."""
        return self.channels * np.dtype(self.dtype).itemsize


COLOUR_FORMATS = ("png", "png16", "jpg", "exr", "tiff", "tiff16")
DATA_FORMATS = ("npy", "exr", "tiff")
OUTPUTS = (
    "colour", "coverage", "depth", "depth_map", "normal", "normal_map", "position", "face",
    "footprint", "level", "photos", "uncertainty", "uncertainty_map",
)  # fmt: skip
SIDE_BY_SIDE = "side_by_side"
"""Name of the output that holds several."""
_MAP_END = 0.15
"""Uncertainty, sRGB from 0 to 1, at the upper end of its map's colours."""
_CHANNELS = {"normal": 3, "position": 3}


def output_file(output: str, colour: str = "png", data: str = "npy") -> OutputFile:
    """Return how an output is written.

    Args:
        output: One of ``OUTPUTS``. Those that end in ``_map`` are 8-bit pictures to look at,
            ``coverage`` is an 8-bit mask (255 = seen); the rest but colour are numbers.
        colour: Format of colours: png, jpg, tiff (8 bits sRGB), png16, tiff16 (16 bits sRGB),
            exr (float32, linear light).
        data: Format of numbers: npy, exr or tiff (float32); face ids are int32 and go into npy
            where exr is asked for, which has no negative integers.

    Raises:
        UsageError: There is no such output or format.
    """
    for value, known, option in (
        (output, OUTPUTS, "--outputs"), (colour, COLOUR_FORMATS, "--format"),
        (data, DATA_FORMATS, "--data"),
    ):  # fmt: skip
        if value not in known:
            raise UsageError(f"{option} has no {value!r}; there are {', '.join(known)}")
    byte, word, real = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)
    if output == "colour":
        if colour == "exr":
            return OutputFile(output, "exr", ("srgb",), 3, real, _linear)
        if colour.endswith("16"):
            return OutputFile(output, colour[:-2], ("srgb",), 3, word, _sixteen)
        return OutputFile(output, colour, ("colour",), 3, byte, lambda f, _: f.colour.numpy())
    if output == "coverage":
        return OutputFile(output, "png", ("coverage",), 1, byte, _mask)
    if output == "depth_map":
        return OutputFile(output, "png", ("depth",), 3, byte, _depth_map)
    if output == "normal_map":
        return OutputFile(output, "png", ("normal",), 3, byte, _normal_map)
    if output == "uncertainty_map":
        return OutputFile(output, "png", ("uncertainty",), 3, byte, _uncertainty_map)
    if output == "face":
        kind = "npy" if data == "exr" else data
        return OutputFile(
            output, kind, ("face",), 1, np.dtype(np.int32), lambda f, _: f.face.numpy()
        )
    channels = _CHANNELS.get(output, 1)
    return OutputFile(
        output, data, (output,), channels, real, lambda f, _: getattr(f, output).numpy()
    )


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

    def values(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
        parts = [file.values(frame, depths) for file in files]
        wide = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in parts]
        return np.concatenate(wide, axis=1)

    kind = next((file.kind for file in files if file.output == "colour"), "png")
    needs = tuple(sorted({name for file in files for name in file.needs}))
    byte = np.dtype(np.uint8)
    return OutputFile(SIDE_BY_SIDE, kind, needs, 3, byte, values, len(files))


def _linear(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
    return linear_from_srgb(frame.srgb.numpy())


def _sixteen(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
    return np.rint(frame.srgb.numpy() * 65535).astype(np.uint16)


def _mask(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
    return frame.coverage.numpy().astype(np.uint8) * 255


def _depth_map(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
    """Bright is near; even steps of the logarithm, so that near and far both show detail."""
    near, far = depths
    depth = frame.depth.numpy().astype(np.float64)
    depth[~np.isfinite(depth)] = np.nan
    share = 1 - np.log(np.maximum(depth, near) / near) / np.log(max(far / near, 1 + 1e-9))
    return colour_scale(share)


def _uncertainty_map(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
    """The same colours for the same numbers in every picture; white where nothing is hit."""
    return colour_scale(frame.uncertainty.numpy().astype(np.float64) / _MAP_END)


def _normal_map(frame: Frame, depths: tuple[float, float]) -> np.ndarray:
    """Minus one to one as 0 to 255 on each axis; white where nothing is hit."""
    picture = np.rint((frame.normal.numpy() + 1) * 127.5).astype(np.uint8)
    picture[~frame.coverage.numpy()] = 255
    return picture
