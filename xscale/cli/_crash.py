"""Where a crash file goes: a command that works in a run folder says so here."""

from __future__ import annotations

from pathlib import Path

folder: Path | None = None
"""None: the system's folder for temporary files."""
