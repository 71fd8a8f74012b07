"""Track of a session: key views with their times, and the camera path through them. No window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xscale.geometry.camera import Camera
from xscale.geometry.curve import Curve
from xscale_viewer.navigation import View, view_of

STEP = 2.0
"""Seconds from one key to the next one that is added."""
MOST_FRAMES = 20_000
_LEAST = 0.05
"""Least seconds between two keys."""
_FEW = 24
"""Most keys that are taken of a file without any."""


@dataclass(frozen=True, eq=False)
class Key:
    """A view that the path passes, and when."""

    view: View
    seconds: float


class Track:
    """Keys of a camera path, and where its playhead stands.

    Args:
        near: Near plane of its cameras, world units.
    """

    def __init__(self, near: float = 0.0) -> None:
        self.keys: list[Key] = []
        self.size = (1920, 1080)
        self.fps = 24.0
        self.ease = False
        self.seconds = 0.0
        """Where the playhead stands."""
        self.playing = False
        self.selected: int | None = None
        self.shown = True
        """Whether the timeline is shown."""
        self.blocked: set[int] = set()
        """Frames from which the way to the next one goes through the surface."""
        self._near = near
        self._made: tuple[object, list[Camera]] = (None, [])

    @property
    def state(self) -> object:
        """Anything that differs when the frames do."""
        # Views are equal only to themselves.
        keys = tuple((key.view, key.seconds) for key in self.keys)
        return keys, self.size, self.fps, self.ease

    @property
    def duration(self) -> float:
        """Seconds from the first key to the last."""
        return self.keys[-1].seconds if self.keys else 0.0

    @property
    def count(self) -> int:
        """How many frames the path has."""
        return min(round(self.duration * self.fps), MOST_FRAMES - 1) + 1 if self.keys else 0

    def frames(self) -> list[Camera]:
        """Return the cameras of all frames, world frame; made anew where something has changed."""
        state = self.state
        if self._made[0] != state:
            self._made = (state, self._cameras())
        return self._made[1]

    def _cameras(self) -> list[Camera]:
        cameras = [self.camera_of(key) for key in self.keys]
        if len(cameras) < 2:
            return cameras
        times = np.array([key.seconds for key in self.keys])
        curve = Curve(cameras)
        moments = np.linspace(0, self.duration, max(self.count, 2))
        return curve.cameras(curve.paced(times, moments, ease=self.ease))

    def camera_of(self, key: Key) -> Camera:
        """Return a key's camera at the path's size."""
        return key.view.camera(*self.size, self._near)

    # Keys

    def add(self, view: View) -> int:
        """Add a view: at the end, or where the playhead stands inside the path; return its row.

        A key within a frame of the playhead is replaced.
        """
        if not self.keys:
            self.keys, self.seconds, self.selected = [Key(view, 0.0)], 0.0, 0
            return 0
        least = max(_LEAST, 0.5 / self.fps)
        if self.seconds >= self.duration - least or len(self.keys) == 1:
            self.keys.append(Key(view, self.duration + STEP))
            at = len(self.keys) - 1
        else:
            apart = [abs(key.seconds - self.seconds) for key in self.keys]
            at = int(np.argmin(apart))
            if apart[at] < least:
                self.keys[at] = Key(view, self.keys[at].seconds)
            else:
                at = sum(key.seconds < self.seconds for key in self.keys)
                self.keys.insert(at, Key(view, self.seconds))
        self.selected, self.seconds = at, self.keys[at].seconds
        return at

    def remove(self, at: int) -> None:
        """Remove a key; the path begins at its first one."""
        del self.keys[at]
        self.selected = None if not self.keys else min(at, len(self.keys) - 1)
        if self.keys and self.keys[0].seconds > 0:
            first = self.keys[0].seconds
            self.keys = [replace(key, seconds=key.seconds - first) for key in self.keys]
        self.seconds = min(self.seconds, self.duration)

    def clear(self) -> None:
        """Remove all keys."""
        self.keys, self.selected, self.seconds, self.playing = [], None, 0.0, False

    def set_view(self, at: int, view: View) -> None:
        """Give a key another view."""
        self.keys[at] = replace(self.keys[at], view=view)

    def set_time(self, at: int, seconds: float) -> None:
        """Move a key in time, between its neighbours; the first one stays at the beginning."""
        if at == 0 or not np.isfinite(seconds):
            return
        low = self.keys[at - 1].seconds + _LEAST
        last = at == len(self.keys) - 1
        high = MOST_FRAMES / self.fps if last else self.keys[at + 1].seconds - _LEAST
        self.keys[at] = replace(self.keys[at], seconds=float(min(max(seconds, low), high)))
        self.seconds = min(self.seconds, self.duration)

    def set_duration(self, seconds: float) -> None:
        """Make the whole path longer or shorter."""
        if len(self.keys) < 2 or not np.isfinite(seconds):
            return
        least = 2 * _LEAST * len(self.keys)
        factor = min(max(seconds, least), MOST_FRAMES / self.fps) / self.duration
        self.keys = [replace(key, seconds=key.seconds * factor) for key in self.keys]
        self.seconds *= factor

    def even(self) -> None:
        """Move the keys in time so that the pace is the same everywhere."""
        if len(self.keys) < 3:
            return
        curve = Curve([self.camera_of(key) for key in self.keys])
        times = curve.at_keys / curve.length * self.duration
        times = np.maximum.accumulate(np.maximum(times, np.arange(len(times)) * _LEAST))
        self.keys = [
            replace(key, seconds=float(t)) for key, t in zip(self.keys, times, strict=True)
        ]

    # Playing

    def frame_at(self, seconds: float) -> int:
        """Return the number of the frame that is nearest to a moment."""
        if self.count < 2 or self.duration == 0:
            return 0
        return int(np.clip(round(seconds / self.duration * (self.count - 1)), 0, self.count - 1))

    def go(self, seconds: float) -> Camera | None:
        """Set the playhead to the frame nearest to a moment; return its camera."""
        frames = self.frames()
        if not frames:
            return None
        at = min(self.frame_at(min(max(seconds, 0.0), self.duration)), len(frames) - 1)
        self.seconds = self.duration * at / max(len(frames) - 1, 1)
        return frames[at]

    # Files

    def load(self, cameras: Sequence[Camera], fps: float, keys: Sequence[tuple[Camera, float]]
             ) -> str:  # fmt: skip
        """Take a path that was read from a file; return a line about it.

        Args:
            cameras: Of its frames, at least one.
            fps: Frames a second.
            keys: The keys that the frames were made of, with their times; without any, some of the
                frames become keys.
        """
        first = cameras[0]
        self.clear()
        self.size, self.fps, self.ease = (first.width, first.height), fps, False
        if keys:
            self.keys = [Key(view_of(camera), seconds) for camera, seconds in keys]
            self.selected = 0
            for ease in (False, True):
                self.ease = ease
                if _same(self.frames(), cameras):
                    return f"{len(keys)} keys, {len(cameras)} frames"
            self.ease = False
            return f"{len(keys)} keys; other frames than the file's lie between them"
        places = np.unique(np.linspace(0, len(cameras) - 1, min(len(cameras), _FEW)).round())
        self.keys = [Key(view_of(cameras[int(k)]), k / fps) for k in map(float, places)]
        self.selected = 0
        if len(self.keys) < len(cameras):
            return f"{len(self.keys)} of {len(cameras)} cameras became keys"
        return f"{len(cameras)} cameras became keys"


def _same(some: Sequence[Camera], others: Sequence[Camera]) -> bool:
    """Whether two paths are one but for rounding."""
    if len(some) != len(others):
        return False
    size = max(float(np.abs(camera.position).max()) for camera in others) + 1e-9
    return all(
        np.abs(a.position - b.position).max() < 1e-6 * size
        and np.abs(a.R - b.R).max() < 1e-6
        and abs(a.fy - b.fy) < 1e-6 * b.fy
        for a, b in zip(some, others, strict=True)
    )
