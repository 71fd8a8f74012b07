"""A view as others can repeat it: JSON of a camera path, and the command that renders it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from xscale.geometry.camera import Camera
from xscale.render.camera_path import (
    CameraPath,
    NamedCamera,
    camera_path_document,
    parse_camera_path,
)

_NAME = "view"


def document_of(camera: Camera) -> dict:
    """Return the camera path of one view."""
    return camera_path_document(CameraPath((NamedCamera(_NAME, camera),)))


def from_document(document: dict) -> Camera:
    """Return the camera that ``xscale render --cameras`` reads from a document.

    Pictures at rest are made of this one, so that their bits are those of the command.
    """
    return parse_camera_path(document, "view").cameras[0].camera


def as_json(document: dict) -> str:
    """Return the text for the clipboard."""
    return json.dumps(document, indent=2)


def as_command(document: dict, run: Path, samples: int, background: str, out: str = "view") -> str:
    """Return a command line that writes the camera file and renders it to a folder."""
    text = shlex.quote(json.dumps(document))
    return (
        f"printf %s {text} > {out}.json && xscale render {shlex.quote(str(run))} "
        f"--cameras {out}.json --out {out} --samples {samples} --background {background}"
    )


def camera_from_text(text: str) -> Camera:
    """Return the first camera of a JSON camera path, for pasting a view.

    Raises:
        InputError: It is not a camera path.
        CameraError: Its camera is wrong.
    """
    from xscale.errors import CameraError, InputError

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("camera_path"), list):
        raise InputError("the clipboard holds no camera path", advice="copy one with Ctrl+C")
    first = parse_camera_path(document, "clipboard").cameras[0]
    if first.camera is None:
        raise CameraError(first.fault or "has no usable camera", where="clipboard")
    return first.camera
