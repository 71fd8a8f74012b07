"""xscale path: what a path meets is found, files and plots are written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import builders
from xscale.cli.main import main
from xscale.gbuffer.build import build_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.render.camera_files import read_cameras
from xscale.render.probe import check_path, surface_point

pytest.importorskip("scipy")
K = np.array([[50.0, 0, 32], [0, 50, 32], [0, 0, 1]])


def _at(*position):
    R, t = builders.look_at(position, np.add(position, (0.1, 0, -1)), (0, -1, 0))
    return Camera("PINHOLE", 64, 64, K, R, t)


def _cube():
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    return corners, np.array(faces)


def test_flying_through_a_wall_and_into_a_box_is_found():
    mesh = Mesh.from_world(*_cube())
    surface = build_surface(mesh)
    met = check_path(
        surface, mesh.origin, [_at(0, 0, 3), _at(0.1, 0.2, 2.5), _at(0, 0.1, 0.2), _at(0, 0, -4)]
    )
    assert [m.crosses for m in met] == [False, True, True, False]
    assert [m.inside for m in met] == [False, False, True, False]
    # Rays through a cube's pixels see the nearest point up to their spacing.
    np.testing.assert_allclose([m.clearance for m in met], (2, 1.5, 0.8, 3), rtol=0.02)


def test_pixel_shows_its_surface_point(tiny_run, asymmetric):
    camera = asymmetric.cameras["view_02.png"]
    pixel = np.array([[40.3, 22.8]])
    distance, _ = builders.hits(asymmetric.vertices, asymmetric.faces, camera, pixel)
    expected = camera.position + camera.rays(pixel)[0] * distance[0]
    origin = tiny_run.manifest.origin
    np.testing.assert_allclose(
        surface_point(tiny_run.surface, origin, camera, *pixel[0]), expected, atol=1e-5
    )
    away = replace(camera, R=-camera.R * [[1], [-1], [1]], t=-camera.t * [1, -1, 1])
    assert surface_point(tiny_run.surface, origin, away, 50, 30) is None


@pytest.mark.parametrize("kind", ["orbit", "spiral", "interpolate", "zoom"])
def test_command_writes_a_path_that_reads_and_a_plot(tiny_run, tmp_path, kind):
    out, plot = tmp_path / "p.json", tmp_path / "p.png"
    line = ["path", str(tiny_run.path), kind, "--frames", "7", "--size", "96x54"]
    assert main([*line, "--out", str(out), "--plot", str(plot)]) == 0
    cameras = read_cameras(out).cameras
    assert len(cameras) == 7
    assert {(c.camera.width, c.camera.height) for c in cameras} == {(96, 54)}
    picture = np.asarray(Image.open(plot))
    assert picture.shape == (1000, 1000, 3)
    green = (picture.astype(int) - (40, 150, 60) == 0).all(-1)
    assert green.sum() > 50  # the start's dot
    assert main([*line, "--out", str(out)]) == 4  # never overwritten unasked
    again = tmp_path / "fly.json"
    fly = ["path", str(tiny_run.path), "flythrough", "--keys", str(out), "--frames", "5"]
    assert main([*fly, "--out", str(again)]) == 0
    first, last = (read_cameras(again).cameras[k].camera for k in (0, -1))
    np.testing.assert_allclose(first.position, cameras[0].camera.position, atol=1e-9)
    np.testing.assert_allclose(last.position, cameras[-1].camera.position, atol=1e-9)


def test_strict_path_through_the_mesh_ends_with_its_code(tiny_run, tmp_path, capsys):
    out = tmp_path / "p.json"
    line = ["path", str(tiny_run.path), "orbit", "--radius", "0.5", "--height", "-0.2",
            "--target", "0.85", "-0.6", "0.1", "--frames", "12", "--strict"]  # fmt: skip
    assert main([*line, "--out", str(out)]) == 12
    assert "W-PATH-MESH" in capsys.readouterr().err
    assert out.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["interpolate", "--views", "nobody.png"], 2),
        (["flythrough"], 2),
        (["orbit", "--frames", "1"], 2),
        (["orbit", "--frames", "1000000000"], 2),
        (["orbit", "--size", "0x10"], 2),
        (["zoom", "--pixel", "-5000", "3"], 2),
        (["flythrough", "--keys", "nowhere.json"], 3),
    ],
)
def test_bad_paths_are_refused_and_nothing_is_written(tiny_run, tmp_path, words, code):
    out = tmp_path / "p.json"
    assert main(["path", str(tiny_run.path), *words, "--out", str(out)]) == code
    assert not out.exists()
