"""How mouse and keys move a session's view: about the surface, at its speed, not through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xscale.geometry.camera import Camera
from xscale_viewer import navigation, picking
from xscale_viewer.session import Session

if TYPE_CHECKING:
    from xscale.gbuffer.cut import Plane
    from xscale.gbuffer.gbuffer import Surface

_TURN = 0.006
"""Radians a pixel of a drag."""
_NOTCH = 0.82
"""Distance after one notch of the wheel, in distances before it."""
_MARGIN = 0.08
"""Share of a distance that is kept from a surface ahead in one step."""
_LONGEST_STEP = 0.1
"""Seconds: a step after a pause of the window is not longer."""


@dataclass(eq=False)
class _Probe:
    """A ray from a place, and how far away it met the surface."""

    position: np.ndarray
    direction: np.ndarray
    distance: float


class Motion:
    """Moves a session's view.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pivot: np.ndarray | None = None
        self._drag: str | None = None
        self._probe: _Probe | None = None
        self._probing = False

    # Where things are

    def to_picture(self, cursor: tuple[float, float]) -> tuple[float, float]:
        """Return a place in the view's rectangle as a pixel of the picture shown last."""
        picture = self._session.picture
        camera = self._session.camera()
        if picture is None or camera is None:
            return cursor
        left, top = offset(self._session.size, camera)
        height, width = picture.depth.shape
        return (
            (cursor[0] - left) * width / camera.width,
            (cursor[1] - top) * height / camera.height,
        )

    def surface_at(self, cursor: tuple[float, float]) -> np.ndarray | None:
        """Return the surface point under the cursor, or of a thing just beside it."""
        picture = self._session.picture
        if picture is None:
            return None
        return picking.nearest_around(
            picture.request.camera, picture.depth, self.to_picture(cursor)
        )

    def pivot_at(self, cursor: tuple[float, float]) -> np.ndarray:
        """Return the surface point under the cursor; off the mesh, one as far as its middle."""
        found = self.surface_at(cursor)
        if found is not None:
            return found
        s = self._session
        distance = self.distance()
        if not math.isfinite(distance):
            distance = s.source.extent / 2
        camera = s.camera()
        pixel = np.array(cursor, float) - offset(s.size, camera)
        ray = camera.rays(pixel[None])[0]
        if not np.isfinite(ray).all():
            ray = s.view.forward
        return s.view.position + ray * distance

    def distance(self) -> float:
        """Return how far the surface in the middle of the picture is from the eye."""
        s = self._session
        if s.picture is None:
            return math.inf
        found = picking.middle_distance(s.picture.depth)
        camera = s.picture.request.camera
        moved = float((s.view.position - camera.position) @ camera.R[2])
        return max(found - moved, s.source.near)

    # Mouse

    def press(self, cursor: tuple[float, float], kind: str) -> None:
        """Begin a drag: kind is orbit, pan or look."""
        self._drag, self._pivot = kind, self.pivot_at(cursor)

    def drag(self, delta: tuple[float, float]) -> None:
        """Go on with a drag by pixels (right, down)."""
        s = self._session
        if self._drag is None or self._pivot is None or delta == (0, 0):
            return
        view, (dx, dy) = s.view, delta
        if self._drag == "orbit":
            view = navigation.orbit(view, self._pivot, dx * _TURN, dy * _TURN, s.source.up)
        elif self._drag == "pan":
            view = navigation.pan(view, self._pivot, delta, s.size[1])
        else:
            turn = math.radians(view.fov) / max(s.size[1], 1)
            view = navigation.look(view, -dx * turn, dy * turn, s.source.up)
        s.go(view)

    def release(self) -> None:
        """End a drag."""
        self._drag = self._pivot = None

    def wheel(self, cursor: tuple[float, float], notches: float) -> None:
        """Go nearer to the point under the cursor (positive), or farther."""
        s = self._session
        point = self.pivot_at(cursor)
        factor = _NOTCH ** float(np.clip(notches, -8, 8))
        margin = 2 * s.source.near if s.settings.collision else 0.0
        s.go(navigation.dolly(s.view, point, factor, margin))

    def double_click(self, cursor: tuple[float, float]) -> None:
        """Centre the point under the cursor."""
        s = self._session
        point = self.surface_at(cursor)
        if point is not None:
            s.go(navigation.centred(s.view, point, s.source.up))

    # Keys

    def fly(self, move: Sequence[float], seconds: float, factor: float = 1.0) -> None:
        """Fly for a moment.

        Args:
            move: (right, up, forward), each from -1 to 1.
            seconds: Since the last step.
            factor: Of the speed: Shift and Alt.
        """
        s = self._session
        seconds = min(seconds, _LONGEST_STEP)
        clear = self.distance()
        pace = navigation.speed(clear, s.source.extent) * factor * seconds
        view = navigation.fly(s.view, [pace * part for part in move], s.source.up)
        if s.view.parallel is not None and move[2]:
            shrink = math.exp(-move[2] * factor * seconds)
            view = navigation.fly(s.view, [pace * move[0], pace * move[1], 0], s.source.up)
            view = navigation.View(view.position, view.R, view.fov, view.parallel * shrink)
        step = view.position - s.view.position
        if s.settings.collision and s.view.parallel is None:
            step = self._allowed(step)
        s.go(navigation.View(s.view.position + step, view.R, view.fov, view.parallel))

    def _allowed(self, step: np.ndarray) -> np.ndarray:
        """Return a step that ends before the surface it would meet."""
        length = float(np.linalg.norm(step))
        if length == 0:
            return step
        s = self._session
        direction = step / length
        room = None
        if s.picture is not None:
            camera = s.picture.request.camera
            room = picking.clearance_along(camera, s.picture.depth, direction, s.view.position)
        if room is None:
            room = self._probed(direction)
        margin = max(2 * s.source.near, min(_MARGIN * room, length * 4))
        return navigation.stopped(step, room, margin)

    def _probed(self, direction: np.ndarray) -> float:
        """Return the room in a direction that no picture shows: what the last ray found, less way.

        A ray is cast on the render thread; until it is back, steps are taken on trust only where a
        ray for nearly the same direction told of room.
        """
        s = self._session
        known, position, cut = self._probe, s.view.position.copy(), s.plane()
        if not self._probing:
            self._probing = True

            def cast(run: object) -> float:
                return room_along(run.surface, s.source.origin, position, direction, cut)

            def done(distance: object) -> None:
                self._probing = False
                self._probe = _Probe(position, direction, float(distance))
                s.wake()

            s.ask(cast, done)
        if known is None or known.direction @ direction < 0.95:
            return 0.0
        return known.distance - float(np.linalg.norm(position - known.position))


def offset(size: tuple[int, int], camera: Camera) -> tuple[float, float]:
    """Return where a picture's top left corner stands in the view's rectangle, pixels."""
    return (size[0] - camera.width) / 2, (size[1] - camera.height) / 2


def room_along(
    surface: Surface,
    origin: np.ndarray,
    position: np.ndarray,
    direction: np.ndarray,
    cut: Plane | None = None,
) -> float:
    """Return the distance to the surface that a ray meets, inf where it meets none."""
    from xscale.gbuffer.cut import cut_surface
    from xscale.render.probe import surface_point

    if cut is not None:
        surface = cut_surface(surface, cut, origin)
    view = navigation.look_at(position, position + direction, np.array([0.0, 0, 1]), 10.0)
    hit = surface_point(surface, origin, view.camera(1, 1), 0.5, 0.5)
    return math.inf if hit is None else float(np.linalg.norm(hit - position))
