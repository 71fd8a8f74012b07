"""Clusters: every face once, boxes that hold their faces, the same in blocks as in one piece."""

import itertools

import numpy as np
import pytest
import torch

from xscale.gbuffer import clusters
from xscale.gbuffer.build import build_surface
from xscale.gbuffer.clusters import CLUSTER_FACES, cluster_faces, cluster_points
from xscale.gbuffer.statistics import scene_statistics
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh


@pytest.fixture
def soup(rng):
    vertices = rng.normal(size=(700, 3)).astype(np.float32)
    return vertices, rng.integers(0, 700, (1000, 3)).astype(np.int32)


def test_every_face_is_in_one_cluster_whose_box_holds_it(soup):
    vertices, faces = soup
    order, start, boxes = cluster_faces(vertices, faces)
    assert np.array_equal(np.sort(order), np.arange(len(faces)))
    for k, (low, high) in enumerate(itertools.pairwise(start)):
        corners = vertices[faces[order[low:high]]].reshape(-1, 3)
        assert np.array_equal(boxes[k], [*corners.min(0), *corners.max(0)])


def test_every_cluster_has_its_vertices_once(soup):
    vertices, faces = soup
    order, start, _ = cluster_faces(vertices, faces)
    points, corners, point_start = cluster_points(vertices, faces, order)
    assert point_start[-1] == len(points)
    for k, (low, high) in enumerate(itertools.pairwise(start)):
        own = points[point_start[k] : point_start[k + 1]]
        assert np.array_equal(own[corners[low:high]], vertices[faces[order[low:high]]])
        assert len(own) == len(np.unique(faces[order[low:high]]))


def test_blocks_change_nothing(soup, monkeypatch):
    whole = cluster_faces(*soup)
    points = cluster_points(*soup, whole[0])
    monkeypatch.setattr(clusters, "_BLOCK", CLUSTER_FACES)
    pieces = cluster_faces(*soup)
    for one, other in zip(whole, pieces, strict=True):
        assert np.array_equal(one, other)
    for one, other in zip(points, cluster_points(*soup, pieces[0]), strict=True):
        assert np.array_equal(one, other)


def test_a_mesh_is_clustered_once(soup):
    mesh = Mesh.from_world(*soup)
    assert build_surface(mesh) is build_surface(mesh)


def test_statistics_of_many_cameras_come_from_an_even_spread(soup, monkeypatch):
    mesh = Mesh.from_world(*soup)
    K = np.array([[40.0, 0, 32], [0, 40.0, 24], [0, 0, 1]])
    cameras = [
        Camera("PINHOLE", 64, 48, K, np.eye(3), [0, 0, 5 + 0.01 * k]).packed() for k in range(200)
    ]
    packed, sizes = torch.from_numpy(np.stack(cameras)), [(64, 48)] * 200
    surface = build_surface(mesh)
    full = scene_statistics(surface, packed, sizes)
    assert full.looked_at.tolist() == list(range(200))
    monkeypatch.setattr("xscale.gbuffer.statistics._FACE_BUDGET", 1)
    few = scene_statistics(surface, packed, sizes)
    assert few.looked_at.tolist() == [k * 200 // 64 for k in range(64)]
    assert few.covered_pixels(sizes) == pytest.approx(full.covered_pixels(sizes), rel=0.02)
