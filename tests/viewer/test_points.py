"""Picked points, the photos that see them, and measurements: against rays cast in the test."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")

from tests.builders import hits
from tests.render.conftest import write_tiny_run
from xscale.geometry.camera import Camera
from xscale.render.sightings import photos_seeing
from xscale_viewer import measure, picking, tour, units
from xscale_viewer.inspection import beyond, evidence, look_up
from xscale_viewer.navigation import toggled_parallel, view_of
from xscale_viewer.source import open_source

OFFSET = (4.5e5, 5.2e6, 300.0)
"""Offset of a georeferenced scene: far from the origin."""


def _at(x, y):
    """World point on the plate."""
    return np.add(OFFSET, (x, y, 0.0))


@pytest.fixture(scope="module")
def source(asymmetric, tmp_path_factory):
    moved = asymmetric.moved(OFFSET)
    return open_source(write_tiny_run(moved, tmp_path_factory.mktemp("points") / "run"))


@pytest.fixture(scope="module")
def built(asymmetric):
    return asymmetric.moved(OFFSET)


def test_a_picked_point_lies_on_the_ray_at_the_true_distance(source, built):
    camera = source.cameras["view_03.png"]
    depth = source.run.render(camera, ("depth",)).depth.numpy()
    pixels = np.array([[20.5, 30.5], [55.5, 31.5], [80.5, 50.5], [1.5, 1.5]])
    distance, _ = hits(built.vertices, built.faces, camera, pixels)
    for pixel, far in zip(pixels, distance, strict=True):
        point = picking.point_at(camera, depth, tuple(pixel))
        if not np.isfinite(far):
            assert point is None
        else:
            truth = camera.position + camera.rays(pixel[None])[0] * far
            assert np.linalg.norm(point - truth) < 1e-4 * far


def test_beside_a_thing_its_edge_is_picked(source):
    camera = source.cameras["view_03.png"]
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    depth[30, 60] = 2.0
    assert picking.point_at(camera, depth, (58.5, 33.5)) is None
    near = picking.nearest_around(camera, depth, (58.5, 33.5))
    assert np.allclose(near, picking.point_at(camera, depth, (60.5, 30.5)))
    assert picking.nearest_around(camera, depth, (5.5, 5.5)) is None
    assert picking.point_at(camera, depth, (-3, 5)) is None


def test_a_ray_along_an_axis_that_hits_nothing_has_no_point():
    camera = Camera("PINHOLE", 3, 3, np.array([[9.0, 0, 1.5], [0, 9, 1.5], [0, 0, 1]]), np.eye(3),
                    np.zeros(3))  # fmt: skip
    depth = np.full((3, 3), np.inf, np.float32)
    assert picking.point_at(camera, depth, (1.5, 1.5)) is None


def test_test_photos_are_no_evidence(source):
    camera = source.cameras["view_03.png"]
    pixel = (camera.width / 2, camera.height / 2)
    found = look_up(source.run, source.origin, source.cameras, camera, pixel)
    everyone = [sighting.name for sighting in found.seen]
    assert "the best photo had" in evidence(found, None)
    assert "only test photos see it: its colour is made up" in evidence(found, None, everyone)
    first = units.length(found.seen[0].size, None)
    assert f"had {first}" in evidence(found, None)
    assert f"had {units.length(found.seen[1].size, None)}" in evidence(found, None, everyone[:1])


def test_in_an_orthographic_view_distance_counts_from_the_eyes_plane(source):
    camera = source.cameras["view_03.png"]
    view = toggled_parallel(view_of(camera), camera.position + 3 * camera.R[2])
    far = view.camera(96, 72)
    found = look_up(source.run, source.origin, source.cameras, far, (48, 36), eye=view.position)
    assert np.isclose(found.distance, (found.point - view.position) @ view.forward)
    assert np.isclose(found.frontal, view.parallel / 72, rtol=1e-2)


def test_clearance_is_what_the_picture_shows_ahead(source):
    camera = source.cameras["view_03.png"]
    depth = source.run.render(camera, ("depth",)).depth.numpy()
    ahead = picking.clearance_along(camera, depth, camera.R[2], camera.position)
    assert 0 < ahead <= picking.middle_distance(depth) * 1.2
    nearer = picking.clearance_along(
        camera, depth, camera.R[2], camera.position + 0.5 * camera.R[2]
    )
    assert np.isclose(nearer, ahead - 0.5)
    assert picking.clearance_along(camera, depth, -camera.R[2], camera.position) is None


def _true_sightings(built, point):
    """Names of the photos that see a point: rays cast at it, in the test."""
    seen = set()
    for name, camera in built.cameras.items():
        pixel, depth = camera.project(point[None])
        inside = depth[0] > 0 and (pixel[0] >= 0).all()
        if not (inside and (pixel[0] < (camera.width, camera.height)).all()):
            continue
        distance, _ = hits(built.vertices, built.faces, camera, pixel)
        if distance[0] > np.linalg.norm(point - camera.position) * 0.999:
            seen.add(name)
    return seen


def test_photos_are_sorted_by_resolution_and_name_their_pixel(source, built):
    point, up = _at(-0.6, 0.2), np.array([0.0, 0, 1])
    listed = photos_seeing(source.run.surface, source.cameras, point, up, source.origin)
    sizes = [s.size for s in listed]
    assert all(b > a * 0.9 for a, b in pairwise(sizes))
    for s in listed:
        camera = built.cameras[s.name]
        assert np.allclose(camera.project(point[None])[0][0], s.pixel, atol=1e-6)
        cosine = (camera.position - point)[2] / np.linalg.norm(camera.position - point)
        assert np.isclose(s.angle, np.degrees(np.arccos(cosine)))
    assert np.isclose(beyond(sizes[0] / 2.8, listed), 2.8)
    assert beyond(1.0, []) is None


def test_a_clicked_point_has_world_coordinates_and_its_photos(source, built):
    camera = source.cameras["view_03.png"]
    found = look_up(source.run, source.origin, source.cameras, camera, (40.2, 30.9))
    distance, _ = hits(built.vertices, built.faces, camera, np.array([[40.5, 30.5]]))
    truth = camera.position + camera.rays(np.array([[40.5, 30.5]]))[0] * distance
    assert np.linalg.norm(found.point - truth) < 1e-5 * distance[0]
    assert {s.name for s in found.seen} == _true_sightings(built, found.point)
    assert look_up(source.run, source.origin, source.cameras, camera, (-1, 5)) is None


def test_a_distance_between_two_known_points_is_right_within_its_error(source):
    a, b = _at(-1.0, -0.5), _at(0.3, 0.7)
    camera = source.cameras["view_03.png"]
    chain = measure.Measurement("M1")
    for target in (a, b):
        pixel = camera.project(target[None])[0][0]
        found = look_up(source.run, source.origin, source.cameras, camera, tuple(pixel))
        frontal = found.distance / np.sqrt(camera.fx * camera.fy)
        chain.picks.append(measure.pick(found.point, frontal, found.cosine))
    truth = float(np.linalg.norm(b - a))
    assert abs(chain.length - truth) <= chain.error
    assert chain.error < 0.1 * truth


def test_measurements_are_kept_named_and_written_as_csv():
    kept = measure.Measurements()
    for x in (0.0, 3.0, 7.0):
        kept.add(measure.pick(np.array([x, 0.0, 1.0]), 0.01, 1.0))
    kept.finish()
    kept.add(measure.pick(np.zeros(3), 0.01, 0.5))
    kept.finish()  # a single pick is no measurement
    assert [m.name for m in kept.all] == ["M1"]
    rows = list(csv.DictReader(io.StringIO(kept.csv("m"))))
    assert [float(row["length"]) for row in rows] == [0.0, 3.0, 7.0]
    assert rows[0]["unit"] == "m"
    again = measure.Measurements()
    again.load(kept.to_plain())
    assert again.csv("m") == kept.csv("m")
    for damaged in ("text", [{"name": "x"}], [{"name": "x", "picks": [[1, "a", 2, 3], [0]]}], 7):
        again.load(damaged)
        assert again.all == []


def test_a_slanted_pick_is_less_certain():
    assert measure.pick(np.zeros(3), 1.0, 0.2).error > measure.pick(np.zeros(3), 1.0, 1.0).error


def test_a_tour_goes_to_the_worst_places_apart_from_each_other():
    rng = np.random.default_rng(1)
    points = np.c_[rng.uniform(0, 10, (4000, 2)), np.zeros(4000)]
    bad = [(2.0, 3.0, 0.0), (8.0, 7.0, 0.0)]
    values = 0.01 + sum(
        weight * np.exp(-np.square(points - b).sum(1))
        for b, weight in zip(bad, (1, 2), strict=True)
    )
    values[17] = np.nan
    found = tour.places(points, np.tile((0.0, 0, 1), (4000, 1)), values, 1.0, 5)
    assert np.linalg.norm(found[0].point - bad[1]) < 1
    assert any(np.linalg.norm(place.point - bad[0]) < 1 for place in found[:4])
    for i, a in enumerate(found):
        assert all(np.linalg.norm(a.point - b.point) >= 1 for b in found[:i])
    assert tour.places(points, points, np.full(4000, np.nan), 1.0) == []
    stops = tour.Tour()
    assert stops.step(1) is None
    stops.places = found
    assert [stops.step(1), stops.step(1), stops.step(-1), stops.step(-1)] == [
        found[0], found[1], found[0], found[-1],
    ]  # fmt: skip


def test_lengths_name_their_unit():
    assert units.length(0.0012, "m") == "1.2 mm"
    assert units.length(2500.0, "m") == "2.5 km"
    assert units.length(12.0, "mm") == "1.2 cm"
    assert units.length(12.0, None) == "12 units"
    assert units.length(float("inf"), "m") == "-"
