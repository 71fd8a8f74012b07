"""Views from afar take more samples a pixel, and photos' own views one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.cli.main import main
from xscale.io.photo.images import read_rgb
from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path
from xscale.render.run import Run
from xscale.render.sampling import remoteness, samples_for
from xscale.run.folder import RunFolder
from xscale.scene.split import Split


def _smaller(camera, factor):
    return camera.scaled(round(camera.width / factor), round(camera.height / factor))


def test_remoteness_is_one_at_the_photos_and_grows_with_pixels_and_distance(tiny_run):
    cameras = [tiny_run.camera(name) for name in tiny_run.names("all")]
    own = np.array(remoteness(tiny_run, cameras))
    assert (own > 0.8).all()
    assert (own < 1.3).all()
    small = remoteness(tiny_run, [camera.scaled(28, 16) for camera in cameras])
    np.testing.assert_allclose(small, 4 * own, rtol=1e-3)
    centre = np.array([0.0, 0.05, 0.0])
    away = [replace(c, t=-c.R @ (centre + 3 * (c.position - centre))) for c in cameras]
    np.testing.assert_allclose(remoteness(tiny_run, away), 3 * own, rtol=0.2)


def test_one_number_for_all_views_is_that_of_the_remotest(tiny_run):
    near = [tiny_run.camera(name) for name in tiny_run.names("all")]
    assert samples_for(tiny_run, near) == 1
    assert samples_for(tiny_run, [*near, _smaller(near[0], 2)]) == 2
    assert samples_for(tiny_run, [_smaller(near[0], 3), *near]) == 3
    assert samples_for(tiny_run, [near[0].scaled(7, 4)]) == 4
    assert samples_for(tiny_run, []) == 1


def test_a_view_of_what_no_photo_shows_takes_one_sample(tiny_run):
    camera = tiny_run.camera(tiny_run.names("test")[0])
    R, t = builders.look_at((0.1, 0.2, -9.0), (0, 0, 0))
    behind = replace(_smaller(camera, 4), R=R, t=t)
    assert tiny_run.render(behind).coverage.any()
    assert remoteness(tiny_run, [behind]) == [0.0]
    R, t = builders.look_at((0, 0, 9.0), (0, 0, 20.0), (0, -1.0, 0))
    assert samples_for(tiny_run, [replace(camera, R=R, t=t)]) == 1


def test_closer_photos_count_by_their_pixels(tiny_run):
    manifest = tiny_run.manifest
    one, other = manifest.split.train[:2]
    first = manifest.cameras[one]
    close = replace(
        first,
        K=np.diag([4, 4, 1]) @ first.K,
        width=4 * first.width,
        height=4 * first.height,
    )
    changed = Run(RunFolder(tiny_run.path), tiny_run.device)
    changed.folder.manifest = replace(
        manifest, split=Split((one, other), ()), cameras={**manifest.cameras, other: close}
    )
    # 16 pixels of a quarter of the size beside one of it.
    expected = 4 ** (16 / 17)
    assert remoteness(changed, [changed.camera(one)]) == pytest.approx([expected], rel=1e-3)


@pytest.fixture
def path(tiny_run, tmp_path):
    """A camera path whose second view has pixels twice as large."""
    camera = tiny_run.camera(tiny_run.names("test")[0])
    views = (NamedCamera("near", camera), NamedCamera("far", _smaller(camera, 2)))
    write_camera_path(tmp_path / "path.json", CameraPath(views, 24.0))
    return tmp_path / "path.json"


def _rendered(run, path, out, *options):
    assert main(["render", str(run.path), "--cameras", str(path), "--out", str(out), *options]) == 0
    pictures = {p.name: p.read_bytes() for p in out.glob("*.png")}
    return pictures, json.loads((out / "job.json").read_text())["settings"]["samples"]


def test_command_takes_what_the_views_need_and_what_it_is_told(tiny_run, path, tmp_path, capfd):
    chosen = _rendered(tiny_run, path, tmp_path / "auto")
    assert "2 x 2 samples a pixel" in "".join(capfd.readouterr())
    assert chosen == _rendered(tiny_run, path, tmp_path / "two", "--samples", "2")
    one = _rendered(tiny_run, path, tmp_path / "one", "--samples", "1")
    assert one[1] == 1
    assert one[0] != chosen[0]
    assert "samples a pixel" not in "".join(capfd.readouterr())


def test_numbers_alone_take_one_sample(tiny_run, path, tmp_path):
    assert _rendered(tiny_run, path, tmp_path / "out", "--outputs", "depth")[1] == 1


def test_photos_own_views_are_the_ones_that_are_scored(tiny_run, tmp_path):
    assert main(["render", str(tiny_run.path), "--out", str(tmp_path / "out")]) == 0
    name = tiny_run.names("test")[0]
    picture = read_rgb(tmp_path / "out" / name)[0]
    np.testing.assert_array_equal(picture, tiny_run.render(tiny_run.camera(name)).colour.numpy())
