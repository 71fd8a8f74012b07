"""Actions on a session's camera path: keys, playing, files, and the check against the surface."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xscale.errors import InputError, XscaleError, printable
from xscale_viewer.rendering import PathRender
from xscale_viewer.session import Session
from xscale_viewer.track import Track

if TYPE_CHECKING:
    from xscale.render.camera_path import CameraPath

_CHUNK = 8
"""Frames whose way is checked between two pictures."""
_LONGEST = 0.25
"""Seconds: after a pause of the window the playhead does not jump farther."""


class PathCommands:
    """Actions of the user on the camera path.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self.path = "path.json"
        """Name of the file, as the user typed it."""
        self._session = session
        self._checked: tuple[Track, object] | None = None
        self._next = 0
        self._asking = False
        self._playhead = 0.0
        self.rendering: PathRender | None = None

    @property
    def track(self) -> Track:
        """The session's."""
        return self._session.track

    # Keys

    def add(self) -> None:
        """Make the present view a key."""
        s, track = self._session, self.track
        if s.view.parallel is not None:
            s.say("An orthographic view cannot be a key of a path; O goes back to perspective")
            return
        if s.size[0] >= 2 and not track.keys:
            track.size = _even(s.size)
        before = len(track.keys)
        at = track.add(s.view)
        what = "replaced" if len(track.keys) == before else "added"
        s.say(f"key {at + 1} {what}, at {track.keys[at].seconds:.2f} s; Space plays the path")

    def replace(self) -> None:
        """Give the chosen key the present view."""
        s, at = self._session, self.track.selected
        if at is None or s.view.parallel is not None:
            s.say("Choose a key, and look in perspective")
            return
        self.track.set_view(at, s.view)
        s.say(f"key {at + 1} has this view now")

    def remove(self) -> None:
        """Remove the chosen key."""
        at = self.track.selected
        if at is None:
            self._session.say("Choose a key first")
            return
        self.track.remove(at)
        self._session.say(f"key {at + 1} removed")

    def choose(self, at: int) -> None:
        """Choose a key and look from it."""
        self.track.selected = at
        self._session.go_along(self.track.keys[at].seconds)

    # Playing

    def play(self) -> None:
        """Begin to play, or stop; at the end it begins again."""
        s, track = self._session, self.track
        if len(track.keys) < 2:
            s.say("A path needs two keys: Y adds this view")
            return
        if track.playing:
            track.playing = False
            return
        start = 0.0 if track.seconds >= track.duration - 1e-6 else track.seconds
        s.go_along(start)
        track.playing = True

    def advance(self, seconds: float) -> None:
        """Let the playhead run on; called for every frame of the window."""
        track = self.track
        if not track.playing:
            return
        exact = self._playhead
        if track.frame_at(exact) != track.frame_at(track.seconds):
            exact = track.seconds  # it was moved by hand
        exact += min(seconds, _LONGEST)
        self._session.go_along(exact)
        self._playhead = exact
        if exact >= track.duration:
            track.playing = False
        self._session.wake()

    # The surface

    def check(self) -> None:
        """Look for places where the path goes through the surface, a few frames at a time."""
        s, track = self._session, self.track
        now = (track, track.state)
        if self._checked is None or self._checked[0] is not track or self._checked[1] != now[1]:
            self._checked, self._next = now, 0
            track.blocked = set()
        if self._asking or len(track.keys) < 2 or s.source is None:
            return
        frames = track.frames()
        first = self._next
        if first >= len(frames) - 1:
            return
        some, origin = frames[first : first + _CHUNK + 1], s.source.origin
        self._asking = True

        def work(run: object) -> list[int]:
            from xscale.render.probe import crossings

            return crossings(run.surface, origin, some)

        def done(found: object) -> None:
            self._asking = False
            if self._checked is not None and self._checked[0] is track and now == self._checked:
                track.blocked |= {first + k for k in found}
                self._next = first + _CHUNK

        s.ask(work, done)

    # Rendering

    def render(self, video: str | None, overwrite: bool = False) -> None:
        """Save the path and render it into the folder of its name, beside it."""
        s = self._session
        if s.source.kind == "scene":
            s.say("A scene is rendered after training; the path can be saved until then")
            return
        if self.rendering is not None and not self.rendering.done:
            s.say("A path is being rendered")
            return
        path = self.save()
        if path is not None:
            self.rendering = PathRender(s, path, path.with_suffix(""), video, overwrite)

    def close(self) -> None:
        """End what still runs: the next rendering goes on from what is finished."""
        if self.rendering is not None and not self.rendering.done:
            self.rendering.close()

    # Files

    def document(self) -> CameraPath:
        """Return the path as ``xscale.render.camera_path`` writes it.

        Raises:
            InputError: It has no two keys.
        """
        from xscale.render.camera_path import CameraPath, KeyCamera, NamedCamera

        track = self.track
        if len(track.keys) < 2:
            raise InputError("a path needs two keys", advice="Y adds this view")
        frames = track.frames()
        digits = max(5, len(str(len(frames) - 1)))
        named = tuple(NamedCamera(f"{k:0{digits}d}", camera) for k, camera in enumerate(frames))
        keys = tuple(KeyCamera(track.camera_of(key), key.seconds) for key in track.keys)
        return CameraPath(named, track.fps, keys=keys)

    def save(self) -> Path | None:
        """Write the path; a file that holds something else is not replaced."""
        from xscale.render.camera_path import write_camera_path

        s, path = self._session, Path(self.path).expanduser()
        if path.suffix != ".json":
            path = path.with_name(f"{path.name}.json")
        try:
            document = self.document()
            if path.exists() and not _is_path(path):
                raise InputError(
                    "exists and is not a camera path", where=path, advice="choose another name"
                )
            write_camera_path(path, document, overwrite=True)
        except XscaleError as error:
            s.say(str(error))
            return None
        s.say(f"Written: {printable(path)} ({len(document.cameras)} frames)")
        return path

    def load(self) -> None:
        """Read a path from any file that ``xscale render --cameras`` takes."""
        s, path = self._session, Path(self.path).expanduser()
        s.say(f"Reading {printable(path)} ...")

        def work(run: object) -> CameraPath | str:
            return _read(run, path)

        def done(found: object) -> None:
            if isinstance(found, str):
                s.say(found)
                return
            good = [named.camera for named in found.cameras if named.camera is not None]
            keys = [(key.camera, key.seconds) for key in found.keys]
            line = s.track.load(good, found.fps, keys)
            bad = len(found.cameras) - len(good)
            left = f"; {bad} bad cameras are left out" if bad else ""
            s.go_along(0.0)
            s.say(f"{printable(path.name)}: {line}{left}")

        s.ask(work, done)


