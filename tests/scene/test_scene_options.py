"""How a scene is read: one dataclass for Python, the command line and a run's manifest."""

from dataclasses import fields
from pathlib import Path

import pytest

from xscale.cli._scene import SceneArguments
from xscale.errors import UsageError
from xscale.scene.options import SceneOptions
from xscale.scene.scene import Scene

CHANGED = {
    "mesh": (Path("a.ply"), Path("b.ply")), "transform": Path("m.txt"),
    "mesh_repair": "drop-bad-faces", "cameras": Path("c"), "images": Path("i"),
    "colmap_model": "0", "pixel_origin": "center", "pose_convention": "camera-to-world",
    "on_bad_photo": "stop", "alpha": "ignore", "convert_cmyk": True, "color": "icc",
    "no_outside": True, "drop_outliers": True,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_text_of_a_manifest_gives_the_option_again(name):
    options = SceneOptions(**{name: CHANGED[name]})
    text = options.as_text()
    assert list(text) == [name]
    assert SceneOptions.of(text) == options


def test_every_option_is_tried_and_the_command_line_has_all():
    names = {field.name for field in fields(SceneOptions)}
    assert names == {*CHANGED, "layout_scale"}
    assert {field.name for field in fields(SceneArguments)} == names | {"scene", "threads"}
    assert SceneOptions().as_text() == {}


def test_one_mesh_may_be_a_path_or_text_and_stays_text():
    assert SceneOptions.of({"mesh": "a.ply"}) == SceneOptions.of({"mesh": [Path("a.ply")]})
    assert SceneOptions.of({"mesh": "a.ply"}).as_text() == {"mesh": "a.ply"}
    assert SceneOptions.of({"convert_cmyk": "False", "alpha": None}) == SceneOptions()


def test_options_that_do_not_exist_are_refused(asymmetric_folder):
    with pytest.raises(UsageError, match="no option 'meshes'"):
        Scene.open(asymmetric_folder, meshes="a.ply")
