"""Table of keys: what F1 shows, and what the window listens to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """One action and its key."""

    action: str
    """Name of the action: ``Commands.run`` takes it."""
    key: str
    """Name of the key in Dear ImGui, for example ``home``; Ctrl and Shift before it with a plus."""
    help: str
    group: str


def _group(group: str, *rows: tuple[str, str, str]) -> list[Key]:
    return [Key(action, key, text, group) for action, key, text in rows]


KEYS: tuple[Key, ...] = (
    *_group(
        "View",
        ("home", "home", "the first view again"),
        ("frame_all", "f", "everything in view"),
        ("level", "l", "level horizon"),
        ("leave", "backspace", "way out: the last place outside the mesh"),
        ("undo", "Ctrl+z", "view before"),
        ("redo", "Ctrl+y", "view after"),
        ("axis_front", "1", "from the front"),
        ("axis_back", "2", "from the back"),
        ("axis_left", "3", "from the left"),
        ("axis_right", "4", "from the right"),
        ("axis_top", "5", "from above"),
        ("axis_bottom", "6", "from below"),
        ("parallel", "o", "orthographic on or off"),
        ("wider", "minus", "wider field of view"),
        ("narrower", "equal", "narrower field of view"),
        ("collision", "c", "collision on or off"),
    ),
    *_group(
        "Photos",
        ("photo_next", "right_bracket", "next photo"),
        ("photo_previous", "left_bracket", "previous photo"),
        ("photo_nearest", "g", "the photo nearest to this view"),
        ("wipe", "b", "photo | render | error at a photo's pose"),
        ("frustums", "k", "the photos' cameras on or off"),
    ),
    *_group(
        "Look",
        ("mode_next", "v", "next mode"),
        ("mode_previous", "Shift+v", "previous mode"),
        ("wireframe", "x", "the mesh's lines on or off"),
        ("clip", "t", "clipping plane on or off"),
        ("points", "i", "sparse points on or off"),
        ("theme", "F5", "light or dark"),
        ("panel", "F2", "side panel on or off"),
    ),
    *_group(
        "Path",
        ("path_add", "y", "add this view to the camera path"),
        ("path_play", "space", "play the path, or stop"),
        ("path_remove", "delete", "remove the chosen key"),
        ("timeline", "j", "timeline on or off"),
    ),
    *_group(
        "Inspect",
        ("measure", "m", "measure: click points; Enter ends, Esc gives up"),
        ("tour_next", "n", "next place where photos and model disagree"),
        ("tour_previous", "p", "place before"),
        ("screenshot", "F12", "screenshot of this view"),
        ("copy_json", "Ctrl+c", "copy the camera as JSON"),
        ("copy_command", "Ctrl+Shift+c", "copy the camera as an xscale render command"),
        ("paste", "Ctrl+v", "go to the camera in the clipboard"),
        ("open", "Ctrl+o", "open another run or scene"),
        ("finish", "enter", "end the measurement"),
        ("escape", "escape", "leave the photo, measurement, point or page"),
        ("help", "F1", "this page"),
    ),
)
"""Every key with an action; those held down to fly are in ``FLY``."""

FLY: dict[str, tuple[int, int, int]] = {
    "w": (0, 0, 1), "s": (0, 0, -1), "a": (-1, 0, 0), "d": (1, 0, 0),
    "e": (0, 1, 0), "q": (0, -1, 0),
}  # fmt: skip
"""Keys held to fly, as (right, up, forward)."""

MOUSE: tuple[tuple[str, str], ...] = (
    ("drag left", "orbit about the surface point under the cursor"),
    ("drag right, or Shift and left", "pan: the point stays under the cursor"),
    ("drag middle, or Ctrl and left", "look around without moving"),
    ("wheel", "nearer to the point under the cursor, or farther"),
    ("double click", "centre the point and go nearer"),
    ("click", "photos that see the point; in measuring, a pick"),
    ("W A S D, Q E", "fly; Shift faster, Alt slower; speed follows the distance to the surface"),
)
"""Actions of the mouse, for F1."""

_SHOWN = {
    "left_bracket": "[", "right_bracket": "]", "minus": "-", "equal": "+", "backspace": "Backspace",
    "home": "Home", "space": "Space", "delete": "Delete", "enter": "Enter", "escape": "Esc",
}  # fmt: skip


def shown(key: Key) -> str:
    """Return a key as it is written on keyboards."""
    *modifiers, last = key.key.split("+")
    return "+".join([*modifiers, _SHOWN.get(last, last.upper())])


def by_group() -> dict[str, list[Key]]:
    """Return the keys under their groups, in the table's order."""
    groups: dict[str, list[Key]] = {}
    for key in KEYS:
        groups.setdefault(key.group, []).append(key)
    return groups
