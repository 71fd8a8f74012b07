"""The camera path in the scene: its way, red where it goes through the surface, and its keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from imgui_bundle import imgui

from xscale.geometry.camera import Camera
from xscale_viewer import navigation
from xscale_viewer.gui.overlay import Corner, colour, frustum, on_screen, pyramid
from xscale_viewer.motion import offset
from xscale_viewer.session import Session

WAY, BLOCKED, KEY, CHOSEN = (0.3, 0.9, 0.5), (1.0, 0.15, 0.1), (1.0, 0.85, 0.2), (1.0, 0.5, 0.1)
_HANDLE = 6.0
"""Radius of a key's handle, pixels."""
_MOST_LINES = 600
_SIZE = 0.02
"""Size of a key's frustum, in diagonals of the scene."""


def draw(drawing: imgui.ImDrawList, origin: Corner, session: Session, camera: Camera) -> None:
    """Draw the path over a picture.

    Args:
        drawing: The view's.
        origin: Upper left corner of the picture on the screen.
        session: The session.
        camera: The picture's.
    """
    track = session.track
    if not track.keys or session.held is not None or session.photo is not None:
        return
    places = np.array([frame.position for frame in track.frames()])
    step = max(1, len(places) // _MOST_LINES)
    # What is red is never left out.
    kept = sorted({*range(0, len(places), step), len(places) - 1, *track.blocked,
                   *(k + 1 for k in track.blocked if k + 1 < len(places))})  # fmt: skip
    at = on_screen(origin, camera, places[kept])
    for k in range(len(kept) - 1):
        if at[k] is not None and at[k + 1] is not None:
            blocked = any(f in track.blocked for f in range(kept[k], kept[k + 1]))
            tint, wide = (BLOCKED, 4) if blocked else (WAY, 2)
            drawing.add_line(imgui.ImVec2(*at[k]), imgui.ImVec2(*at[k + 1]), colour(tint), wide)
    for k in track.blocked:  # one frame's way may be shorter than a pixel
        at = on_screen(origin, camera, places[k : k + 1])[0]
        if at is not None:
            drawing.add_circle_filled(imgui.ImVec2(*at), _HANDLE - 1, colour(BLOCKED))
    size = _SIZE * session.source.extent
    for number, key in enumerate(track.keys):
        tint = CHOSEN if number == track.selected else KEY
        corners = on_screen(origin, camera, frustum(track.camera_of(key), size))
        if all(corner is not None for corner in corners):
            pyramid(drawing, corners, colour(tint, 0.9))
        if corners[0] is not None:
            middle = imgui.ImVec2(*corners[0])
            drawing.add_circle_filled(middle, _HANDLE, colour(tint))
            drawing.add_circle(middle, _HANDLE, colour((0, 0, 0), 0.7), 0, 1.5)


def key_under(session: Session, cursor: Corner) -> int | None:
    """Return the key whose handle is under the cursor, the nearest to it."""
    camera, track = session.camera(), session.track
    if camera is None or not track.keys or session.held is not None or session.photo is not None:
        return None
    eyes = np.array([key.view.position for key in track.keys])
    at = on_screen(offset(session.size, camera), camera, eyes)
    apart = [
        np.inf if a is None else float(np.hypot(a[0] - cursor[0], a[1] - cursor[1])) for a in at
    ]
    best = int(np.argmin(apart))
    return best if apart[best] <= _HANDLE + 3 else None


def drag_key(session: Session, at: int, delta: Corner) -> None:
    """Move a key across the line of sight by pixels (right, down)."""
    if delta == (0, 0):
        return
    view, key = session.view, session.track.keys[at]
    size = navigation.pixel_size(view, key.view.position, session.size[1])
    move = view.R[0] * delta[0] * size + view.R[1] * delta[1] * size
    session.track.set_view(at, replace(key.view, position=key.view.position + move))
