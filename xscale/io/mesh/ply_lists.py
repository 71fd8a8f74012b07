"""Rows with lists in a binary PLY file: the faces, in blocks, by plain reads.

Files are read and not mapped: a mapped file that somebody shortens kills the process.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError
from xscale.io.budget import check_growth
from xscale.io.mesh.ply_header import Element
from xscale.io.mesh.polygons import MOST_CORNERS, check_vertices

ROWS = 1 << 18
"""Rows read in one go."""
_BYTES = 1 << 22


def cut(element: Element, row: int, offset: int, path: Path) -> MeshError:
    """Make the error of a file that ends too early."""
    return MeshError(
        f"ends inside {element.name} {row} of {element.count} at byte {offset}",
        where=path,
        advice="the file is cut: export it again",
    )


def read_rows(file: BinaryIO, dtype: np.dtype, count: int) -> np.ndarray | None:
    """Read rows of a structured type; None, with ``file`` where it was, if they are not there."""
    here = file.tell()
    rows = np.fromfile(file, dtype, count)
    if len(rows) == count:
        return rows
    file.seek(here)
    return None


class ListReader:
    """Reads the index list of every row of one element."""

    def __init__(self, file: BinaryIO, element: Element, path: Path, vertices: int) -> None:
        """Begin where ``file`` stands.

        Args:
            file: Open at the element's first row.
            element: What follows.
            path: The file's name, for errors.
            vertices: How many vertices indices may name.
        """
        self._file, self._element, self._path = file, element, path
        self._vertices = vertices
        self._wanted = element.index_list
        self._done = 0

    def read(self) -> tuple[np.ndarray, np.ndarray | int]:
        """Read all rows and leave the file behind them.

        Returns:
            Checked indices int32 [F, n] and n, where all lists have n items; else flat indices
            and uint8 [F]. Nothing ([F, 0] and 0) for an element without an index list.

        Raises:
            MeshError: The file is cut, a list is too long, an index names no vertex.
        """
        alike, length = self._alike()
        if self._done == self._element.count:
            return alike, length
        pieces = [alike[: self._done].reshape(-1)]
        kept = pieces[0].nbytes
        counts = np.empty(self._element.count, np.uint8)
        counts[: self._done] = length
        while self._done < self._element.count:
            flat, lengths = self._walk()
            counts[self._done : self._done + len(lengths)] = lengths
            self._done += len(lengths)
            pieces.append(flat)
            kept += flat.nbytes
            check_growth(2 * kept, self._path, "its index lists")
        return np.concatenate(pieces), counts

    def _alike(self) -> tuple[np.ndarray, int]:
        """Read rows as long as their lists are as long as the first row's."""
        element, file = self._element, self._file
        here = file.tell()
        lengths = element.first_lengths(np.frombuffer(file.read(1 << 16), np.uint8))
        file.seek(here)
        if not element.count or lengths is None:
            return np.zeros((element.count, 0), np.int32), 0
        dtype = element.dtype_with(lengths)
        length = lengths[self._wanted.name] if self._wanted else 0
        step = max(1, min(ROWS, _BYTES // dtype.itemsize))
        # The element's own size was compared with the file's; longer lists must fit too.
        fitting = min(element.count, (self._path.stat().st_size - here) // dtype.itemsize)
        found = np.empty((fitting, length), np.int32)
        while self._done < element.count:
            rows = read_rows(file, dtype, min(step, element.count - self._done))
            if rows is None:
                break
            if any((rows[f"{name}#"] != n).any() for name, n in lengths.items()):
                file.seek(here + self._done * dtype.itemsize)
                break
            if length:
                found[self._done : self._done + len(rows)] = self._checked(
                    rows[self._wanted.name], length
                )
            self._done += len(rows)
        return found, length

    def _checked(self, indices: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
        check_vertices(indices, counts, self._vertices, self._path, self._done)
        return indices.astype(np.int32)

    def _walk(self) -> tuple[np.ndarray, np.ndarray]:
        """Read some rows of unequal length: flat indices and lengths."""
        here = self._file.tell()
        data = self._file.read(_BYTES)
        places, lengths, used = self._places(data, here)
        self._file.seek(here + used)
        if self._wanted is None:
            return np.zeros(0, np.int32), lengths
        size = self._wanted.item_size
        begin = np.cumsum(lengths, dtype=np.int64) - lengths
        flat = np.empty(int(lengths.sum()), self._wanted.item_type)
        raw = np.frombuffer(data, np.uint8)
        for length in np.unique(lengths[lengths > 0]):
            rows = np.flatnonzero(lengths == length)
            items = raw[places[rows, None] + np.arange(int(length) * size)]
            values = items.view(self._wanted.item_type)
            flat[begin[rows, None] + np.arange(length)] = values
        return self._checked(flat, lengths), lengths

    def _places(self, data: bytes, here: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Find where the index lists of the rows wholly inside ``data`` begin.

        Returns:
            Places int64 [R] and lengths uint8 [R] of the lists' items, and how many bytes the
            rows take.
        """
        element = self._element
        simple = len(element.properties) == 1 and self._wanted and self._wanted.count_size == 1
        places, lengths, used = [], bytearray(), 0
        left = element.count - self._done
        if simple and self._wanted.count_type[1] == "u":
            # The usual layout, triangles and quads mixed: one step a row.
            size = self._wanted.item_size
            end = len(data)
            while left and used < end:
                count = data[used]
                after = used + 1 + count * size
                if count > MOST_CORNERS or after > end:
                    break
                places.append(used + 1)
                lengths.append(count)
                used = after
                left -= 1
        if not places:
            while left:
                row = self._row(data, used, here, self._done + len(places))
                if row is None:
                    break
                places.append(row[0])
                lengths.append(row[1])
                used = row[2]
                left -= 1
        if not places:
            raise cut(element, self._done, here + used, self._path)
        return np.array(places, np.int64), np.frombuffer(bytes(lengths), np.uint8), used

    def _row(self, data: bytes, place: int, here: int, row: int) -> tuple[int, int, int] | None:
        """Find one row's index list: place, length, end of row; None where the data end before."""
        found = (place, 0)
        for prop in self._element.properties:
            if prop.count_type is None:
                place += prop.item_size
                continue
            head = data[place : place + prop.count_size]
            if len(head) < prop.count_size:
                return None
            count = int(np.frombuffer(head, prop.count_type)[0])
            if count < 0 or (prop is self._wanted and count > MOST_CORNERS):
                raise MeshError(
                    f"{self._element.name} {row} has a list of {count} items at byte "
                    f"{here + place}, allowed are 0 to {MOST_CORNERS}",
                    where=self._path,
                    advice="the file is damaged or its byte order is mislabelled: export it again",
                )
            place += prop.count_size
            if prop is self._wanted:
                found = (place, count)
            place += count * prop.item_size
        return None if place > len(data) else (*found, place)
