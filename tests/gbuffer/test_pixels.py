"""Meshes land on the right pixels: a plain numpy projection says where every face must appear.

The oracle projects corners with R, t and K written out, in float64 and the world's frame, and
decides by signed areas. Pixels within a thousandth of a pixel of an edge are left undecided.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import xscale
from tests import builders
from xscale.gbuffer.build import build_gbuffer, build_surface, visibility
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.render.renderer import Renderer

UNDECIDED = -2
MARGIN = 1e-3
SKEWED = np.array([[90.0, 11.0, 21.3], [0, 64.0, 44.8], [0, 0, 1]])
FAR_AWAY = np.array([5e6, -4.2e6, 350.0])


def expected(vertices, faces, camera, near=0.0):
    """Face id [H, W] at pixel centres (-1 none, -2 too close to an edge) and depth [H, W].

    Faces must lie wholly in front of the camera; those before ``near`` are not seen.
    """
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    ids = np.full(u.shape, -1)
    depth, edge = np.full(u.shape, np.inf), np.full(u.shape, np.inf)
    for k, corners in enumerate(np.asarray(vertices, np.float64)[faces]):
        a, b, c = corners @ camera.R.T + camera.t
        assert min(a[2], b[2], c[2]) > 0
        K = camera.K
        p = [(K[0] @ x / x[2], K[1] @ x / x[2]) for x in (a, b, c)]
        turn = _side(p[0], p[1], *p[2])
        inside = np.full(u.shape, np.inf)
        for q, r in ((0, 1), (1, 2), (2, 0)):
            length = np.hypot(p[r][0] - p[q][0], p[r][1] - p[q][1])
            inside = np.minimum(inside, np.sign(turn) * _side(p[q], p[r], u, v) / length)
        # The plane n x = n a, along the ray K^-1 (u, v, 1) whose third component is 1.
        normal = np.cross(b - a, c - a)
        y = (v - K[1, 2]) / K[1, 1]
        x = (u - K[0, 2] - K[0, 1] * y) / K[0, 0]
        z = normal @ a / (normal[0] * x + normal[1] * y + normal[2])
        nearest = (inside > MARGIN) & (z < depth) & (z > near)
        ids[nearest], depth[nearest] = k, z[nearest]
        close = (np.abs(inside) <= MARGIN) & (z > near)
        edge[close] = np.minimum(edge, z)[close]
    ids[edge < depth * (1 + 1e-9)] = UNDECIDED
    return ids, depth


def _side(p, q, u, v):
    return (q[0] - p[0]) * (v - p[1]) - (q[1] - p[1]) * (u - p[0])


def drawn(mesh, camera):
    """Face id [H, W] and G-buffer of a world-frame camera."""
    surface = build_surface(mesh)
    packed = torch.from_numpy(camera.recentred(mesh.origin).packed())
    ids = visibility(surface, packed, camera.width, camera.height)
    samples, coverage = build_gbuffer(surface, packed, camera.width, camera.height)
    assert torch.equal(coverage, ids >= 0)
    return ids.numpy(), samples


def grid(cells, step):
    """A bumpy sheet of cells x cells quads, ``step`` wide each; all numbers are exact binary."""
    column, row = np.meshgrid(np.arange(cells + 1), np.arange(cells + 1))
    height = ((3 * column + 5 * row) % 4) * step / 4
    vertices = np.stack([column * step, row * step, height], -1).reshape(-1, 3).astype(np.float64)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).reshape(-1)
    low = np.stack([corner, corner + 1, corner + cells + 2], 1)
    high = np.stack([corner, corner + cells + 2, corner + cells + 1], 1)
    return vertices, np.concatenate([low, high]).astype(np.int32)


def camera_over(centre, distance, K=SKEWED, size=(97, 71)):
    R, t = builders.look_at(centre + distance * np.array([0.3, -0.5, 0.9]), centre, (0.2, 1, 0))
    return Camera("PINHOLE", *size, K, R, t)


def assert_same_faces(found, wanted):
    decided = wanted != UNDECIDED
    assert decided.mean() > 0.98
    np.testing.assert_array_equal(found[decided], wanted[decided])


@pytest.mark.parametrize("change", ["none", "centre", "skew", "fy"])
def test_off_centre_principal_point_skew_and_unequal_focal_lengths(change):
    vertices, faces = grid(12, 0.25)
    camera = camera_over(vertices.mean(0), 3.0)
    wanted, depth = expected(vertices, faces, camera)
    if change != "none":
        # The oracle notices each of them: a camera without it is not the same picture.
        place = {"centre": (0, 2), "skew": (0, 1), "fy": (1, 1)}[change]
        K = np.array(camera.K)
        K[place] = {"centre": camera.width / 2, "skew": 0.0, "fy": camera.fx}[change]
        other, _ = drawn(Mesh.from_world(vertices, faces), replace(camera, K=K))
        decided = wanted != UNDECIDED
        assert (other[decided] != wanted[decided]).mean() > 0.15
        return
    found, samples = drawn(Mesh.from_world(vertices, faces), camera)
    assert len(np.unique(found)) > 100
    assert_same_faces(found, wanted)
    sure = (wanted >= 0).reshape(-1)[samples.pixel_index]
    np.testing.assert_allclose(
        samples.depth[sure], depth.reshape(-1)[samples.pixel_index][sure], rtol=2e-6
    )


def test_surface_points_project_to_the_centres_of_their_pixels():
    vertices, faces = grid(12, 0.25)
    camera = camera_over(vertices.mean(0), 3.0)
    mesh = Mesh.from_world(vertices, faces)
    _, samples = drawn(mesh, camera)
    seen = (samples.position.numpy() + mesh.origin) @ camera.R.T + camera.t
    pixel = (seen / seen[:, 2:]) @ camera.K.T
    index = samples.pixel_index.numpy()
    centres = np.stack([index % camera.width, index // camera.width], 1) + 0.5
    np.testing.assert_allclose(pixel[:, :2], centres, atol=MARGIN)


def test_soup_and_joined_mesh_are_seen_alike(asymmetric):
    corners = asymmetric.vertices[asymmetric.faces].reshape(-1, 3)
    apart = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    for camera in asymmetric.cameras.values():
        seen = []
        for vertices, faces in ((asymmetric.vertices, asymmetric.faces), (corners, apart)):
            mesh = Mesh.from_world(vertices, faces)
            packed = torch.from_numpy(camera.recentred(mesh.origin).packed())
            seen.append(build_gbuffer(build_surface(mesh), packed, camera.width, camera.height)[0])
        assert torch.equal(seen[0].pixel_index, seen[1].pixel_index)
        # Features and shading go by position and direction; normals are only shown.
        torch.testing.assert_close(seen[0].position, seen[1].position, rtol=0, atol=1e-5)
        torch.testing.assert_close(seen[0].footprint, seen[1].footprint, rtol=1e-5, atol=0)


def test_georeferenced_mesh_with_centimetre_detail_lands_on_the_same_pixels():
    # Cells of 1/64 m, 1.6 cm, ten pixels wide, five thousand kilometres from the origin, where
    # float32 knows only every half metre.
    vertices, faces = grid(12, 1 / 64)
    camera = camera_over(vertices.mean(0), 12 / 64)
    far = replace(camera, t=camera.t - camera.R @ FAR_AWAY)
    near_ids, near = drawn(Mesh.from_world(vertices, faces), camera)
    mesh = Mesh.from_world(vertices + FAR_AWAY, faces)
    far_ids, samples = drawn(mesh, far)
    assert_same_faces(far_ids, expected(vertices, faces, camera)[0])
    np.testing.assert_array_equal(mesh.vertices, Mesh.from_world(vertices, faces).vertices)
    both = (near_ids == far_ids).reshape(-1)
    assert both.mean() > 0.99
    np.testing.assert_allclose(
        samples.depth[both[samples.pixel_index]], near.depth[both[near.pixel_index]], rtol=1e-6
    )
    # And this is what single precision in the world's frame would do to it.
    lost = Mesh.from_world((vertices + FAR_AWAY).astype(np.float32), faces)
    assert (drawn(lost, far)[0] == far_ids)[far_ids >= 0].mean() < 0.1


def test_georeferenced_scene_renders_the_same_picture(asymmetric, asymmetric_folder, tmp_path):
    # From the files on: PLY in double, poses in the COLMAP model, recentring, model, frame.
    far = xscale.Scene.open(builders.write_colmap(asymmetric.moved(FAR_AWAY), tmp_path / "far"))
    near = xscale.Scene.open(asymmetric_folder)
    small = ["optim.batch=2048", "model.grid.levels=8", "model.grid.log2_table_size=12"]
    small.append("model.background=white")  # the other renderer has none
    run = xscale.train(near, out=tmp_path / "run", steps=40, settings=small)
    there = Renderer(build_surface(far.mesh), run.model, far.origin)
    for photo in near.photos[:3]:
        here = run.render(photo.camera, outputs=("colour", "depth"))
        moved = there.render(far.photo(photo.name).camera, outputs=("colour", "depth"))
        same = here.coverage == moved.coverage
        assert same.float().mean() > 0.999
        difference = (here.colour.int() - moved.colour.int()).abs().amax(-1)[same]
        assert (difference <= 1).float().mean() > 0.999
        assert here.colour[here.coverage].float().std() > 20
        depth = (here.depth / moved.depth - 1)[here.coverage & moved.coverage]
        assert depth.abs().median() < 1e-6


def test_depths_from_a_hundredth_to_a_hundred_thousand_in_one_frame():
    # Each plate fills the same corner-to-corner part of the picture, shifted a bit, so near ones
    # hide far ones; the farthest is a shell on both sides, whose box is centred on the camera.
    depths = np.array([0.01, 0.3, 10.0, 1e3, 1e5])
    K = np.array([[80.0, 0, 50], [0, 75, 35], [0, 0, 1]])
    plates, faces = [], []
    for k, z in enumerate(depths):
        u = np.array([2.3 + 14 * k, 49.7 + 11 * k, 25.2 + 13 * k])
        v = np.array([3.1 + 3 * k, 12.4 + 5 * k, 61.8])
        x, y = (u - 50) / 80 * z, (v - 35) / 75 * z
        plates.append(np.stack([x, y, z * np.array([1, 1.1, 1.05])], 1))
        faces.append([3 * k, 3 * k + 1, 3 * k + 2])
    mirrored = -plates[-1]
    vertices = np.concatenate([*plates, mirrored]).astype(np.float32).astype(np.float64)
    mesh = Mesh.from_world(vertices, np.array([*faces, [15, 16, 17]], np.int32))
    assert np.abs(mesh.origin).max() < 1e-9
    camera = Camera("PINHOLE", 100, 70, K, np.eye(3), np.zeros(3), near=0.005)
    wanted, depth = expected(vertices, np.array(faces), camera)
    assert set(np.unique(wanted)) >= {-1, 0, 1, 2, 3, 4}
    found, samples = drawn(mesh, camera)
    assert_same_faces(found, wanted)
    sure = (wanted >= 0).reshape(-1)[samples.pixel_index]
    np.testing.assert_allclose(
        samples.depth[sure], depth.reshape(-1)[samples.pixel_index][sure], rtol=1e-5
    )
    # Behind a near plane the next face shows, it is not a hole.
    found, _ = drawn(mesh, replace(camera, near=0.05))
    assert_same_faces(found, expected(vertices, np.array(faces), camera, near=0.05)[0])


def test_ground_from_behind_the_camera_to_the_horizon():
    # Two triangles 2e5 across, eye 1.5 above them: the pixel (u, v) sees depth f 1.5 / (v - cy).
    ground = np.array([[-1e5, 1.5, -1e5], [1e5, 1.5, -1e5], [1e5, 1.5, 1e5], [-1e5, 1.5, 1e5]])
    mesh = Mesh.from_world(ground, np.array([[0, 1, 2], [0, 2, 3]]))
    K = np.array([[40.0, 0, 31.5], [0, 50.0, 20.0001], [0, 0, 1]])
    camera = Camera("PINHOLE", 64, 60, K, np.eye(3), np.zeros(3), near=0.01)
    found, samples = drawn(mesh, camera)
    v = np.arange(60) + 0.5
    np.testing.assert_array_equal((found >= 0).any(1), v > 20.0001)
    np.testing.assert_array_equal((found >= 0).all(1), v > 20.0001)
    row = samples.pixel_index.numpy() // 64
    np.testing.assert_allclose(samples.depth, 50 * 1.5 / (v[row] - 20.0001), rtol=2e-5)


def test_near_plane_follows_the_median_distance_and_not_the_nearest_face(asymmetric, tmp_path):
    # A speck 1e-3 in front of one camera, nearer than 1e-4 of the distance times 10: seen; the
    # same speck at 1e-4 of that distance times 0.5: not seen, what is behind it is.
    for share, seen in ((10.0, True), (0.5, False)):
        camera = asymmetric.cameras["view_00.png"]
        distance = np.median([np.linalg.norm(c.position) for c in asymmetric.cameras.values()])
        depth = share * 1e-4 * distance
        corners = np.array([[-0.3, -0.2, 1], [0.3, -0.2, 1], [0, 0.25, 1]]) * depth
        speck = (corners - camera.t) @ camera.R
        built = asymmetric.moved(np.zeros(3))
        built.vertices = np.concatenate([asymmetric.vertices, speck])
        built.faces = np.concatenate([asymmetric.faces, [[7, 8, 9]]])
        scene = xscale.Scene.open(builders.write_colmap(built, tmp_path / f"{seen}"))
        found, _ = drawn(scene.mesh, scene.photo("view_00.png").camera)
        assert (found == 3).any() == seen
        assert (found >= 0).mean() > 0.5