def _read(run: object, path: Path) -> CameraPath | str:
    """Read a path and look whether it belongs to the scene; return a line where it does not."""
    from xscale.render.camera_files import read_cameras
    from xscale.render.foreign_cameras import Known
    from xscale.render.known import cameras_not_seeing, known_to
    from xscale.render.probe import sees_mesh

    try:
        trained = hasattr(run.manifest, "scene")
        cameras = {name: run.camera(name) for name in run.names("all")}
        found = read_cameras(path, None, known_to(run) if trained else Known(cameras))
        good = [named.camera for named in found.cameras if named.camera is not None]
        if not good:
            return f"{printable(path)}: there is no usable camera in it: {found.cameras[0].fault}"
        if not sees_mesh(run.surface, run.origin, good):
            return str(cameras_not_seeing(run, good, path))
    except XscaleError as error:
        return str(error)
    return found


def _is_path(path: Path) -> bool:
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and "camera_path" in stored


def _even(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size whose edges are even, as films need them."""
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def actions(paths: PathCommands) -> dict[str, Callable[[], None]]:
    """Return the actions by the names of ``keys.KEYS``."""
    return {
        "path_add": paths.add,
        "path_play": paths.play,
        "path_remove": paths.remove,
        "timeline": lambda: setattr(paths.track, "shown", not paths.track.shown),
    }
