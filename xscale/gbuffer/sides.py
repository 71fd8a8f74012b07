"""Evidence of the photos for which sides of a mesh's faces are surface.

Through a hole of the mesh a photo sees far faces from behind, where in truth something else stands:
leaves, glass, the room. Such a pixel shows no surface. Two-sided sheets and faces wound the other
way round are seen from behind as well, but there photos agree with each other about what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xscale import ops, threads
from xscale.errors import DamagedPhotoError
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface

_LONG_SIDE = 384
_FACE_BUDGET = 3_000_000_000
"""Faces that all small rasters together may meet: seconds on two cores."""
_LEAST_PHOTOS, _MOST_PHOTOS = 32, 192
_LEAST_BACK = 2e-4
"""Share of all covered pixels seen from behind, below which nobody asks the photos."""
_PER_BLOCK = 8
"""Sightings that a block of neighbouring faces has in the mean, about."""
_BLOCKS = 32
"""Blocks of a region, in which photos are compared."""
_LEAST_BLOCKS = 4
"""Blocks with two photos that a region needs to be judged."""
_AGREE = 0.5
"""Share of a region's variance that is its blocks' own, from which on photos agree."""
_MAIN = 0.75
"""Share of sightings that makes one side of the whole mesh its front."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32) / 255

Read = Callable[[int, float], tuple[np.ndarray, np.ndarray | None]]
"""Gives a photo, reduced by a factor, by its index: uint8 [H, W, 3] and its mask bool [H, W]."""


class Evidence(NamedTuple):
    """Sides that are surface, and the sightings that say so."""

    sides: Tensor
    """Uint8 [F], bits of ``xscale.ops.FRONT`` and ``BACK``."""
    back: float
    """Share of the covered pixels that see a face from behind."""
    hidden: float
    """Share of the covered pixels whose side is not surface: they count as uncovered."""


@dataclass(frozen=True)
class _Sighting:
    """A photo's small raster."""

    index: int
    factor: float
    """Pixels of the photo along the edge of one of the raster's."""
    face_id: np.ndarray
    side: np.ndarray


def sides_by_evidence(
    surface: Surface, cameras: Tensor, sizes: Sequence[tuple[int, int]], read: Read
) -> Evidence:
    """Decide from photos which sides of a mesh's faces are surface.

    The side that most of the mesh is seen from is surface everywhere, the other one where photos
    that see it agree about what it shows: the grey values of small blocks of faces, each photo's
    less its mean over the region, vary from block to block and not from photo to photo. Where
    neither side prevails, the winding says nothing, and each region's own majority counts.

    Args:
        surface: The mesh.
        cameras: Float64 [C, 32], packed, of the photos at their size.
        sizes: (width, height) of each photo.
        read: Gives photos; asked only where faces are seen from behind.
    """
    surface = surface.two_sided()
    faces = len(surface.faces)
    order = surface.cluster_face_ids.cpu().numpy()
    rank = np.empty(faces, np.int64)
    rank[order] = np.arange(faces)
    sightings = _sightings(surface, cameras, sizes)
    seen = np.zeros((2, faces), np.int64)
    for s in sightings:
        for number, side in enumerate((ops.FRONT, ops.BACK)):
            seen[number] += np.bincount(s.face_id[s.side == side], minlength=faces)
    total = int(seen.sum())
    everything = torch.full((faces,), ops.BOTH, dtype=torch.uint8)
    if not total:
        return Evidence(everything, 0.0, 0.0)
    front = seen[0].sum() / total
    main = 0 if front >= 0.5 else 1
    other = float(min(front, 1 - front))
    if other == 0:
        # Nothing is known of the other side, and photos look at this one alone.
        sides = torch.full((faces,), (ops.FRONT, ops.BACK)[main], dtype=torch.uint8)
        return Evidence(sides, 0.0, 0.0)
    block = _block_of(rank, total)
    region = block // _BLOCKS
    regions = int(region.max()) + 1
    count = np.stack([np.bincount(region, weights=n, minlength=regions) for n in seen])
    agree = np.zeros((2, regions), bool)
    if other >= _LEAST_BACK:
        asked = (1 - main,) if max(front, 1 - front) >= _MAIN else (0, 1)
        for number in asked:
            side = (ops.FRONT, ops.BACK)[number]
            agree[number] = _agreement(sightings, side, block, regions, read)
    if max(front, 1 - front) >= _MAIN:
        # A region that is only ever seen from the other side, consistently, is wound wrongly.
        agree[main] = ~(agree[1 - main] & (count[main] * 20 < count[1 - main]))
    else:
        agree |= count >= count.sum(0) / 2
    bits = agree[0] * ops.FRONT | agree[1] * ops.BACK
    sides = torch.from_numpy(bits.astype(np.uint8)[region])
    hidden = sum(
        int(seen[number][(sides.numpy() & side) == 0].sum())
        for number, side in enumerate((ops.FRONT, ops.BACK))
    )
    return Evidence(sides, other, hidden / total)


