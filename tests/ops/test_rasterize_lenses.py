"""rasterize and interpolate through bending lenses, against the references."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.lenses import BENT, WIDE, camera_of
from tests.ops.test_rasterize import draw, soup
from xscale import ops


def packed_of(model, width=131, height=90, near=1e-3):
    return torch.from_numpy(camera_of(model, width, height, near=near).packed())


def around(count, seed, spread):
    """Triangles on all sides of the camera."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, (count, 1, 3))
    centre *= rng.uniform(0.8, 4, (count, 1, 1)) / np.linalg.norm(centre, axis=2, keepdims=True)
    corners = centre + rng.normal(0, spread, (count, 3, 3))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("model", BENT)
@pytest.mark.parametrize(("count", "spread"), [(150, 0.3), (40, 2.5), (400, 0.06)])
def test_face_ids_equal_the_reference(model, count, spread):
    vertices, faces = around(count, count, spread)
    if model not in WIDE:
        vertices[:, 2] += 0.7
    packed, rect = packed_of(model, 72, 50), (0, 0, 72, 50)
    ours, depth = draw(vertices, faces, packed, rect)
    reference, depth_reference = draw(vertices, faces, packed, rect, reference=True)
    assert (ours >= 0).float().mean() > 0.01
    assert torch.equal(ours, reference)
    assert torch.allclose(depth, depth_reference, rtol=1e-6)
    part, _ = draw(vertices, faces, packed, (19, 7, 41, 33))
    assert torch.equal(part, ours[7:40, 19:60])


@pytest.mark.parametrize("model", ["EQUIRECTANGULAR", "THIN_PRISM_FISHEYE", "FULL_OPENCV"])
def test_a_closed_surface_around_the_camera_leaves_no_hole(model):
    # An icosahedron's edges run through the whole picture, over the seam and both poles.
    golden = (1 + 5**0.5) / 2
    corners = np.array(
        [(0, a, b) for a in (-1, 1) for b in (-golden, golden)]
        + [(a, b, 0) for a in (-1, 1) for b in (-golden, golden)]
        + [(b, 0, a) for a in (-1, 1) for b in (-golden, golden)]
    )
    gap = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i)
        for k in range(j)
        if max(gap[i, j], gap[j, k], gap[i, k]) < 2.1
    ]
    assert len(faces) == 20
    packed, rect = packed_of(model, 196, 134), (0, 0, 196, 134)
    seen, _ = draw(corners, faces, packed, rect)
    total = torch.zeros(134, 196, dtype=torch.int32)
    for face in faces:
        total += (draw(corners, [face], packed, rect)[0] >= 0).int()
    inside = ~np.isnan(camera_of(model, 196, 134).rays(_centres(196, 134))[:, 0]).reshape(134, 196)
    np.testing.assert_array_equal(seen.numpy() >= 0, inside)
    np.testing.assert_array_equal(total.numpy(), inside.astype(np.int32))


def _centres(width, height):
    v, u = np.mgrid[:height, :width] + 0.5
    return np.stack([u.ravel(), v.ravel()], 1)


def test_pixels_outside_the_domain_see_nothing():
    # 131 pixels at a focal length of 20 reach to 188 degrees from the axis: the corners are empty.
    camera = torch.from_numpy(camera_of("RADIAL_FISHEYE").packed())
    camera[12:14] = 20.0
    camera[20:22] = 0.0
    vertices, faces = around(4000, 1, 1.5)
    seen, depth = draw(vertices, faces, camera, (0, 0, 131, 90))
    u, v = torch.from_numpy(_centres(131, 90)).unbind(1)
    theta = torch.hypot(u - 66.3, v - 44.8).reshape(90, 131) / 20
    assert (seen[theta > np.pi] == -1).all()
    assert torch.isinf(depth[theta > np.pi]).all()
    assert (seen[theta < 3.1] >= 0).all()


def test_wide_pictures_compare_distances_and_near_is_a_distance():
    # Two walls to the right: by z the oblique one would be nearer, by distance it is farther.
    vertices = [[2, -9, -9], [2, 9, -9], [2, 0, 9], [3, -9, -9], [3, 9, -9], [3, 0, 9]]
    packed = packed_of("EQUIRECTANGULAR")
    seen, depth = draw(vertices, [[3, 4, 5], [0, 1, 2]], packed, (0, 0, 131, 90))
    assert seen[45, 98] == 1
    ray = camera_of("EQUIRECTANGULAR").rays(np.array([[98.5, 45.5]]))[0]
    assert depth[45, 98].item() == pytest.approx(2 / ray[0], rel=1e-6)
    behind, _ = draw(vertices, [[3, 4, 5], [0, 1, 2]], packed_of("EQUIRECTANGULAR", near=2.5),
                     (0, 0, 131, 90))  # fmt: skip
    assert behind[45, 98] == 0


