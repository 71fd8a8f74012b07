"""From a photo to its tiles: decoded, rasterized, their covered pixels listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import DamagedPhotoError, InputError
from xscale.gbuffer.build import visible
from xscale.gbuffer.edges import breaks
from xscale.gbuffer.gbuffer import Surface
from xscale.scene.photo import PhotoReader
from xscale.training.stream import Tile, TileStream, morton_order

MASKED = -2
"""In place of a face id where a mask leaves a pixel out."""
Load = tuple[int, Tensor, Tensor, Tensor]
"""Stream position, pixels [tile^2, 3], face ids [tile^2], covered pixels in the curve's order."""
Damaged = Callable[[str, InputError], None]


@dataclass(frozen=True)
class TrainPhoto:
    """A training photo as the pool needs it."""

    width: int
    height: int
    camera: Tensor
    """Float64 [32], packed, local frame, training size."""
    open: Callable[[], PhotoReader]
    """Opens the photo; the pool reads rectangles and then lets go of it."""
    name: str = ""
    """The photo's name, for messages."""


@dataclass(frozen=True)
class Loaded:
    """Tiles of one photo."""

    tiles: list[Load]
    damaged: tuple[str, InputError] | None = None
    """The photo's name and what is wrong with it, where its tiles had to stay empty."""


class TileLoader:
    """Loads tiles by their positions in the stream; may be called by many threads.

    Args:
        surface: The mesh for the face ids.
        photos: The training photos.
        stream: Which tile stands where.
        edge: Of a tile, in pixels.
        left_out: Names of photos whose tiles stay empty; looked at anew at every call.
        forgiving: Whether a damaged photo is handed on with empty tiles; its error is raised else.
        edges: Share of the pixels that straddle an edge that count as covered.
    """

    def __init__(
        self,
        surface: Surface,
        photos: Sequence[TrainPhoto],
        stream: TileStream,
        edge: int,
        left_out: Collection[str],
        forgiving: bool,
        edges: float = 1.0,
    ) -> None:
        self._surface = surface
        self._photos = photos
        self._stream = stream
        self._edge = edge
        self._left_out = left_out
        self._forgiving = forgiving
        self._edges = edges
        self._curve = torch.from_numpy(morton_order(edge)).int()

    def load(self, positions: Sequence[int]) -> Loaded:
        """Open a photo and load tiles of it, on this thread alone."""
        # Rasterizing goes on beside the training, not behind its steps.
        with ops.limit_threads(1), ops.own_stream(self._surface.vertices.device):
            photo = self._photos[self._stream.photo(positions[0])]
            if photo.name in self._left_out:
                return Loaded([(p, *self._no_tile()) for p in positions])
            try:
                pixels = photo.open()
            except DamagedPhotoError as error:
                if not self._forgiving:
                    raise
                return Loaded([(p, *self._no_tile()) for p in positions], (photo.name, error))
            return Loaded([(p, *self._load_tile(pixels, self._stream.tile(p))) for p in positions])

    def _load_tile(self, pixels: PhotoReader, tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
        """Read and rasterize one tile; see ``Load``."""
        rect = (tile.left, tile.top, tile.width, tile.height)
        rgb, mask = pixels.rect(*rect)
        edge = self._edge
        padded = torch.zeros(edge, edge, 3, dtype=torch.uint8)
        padded[: tile.height, : tile.width] = torch.from_numpy(rgb)
        masked = None
        if mask is not None:
            masked = torch.zeros(edge, edge, dtype=torch.bool)
            masked[: tile.height, : tile.width] = ~torch.from_numpy(mask)
        return padded.reshape(-1, 3), *self.seen(tile, masked)

    def seen(self, tile: Tile, masked: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rasterize one tile: face ids [tile^2] and covered pixels in the curve's order."""
        photo, edge = self._photos[tile.photo], self._edge
        rect = (tile.left, tile.top, tile.width, tile.height)
        faces = torch.full((edge, edge), -1, dtype=torch.int32)
        size = (photo.width, photo.height)
        seen, depth = visible(self._surface, photo.camera, *size, rect=rect, depth=self._edges < 1)
        faces[: tile.height, : tile.width] = seen
        if masked is not None:
            faces.masked_fill_(masked, MASKED)
        drawn = faces >= 0
        if depth is not None:
            flags = breaks(self._surface, photo.camera, size, rect, seen, depth).flags
            drawn[: tile.height, : tile.width] &= (flags == 0) | self._kept(tile)
        faces, drawn = faces.reshape(-1), drawn.reshape(-1)
        return faces, self._curve if bool(drawn.all()) else self._curve[drawn[self._curve]]

    def _kept(self, tile: Tile) -> Tensor:
        """Return which pixels of a tile are drawn from though they straddle an edge."""
        rows = torch.arange(tile.top, tile.top + tile.height, dtype=torch.float64)[:, None]
        columns = torch.arange(tile.left, tile.left + tile.width, dtype=torch.float64)
        # Multiples of the two numbers of Roberts' R2 sequence.
        return (rows * 0.7548776662466927 + columns * 0.5698402909980532) % 1 < self._edges

    def _no_tile(self) -> tuple[Tensor, Tensor, Tensor]:
        area = self._edge**2
        faces = torch.full((area,), MASKED, dtype=torch.int32)
        return torch.zeros(area, 3, dtype=torch.uint8), faces, faces[:0]
