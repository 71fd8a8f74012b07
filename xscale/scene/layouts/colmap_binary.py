"""COLMAP's binary tables, read so that a cut or edited file is named and never used in part.

Every count is compared with the bytes that are left before it is used; keypoints are skipped by
seeking unless they are asked for.
"""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.models import colmap_model
from xscale.io.budget import check_growth
from xscale.scene.layouts.colmap_model import (
    CAMERA_BYTES,
    PHOTO_BYTES,
    ColmapCamera,
    ColmapPoints,
    Tables,
    spread_over,
)

_LONGEST_NAME = 4096
_SMALLEST_CAMERA = 24
_SMALLEST_IMAGE = 64 + 2 + 8
_OBSERVATION = np.dtype([("pixel", "<f8", 2), ("point", "<i8")])
_POINT_HEAD = 43
_SMALLEST_POINT = _POINT_HEAD + 8
_TRACK_ENTRY = 8


class Reader:
    """A file with a known size; reading past the end is an error that names the byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise CameraError(
                f"cannot be read: {error.strerror}", where=path, advice="check the path"
            ) from error
        self.left = path.stat().st_size
        self.offset = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def cut(self, what: str) -> CameraError:
        """Return the error for a file that ends too early."""
        return CameraError(
            f"ends inside {what} at byte {self.offset}, {self.left} bytes are left",
            where=self.path,
            advice="the file is cut: copy or export the model again",
        )

    def take(self, layout: str, what: str) -> tuple:
        """Read one packed little-endian record."""
        size = struct.calcsize("<" + layout)
        return struct.unpack("<" + layout, self.bytes(size, what))

    def bytes(self, size: int, what: str) -> bytes:
        """Read exactly ``size`` bytes."""
        if size > self.left:
            raise self.cut(what)
        data = self.file.read(size)
        if len(data) != size:
            raise self.cut(what)
        self.offset += size
        self.left -= size
        return data

    def skip(self, size: int, what: str) -> None:
        """Pass over ``size`` bytes."""
        if size > self.left:
            raise self.cut(what)
        self.file.seek(size, 1)
        self.offset += size
        self.left -= size

    def name(self, what: str) -> str:
        """Read a name that ends with a NUL byte."""
        chunk = self.file.read(min(_LONGEST_NAME + 1, self.left))
        end = chunk.find(b"\0")
        if end < 0:
            raise CameraError(
                f"the name of {what} at byte {self.offset} has no end within "
                f"{min(_LONGEST_NAME, self.left)} bytes",
                where=self.path,
                advice="the file is cut: copy or export the model again",
            )
        self.file.seek(end + 1 - len(chunk), 1)
        self.offset += end + 1
        self.left -= end + 1
        return chunk[:end].decode("utf-8", "surrogateescape")

    def count(self, smallest: int, what: str, each: int = 0) -> int:
        """Read how many records follow; refuse more than can be there or can be kept.

        Args:
            smallest: Bytes of a record, at least.
            what: A record's name, for errors.
            each: Bytes that one takes in memory, at most.
        """
        (count,) = self.take("Q", f"the number of {what}s")
        if count * smallest > self.left:
            raise CameraError(
                f"says {count} {what}s of at least {smallest} bytes, {self.left} bytes are left "
                f"at byte {self.offset}",
                where=self.path,
                advice="the file is cut: copy or export the model again",
            )
        check_growth(count * each, self.path, f"{count} {what}s")
        return count

    def end(self, warnings: list[str]) -> None:
        """Remark on bytes that no record accounts for."""
        if self.left:
            warnings.append(
                f"W-COLMAP-TAIL: {self.path.name}: {self.left} bytes after the last record ignored"
            )


def read_cameras(path: Path, tables: Tables) -> None:
    """Read ``cameras.bin`` into ``tables``.

    Raises:
        CameraError: Cut, unknown model, or a camera with impossible numbers.
    """
    with Reader(path) as reader:
        for record in range(reader.count(_SMALLEST_CAMERA, "camera", CAMERA_BYTES)):
            where = f"{path}: camera record {record + 1} at byte {reader.offset}"
            camera_id, model_id, width, height = reader.take("IiQQ", f"camera {record + 1}")
            model = colmap_model(model_id, where)
            names = len(model.parameters)
            params = np.array(reader.take(f"{names}d", f"camera {record + 1}"))
            tables.add_camera(camera_id, ColmapCamera(model, width, height, params, where))
        reader.end(tables.warnings)


def read_images(path: Path, tables: Tables, *, keep_observations: int = 0) -> None:
    """Read ``images.bin`` into ``tables``; the cameras must be there already.

    Args:
        path: The file.
        tables: Where photos go.
        keep_observations: How many of a photo's keypoints with a 3D point are kept at most, evenly
            spread.

    Raises:
        CameraError: Cut, or a photo with an impossible pose, id, name or camera.
    """
    with Reader(path) as reader:
        for record in range(reader.count(_SMALLEST_IMAGE, "image", PHOTO_BYTES)):
            what = f"image {record + 1}"
            where = f"{path}: image record {record + 1} at byte {reader.offset}"
            image_id, *pose, camera_id = reader.take("I7dI", what)
            name = reader.name(what)
            (keypoints,) = reader.take("Q", what)
            size = keypoints * _OBSERVATION.itemsize
            kept: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
            if keep_observations:
                rows = np.frombuffer(reader.bytes(size, f"keypoints of {what}"), _OBSERVATION)
                rows = rows[spread_over(np.flatnonzero(rows["point"] >= 0), keep_observations)]
                kept = rows["pixel"].copy(), rows["point"].copy()
            else:
                reader.skip(size, f"the {keypoints} keypoints of {what}")
            quaternion, t = np.array(pose[:4]), np.array(pose[4:])
            tables.add_image(image_id, quaternion, t, camera_id, name, where, kept)
        reader.end(tables.warnings)


def read_points(path: Path, warnings: list[str]) -> ColmapPoints:
    """Read the positions in ``points3D.bin``.

    Raises:
        CameraError: Cut.
    """
    with Reader(path) as reader:
        count = reader.count(_SMALLEST_POINT, "point")
        base = reader.offset
        data = reader.bytes(reader.left, "points")
        offsets = np.empty(count, np.int64)
        track_length = struct.Struct("<Q").unpack_from
        position, end = 0, len(data)
        for record in range(count):
            if end - position < _SMALLEST_POINT:
                reader.offset, reader.left = base + position, end - position
                raise reader.cut(f"point {record + 1} of {count}")
            offsets[record] = position
            (length,) = track_length(data, position + _POINT_HEAD)
            position += _SMALLEST_POINT
            if length * _TRACK_ENTRY > end - position:
                reader.offset, reader.left = base + position, end - position
                raise reader.cut(f"the track of point {record + 1} of {count}")
            position += length * _TRACK_ENTRY
        reader.left = end - position
        reader.end(warnings)
    # Records differ in length; only their fixed heads are gathered.
    heads = np.frombuffer(data, np.uint8)[offsets[:, None] + np.arange(32)]
    rows = heads.reshape(-1).view(np.dtype([("id", "<i8"), ("position", "<f8", 3)]))
    return ColmapPoints(rows["id"].copy(), rows["position"].copy())
