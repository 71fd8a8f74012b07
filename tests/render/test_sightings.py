"""Which photos see a point, against ray casting; values at vertices; colours of features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders import hits
from xscale.gbuffer.build import build_gbuffer
from xscale.render.sightings import sightings
from xscale.render.vertex_values import expected_errors, interpolated, photo_counts


def points_on(built, count=60, seed=4):
    """Surface points of the plate and the roof, with normals, away from the faces' edges."""
    rng = np.random.default_rng(seed)
    face = rng.integers(0, len(built.faces), count)
    share = rng.dirichlet((3, 3, 3), count)
    corners = built.vertices[built.faces[face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return (share[:, :, None] * corners).sum(1), normal / np.linalg.norm(
        normal, axis=1, keepdims=True
    )


def cast(built, camera, point):
    """Whether a camera sees a point, by a ray to its pixel: True, False, or None where it is
    within a few pixels of an outline, where the depth test may say either."""
    pixel, depth = camera.project(point[None])
    if not (depth[0] > 0 and (pixel[0] >= 0).all() and pixel[0, 0] < camera.width
            and pixel[0, 1] < camera.height):  # fmt: skip
        return False
    around = pixel + np.array([[0, 0], [-2, 0], [2, 0], [0, -2], [0, 2], [2, 2], [-2, -2]])
    distance, face = hits(built.vertices, built.faces, camera, around)
    if len({face_id == 2 for face_id in face}) > 1:
        return None
    return abs(distance[0] - np.linalg.norm(point - camera.position)) < 1e-6


def test_photos_that_see_a_point_are_those_whose_rays_meet_it(tiny_run, asymmetric):
    points, normals = points_on(asymmetric, 250)
    told = {True: 0, False: 0}
    for point, normal in zip(points, normals, strict=True):
        seen = {found.name for found in sightings(tiny_run, point, normal)}
        for name in tiny_run.names("train"):
            expected = cast(asymmetric, tiny_run.camera(name), point)
            if expected is None:
                continue
            told[expected] += 1
            assert (name in seen) == expected, (name, point)
    assert told[True] > 100
    assert told[False] > 20


def test_sightings_are_sorted_by_resolution_and_then_by_angle(tiny_run, asymmetric):
    points, normals = points_on(asymmetric, 20)
    for point, normal in zip(points, normals, strict=True):
        found = sightings(tiny_run, point, normal)
        steps = [(round(np.log2(s.size) * 8), s.angle) for s in found]
        assert steps == sorted(steps)
        for sighting in found:
            camera = tiny_run.camera(sighting.name)
            away = point - camera.position
            assert sighting.distance == pytest.approx(np.linalg.norm(away))
            cosine = abs(away @ normal) / sighting.distance
            assert np.cos(np.radians(sighting.angle)) == pytest.approx(cosine)
            pixel, _ = camera.project(point[None])
            assert sighting.pixel == pytest.approx(tuple(pixel[0]))
            # The pixel's area on the surface, by the area that its corners cut out of the plane.
            corners = pixel + np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
            rays = camera.rays(corners)
            on = camera.position + rays * ((away @ normal) / (rays @ normal))[:, None]
            area = np.linalg.norm(np.cross(on[2] - on[0], on[3] - on[1])) / 2
            if cosine > 0.1:
                assert sighting.size == pytest.approx(area**0.5, rel=0.01)


def test_values_between_vertices_are_linear(tiny_run):
    surface = tiny_run.surface
    camera = tiny_run.camera(tiny_run.names("test")[0]).recentred(tiny_run.origin)
    samples, _ = build_gbuffer(
        surface, torch.from_numpy(camera.packed()), camera.width, camera.height
    )
    slope = torch.tensor([0.3, -0.7, 1.1])
    values = surface.vertices @ slope + 2
    found = interpolated(surface, values, samples.face_id, samples.position)
    assert torch.allclose(found, samples.position @ slope + 2, atol=1e-5)
    nothing = interpolated(surface, values, samples.face_id[:0], samples.position[:0])
    assert nothing.shape == (0,)


def test_photo_counts_at_vertices_are_those_of_the_output(tiny_run, asymmetric):
    counts = photo_counts(tiny_run.surface, tiny_run.views)
    expected = sum(
        view.sees(tiny_run.surface.vertices.numpy()).astype(int) for view in tiny_run.views
    )
    assert counts.tolist() == expected.tolist()
    assert counts.max() > counts.min()
    errors = expected_errors(tiny_run.residuals, counts)
    assert torch.allclose(errors, tiny_run.residuals * (1 + 1 / counts.clamp(min=0.5)))


def test_counting_can_be_given_up(tiny_run):
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        photo_counts(tiny_run.surface, tiny_run.views, check)


def test_colours_of_features_use_their_range_and_are_the_same_each_time(tiny_run):
    camera = tiny_run.camera(tiny_run.names("train")[0])
    frame = tiny_run.render(camera, ("features",))
    seen = frame.features[frame.coverage]
    assert float(seen.min()) == 0
    assert float(seen.max()) == 1
    assert (seen.std(0) > 0.1).all()
    assert (frame.features[~frame.coverage] == 1).all()
    again = tiny_run.render(camera, ("features",), samples=2).features
    assert (again - frame.features).abs().mean() < 0.2
