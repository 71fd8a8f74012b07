"""Fitting the background to what the mesh leaves of the training photos, beside the first steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xscale import ops, threads
from xscale.errors import DamagedPhotoError, InputError
from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.model.background import KINDS, Background, Kind, look_up, seen_at
from xscale.training.panorama import Panorama, at_mean_exposure
from xscale.training.tiles import Damaged, TrainPhoto

_ROWS, _LEAST_ROWS = 1024, 64
_HELD_EVERY = 4
_ALONG = 0.8
"""Cosine of directions that count as along an axis."""
_BORDER = 0.1
"""Share of a photo's edge within which its pixels count less towards its border."""
_NEAR_ROWS = 512
"""Height of the pictures where there are several."""
_LEAST_PLACES, _MOST_PLACES = 8, 32
_REACHES = (1.5, 4.0)
"""Distances from a place, in the spacing of photos, over which these count for its picture."""
_TRIALS = 6
"""Held-out photos by which that is chosen."""
_MOST_PHOTOS = 256
_LEAST_PHOTOS = 32
_MOST_LOOKED_AT = 1 << 27
"""Pixels of all photos that are decoded: seconds on two cores."""
_MOST_PIXELS = 1 << 20


@dataclass(frozen=True)
class Uncovered:
    """Pixels of training photos that the mesh does not cover."""

    photo: Tensor
    """Int32 [N], index of the training photo."""
    direction: Tensor
    """Float32 [N, 3], unit."""
    target: Tensor
    """Uint8 [N, 3]."""
    weight: Tensor
    """Float32 [N], from 1 in the middle of the photo to nearly 0 at its border."""


