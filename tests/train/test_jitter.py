"""Rays that move in their pixels and turn: how far, how evenly, and what decides it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import xscale
from xscale import ops
from xscale.gbuffer.build import build_surface
from xscale.gbuffer.statistics import scene_statistics
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.training.jitter import Jitter, make_jitter, photo_spacing
from xscale.training.rays import Rays
from xscale.training.request import Goal
from xscale.training.settings import PAPER, OptimSettings

COUNT = 500


def _rays(count=COUNT, photos=2):
    pixel = torch.arange(2 * count).reshape(count, 2) + 0.5
    photo = torch.arange(count).int() % photos
    return Rays(photo, pixel.float(), photo, torch.zeros(count, 3, dtype=torch.uint8))


def _moves(jitter, steps=64):
    rays = _rays()
    moved = [jitter(rays, step) for step in range(steps)]
    return (
        torch.stack([m.pixel - rays.pixel for m in moved]),
        torch.stack([m.turn for m in moved]),
    )


def test_rays_stay_in_their_pixels_and_fill_them_evenly():
    settings = OptimSettings(batch=COUNT, jitter_after=0, pixel_jitter=1.0)
    pixel, _ = _moves(Jitter(settings, torch.tensor([0.2, 0.4]), 1.0, 0, "cpu"))
    assert pixel.abs().max() <= 0.5
    # Every ray visits all quarters of its pixel, about equally often.
    right, low = (pixel > 0).float().unbind(2)
    for quarter in (right * low, right * (1 - low), (1 - right) * low, (1 - right) * (1 - low)):
        assert (quarter.mean(0) - 0.25).abs().max() < 0.12
    assert (pixel.mean(dim=(0, 1)).abs() < 0.01).all()


def test_directions_turn_by_a_share_of_their_photos_spacing():
    spacing = torch.tensor([0.2, 0.4])
    settings = OptimSettings(batch=COUNT, jitter_after=0, direction_jitter=0.5)
    _, turn = _moves(Jitter(settings, spacing, 1.0, 0, "cpu"))
    photo = _rays().photo
    for index, angle in enumerate(spacing.tolist()):
        spread = turn[:, photo == index].std(dim=(0, 1))
        assert torch.allclose(spread, torch.full((3,), 0.5 * angle), rtol=0.02)


def test_moves_depend_on_seed_and_step_alone():
    settings = OptimSettings(batch=COUNT, jitter_after=0)
    spacing = torch.tensor([0.2, 0.4])
    one, two, other = (Jitter(settings, spacing, 1.0, seed, "cpu") for seed in (3, 3, 4))
    assert torch.equal(one(_rays(), 7).pixel, two(_rays(), 7).pixel)
    assert not torch.equal(one(_rays(), 7).pixel, one(_rays(), 8).pixel)
    assert not torch.equal(one(_rays(), 7).pixel, other(_rays(), 7).pixel)
    # Half a batch, after a device ran out of memory, moves as the first half of a whole one.
    assert torch.equal(one(_rays(250), 7).turn, one(_rays(), 7).turn[:250])


def test_rays_begin_to_move_when_pixels_were_visited_often_enough():
    settings = OptimSettings(batch=COUNT, jitter_after=20, pixel_jitter=1.0)
    # Each step visits a tenth of the pixels.
    jitter = Jitter(settings, torch.tensor([0.2, 0.4]), 10 * COUNT, 0, "cpu")
    rays = _rays()
    assert jitter(rays, 200) is rays
    found = [(jitter(rays, step).pixel - rays.pixel).abs().max() for step in (201, 300, 400, 4000)]
    assert 0 < found[0] < 0.01
    assert found[1] == pytest.approx(0.25, abs=0.01)
    assert found[2] == pytest.approx(0.5, abs=0.01)
    assert found[3] == pytest.approx(0.5, abs=0.01)


def _camera(angle, *, distance=4.0):
    """A camera that looks at the origin from an angle to the z axis."""
    centre = distance * np.array([math.sin(angle), 0.0, -math.cos(angle)])
    forward = -centre / distance
    right = np.array([math.cos(angle), 0.0, math.sin(angle)])
    R = np.stack([right, np.cross(forward, right), forward])
    K = np.array([[400.0, 0, 50], [0, 400.0, 50], [0, 0, 1]])
    return Camera("PINHOLE", 100, 100, K, R, -R @ centre, near=0.01)


def _statistics(cameras):
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    mesh = Mesh.from_world(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    packed = torch.from_numpy(np.stack([camera.packed() for camera in cameras]))
    sizes = [(camera.width, camera.height) for camera in cameras]
    return scene_statistics(build_surface(mesh, torch.device("cpu")), packed, sizes)


def test_the_spacing_of_photos_is_the_angle_to_the_next_one():
    angles = [0.0, 0.1, 0.3, 0.35]
    cameras = [_camera(angle) for angle in angles]
    spacing = photo_spacing(_statistics(cameras), cameras)
    assert torch.allclose(spacing, torch.tensor([0.1, 0.1, 0.05, 0.05]), rtol=0.05)


def test_a_photo_behind_the_surface_is_no_neighbour_and_a_lonely_one_takes_the_usual_spacing():
    cameras = [_camera(angle) for angle in (0.0, 0.2, math.pi - 0.1)]
    spacing = photo_spacing(_statistics(cameras), cameras)
    assert torch.allclose(spacing, torch.tensor([0.2, 0.2, 0.2]), rtol=0.05)
    assert photo_spacing(_statistics(cameras[:1]), cameras[:1]).tolist() == [0.5]


def test_the_published_settings_leave_rays_where_they_are():
    cameras = [_camera(angle) for angle in (0.0, 0.2)]
    assert make_jitter(PAPER.optim, _statistics(cameras), cameras, 1.0, 0, "cpu") is None
    assert PAPER.optim.visits == 0


def test_turned_directions_are_unit_vectors():
    direction = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    found = ops.turned(direction, 0.3 * torch.randn(50, 3))
    assert torch.allclose(found.norm(dim=1), torch.ones(50), atol=1e-6)


def test_a_batch_goes_to_a_device_with_and_without_turns():
    rays = _rays()
    assert rays.to(torch.device("cpu")).turn is None
    turned = replace(rays, turn=torch.ones(COUNT, 3))
    assert torch.equal(turned.to(torch.device("cpu")).turn, turned.turn)


def test_only_a_goal_of_time_is_limited_by_visits():
    optim = OptimSettings(batch=100, visits=5)
    assert Goal(100, None).at_most(optim, 200.0) == Goal(100, None)
    limited = Goal(None, 60.0).at_most(optim, 200.0)
    assert limited == Goal(10, 60.0)
    assert limited.share(5, 6.0) == 0.5
    assert limited.share(1, 54.0) == 0.9
    assert limited.share(10, 1.0) == 1.0
    assert limited.had_enough(10)
    assert not limited.had_enough(9)
    assert not Goal(100, None).had_enough(100)
    assert Goal(None, 60.0).at_most(OptimSettings(visits=0), 200.0) == Goal(None, 60.0)


@pytest.mark.parametrize("goal", [{"minutes": 5.0}, {"steps": 30}])
def test_a_training_of_minutes_ends_when_pixels_were_visited_often_enough(
    asymmetric_folder, tmp_path, goal
):
    scene = xscale.Scene.open(asymmetric_folder)
    said = []
    small = ["optim.batch=1500", "model.grid.levels=4", "model.grid.log2_table_size=10"]
    xscale.train(
        scene, out=tmp_path / "run", settings=[*small, "optim.visits=0.2"],
        on_stage=said.append, **goal,
    )  # fmt: skip
    enough = [line for line in said if "waiting longer buys nothing" in line]
    assert len(enough) == ("minutes" in goal)
