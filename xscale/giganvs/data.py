"""Descriptions that come with the program: scenes, protocols, quoted figures (datasets/giganvs)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xscale.errors import SetupError

_INSTALLED = Path(__file__).with_name("data")
_CHECKOUT = Path(__file__).resolve().parents[2] / "datasets" / "giganvs"


def read(name: str) -> dict[str, Any]:
    """Return one of the descriptions: ``scenes``, ``protocols``, ``quoted`` or ``checks``.

    Raises:
        SetupError: The installation lacks it.
    """
    for folder in (_INSTALLED, _CHECKOUT):
        if (folder / f"{name}.json").is_file():
            return json.loads((folder / f"{name}.json").read_text("utf-8"))
    raise SetupError(f"the installation lacks {name}.json", advice="install xscale again")
