"""The tile pool: as many photo tiles as memory allows, replaced at fixed steps.

A tile is a rectangle of one training photo: its 8-bit pixels, its face ids and the list of its
covered pixels, 11 bytes a pixel. The tiles of all photos form an endless stream, each epoch in an
order of its own (stream.py); slot ``p % capacity`` holds stream position ``p``. Where not all tiles
fit, the pool begins small, grows to its capacity and then drops the oldest. Which positions are in
the pool at a step is a pure function of (seed, step), so a resumed run draws the same rays whatever
the timing of the workers.

A damaged photo's tiles keep their places in the stream and have no covered pixel: nothing is drawn
from them, and what is drawn stays that function.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.errors import DamagedPhotoError, InputError
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.scene.photo import Pixels
from xscale.train.rays import Rays, Squares, sent
from xscale.train.settings import PoolSettings
from xscale.train.stream import Tile, TileStream, morton_order

_BYTES_A_PIXEL = 11
_GOLDEN = (5**0.5 - 1) / 2
_MASKED = -2
"""In place of a face id where a mask leaves a pixel out."""
_FIRST_TILES = 512
"""A pool that cannot hold everything begins with these, so that training begins soon."""

Load = tuple[int, Tensor, Tensor, Tensor]
"""Stream position, pixels [tile^2, 3], face ids [tile^2], covered pixels in the curve's order."""
Damaged = Callable[[str, InputError], None]


@dataclass(frozen=True)
class TrainPhoto:
    """What the pool needs of a training photo."""

    width: int
    height: int
    camera: Tensor
    """Float64 [32], packed, local frame, training size."""
    open: Callable[[], Pixels]
    """Opens the photo; the pool reads rectangles and then lets go of it."""
    name: str = ""
    """The photo's name, for what is said of it."""


@dataclass(frozen=True)
class Loaded:
    """Tiles of one photo."""

    tiles: list[Load]
    damaged: tuple[str, InputError] | None = None
    """The photo's name and what is wrong with it, where its tiles had to stay empty."""


