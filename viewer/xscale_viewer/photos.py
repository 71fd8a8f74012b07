"""Photos of the shown run or scene, decoded on a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from xscale.errors import XscaleError
from xscale.geometry.camera import Camera
from xscale.io.photo.resample import area_downscale
from xscale.scene.scene import Scene

THUMBNAIL = 160
"""Pixels along a thumbnail's longer edge."""
CROP = 96
"""Pixels along a crop's edge."""
_WHOLE_KEPT = 3
_SMALL_KEPT = 2000
Rgb = np.ndarray


class PhotoStore:
    """Decodes photos when they are asked for and keeps the last ones.

    The calls that return a picture return None at first; when it is there, ``on_change`` is called
    and the same call returns it. What cannot be read is an empty array from then on.

    Args:
        open_scene: Opens the scene; called on the store's thread, once.
        on_change: Called on the store's thread when something has come.
    """

    def __init__(self, open_scene: Callable[[], Scene], on_change: Callable[[], None]) -> None:
        self.fault: str | None = None
        """Why there are no photos, in one line."""
        self._open = open_scene
        self._on_change = on_change
        self._scene: Scene | None = None
        self._kept: OrderedDict[tuple, Rgb] = OrderedDict()
        self._whole: OrderedDict[str, Rgb] = OrderedDict()
        self._asked: set[tuple] = set()
        self._lock = threading.Lock()
        self._work: queue.PriorityQueue = queue.PriorityQueue()
        self._count = 0
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="xscale-photos", daemon=True)
        self._thread.start()

    def thumbnail(self, name: str) -> Rgb | None:
        """Return a photo in small, uint8 [h, w, 3]."""
        return self._get(("thumbnail", name), 2)

    def fitted(self, name: str, size: tuple[int, int]) -> Rgb | None:
        """Return a photo reduced to (width, height), or as it is where it is smaller."""
        return self._get(("fitted", name, size), 0)

    def crop(self, name: str, camera: Camera, pixel: tuple[float, float]) -> Rgb | None:
        """Return ``CROP`` x ``CROP`` pixels of a photo around a pixel of its camera."""
        share = (pixel[0] / camera.width, pixel[1] / camera.height)
        return self._get(("crop", name, share), 1)

    def locate(self, open_scene: Callable[[], Scene]) -> None:
        """Look for the photos elsewhere; everything is asked for again."""
        with self._lock:
            self._open, self._scene, self.fault = open_scene, None, None
            self._asked.clear()
            self._kept.clear()
            self._whole.clear()

    def close(self) -> None:
        """Stop; a photo being decoded is waited for by nobody."""
        self._closed = True
        self._work.put((-1, 0, None))

    def _get(self, key: tuple, urgency: int) -> Rgb | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if key not in self._asked:
                self._asked.add(key)
                self._count += 1
                # The latest first: what is in view now is wanted most.
                self._work.put((urgency, -self._count, key))
        return None

    def _loop(self) -> None:
        while not self._closed:
            _, _, key = self._work.get()
            if self._closed or key is None:
                return
            if self.fault is not None and self._scene is None:
                continue
            picture = self._make(key)
            with self._lock:
                self._kept[key] = picture
                self._asked.discard(key)
                while len(self._kept) > _SMALL_KEPT:
                    self._kept.popitem(last=False)
                large = [k for k in self._kept if k[0] == "fitted"]
                for old in large[:-_WHOLE_KEPT]:
                    del self._kept[old]
            self._on_change()

    def _make(self, key: tuple) -> Rgb:
        nothing = np.zeros((0, 0, 3), np.uint8)
        try:
            if self._scene is None:
                self._scene = self._open()
            whole = self._decoded(key[1])
        except XscaleError as error:
            self.fault = str(error)
            return nothing
        except Exception as error:  # a photo that no reader foresaw must not end the thread
            self.fault = f"{key[1]}: cannot be read: {type(error).__name__}"
            return nothing
        height, width = whole.shape[:2]
        if key[0] == "crop":
            return _crop(whole, key[2])
        if key[0] == "fitted":
            size = key[2]
        else:
            share = min(1.0, THUMBNAIL / max(width, height))
            size = (max(1, round(width * share)), max(1, round(height * share)))
        if size[0] >= width or size[1] >= height:
            return whole
        return area_downscale(whole, *size)

    def _decoded(self, name: str) -> Rgb:
        if name not in self._whole:
            self._whole[name] = self._scene.photo(name).read()
            while len(self._whole) > _WHOLE_KEPT:
                self._whole.popitem(last=False)
        self._whole.move_to_end(name)
        return self._whole[name]


def _crop(whole: Rgb, share: tuple[float, float]) -> Rgb:
    """Return the square around a point, grey beyond the photo's edge."""
    height, width = whole.shape[:2]
    left = int(share[0] * width) - CROP // 2
    top = int(share[1] * height) - CROP // 2
    square = np.full((CROP, CROP, 3), 96, np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + CROP, width), min(top + CROP, height)
    if x1 > x0 and y1 > y0:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = whole[y0:y1, x0:x1]
    return square


def error_picture(photo: Rgb, render: Rgb) -> Rgb:
    """Return the mean difference of the channels in colours; 0.25 of the range is the upper end."""
    from xscale.color import colour_scale

    off = np.abs(photo.astype(np.int16) - render.astype(np.int16)).mean(2) / 255
    return colour_scale(off / 0.25)