def uncovered_pixels(
    surface: Surface,
    photos: Sequence[TrainPhoto],
    cameras: Sequence[Camera],
    seed: int,
    on_damage: Damaged | None = None,
) -> Uncovered:
    """Return a random sample of the training photos' uncovered pixels; masked ones are left out.

    Args:
        surface: The mesh.
        photos: The training photos; of many, an even spread is looked at.
        cameras: Their cameras in the mesh's local frame, at training size.
        seed: Of the sample.
        on_damage: Called with the name and error of a damaged photo, which is then passed over.
    """
    pixels = sum(photo.width * photo.height for photo in photos)
    most = _MOST_LOOKED_AT * len(photos) // max(pixels, 1)
    count = min(len(photos), max(_LEAST_PHOTOS, min(_MOST_PHOTOS, most)))
    chosen = [k * len(photos) // count for k in range(count)]

    def look(index: int) -> Uncovered | DamagedPhotoError:
        with ops.limit_threads(1), ops.own_stream(surface.vertices.device):
            try:
                return _uncovered(surface, photos, cameras, index, seed, _MOST_PIXELS // count)
            except DamagedPhotoError as error:
                return error

    none = torch.zeros(0, 3)
    parts = [Uncovered(torch.zeros(0, dtype=torch.int32), none, none.byte(), none[:, 0])]
    # As many photos at a time as there are threads: that is what memory is counted for.
    with threads.pool("background") as workers:
        for index, found in zip(chosen, workers.map(look, chosen), strict=True):
            if isinstance(found, Uncovered):
                parts.append(found)
            elif on_damage is None:
                raise found
            else:
                on_damage(photos[index].name, found)
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Uncovered(*(torch.cat(column) for column in columns))


def _uncovered(
    surface: Surface,
    photos: Sequence[TrainPhoto],
    cameras: Sequence[Camera],
    index: int,
    seed: int,
    most: int,
) -> Uncovered:
    """Return at most ``most`` uncovered pixels of a photo, evenly spread from a random start."""
    photo, camera = photos[index], cameras[index]
    rgb, mask = photo.open().rect(0, 0, photo.width, photo.height)
    covered = visibility(surface, photo.camera, photo.width, photo.height) >= 0
    free = ~covered.cpu().numpy()
    place = np.flatnonzero(free if mask is None else free & mask)
    if len(place) > most:
        start = np.random.default_rng((seed, index)).random(most)
        place = place[((np.arange(most) + start) * (len(place) / most)).astype(np.int64)]
    rows, columns = np.divmod(place, photo.width)
    direction = camera.rays(np.stack([columns + 0.5, rows + 0.5], 1))
    seen = np.isfinite(direction).all(1)
    return Uncovered(
        torch.full((int(seen.sum()),), index, dtype=torch.int32),
        torch.from_numpy(direction[seen]).float(),
        torch.from_numpy(rgb[rows[seen], columns[seen]]),
        _inwards(rows[seen], photo.height) * _inwards(columns[seen], photo.width),
    )


def _inwards(place: np.ndarray, size: int) -> Tensor:
    """Return weights float32 [N] that rise from a border to the middle of an edge of pixels."""
    share = np.minimum(place + 0.5, size - place - 0.5) / (_BORDER * size)
    return torch.from_numpy(np.clip(share, 0.01, 1).astype(np.float32))


def fit_background(
    surface: Surface,
    photos: Sequence[TrainPhoto],
    cameras: Sequence[Camera],
    seed: int,
    on_damage: Damaged | None = None,
    *,
    exposure: Tensor | None = None,
    pixels: Uncovered | None = None,
) -> Background:
    """Fit a background to the training photos; the result depends on the arguments alone.

    What rays are looked up by is what predicts every fourth of the photos better from the others,
    at the resolution of the result. So is whether there are pictures for several places, which is
    asked where exposures are known.

    Args:
        surface: The mesh.
        photos: The training photos.
        cameras: Their cameras in the mesh's local frame, at training size.
        seed: Of the pixels that are looked at.
        on_damage: As for :func:`uncovered_pixels`.
        exposure: Float32 [P, 12], the photos' exposures, which are divided out; None: they are
            taken to be equal.
        pixels: What ``uncovered_pixels`` gave, where it was asked for already.
    """
    device = surface.vertices.device
    centres = torch.from_numpy(np.stack([camera.position for camera in cameras])).float()
    centres = centres.to(device)
    corners = torch.cat([surface.vertices, centres])
    low, high = corners.amin(0), corners.amax(0)
    if pixels is None:
        pixels = uncovered_pixels(surface, photos, cameras, seed, on_damage)
    if not len(pixels.target):
        white = torch.full((2, 4, 3), 255, dtype=torch.uint8, device=device)
        return Background(white, "direction", low, high)
    photo = pixels.photo.to(device)
    start = centres[photo.long()]
    held = photo % _HELD_EVERY == _HELD_EVERY - 1
    direction = pixels.direction.to(device)
    # Pictures are drawn together along the axis along which photos show least.
    axis = 2 - int((direction.abs() > _ALONG).sum(0).flip(0).argmin())
    places = {kind: seen_at(kind, low, high, start, direction, axis) for kind in KINDS}
    target, weight = pixels.target.to(device), pixels.weight.to(device)
    if exposure is None:
        colour = target.double() / 255
    else:
        colour = at_mean_exposure(target, photo, exposure.to(device))

    spots = _Spots(centres, photo)
    rows = _ROWS
    while rows > _LEAST_ROWS and rows**2 > 2 * len(photo):
        rows //= 2  # more cells than pixels hold nothing more

    def pixels_of(kind: Kind, chosen: Tensor | slice, rows: int) -> Panorama:
        parts = (places[kind], colour, photo)
        return Panorama(*(part[chosen] for part in parts), rows, weight[chosen])

    def error(kind: Kind, others: Panorama, reach: float | None) -> float:
        if reach is None:
            texture = others.picture()
            return float((look_up(texture, places[kind][held]) - colour[held]).square_().sum())
        total = 0.0
        for number in spots.some(photo[held]):
            mine = photo == number
            texture = others.picture(spots.weights(centres[number], reach))
            found = look_up(texture, places[kind][mine]) - colour[mine]
            # As if each of all held-out pixels were of these photos.
            total += float(found.square_().sum())
        return total

    best: Kind = "direction"
    reach = None
    if held.any() and not held.all():
        panoramas = {kind: pixels_of(kind, ~held, rows) for kind in KINDS}
        best = min(KINDS, key=lambda kind: error(kind, panoramas[kind], None))
        if exposure is not None and len(spots.used) >= _LEAST_PLACES:
            few = spots.some(photo[held])
            mine = torch.isin(photo, torch.tensor(few, dtype=photo.dtype, device=device))
            plain = panoramas[best].picture()
            alone = look_up(plain, places[best][mine]) - colour[mine]
            found = {None: float(alone.square_().sum())}
            found |= {r: error(best, panoramas[best], r) for r in _REACHES}
            reach = min(found, key=found.__getitem__)
    if reach is None:
        texture = pixels_of(best, slice(None), rows).picture()
        return Background(texture, best, low, high, axis=axis)
    panorama = pixels_of(best, slice(None), min(rows, _NEAR_ROWS))
    chosen = spots.spread(_MOST_PLACES)
    reach = max(reach, spots.cover(chosen) / 2)
    textures = [panorama.picture(spots.weights(place, reach)) for place in chosen]
    return Background(torch.stack(textures), best, low, high, chosen.contiguous(), axis)


class _Spots:
    """Where photos that see the background were taken.

    Args:
        centres: Float32 [P, 3], of all photos.
        photo: Int32 [N], photos of the background's pixels.
    """

    def __init__(self, centres: Tensor, photo: Tensor) -> None:
        self._centres = centres
        self.used = photo.unique().long()
        between = torch.cdist(centres[self.used].double(), centres[self.used].double())
        between.fill_diagonal_(torch.inf)
        # Photos of one place count as one.
        self._spacing = float(between.amin(1).median()) if len(self.used) > 1 else 0.0

    def some(self, photo: Tensor) -> list[int]:
        """Return a few of the photos of pixels, evenly spread."""
        numbers = photo.unique().tolist()
        count = min(len(numbers), _TRIALS)
        return [numbers[k * len(numbers) // count] for k in range(count)]

    def weights(self, place: Tensor, reach: float) -> Tensor:
        """Return factors float64 [P] of photos' weights at a place; reach is in spacings."""
        away = (self._centres.double() - place.double()).norm(dim=1)
        return torch.exp(-0.5 * (away / max(reach * self._spacing, 1e-12)) ** 2).clamp(min=1e-3)

    def spread(self, most: int) -> Tensor:
        """Return at most so many of the photos' places [M, 3], each far from those before it."""
        centres = self._centres[self.used]
        chosen = [int((centres - centres.mean(0)).norm(dim=1).argmin())]
        away = (centres - centres[chosen[0]]).norm(dim=1)
        while len(chosen) < most and float(away.max()) > self._spacing / 2:
            chosen.append(int(away.argmax()))
            away = torch.minimum(away, (centres - centres[chosen[-1]]).norm(dim=1))
        return centres[chosen]

    def cover(self, places: Tensor) -> float:
        """Return the greatest distance of a photo from its nearest place, in spacings."""
        away = torch.cdist(self._centres[self.used], places).amin(1).max()
        return float(away) / max(self._spacing, 1e-12)


class LaterBackground:
    """A background that is fitted beside the first steps, and written when it is needed.

    Args:
        fit: As ``fit_background``, with all but ``on_damage`` given.
        write: Takes the background, once.
        on_damage: Called as of ``fit_background``, by ``finish``.
    """

    def __init__(
        self,
        fit: Callable[[Damaged], Background],
        write: Callable[[Background], None],
        on_damage: Damaged,
    ) -> None:
        self._fit = fit
        self._write = write
        self._on_damage = on_damage
        self._damaged: list[tuple[str, InputError]] = []
        self._thread = threads.aside("background")
        self._found: Future[Background] | None = None
        self._written = False

    def start(self) -> None:
        """Begin to fit, on a thread of its own; what comes of it does not depend on when."""
        if self._found is None:
            self._found = self._thread.submit(self._on_one_core)

    def finish(self) -> Background:
        """Wait for the background; it is written when this returns."""
        self.start()
        found = self._found.result()
        if not self._written:
            for name, error in self._damaged:
                self._on_damage(name, error)
            self._write(found)
            self._written = True
        return found

    def _on_one_core(self) -> Background:
        # The steps need the others, and wait for each other at every turn.
        torch.set_num_threads(1)
        return self._fit(lambda name, error: self._damaged.append((name, error)))
