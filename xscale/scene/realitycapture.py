"""RealityCapture's and RealityScan's camera table: recognised, and refused by name.

The columns of *Internal/External camera parameters* are a template that users change, and its
makers document neither the unit of the principal point nor the order of the three angles nor the
distortion formula it stands for. Reading it would be a guess, and a wrong camera costs a night.
"""

from __future__ import annotations

from pathlib import Path

from xscale.errors import CameraError
from xscale.scene.views import Choice, Reading, beginning

LAYOUT = "realitycapture"
_NO_CHOICE = Choice()
_COLUMNS = ("#name", "x", "y", "alt", "heading", "pitch", "roll")


def _file(root: Path, choice: Choice) -> Path | None:
    """Return the first table, recognised by its columns."""
    candidates = [choice.cameras] if choice.cameras is not None else sorted(root.glob("*.csv"))
    return next((p for p in candidates if p.is_file() and _looks_right(p)), None)


def _looks_right(path: Path) -> bool:
    head = beginning(path).decode("utf-8-sig", "replace").lower()
    rows = (line.replace(";", ",").split(",") for line in head.splitlines()[:3])
    return any(set(_COLUMNS) <= {field.strip() for field in row} for row in rows)


def detect(root: Path, choice: Choice = _NO_CHOICE) -> str | None:
    """Say why ``root`` is a scene of this layout, or return None."""
    path = _file(root, choice)
    return None if path is None else f"{path.name} is a RealityCapture camera table"


def read(root: Path, choice: Choice = _NO_CHOICE) -> Reading:
    """Refuse the table.

    Raises:
        CameraError: Always, with what to export instead.
    """
    raise CameraError(
        "is RealityCapture's table of internal/external camera parameters, whose angles, principal "
        "point and distortion are not documented",
        where=_file(root, choice) or root,
        advice="export the registration as COLMAP or as Bundler v0.3 (.out with its image list), "
        "both with undistorted images",
    )
