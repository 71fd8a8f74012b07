"""Follow the advice of a message as a person would."""

import re
from pathlib import Path


def advised(message: str, folder: Path) -> dict[str, object]:
    """Return the options of ``Scene.open`` that a message advises; files are written to folder."""
    options: dict[str, object] = {}
    if match := re.search(r"save '([^']+)' as mesh_to_scene.txt", message):
        path = folder / "mesh_to_scene.txt"
        path.write_text(match[1])
        options["transform"] = path
    if match := re.search(r"add --pose-convention ([a-z-]+)", message):
        options["pose_convention"] = match[1]
    if match := re.search(r"add --images (\S+)", message):
        options["images"] = match[1]
    if match := re.search(r"--mesh (\S+)$", message):
        options["mesh"] = match[1]
    return options