def _sightings(
    surface: Surface, cameras: Tensor, sizes: Sequence[tuple[int, int]]
) -> list[_Sighting]:
    """Rasterize an even spread of the cameras small."""
    most = _FACE_BUDGET // max(len(surface.faces), 1)
    count = min(len(cameras), max(_LEAST_PHOTOS, min(_MOST_PHOTOS, most)))
    chosen = [k * len(cameras) // max(count, 1) for k in range(count)]

    def look(index: int) -> _Sighting:
        width, height = sizes[index]
        shrink = min(1.0, _LONG_SIDE / max(width, height))
        small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        camera = cameras[index].clone()
        camera[[12, 14, 16]] *= small[0] / width
        camera[[13, 15]] *= small[1] / height
        with ops.limit_threads(1), ops.own_stream(surface.vertices.device):
            face_id = visibility(surface, camera, *small)
            side, _ = ops.sides(surface.vertices, surface.faces, surface.normals, camera, face_id)
        factor = max(1.0, width / small[0])
        return _Sighting(index, factor, face_id.cpu().numpy(), side.cpu().numpy())

    with threads.pool("sides") as workers:
        return list(workers.map(look, chosen))


def _block_of(rank: np.ndarray, sightings: int) -> np.ndarray:
    """Return each face's block [F]: neighbours along the clusters' curve, a power of two."""
    size = 4
    while size * sightings < _PER_BLOCK * len(rank) and size < len(rank):
        size *= 2
    return rank // size


def _agreement(
    sightings: Sequence[_Sighting], side: int, block: np.ndarray, regions: int, read: Read
) -> np.ndarray:
    """Return in which regions photos agree about what a side shows, bool [regions].

    An analysis of variance: blocks are the groups, photos the repetitions.
    """
    blocks = int(block.max()) + 1
    count, total, square = np.zeros((3, blocks))

    def grey(s: _Sighting) -> tuple[np.ndarray, np.ndarray] | None:
        """Means of blocks in a photo, less the photo's mean over their region."""
        where = s.side == side
        if not where.any():
            return None
        try:
            rgb, mask = read(s.index, s.factor)
        except DamagedPhotoError:
            return None
        values = _fitted(rgb, where.shape).astype(np.float32) @ _GREY
        if mask is not None:
            where = where & _fitted(mask, where.shape)
        ids, place = np.unique(block[s.face_id[where]], return_inverse=True)
        if not len(ids):
            return None
        mean = np.bincount(place, weights=values[where]) / np.bincount(place)
        _, where_in = np.unique(ids // _BLOCKS, return_inverse=True)
        of_region = np.bincount(where_in, weights=mean) / np.bincount(where_in)
        return ids, mean - of_region[where_in]

    with threads.pool("sides") as workers:
        for found in workers.map(grey, sightings):
            if found is not None:
                ids, mean = found
                count[ids] += 1
                total[ids] += mean
                square[ids] += mean**2
    judged = np.flatnonzero(count >= 2)
    region, n = judged // _BLOCKS, count[judged]

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(region, weights=values, minlength=regions)

    groups, repeats = summed(np.ones(len(judged))), summed(n)
    within = summed(square[judged] - total[judged] ** 2 / n)
    noise = within / np.maximum(repeats - groups, 1)
    between = summed(total[judged] ** 2 / n) / np.maximum(groups - 1, 1)
    # The blocks' own share of the variance of single sightings: the intraclass correlation.
    own = np.maximum(between - noise, 0) / np.maximum(repeats / np.maximum(groups, 1), 1)
    return (groups >= _LEAST_BLOCKS) & (own > _AGREE * (own + noise))


def _fitted(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a picture that is off by a pixel at most at exactly a size [H, W]."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * given / wanted).astype(int)
        for wanted, given in zip(shape, picture.shape, strict=False)
    )
    return picture[rows[:, None], columns]
