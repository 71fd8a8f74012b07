"""Exports keep the digits that georeferenced scenes need, and the limits that readers have."""

import numpy as np
import pytest

from tests.inspection import faults
from xscale.export.mesh_files import write_obj
from xscale.export.points import write_points
from xscale.export.unwrap import Page, unwrap


@pytest.mark.parametrize("page", [96, 128])
def test_pages_are_no_larger_than_asked(page):
    pytest.importorskip("xatlas")
    built = faults.textured()
    vertices = built.vertices.astype(np.float32)
    normals = np.tile(np.float32([0, 0, 1]), (len(vertices), 1))
    made = list(unwrap(vertices, built.faces, normals, 0.01, page))
    assert len(made) > 3
    assert max(max(one.width, one.height) for one in made) <= page
    assert sum(len(one.faces) for one in made) == len(built.faces)


@pytest.mark.parametrize("place", [(500_000.123, 5_400_000.456, 312.5), (4e6, 5e5, 5e6)])
def test_georeferenced_obj_keeps_a_tenth_of_a_millimetre(tmp_path, rng, place):
    vertices = rng.uniform(-60, 60, (200, 3)).astype(np.float32)
    faces = np.arange(198, dtype=np.int32).reshape(-1, 3)
    page = Page(vertices, vertices, faces, np.zeros((200, 2), np.float32), 8, 8)
    texture = np.zeros((8, 8, 3), np.uint8)
    write_obj(tmp_path / "a.obj", [page], [texture], np.array(place))
    lines = (tmp_path / "a.obj").read_text().splitlines()
    read = np.array([[float(x) for x in line.split()[1:]] for line in lines if line[:2] == "v "])
    assert np.abs(read - (vertices.astype(np.float64) + place)).max() < 1e-4


@pytest.mark.parametrize("extent", [0.05, 3.0, 500.0, 90_000.0])
def test_las_steps_fit_the_points_and_stay_within_31_bits_of_the_least(tmp_path, rng, extent):
    laspy = pytest.importorskip("laspy")
    points = rng.uniform(0, extent, (3000, 3)).astype(np.float32)
    origin = np.array([500_000.0, 5_400_000.0, 300.0])
    colour = np.zeros((3000, 3), np.uint8)
    write_points(tmp_path / "a.las", points, points, colour, origin)
    cloud = laspy.read(tmp_path / "a.las")
    scale = cloud.header.scales[0]
    assert scale <= 1e-4
    assert np.ptp(np.array([cloud.X, cloud.Y, cloud.Z], np.int64), axis=1).max() < 2**31 - 1
    assert np.abs(cloud.xyz - (points + origin)).max() <= scale
    assert scale < extent / 1000
