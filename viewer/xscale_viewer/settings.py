"""Settings of the user: kept in the user's folder, never in a run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from xscale.errors import StorageError
from xscale.io.storage import make_folder, write_json

_RECENT = 12


def user_folder() -> Path:
    """Return where this system keeps a user's settings of programs; ``XSCALE_CONFIG`` overrides."""
    if given := os.environ.get("XSCALE_CONFIG"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home() / "AppData/Roaming")) / "xscale"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/xscale"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "xscale"


@dataclass(eq=False)
class Settings:
    """Settings that are kept from one start to the next."""

    theme: str = "dark"
    """dark or light."""
    scale: float = 1.0
    """Size of text and controls."""
    samples: int = 2
    """Samples along a pixel's edge that a picture at rest ends with."""
    low_power: bool = False
    """Half-size pictures while moving, one sample a pixel at rest."""
    collision: bool = True
    """Whether the eye stops before surfaces."""
    frustums: bool = True
    """Whether the photos' cameras are drawn."""
    panel: bool = True
    """Whether the side panel is shown."""
    background: str = "run"
    recent: list[str] = field(default_factory=list)
    """Folders opened lately, the latest first."""

    def remember(self, path: Path) -> None:
        """Put a folder first in the recent ones."""
        text = str(path)
        self.recent = [text, *(p for p in self.recent if p != text)][:_RECENT]


def load_settings() -> Settings:
    """Read the settings; what is missing or makes no sense keeps its default."""
    settings = Settings()
    stored = _read(user_folder() / "viewer.json")
    for entry in fields(Settings):
        value = stored.get(entry.name)
        default = getattr(settings, entry.name)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is type(default):
            setattr(settings, entry.name, value)
    settings.recent = [p for p in settings.recent if isinstance(p, str)][:_RECENT]
    settings.scale = min(max(settings.scale, 0.5), 4.0)
    settings.samples = min(max(settings.samples, 1), 8)
    if settings.theme not in ("dark", "light"):
        settings.theme = "dark"
    if settings.background not in ("run", "learned", "white", "black"):
        settings.background = "run"
    return settings


def save_settings(settings: Settings) -> str | None:
    """Write the settings; return one line where that fails."""
    return _write(user_folder() / "viewer.json", asdict(settings))


def _notes_file(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return user_folder() / "measurements" / f"{name}.json"


def load_measurements(path: Path) -> object:
    """Return the measurements kept for a run or scene, as plain values."""
    return _read(_notes_file(path)).get("measurements", [])


def save_measurements(path: Path, plain: list[dict]) -> str | None:
    """Keep the measurements of a run or scene; return one line where that fails."""
    file = _notes_file(path)
    if not plain and not file.exists():
        return None
    return _write(file, {"path": str(path), "measurements": plain})


def _read(file: Path) -> dict:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        stored = json.loads(file.read_bytes())
        if isinstance(stored, dict):
            return stored
    return {}


def _write(file: Path, value: dict) -> str | None:
    try:
        make_folder(file.parent)
        write_json(file, value, overwrite=True)
    except (StorageError, OSError, ValueError) as error:
        return f"settings could not be kept: {error}"
    return None
