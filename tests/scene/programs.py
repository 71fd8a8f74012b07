"""Cameras as other programs write them."""

import json

from tests.scene import test_bundler, test_metashape, test_nerfstudio
from tests.scene import test_realitycapture as test_rc


def write_labelled_cameras(built, root, layout):
    """Write the cameras as a program does that names photos by labels."""
    if layout == "metashape":
        (root / "cameras.xml").write_text(test_metashape.export(built))
    elif layout == "realitycapture":
        (root / "cameras.csv").write_text(test_rc.table(built))
    elif layout == "bundler":
        (root / "bundle.out").write_text(test_bundler.bundle(built))
        (root / "list.txt").write_text("".join(f"{n}\n" for n in built.cameras))
    elif layout == "nerfstudio":
        content = test_nerfstudio.transforms(built)
        (root / "transforms.json").write_text(json.dumps(content))
