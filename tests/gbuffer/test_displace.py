"""A displaced surface is what building one from the moved vertices would see."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from xscale.demo.surface import ground
from xscale.gbuffer.build import build_surface, visibility
from xscale.gbuffer.displace import displace, displaceable, displaced
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh


@pytest.fixture
def surface():
    vertices, faces = ground(40)
    return build_surface(Mesh(vertices.astype(np.float32), faces, np.zeros(3)))


def _seen(surface):
    K = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    R = np.array([[1.0, 0, 0], [0, -0.8, -0.6], [0, 0.6, -0.8]])
    camera = Camera("PINHOLE", 160, 120, K, R, -R @ [0.1, -1.2, 1.5])
    return visibility(surface, torch.from_numpy(camera.packed()), 160, 120)


def test_a_displaced_surface_is_seen_as_one_built_from_the_moved_vertices(surface, rng):
    heights = torch.from_numpy(rng.normal(0, 0.02, len(surface.vertices))).float()
    moved = displaced(surface, heights)
    expected = surface.vertices + heights[:, None] * surface.normals
    assert torch.equal(moved.vertices, expected)
    built = build_surface(Mesh(expected.numpy(), surface.faces.numpy(), np.zeros(3)))
    assert torch.equal(_seen(moved), _seen(built))
    assert not torch.equal(_seen(moved), _seen(surface))
    assert torch.allclose(moved.normals, built.normals, atol=1e-6)


def test_boxes_hold_the_points_of_their_clusters_and_no_more(surface, rng):
    heights = torch.from_numpy(rng.normal(0, 0.02, len(surface.vertices))).float()
    moved = displaced(surface, heights)
    starts = moved.cluster_point_start.tolist()
    for k, (first, last) in enumerate(pairwise(starts)):
        points = moved.cluster_points[first:last]
        assert torch.equal(moved.cluster_box[k], torch.cat([points.amin(0), points.amax(0)]))


def test_a_surface_moves_in_place_and_comes_back(surface):
    before = {name: tensor.clone() for name, tensor in surface.tensors().items()}
    moved = displaceable(surface)
    held = moved.cluster_points
    displace(moved, surface, torch.full((len(surface.vertices),), 0.1))
    assert not torch.equal(held, surface.cluster_points)
    displace(moved, surface, torch.zeros(len(surface.vertices)))
    for name, tensor in before.items():
        assert torch.equal(getattr(moved, name), tensor), name
        assert torch.equal(getattr(surface, name), tensor), name