def test_lens_without_distortion_sees_what_a_pinhole_sees():
    vertices, faces = soup(500, 3, 0.2, (0.5, 4))
    packed = packed_of("PINHOLE")
    plain = draw(vertices, faces, packed, (0, 0, 131, 90))
    packed[18] = 1  # perspective, all coefficients zero
    packed[31] = 1e3
    bent = draw(vertices, faces, packed, (0, 0, 131, 90))
    assert torch.equal(plain[0], bent[0])
    assert torch.allclose(plain[1], bent[1], rtol=1e-6)


def test_threads_and_instruction_sets_give_the_same_bits(tmp_path):
    script = (
        "import sys, torch; sys.path.insert(0, '.');"
        "from tests.ops.test_rasterize_lenses import *;"
        "v, f = around(1000, 3, 0.2);"
        "ops.limit_threads(int(sys.argv[2])).__enter__();"
        "torch.save([draw(v, f, packed_of(m), (0, 0, 131, 90))"
        " for m in ('OPENCV', 'FISHEYE_OF', 'EQUIRECTANGULAR')], sys.argv[1])"
    ).replace("FISHEYE_OF", "OPENCV_FISHEYE")
    found = []
    for isa, threads in (("base", 1), ("avx2", 2), ("avx512", 3)):
        path = tmp_path / isa
        environment = {**os.environ, "XSCALE_ISA": isa}
        command = [sys.executable, "-c", script, str(path), str(threads)]
        subprocess.run(command, env=environment, check=True)
        found.append(torch.load(path))
    for other in found[1:]:
        for (ids, depth), (ids_base, depth_base) in zip(other, found[0], strict=True):
            assert torch.equal(ids, ids_base)
            assert torch.equal(depth, depth_base)


def _surface_points(model, pixel, vertices, faces, face_id, camera=None):
    packed = packed_of(model) if camera is None else camera
    return ops.interpolate(
        torch.as_tensor(vertices, dtype=torch.float32),
        torch.as_tensor(faces, dtype=torch.int32), None, packed[None],
        torch.zeros(len(pixel), dtype=torch.int32), torch.as_tensor(pixel, dtype=torch.float32),
        face_id,
    )  # fmt: skip


@pytest.mark.parametrize("model", BENT)
def test_interpolate_matches_its_reference_and_the_rasterized_depth(model):
    vertices, faces = around(400, 5, 0.4)
    seen, depth = draw(vertices, faces, packed_of(model), (0, 0, 131, 90))
    pixel, face_id = _centres(131, 90), seen.reshape(-1)
    ours = _surface_points(model, pixel, vertices, faces, face_id)
    with ops.use_backend("reference"):
        reference = _surface_points(model, pixel, vertices, faces, face_id)
    assert torch.equal(ours.depth, depth.reshape(-1))
    for name, value, expected in zip(ours._fields, ours, reference, strict=True):
        finite = torch.isfinite(expected)
        assert torch.equal(finite, torch.isfinite(value)), name
        assert torch.allclose(value[finite], expected[finite], rtol=1e-5, atol=1e-5), name
    hit = (face_id >= 0).numpy()
    back, _ = camera_of(model).project(ours.position.numpy()[hit])
    # A float32 position is known to 1e-7 of its size; the picture's edge magnifies most.
    np.testing.assert_allclose(back, pixel[hit], atol=2e-3)


@pytest.mark.parametrize("model", BENT)
def test_footprint_is_the_solid_angle_between_the_pixels_corner_rays(model):
    camera = camera_of(model, 524, 360)
    pixel = np.random.default_rng(2).uniform((40, 40), (484, 320), (300, 2)).astype(np.float32)
    rays = camera.rays(pixel)
    good = ~np.isnan(rays).any(1)
    corner = [camera.rays(pixel + 0.05 * np.array(s)) for s in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    area = np.cross(corner[2] - corner[0], corner[3] - corner[1])
    wanted = np.sqrt(np.linalg.norm(area, axis=1) / 2) / 0.1
    good &= ~np.isnan(wanted)
    assert good.sum() > 200
    # Each ray gets a wall of its own, two units away and square to it.
    wall, faces = [], np.arange(3 * len(pixel)).reshape(-1, 3)
    for ray in np.nan_to_num(rays, nan=0.5):
        across = np.cross(ray, [0.3, 0.5, 0.8])
        across /= np.linalg.norm(across)
        up = np.cross(ray, across)
        wall += [2 * ray + across, 2 * ray - across + up, 2 * ray - across - up]
    packed = torch.from_numpy(camera.packed())
    ids = torch.arange(len(pixel), dtype=torch.int32)
    points = _surface_points(model, pixel, np.array(wall), faces, ids, packed)
    np.testing.assert_allclose(points.footprint[good], 2 * wanted[good], rtol=2e-3)


def test_interpolate_outside_the_domain_is_a_miss():
    points = _surface_points(
        "SIMPLE_RADIAL", [[1e4, 1e4]], [[-9, -9, 1], [9, -9, 1], [0, 9, 1]], [[0, 1, 2]],
        torch.zeros(1, dtype=torch.int32),
    )  # fmt: skip
    assert torch.isinf(points.depth).all()
    for value in (points.position, points.direction, points.footprint):
        assert (value == 0).all()
