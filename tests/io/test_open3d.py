"""Meshes that Open3D writes come back, and what is written here it reads alike."""

import numpy as np
import pytest

from xscale.io.mesh.meshes import read_mesh_arrays
from xscale.io.mesh.ply import encode_ply

FILES = 50
# Digits that Open3D writes: all of them in binary files, 6 behind the point or in all in texts.
KINDS = {"ply": 0, "ply-ascii": 1e-5, "obj": 1e-5, "off": 1e-5, "stl": 0, "glb": 0, "gltf": 0}


def random_mesh(seed):
    """Points [V, 3] that single precision holds, and faces [F, 3] of three different ones."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 400))
    points = rng.normal(0, 10.0 ** rng.integers(-2, 3), (count, 3)).astype(np.float32)
    faces = rng.permuted(np.tile(np.arange(count), (int(rng.integers(1, 300)), 1)), axis=1)
    return points.astype(np.float64), faces[:, :3].astype(np.int32)


@pytest.fixture(scope="module")
def open3d():
    found = pytest.importorskip("open3d")
    found.utility.set_verbosity_level(found.utility.VerbosityLevel.Error)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_fifty_meshes_written_by_open3d_come_back(open3d, tmp_path, kind):
    suffix, _, encoding = kind.partition("-")
    path = tmp_path / f"a.{suffix}"
    for seed in range(FILES):
        points, faces = random_mesh(seed)
        mesh = open3d.geometry.TriangleMesh(
            open3d.utility.Vector3dVector(points), open3d.utility.Vector3iVector(faces)
        )
        mesh.compute_triangle_normals()  # STL is not written without
        assert open3d.io.write_triangle_mesh(str(path), mesh, write_ascii=encoding == "ascii")
        read = read_mesh_arrays(path)
        tolerance = KINDS[kind]
        np.testing.assert_allclose(
            read.vertices[read.faces], points[faces], rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("reader", ["open3d", "trimesh"])
def test_fifty_meshes_that_are_written_here_are_read_alike(tmp_path, reader, double):
    other = pytest.importorskip(reader)
    path = tmp_path / "a.ply"
    for seed in range(FILES):
        points, faces = random_mesh(seed)
        path.write_bytes(encode_ply(points if double else points.astype(np.float32), faces))
        if reader == "open3d":
            read = other.io.read_triangle_mesh(str(path))
            vertices, triangles = np.asarray(read.vertices), np.asarray(read.triangles)
        else:
            read = other.load(path, process=False)
            vertices, triangles = read.vertices, read.faces
        np.testing.assert_array_equal(vertices, points)
        np.testing.assert_array_equal(triangles, faces)
        mine = read_mesh_arrays(path)
        np.testing.assert_array_equal(mine.vertices, points)
        np.testing.assert_array_equal(mine.faces, faces)
