"""Modules that load, and work that is done, while a command starts."""

import pytest

from tests import builders
from xscale import Scene
from xscale.cli._ahead import importing
from xscale.training import left_out
from xscale.training.ahead import look_ahead


def test_errors_of_the_body_and_of_the_import_are_raised():
    with pytest.raises(ZeroDivisionError), importing("json"):
        _ = 1 / 0
    with pytest.raises(ModuleNotFoundError, match="not_there"), importing("xscale.not_there"):
        pass


def test_what_is_looked_at_ahead_is_not_looked_at_again(tmp_path, monkeypatch):
    folder = builders.write_colmap(builders.asymmetric_scene(), tmp_path / "scene")
    scene = Scene.open(folder)
    look_ahead(scene, test_every=None, test_list=None, downscale=1)
    decoded = []
    monkeypatch.setattr(left_out, "_decode", lambda scene, name, downscale: decoded.append(name))
    split = scene.split()
    left_out.check_test_photos(scene, split, 1)
    assert decoded == []
    left_out.check_test_photos(scene, split, 2)
    assert sorted(decoded) == sorted(split.test)
