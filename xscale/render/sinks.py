"""Picture files that take rows as they are rendered, so that no picture has to fit into memory.

Each sink is a context manager around one output file, which appears whole or not at all.
"""

from __future__ import annotations

import importlib
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from PIL import Image

from xscale.errors import SetupError, StorageError, UsageError
from xscale.io import storage
from xscale.io.photo.png_rows import PngRows

_TILE = 256
_WHOLE_BYTES = 1 << 30
"""Most bytes of a picture whose format needs it whole."""
_BIG_BYTES = 1 << 31
"""Bytes before compression from which on a TIFF is a BigTIFF."""
_JPEG_EDGE = 65535
_JPEG_QUALITY = 95
ENDINGS = {"png": ".png", "jpg": ".jpg", "exr": ".exr", "tiff": ".tif", "npy": ".npy"}


class Sink(Protocol):
    """Takes rows from top to bottom."""

    def write(self, rows: np.ndarray) -> None:
        """Append rows [h, W] or [h, W, channels]."""


def check_fits(kind: str, width: int, height: int, bytes_per_pixel: int) -> None:
    """Refuse sizes that a format cannot hold or that cannot be streamed into it.

    Raises:
        UsageError: Too large.
    """
    advice = "take tiff or png for colours, tiff or npy for data: those are streamed"
    if kind == "jpg" and max(width, height) > _JPEG_EDGE:
        raise UsageError(f"a JPEG has at most {_JPEG_EDGE} pixels an edge", advice=advice)
    if kind in ("jpg", "exr") and width * height * bytes_per_pixel > _WHOLE_BYTES:
        raise UsageError(
            f"{width} x {height} is too large for {kind}, which needs the picture whole",
            advice=advice,
        )


def module(name: str, purpose: str, extra: str = "render") -> ModuleType:
    """Import an optional package.

    Raises:
        SetupError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SetupError(
            f"{purpose} needs {name}", advice=f"pip install xscale[{extra}]"
        ) from error


@contextmanager
def open_sink(
    path: Path, kind: str, width: int, height: int, channels: int, dtype: np.dtype
) -> Iterator[Sink]:
    """Open a picture file for rows; an existing one is replaced when the block ends well.

    Args:
        path: The file.
        kind: png, jpg, exr, tiff or npy.
        width: Pixels.
        height: Pixels.
        channels: 1 or 3.
        dtype: Of the rows: uint8 (png, jpg, tiff), uint16 (png, tiff), float32 (exr, tiff, npy)
            or int32 (tiff, npy).

    Raises:
        SetupError: A package is missing.
        StorageError: It cannot be written.
    """
    shape = (height, width) if channels == 1 else (height, width, channels)
    if kind == "exr":
        library = module("OpenEXR", "EXR output")
        whole = _Whole(shape, dtype)
        yield whole
        with storage.atomic_path(path, overwrite=True) as temporary:
            names = ("Y",) if channels == 1 else ("R", "G", "B")
            planes = whole.rows.reshape(height, width, channels)
            parts = {n: np.ascontiguousarray(planes[..., k]) for k, n in enumerate(names)}
            header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
            try:
                # The library puts objects of its own into the dictionary that it is given.
                library.File(header, dict(parts)).write(str(temporary))
                _check_exr(library, temporary, parts)
            except RuntimeError as error:
                raise StorageError(
                    f"could not write: {error}", where=path, advice="check the disk and the folder"
                ) from error
        return
    if kind == "tiff":
        with storage.atomic_path(path, overwrite=True) as temporary:
            tiff = _Tiff(temporary, shape, dtype)
            try:
                yield tiff
            except BaseException:
                tiff.give_up()
                raise
            tiff.finish()
        return
    with storage.open_atomic(path, overwrite=True) as file:
        if kind == "png":
            png = PngRows(file, width, height, channels, dtype)
            yield png
            png.finish()
        elif kind == "npy":
            description = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, description)
            yield _Raw(file, dtype)
        else:
            whole = _Whole(shape, dtype)
            yield whole
            picture = Image.fromarray(whole.rows)
            picture.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)


class _Raw:
    """Rows as they are."""

    def __init__(self, file: object, dtype: np.dtype) -> None:
        self._file, self._dtype = file, dtype

    def write(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())


def _check_exr(library: ModuleType, file: Path, parts: dict[str, np.ndarray]) -> None:
    """Read a file again: the library passes over writes that fail while it closes a file.

    Raises:
        RuntimeError: It does not hold what was written.
    """
    channels = library.File(str(file), separate_channels=True).channels()
    for name, plane in parts.items():
        if name not in channels or not np.array_equal(channels[name].pixels, plane, equal_nan=True):
            raise RuntimeError("it reads back differently")


class _Whole:
    """Rows gathered until the picture is complete."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.rows = np.empty(shape, dtype)
        self._next = 0

    def write(self, rows: np.ndarray) -> None:
        self.rows[self._next : self._next + len(rows)] = rows
        self._next += len(rows)


class _Tiff:
    """Tiles of 256 x 256, compressed; BigTIFF where 4 GB could be passed.

    tifffile asks for tiles, the renderer offers rows: a thread lets each have its way.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._library = module("tifffile", "TIFF output")
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._gathered: list[np.ndarray] = []
        self._tiles: queue.Queue = queue.Queue(maxsize=4)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(path,), daemon=True)
        self._thread.start()

    def write(self, rows: np.ndarray) -> None:
        self._gathered.append(np.ascontiguousarray(rows, self._dtype))
        if sum(map(len, self._gathered)) >= _TILE:
            rows = np.concatenate(self._gathered)
            full = len(rows) // _TILE * _TILE
            self._gathered = [rows[full:]]
            for top in range(0, full, _TILE):
                self._put(rows[top : top + _TILE])

    def finish(self) -> None:
        rows = np.concatenate(self._gathered)
        if len(rows):
            self._put(rows)
        self._offer(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def give_up(self) -> None:
        """Let the thread end without the rest."""
        self._failure = self._failure or InterruptedError()
        with suppress(queue.Empty):
            while True:
                self._tiles.get_nowait()
        self._tiles.put(None)
        self._thread.join()

    def _put(self, rows: np.ndarray) -> None:
        for left in range(0, rows.shape[1], _TILE):
            part = rows[:, left : left + _TILE]
            tile = np.zeros((_TILE, _TILE, *part.shape[2:]), self._dtype)
            tile[: len(part), : part.shape[1]] = part
            self._offer(tile)

    def _offer(self, tile: np.ndarray | None) -> None:
        while self._failure is None:
            with suppress(queue.Full):
                self._tiles.put(tile, timeout=1)
                return
        raise self._failure

    def _run(self, path: Path) -> None:
        def tiles() -> Iterator[np.ndarray]:
            while (tile := self._tiles.get()) is not None:
                yield tile
            if self._failure is not None:
                raise self._failure

        size = int(np.prod(self._shape)) * self._dtype.itemsize
        try:
            with self._library.TiffWriter(path, bigtiff=size > _BIG_BYTES) as writer:
                writer.write(
                    tiles(),
                    shape=self._shape,
                    dtype=self._dtype,
                    tile=(_TILE, _TILE),
                    photometric="rgb" if len(self._shape) == 3 else "minisblack",
                    compression="zlib",
                    predictor=self._dtype.kind in "iu",
                    software=False,
                    metadata=None,
                    maxworkers=1,
                )
        except BaseException as error:
            self._failure = error