class TilePool:
    """Tiles in memory and the rays drawn from them.

    Args:
        surface: The mesh for the face ids.
        photos: The training photos.
        settings: Sizes.
        seed: Of the tile order and the draws.
        batch: Rays a step, which the rate of replacement follows.
        first_step: Step at which training (re)starts; the pool is filled as it must be then.
        progress: Called with (tiles done, tiles in all) while the pool is filled.
        capacity: Most tiles to hold; by default what the budget allows.
        device: Where the tiles are kept and the draws are made; the same rays come of any.
        left_out: Names of photos that are not used, found damaged earlier.
        on_damage: Called once for a photo that turns out to be damaged when it is decoded, with its
            name and error; it is left out unless that raises. By default the error is raised.
    """

    def __init__(
        self,
        surface: Surface,
        photos: Sequence[TrainPhoto],
        settings: PoolSettings,
        seed: int,
        batch: int,
        first_step: int = 0,
        progress: Callable[[int, int], None] | None = None,
        capacity: int | None = None,
        device: torch.device | str = "cpu",
        left_out: Collection[str] = (),
        on_damage: Damaged | None = None,
    ) -> None:
        self.surface = surface
        self.photos = photos
        self.settings = settings
        self.seed = seed
        self._left_out = set(left_out)
        self._on_damage = on_damage
        self.seconds_waited = 0.0
        """Time that draws waited for tiles."""
        edge = settings.tile
        self._stream = TileStream([(p.width, p.height) for p in photos], edge, seed)
        fits = capacity or settings.budget_mb * 2**20 // (edge * edge * _BYTES_A_PIXEL)
        self.capacity = int(min(len(self._stream), max(fits, 1)))
        self.whole = self.capacity == len(self._stream)
        wanted = settings.refresh_ratio * batch * settings.refresh_steps / edge**2
        self._entering = 0 if self.whole else min(max(round(wanted), 1), self.capacity)
        self._at_first = self.capacity if self.whole else min(self.capacity, _FIRST_TILES)
        slots = self.capacity
        self._device = torch.device(device)
        # What empty slots hold is never looked at, nor paged in; huge pages cost less to page in.
        self._rgb = ops.table_zeros((slots, edge * edge, 3), torch.uint8, device)
        self._face = ops.table_zeros((slots, edge * edge), torch.int32, device)
        self._covered = ops.table_zeros((slots, edge * edge), torch.int32, device)
        self._counts = torch.zeros(slots, dtype=torch.int64)
        self._position = torch.full((slots,), -1, dtype=torch.int64)
        self._place = torch.zeros(slots, 3, dtype=torch.int32)
        self._curve = torch.from_numpy(morton_order(edge)).int()
        threads = max(1, torch.get_num_threads())
        self._workers = ThreadPoolExecutor(max(1, threads // 2), thread_name_prefix="xscale-tiles")
        self._pending: dict[int, Future[Loaded]] = {}
        self._current = self._window(first_step)
        self._fill(self._current, threads, progress)
        self._ask_ahead(self._current.stop)

    @property
    def covered_pixels(self) -> int:
        """Covered pixels in the pool now."""
        return int(self._counts.sum())

    def close(self) -> None:
        """Stop the workers."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    def recast(self, change: Callable[[], None]) -> None:
        """Let ``change`` move the photos' cameras, and rasterize all tiles with them again.

        What is drawn afterwards is what a pool made with these cameras would draw.
        """
        for future in set(self._pending.values()):
            self._say_damage(future.result())
        self._pending = {}
        change()
        slots = [slot for slot, p in enumerate(self._position.tolist()) if p >= 0]

        def again(slot: int) -> None:
            with ops.limit_threads(1), ops.own_stream(self.surface.vertices.device):
                position, edge = int(self._position[slot]), self.settings.tile
                masked = (self._face[slot] == _MASKED).reshape(edge, edge).cpu()
                self._keep_faces(slot, *self._seen(self._stream.tile(position), masked))

        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as workers:
            for _ in workers.map(again, slots):
                pass
        self._ask_ahead(self._current.stop)

    def draw(self, step: int, count: int) -> Rays:
        """Return the rays of a step: stratified over all covered pixels in the pool."""
        self._refresh(step)
        if self._device.type == "cpu":
            with _one_torch_thread():
                return self._draw(step, count)
        return self._draw(step, count)

    def _draw(self, step: int, count: int) -> Rays:
        even = self.settings.draw == "even"
        seed = self.seed if even else self.seed * 1_000_003 + step
        generator = torch.Generator().manual_seed(seed)
        ends = torch.cumsum(self._counts, 0)
        total = int(ends[-1])
        where = self._device
        # One draw in each of equal strata: uniform, and already in the pool's order, so neighbours
        # in the batch are neighbours on the surface. Each draw takes a run along the curve.
        run = self.settings.run
        draws = -(-count // run)
        spread = torch.rand(draws, generator=generator, dtype=torch.float64)
        if even:
            # Steps of the golden section from a start of its own take a stratum's pixels in turn:
            # none is left out by chance.
            spread = (spread + step * _GOLDEN) % 1.0
        stratum = torch.arange(draws, dtype=torch.float64, device=where)
        first = ((stratum + sent(spread, where)) * (total / draws)).long()
        along = torch.arange(run, device=where)
        rank = (first[:, None] + along).reshape(-1)[:count].clamp_(max=total - 1)
        begins, ends = sent(ends - self._counts, where), sent(ends, where)
        slot = torch.searchsorted(ends, rank, right=True)
        within = self._covered[slot, rank - begins[slot]].long()
        place = sent(self._place, where)[slot]
        edge = self.settings.tile
        pixel = torch.stack([place[:, 1] + within % edge, place[:, 2] + within // edge], 1)
        return Rays(
            photo=place[:, 0].contiguous(),
            pixel=pixel.float() + 0.5,
            face_id=self._face[slot, within],
            target=self._rgb[slot, within],
        )

    def draw_squares(self, step: int, count: int, size: int) -> Squares:
        """Return squares of ``size`` x ``size`` pixels for a step, about ``count`` pixels in all.

        Each lies around a covered pixel, anywhere inside that pixel's tile; covered pixels of the
        pool are equally likely to be chosen, stratified.
        """
        self._refresh(step)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        ends = torch.cumsum(self._counts, 0)
        total, squares = int(ends[-1]), max(1, count // size**2)
        spread, *shift = torch.rand(3, squares, generator=generator, dtype=torch.float64)
        rank = ((torch.arange(squares, dtype=torch.float64) + spread) * (total / squares)).long()
        slot = torch.searchsorted(ends, rank, right=True)
        where = self._device
        rank = sent(rank - (ends - self._counts)[slot], where)
        slot = sent(slot, where)
        within = self._covered[slot, rank].long()
        edge, along = self.settings.tile, torch.arange(size, device=where)
        # Narrow tiles at a photo's border are padded to the full edge by pixels without a face.
        row, column = (
            (at - sent((part * size).long(), where)).clamp_(0, edge - size)[:, None] + along
            for at, part in zip((within // edge, within % edge), shift, strict=True)
        )
        pixel = row[:, :, None] * edge + column[:, None, :]
        slots = slot[:, None, None].expand_as(pixel)
        target, faces = self._rgb[slots, pixel], self._face[slots, pixel].reshape(-1)
        place = (faces >= 0).nonzero().squeeze(1)
        slots, pixel = slots.reshape(-1)[place], pixel.reshape(-1)[place]
        corner = sent(self._place, where)[slots]
        at = torch.stack([corner[:, 1] + pixel % edge, corner[:, 2] + pixel // edge], 1)
        rays = Rays(
            photo=corner[:, 0].contiguous(),
            pixel=at.float() + 0.5,
            face_id=faces[place],
            target=target.reshape(-1, 3)[place],
        )
        return Squares(rays, place, target)

    def _window(self, step: int) -> range:
        """Stream positions in the pool at ``step``."""
        end = self._at_first + step // self.settings.refresh_steps * self._entering
        return range(max(0, end - self.capacity), end)

    def _fill(
        self, window: range, threads: int, progress: Callable[[int, int], None] | None
    ) -> None:
        # Photo by photo, so that each is opened once; a few at a time, so that memory is bounded.
        waiting = self._by_photo(sorted(window, key=lambda p: (self._stream.photo(p), p)))
        done = 0

        def load(positions: Sequence[int]) -> Loaded:
            # Into their slots here, on all threads: half the time goes into fresh pages.
            loaded = self._load(positions)
            self._keep(loaded.tiles)
            return loaded

        with ThreadPoolExecutor(threads, thread_name_prefix="xscale-fill") as workers:
            running = deque(
                workers.submit(load, positions) for positions in islice(waiting, 2 * threads)
            )
            while running:
                loaded = running.popleft().result()
                running.extend(workers.submit(load, positions) for positions in islice(waiting, 1))
                self._say_damage(loaded)
                done += len(loaded.tiles)
                if progress is not None:
                    progress(done, len(window))

    def _refresh(self, step: int) -> None:
        window = self._window(step)
        if window == self._current:
            return
        start = time.perf_counter()
        positions = np.arange(window.start, window.stop)
        missing = positions[self._position.numpy()[positions % self.capacity] != positions]
        for future in dict.fromkeys(map(self._pending.get, missing.tolist())):
            if future is not None:
                self._put(future.result())
        # Where a step was jumped to, nobody has asked for its tiles.
        missing = positions[self._position.numpy()[positions % self.capacity] != positions]
        for run in self._by_photo(missing.tolist()):
            self._put(self._load(run))
        self.seconds_waited += time.perf_counter() - start
        self._current = window
        self._pending = {p: f for p, f in self._pending.items() if p >= window.stop}
        self._ask_ahead(window.stop)

    def _ask_ahead(self, first: int) -> None:
        """Let the workers load what enters next."""
        ahead = range(first, first + self._entering)
        for run in self._by_photo([p for p in ahead if p not in self._pending]):
            self._pending.update(dict.fromkeys(run, self._workers.submit(self._load, run)))

    def _by_photo(self, positions: Sequence[int]) -> Iterator[list[int]]:
        """Cut positions into runs of one photo."""
        run: list[int] = []
        for position in positions:
            if run and self._stream.photo(run[-1]) != self._stream.photo(position):
                yield run
                run = []
            run.append(position)
        if run:
            yield run

    def _load(self, positions: Sequence[int]) -> Loaded:
        """Open a photo and load tiles of it, on this thread alone."""
        # Rasterizing goes on beside the training, not behind its steps.
        with ops.limit_threads(1), ops.own_stream(self.surface.vertices.device):
            photo = self.photos[self._stream.photo(positions[0])]
            if photo.name in self._left_out:
                return Loaded([(p, *self._no_tile()) for p in positions])
            try:
                pixels = photo.open()
            except DamagedPhotoError as error:
                if self._on_damage is None:
                    raise
                return Loaded([(p, *self._no_tile()) for p in positions], (photo.name, error))
            return Loaded([(p, *self._load_tile(pixels, self._stream.tile(p))) for p in positions])

    def _load_tile(self, pixels: Pixels, tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
        """Read and rasterize one tile; see ``Load``."""
        rect = (tile.left, tile.top, tile.width, tile.height)
        rgb, mask = pixels.rect(*rect)
        edge = self.settings.tile
        padded = torch.zeros(edge, edge, 3, dtype=torch.uint8)
        padded[: tile.height, : tile.width] = torch.from_numpy(rgb)
        masked = None
        if mask is not None:
            masked = torch.zeros(edge, edge, dtype=torch.bool)
            masked[: tile.height, : tile.width] = ~torch.from_numpy(mask)
        return padded.reshape(-1, 3), *self._seen(tile, masked)

    def _seen(self, tile: Tile, masked: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rasterize one tile: face ids [tile^2] and covered pixels in the curve's order."""
        photo, edge = self.photos[tile.photo], self.settings.tile
        rect = (tile.left, tile.top, tile.width, tile.height)
        faces = torch.full((edge, edge), -1, dtype=torch.int32)
        seen = visibility(self.surface, photo.camera, photo.width, photo.height, rect=rect)
        faces[: tile.height, : tile.width] = seen
        if masked is not None:
            faces.masked_fill_(masked, _MASKED)
        faces = faces.reshape(-1)
        whole = bool((faces >= 0).all())
        return faces, self._curve if whole else self._curve[faces[self._curve] >= 0]

    def _no_tile(self) -> tuple[Tensor, Tensor, Tensor]:
        area = self.settings.tile**2
        faces = torch.full((area,), _MASKED, dtype=torch.int32)
        return torch.zeros(area, 3, dtype=torch.uint8), faces, faces[:0]

    def _put(self, loaded: Loaded) -> None:
        self._say_damage(loaded)
        self._keep(loaded.tiles)

    def _say_damage(self, loaded: Loaded) -> None:
        # Here and not where it was found: in the order of the steps, on the thread that trains.
        if loaded.damaged is not None and loaded.damaged[0] not in self._left_out:
            self._on_damage(*loaded.damaged)
            self._left_out.add(loaded.damaged[0])

    def _keep(self, tiles: Sequence[Load]) -> None:
        for position, rgb, face, along in tiles:
            slot = position % self.capacity
            self._copy(self._rgb[slot], rgb)
            self._keep_faces(slot, face, along)
            self._position[slot] = position
            tile = self._stream.tile(position)
            self._place[slot] = torch.tensor([tile.photo, tile.left, tile.top], dtype=torch.int32)

    def _keep_faces(self, slot: int, face: Tensor, along: Tensor) -> None:
        self._copy(self._face[slot], face)
        self._copy(self._covered[slot, : len(along)], along)
        self._counts[slot] = len(along)

    def _copy(self, mine: Tensor, given: Tensor) -> None:
        mine.copy_(ops.pinned(given.to(mine.dtype), self._device), non_blocking=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Let PyTorch work on this thread alone.

    A draw is a dozen small operations; meeting other threads after each takes longer than the work
    when anything else wants the cores, the pool's own workers for example.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
