"""Photos made small beside what the mesh shows through their cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np
import torch

from xscale import threads
from xscale.errors import DamagedPhotoError
from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.scene.photo import Photo
from xscale.scene.scene import Scene

LONG_SIDE = 512
MOST_PHOTOS = 96
"""More photos than these are looked at by an even spread of this many."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class Look:
    """One photo at ``LONG_SIDE`` pixels, and the mesh from where it was taken."""

    photo: Photo
    camera: Camera
    """Camera of the small picture, in the mesh's local frame."""
    scale: float
    """Pixels of the photo that a small pixel spans."""
    rgb: np.ndarray
    """uint8 [H, W, 3]."""
    usable: np.ndarray
    """bool [H, W], False where the photo is masked out."""
    depth: np.ndarray
    """float32 [H, W], camera z; 0 where the mesh is not hit."""
    normal: np.ndarray
    """float32 [H, W, 3], local frame."""
    position: np.ndarray
    """float32 [H, W, 3], local frame."""
    footprint: np.ndarray
    """float32 [N], world units, of the stored photo's pixels, at covered pixels."""

    @property
    def covered(self) -> np.ndarray:
        """Where the mesh is hit, bool [H, W]."""
        return self.depth > 0

    @property
    def grey(self) -> np.ndarray:
        """Float32 [H, W] in [0, 1]."""
        return self.rgb.astype(np.float32) @ _GREY / 255


def looks_of(
    scene: Scene,
    surface: Surface,
    on_photo: Callable[[int, int], None] | None = None,
    on_damage: Callable[[str, DamagedPhotoError], None] | None = None,
) -> list[Look]:
    """Look through the cameras of all photos, or of an even spread of many.

    Args:
        scene: The scene.
        surface: Its mesh.
        on_photo: Called after each photo with the number done and of all.
        on_damage: Called with the name and error of a damaged photo, which is then passed over.

    Raises:
        PhotoError: A photo cannot be used.
    """
    count = min(len(scene.photos), MOST_PHOTOS)
    chosen = [scene.photos[k * len(scene.photos) // count] for k in range(count)]
    looks = []
    for done, (photo, future) in enumerate(_decoded(chosen), start=1):
        try:
            rgb, usable = future.result()
        except DamagedPhotoError as error:
            if on_damage is None:
                raise
            on_damage(photo.name, error)
        else:
            looks.append(_look(photo, rgb, usable, surface, scene.origin))
        if on_photo is not None:
            on_photo(done, count)
    return looks


def look_at(photo: Photo, surface: Surface, origin: np.ndarray, long_side: int) -> Look:
    """Decode one photo at another size and look through its camera."""
    rgb, usable = photo.load(_factor(photo, long_side))
    return _look(photo, rgb, usable, surface, origin)


def _factor(photo: Photo, long_side: int = LONG_SIDE) -> float:
    return max(1.0, max(photo.camera.width, photo.camera.height) / long_side)


def _decoded(photos: list[Photo]) -> Iterator[tuple[Photo, Future]]:
    """Decode ahead on all threads, a few photos at a time."""
    with threads.pool("looks") as workers:
        running: list[tuple[Photo, Future]] = []
        for photo in photos:
            running.append((photo, workers.submit(photo.load, _factor(photo))))
            if len(running) > threads.count():
                yield running.pop(0)
        yield from running


def look_through(look: Look, camera: Camera, surface: Surface, origin: np.ndarray) -> Look:
    """Look at the same picture through another camera, or at another surface.

    Args:
        look: The look.
        camera: The photo's camera instead of its own.
        surface: The mesh.
        origin: Of the mesh, float64 [3].
    """
    photo = replace(look.photo, camera=camera)
    return _look(photo, look.rgb, look.usable, surface, origin)


def _look(
    photo: Photo, rgb: np.ndarray, usable: np.ndarray | None, surface: Surface, origin: np.ndarray
) -> Look:
    height, width = rgb.shape[:2]
    camera = photo.camera.scaled(width, height).recentred(origin)
    samples, _ = build_gbuffer(surface, torch.from_numpy(camera.packed()), width, height)
    index = samples.pixel_index.numpy()

    def full(values: torch.Tensor, channels: tuple[int, ...]) -> np.ndarray:
        picture = np.zeros((height * width, *channels), np.float32)
        picture[index] = values.numpy()
        return picture.reshape(height, width, *channels)

    scale = ((photo.camera.width * photo.camera.height) / (width * height)) ** 0.5
    return Look(
        photo=photo,
        camera=camera,
        scale=scale,
        rgb=rgb,
        usable=np.ones((height, width), bool) if usable is None else usable,
        depth=full(samples.depth, ()),
        normal=full(samples.normal, (3,)),
        position=full(samples.position, (3,)),
        footprint=samples.footprint.numpy() / scale,
    )
