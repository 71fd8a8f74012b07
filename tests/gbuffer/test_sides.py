"""Which sides of faces are surface, as photos say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from xscale import ops
from xscale.errors import DamagedPhotoError
from xscale.gbuffer.build import build_gbuffer, build_surface, visibility
from xscale.gbuffer.sides import sides_by_evidence
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

WIDTH, HEIGHT = 160, 120
K = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])


def looking(position, target):
    position, target = np.array(position, float), np.array(target, float)
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    return Camera("PINHOLE", WIDTH, HEIGHT, K, R, -R @ position)


def wall(y, half, cells, hole=0.0, flip=False):
    """A wall across the y axis, whose front looks towards -y, with a square hole in the middle."""
    at = np.linspace(-half, half, cells + 1)
    x, z = np.meshgrid(at, at)
    points = np.stack([x, np.full_like(x, y), z], -1).reshape(-1, 3)
    row, column = np.divmod(np.arange(cells * cells), cells)
    a = row * (cells + 1) + column
    middle = (at[:-1] + at[1:]) / 2
    keep = np.maximum(abs(middle[row]), abs(middle[column])) >= hole
    corners = np.stack([a, a + 1, a + cells + 2, a, a + cells + 2, a + cells + 1], 1)
    faces = corners[keep].reshape(-1, 3)
    return points, faces[:, ::-1] if flip else faces


def surface_of(*walls):
    points, faces, first = [], [], 0
    for p, f in walls:
        points.append(p)
        faces.append(f + first)
        first += len(p)
    mesh = Mesh(
        vertices=np.concatenate(points).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
        origin=np.zeros(3),
    )
    return build_surface(mesh)


def painted(surface, camera, colour):
    """A photo: ``colour`` of positions, directions, and whether the mesh is hit."""
    samples, _ = build_gbuffer(surface, packed([camera])[0], WIDTH, HEIGHT)
    rays = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), -1)
    direction = camera.rays(rays.reshape(-1, 2))
    grey = noise(direction * 40)
    grey[samples.pixel_index.numpy()] = colour(samples, direction)
    return np.repeat((grey * 255).astype(np.uint8).reshape(HEIGHT, WIDTH, 1), 3, 2)


def noise(points):
    """A value from 0 to 1 that varies within a unit."""
    return 0.5 + 0.5 * np.sin(points @ [2.1, 1.3, 1.7]) * np.cos(points @ [1.1, 2.3, -1.9])


def packed(cameras):
    return torch.from_numpy(np.stack([camera.packed() for camera in cameras]))


def evidence(surface, cameras, colour, damaged=()):
    photos = [painted(surface, camera, colour) for camera in cameras]

    def read(index, factor):
        assert factor == pytest.approx(1.0)
        if index in damaged:
            raise DamagedPhotoError("broken")
        return photos[index], None

    return sides_by_evidence(surface, packed(cameras), [(WIDTH, HEIGHT)] * len(cameras), read)


def on_surface(samples, direction):
    return noise(samples.position.numpy() * 12)


# A room: the near wall has a hole, through which the far wall is seen from behind.
NEAR, FAR = wall(-1, 1, 40, hole=0.45), wall(1, 1, 40, flip=True)
OUTSIDE = [looking((x, -4, z), (0, 0, 0)) for x in (-0.8, -0.3, 0.3, 0.8) for z in (-0.4, 0.4)]
BEYOND = [looking((x, 4, z), (0, 0, 0)) for x in (-0.8, -0.3, 0.3, 0.8) for z in (-0.4, 0.4)]


def through_the_hole(samples, direction):
    """Faces seen from behind show what is far away, so it depends on the direction."""
    front = (samples.normal * samples.direction).sum(1).numpy() < 0
    far = noise(direction[samples.pixel_index.numpy()] * 40)
    return np.where(front, on_surface(samples, direction), far)


def test_what_is_seen_from_behind_through_a_hole_is_no_surface():
    surface = surface_of(NEAR, FAR)
    found = evidence(surface, OUTSIDE + BEYOND, through_the_hole)
    assert found.back > 0.02
    assert found.hidden == pytest.approx(found.back)
    sided = replace(surface, sides=found.sides)
    camera = packed(OUTSIDE)[0]
    before = visibility(surface, camera, WIDTH, HEIGHT)
    after = visibility(sided, camera, WIDTH, HEIGHT)
    side, _ = ops.sides(surface.vertices, surface.faces, surface.normals, camera, before)
    assert torch.equal(after, torch.where(side == ops.BACK, -1, before))
    assert (side == ops.BACK).any()


def test_coverage_and_surface_points_follow_the_sides():
    surface = surface_of(NEAR, FAR)
    sided = replace(surface, sides=evidence(surface, OUTSIDE + BEYOND, through_the_hole).sides)
    samples, covered = build_gbuffer(sided, packed(OUTSIDE)[0], WIDTH, HEIGHT)
    assert len(samples.position) == int(covered.sum())
    assert float(samples.position[:, 1].max()) < -0.9
    assert sided.two_sided().sides is None


def test_a_sheet_that_photos_see_from_both_sides_is_surface_on_both():
    surface = surface_of(wall(0, 1, 40))
    found = evidence(surface, OUTSIDE + BEYOND, on_surface)
    assert found.back == pytest.approx(0.5, abs=0.1)
    assert found.hidden == 0
    assert (found.sides == ops.BOTH).all()


def test_a_sheet_seen_from_few_photos_behind_is_told_from_a_hole_by_its_texture():
    few = BEYOND[:2]
    surface = surface_of(wall(0, 1, 40))
    assert evidence(surface, OUTSIDE + few, on_surface).hidden < 0.02
    assert evidence(surface, OUTSIDE + few, through_the_hole).hidden > 0.15


@pytest.mark.parametrize(("flip", "side"), [(False, ops.FRONT), (True, ops.BACK)])
def test_a_sheet_seen_from_one_side_is_surface_on_that_side(flip, side):
    surface = surface_of(wall(0, 1, 40, flip=flip))
    found = evidence(surface, OUTSIDE, on_surface)
    assert found.hidden == 0
    assert (found.sides == side).all()


def test_a_part_that_is_wound_wrongly_stays_surface():
    points, faces = wall(0, 1, 40)
    part = points[faces].mean(1)[:, 0] > 0.6
    faces = np.where(part[:, None], faces[:, ::-1], faces)
    found = evidence(surface_of((points, faces)), OUTSIDE, on_surface)
    assert found.back > 0.1
    assert found.hidden < 0.02


def test_damaged_photos_are_no_evidence():
    surface = surface_of(wall(0, 1, 40))
    found = evidence(surface, OUTSIDE + BEYOND[:2], on_surface, damaged=(8, 9))
    assert found.hidden > 0.15


def test_a_mesh_that_nobody_sees_keeps_both_sides():
    surface = surface_of(wall(0, 1, 4))
    away = [looking((0, -4, 0), (0, -8, 0))]
    assert (evidence(surface, away, on_surface).sides == ops.BOTH).all()
