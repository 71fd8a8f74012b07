"""The tile pool: as many photo tiles as memory allows, replaced at fixed steps.

A tile is a rectangle of one training photo: its 8-bit pixels, its face ids and the list of its
covered pixels, 11 bytes a pixel. The tiles of all photos form an endless stream, each epoch in an
order of its own (stream.py); slot ``p % capacity`` holds stream position ``p``. The pool begins
small, so that the first step is taken soon. Where all tiles fit, it then takes in photo after
photo; where not, it grows to its capacity and drops the oldest. Which positions are in the pool at
a step is a pure function of (seed, step), so a resumed run draws the same rays whatever the timing
of the workers.

A damaged photo's tiles keep their places in the stream and have no covered pixel: nothing is drawn
from them, and what is drawn stays that function.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from xscale import ops, threads
from xscale.gbuffer.gbuffer import Surface
from xscale.training.rays import Rays, Squares, to_device
from xscale.training.settings import PoolSettings
from xscale.training.stream import TileStream
from xscale.training.tiles import MASKED, Damaged, Load, Loaded, TileLoader, TrainPhoto

_BYTES_A_PIXEL = 11
_GOLDEN = (5**0.5 - 1) / 2
_FIRST_TILES = 512
"""A pool that cannot hold everything begins with these."""
_FIRST_PIXELS = 1 << 19
"""A pool that can begins with photos of so many pixels in all, two at least."""
_GROWING_STEPS = 16
"""Steps within which it takes in the others."""


class TilePool:
    """Tiles in memory and the rays drawn from them.

    Args:
        surface: The mesh for the face ids.
        photos: The training photos.
        settings: Sizes.
        seed: Of the tile order and the draws.
        batch: Rays a step, which the rate of replacement follows.
        first_step: Step at which training (re)starts; the pool is filled as it must be then.
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
        sizes = [(p.width, p.height) for p in photos]
        fits = capacity or settings.budget_mb * 2**20 // (edge * edge * _BYTES_A_PIXEL)
        self._stream = TileStream(sizes, edge, seed, fits)
        self.capacity = int(min(len(self._stream), max(fits, 1)))
        self.whole = self._stream.by_photo
        wanted = settings.refresh_ratio * batch * settings.refresh_steps / edge**2
        self._entering = 0 if self.whole else min(max(round(wanted), 1), self.capacity)
        slots = self.capacity
        self._device = torch.device(device)
        # Empty slots are never looked at, nor paged in; huge pages cost less to page in.
        self._rgb = ops.table_zeros((slots, edge * edge, 3), torch.uint8, device)
        self._face = ops.table_zeros((slots, edge * edge), torch.int32, device)
        self._covered = ops.table_zeros((slots, edge * edge), torch.int32, device)
        self._counts = torch.zeros(slots, dtype=torch.int64)
        self._position = torch.full((slots,), -1, dtype=torch.int64)
        self._place = torch.zeros(slots, 3, dtype=torch.int32)
        self._loader = TileLoader(
            surface,
            photos,
            self._stream,
            edge,
            self._left_out,
            on_damage is not None,
            settings.edges,
        )
        self._workers = threads.pool("tiles", share=1 if self.whole else 0.5)
        self._pending: dict[int, Future[Loaded]] = {}
        self._begin(first_step)

    @property
    def covered_pixels(self) -> int:
        """Covered pixels in the pool now."""
        return int(self._live.sum())

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
            position, edge = int(self._position[slot]), self.settings.tile
            masked = (self._face[slot] == MASKED).reshape(edge, edge).cpu()
            with ops.limit_threads(1), ops.own_stream(self.surface.vertices.device):
                seen = self._loader.seen(self._stream.tile(position), masked)
            # Outside: draws come on the stream that this is written on, and wait for it.
            self._keep_faces(slot, *seen)

        with threads.pool("recast") as workers:
            for _ in workers.map(again, slots):
                pass
        self._take_in()
        if not self.whole:
            self._ask_ahead()

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
        ends = torch.cumsum(self._live, 0)
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
        first = ((stratum + to_device(spread, where)) * (total / draws)).long()
        along = torch.arange(run, device=where)
        rank = (first[:, None] + along).reshape(-1)[:count].clamp_(max=total - 1)
        begins, ends = to_device(ends - self._live, where), to_device(ends, where)
        slot = torch.searchsorted(ends, rank, right=True)
        within = self._covered[slot, rank - begins[slot]].long()
        place = to_device(self._place, where)[slot]
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
        ends = torch.cumsum(self._live, 0)
        total, squares = int(ends[-1]), max(1, count // size**2)
        spread, *shift = torch.rand(3, squares, generator=generator, dtype=torch.float64)
        rank = ((torch.arange(squares, dtype=torch.float64) + spread) * (total / squares)).long()
        slot = torch.searchsorted(ends, rank, right=True)
        where = self._device
        rank = to_device(rank - (ends - self._live)[slot], where)
        slot = to_device(slot, where)
        within = self._covered[slot, rank].long()
        edge, along = self.settings.tile, torch.arange(size, device=where)
        # Narrow tiles at a photo's border are padded to the full edge by pixels without a face.
        row, column = (
            (at - to_device((part * size).long(), where)).clamp_(0, edge - size)[:, None] + along
            for at, part in zip((within // edge, within % edge), shift, strict=True)
        )
        pixel = row[:, :, None] * edge + column[:, None, :]
        slots = slot[:, None, None].expand_as(pixel)
        target, faces = self._rgb[slots, pixel], self._face[slots, pixel].reshape(-1)
        place = (faces >= 0).nonzero().squeeze(1)
        slots, pixel = slots.reshape(-1)[place], pixel.reshape(-1)[place]
        corner = to_device(self._place, where)[slots]
        at = torch.stack([corner[:, 1] + pixel % edge, corner[:, 2] + pixel // edge], 1)
        rays = Rays(
            photo=corner[:, 0].contiguous(),
            pixel=at.float() + 0.5,
            face_id=faces[place],
            target=target.reshape(-1, 3)[place],
        )
        return Squares(rays, place, target)

    def _begin(self, step: int) -> None:
        """Fill the pool with what belongs in it at ``step``."""
        # Streams of a GPU are being recorded in the first steps: nothing is loaded beside them.
        all_now = self.whole and self._device.type != "cpu"
        self._first = self._few_photos()
        while True:
            self._current = self._window(step)
            self._fill(range(self.capacity) if all_now else self._current)
            self._take_in()
            if self.covered_pixels or not self.whole or self._first == len(self.photos):
                break
            # The first photos show nothing of the mesh: the pool begins with one more.
            self._first += 1
        # Others are loaded beside later steps, not beside the first, for which people wait.
        self._begun, self._later = step, range(self._current.stop, self.capacity)
        if not self.whole:
            self._ask_ahead()

    def _few_photos(self) -> int:
        """Return the number of photos with which a pool of all begins."""
        order = [self._stream.photo(end - 1) for end in self._stream.photo_ends]
        pixels = np.cumsum([self.photos[p].width * self.photos[p].height for p in order])
        enough = int(np.searchsorted(pixels, _FIRST_PIXELS)) + 1
        return min(max(enough, 2), len(self.photos))

    def _window(self, step: int) -> range:
        """Stream positions in the pool at ``step``."""
        if self.whole:
            others = (len(self.photos) - self._first) * min(step, _GROWING_STEPS)
            photos = self._first + others // _GROWING_STEPS
            return range(int(self._stream.photo_ends[photos - 1]))
        first = min(self.capacity, _FIRST_TILES)
        end = first + step // self.settings.refresh_steps * self._entering
        return range(max(0, end - self.capacity), end)

    def _fill(self, window: range) -> None:
        # Photo by photo, so that each is opened once; a few at a time, so that memory is bounded.
        missing = [p for p in window if self._position[p % self.capacity] != p]
        waiting = self._by_photo(sorted(missing, key=lambda p: (self._stream.photo(p), p)))
        at_once = 2 * threads.count()
        with threads.pool("fill") as workers:
            running = deque(workers.submit(self._load, p) for p in islice(waiting, at_once))
            while running:
                loaded = running.popleft().result()
                running.extend(workers.submit(self._load, p) for p in islice(waiting, 1))
                self._say_damage(loaded)

    def _load(self, positions: Sequence[int]) -> Loaded:
        """Load tiles of a photo into slots that are not in use.

        On the thread that loads them: half the time goes into fresh pages.
        """
        loaded = self._loader.load(positions)
        self._keep(loaded.tiles)
        return Loaded([], loaded.damaged)

    def _refresh(self, step: int) -> None:
        if self.whole and self._later and step > self._begun:
            self._ask_ahead(self._later)
            self._later = range(0)
        window = self._window(step)
        if window == self._current:
            return
        start = time.perf_counter()
        asked = [self._pending.pop(p) for p in window if p in self._pending]
        for future in dict.fromkeys(asked):
            self._put(future.result())
        # Where a step was jumped to, nobody has asked for its tiles.
        positions = np.arange(window.start, window.stop)
        missing = positions[self._position.numpy()[positions % self.capacity] != positions]
        for run in self._by_photo(missing.tolist()):
            self._put(self._loader.load(run))
        self.seconds_waited += time.perf_counter() - start
        self._current = window
        self._take_in()
        if not self.whole:
            self._pending = {p: f for p, f in self._pending.items() if p >= window.stop}
            self._ask_ahead()

    def _take_in(self) -> None:
        """Let draws take what belongs into the pool now; later photos may be loaded already."""
        self._live = self._counts.clone()
        if self.whole:
            self._live[self._current.stop :] = 0

    def _ask_ahead(self, ahead: range | None = None) -> None:
        """Let the workers load what enters next."""
        load = self._load if self.whole else self._loader.load
        first = self._current.stop
        ahead = range(first, first + self._entering) if ahead is None else ahead
        for run in self._by_photo([p for p in ahead if p not in self._pending]):
            self._pending.update(dict.fromkeys(run, self._workers.submit(load, run)))

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
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
