import numpy as np
import pytest

from tests import builders
from xscale.errors import MeshError
from xscale.geometry.bounds import box_of
from xscale.geometry.mesh import Mesh


def test_normals_are_weighted_by_area():
    # Vertex 0 lies on a face of area 2 facing +z and on one of area 0.5 facing +x.
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh.from_world(vertices, np.array([[0, 1, 2], [0, 3, 4]]))
    np.testing.assert_allclose(mesh.normals[0], np.array([0.5, 0, 2]) / np.hypot(0.5, 2), rtol=1e-6)
    np.testing.assert_allclose(mesh.normals[1], [0, 0, 1])


def test_normal_is_zero_where_nothing_defines_it():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]])
    mesh = Mesh.from_world(vertices, np.array([[0, 1, 2], [0, 1, 1]]))
    assert mesh.normals.dtype == np.float32
    assert not mesh.normals[3].any()
    assert mesh.degenerate == 1


def test_origin_is_the_centre_of_used_vertices_only():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 4, 0], [1000, 1000, 1000]])
    mesh = Mesh.from_world(vertices, np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(mesh.origin, [1, 2, 0])
    np.testing.assert_array_equal(mesh.bounds.lo, [-1, -2, 0])
    np.testing.assert_array_equal(mesh.world_bounds.hi, [2, 4, 0])


def test_georeferenced_mesh_keeps_a_tenth_of_a_millimetre():
    vertices, faces = builders.checker_quad(2.0)
    vertices[2] += 1e-4
    near = Mesh.from_world(vertices, faces)
    far = Mesh.from_world(vertices + np.array([5e6, 4e6, 100.0]), faces)
    np.testing.assert_allclose(far.vertices, near.vertices, atol=2e-9 * 5)
    assert far.vertices.dtype == np.float32


def test_unused_nan_vertex_is_harmless_and_used_one_is_named():
    vertices, faces = builders.checker_quad()
    spare = np.vstack([vertices, [[np.nan] * 3]])
    assert np.isfinite(Mesh.from_world(spare, faces).vertices).all()
    spare[1, 2] = np.inf
    with pytest.raises(MeshError, match=r"scene/mesh.ply: vertex 1 .*inf"):
        Mesh.from_world(spare, faces, where="scene/mesh.ply")


@pytest.mark.parametrize("index", [-1, 4, 2**40])
def test_face_that_names_no_vertex_is_refused(index):
    vertices, faces = builders.checker_quad()
    faces = faces.astype(np.int64)
    faces[1, 2] = index
    with pytest.raises(MeshError, match=f"face 1 names vertex {index} of 4"):
        Mesh.from_world(vertices, faces)


def test_mesh_without_faces_is_refused():
    with pytest.raises(MeshError, match="no faces"):
        Mesh.from_world(np.zeros((3, 3)), np.zeros((0, 3), int))


def test_absurdly_large_mesh_is_refused():
    vertices, faces = builders.checker_quad(1e14)
    with pytest.raises(MeshError, match="units large"):
        Mesh.from_world(vertices, faces)


def test_median_edge_of_a_unit_right_triangle_is_one():
    assert Mesh.from_world(*builders.one_triangle()).median_edge == pytest.approx(1)


def test_box_of_contains_its_points_and_not_others(rng):
    points = rng.normal(size=(30, 3))
    box = box_of(points)
    assert box.contains(points).all()
    assert not box.contains(box.hi[None] + 1e-9).any()
    assert box.grown(1).contains(box.hi[None] + 0.5).all()
