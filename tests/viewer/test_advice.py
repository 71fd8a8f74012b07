"""Photos that are missing: by count and by resolution, seen from where they are advised."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("xscale_viewer")
pytest.importorskip("imgui_bundle")

from tests.ops.test_reproject import wavy
from xscale.gbuffer.build import build_surface, visible
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.render.sight import training_views
from xscale.render.sightings import photos_seeing
from xscale_viewer import advice
from xscale_viewer.gui.side import lacking
from xscale_viewer.navigation import look_at
from xscale_viewer.tour import Place

ORIGIN = np.array([4.5e5, 5.2e6, 300.0])


def camera_at(position, target=(0, 0, 0), focal=300.0):
    K = np.array([[focal, 0, 160], [0, focal, 120], [0, 0, 1]])
    view = look_at(ORIGIN + position, ORIGIN + target, np.array([0.0, 1, 0.2]))
    return Camera("PINHOLE", 320, 240, K, view.R, -view.R @ view.position)


def source_of(inside_out=False):
    """A bumpy floor under a small roof, and four photos of its left half."""
    vertices, faces = wavy(30)
    if inside_out:
        faces = np.ascontiguousarray(faces[:, ::-1])
    surface = build_surface(Mesh(vertices=vertices, faces=faces, origin=ORIGIN))
    cameras = {
        f"{k}.jpg": camera_at(np.array([-1.2 + 0.3 * k, 0.2 * k, 2.5]), (-1.3 + 0.2 * k, 0, 0))
        for k in range(4)
    }
    views = training_views(surface, list(cameras.values()), ORIGIN)
    run = SimpleNamespace(surface=surface, origin=ORIGIN, views=views)
    return SimpleNamespace(
        run=run, cameras=cameras, up=np.array([0.0, 0, 1]), extent=6.0, origin=ORIGIN
    )


@pytest.fixture(scope="module")
def source():
    return source_of()


def in_view(source, camera):
    packed = torch.from_numpy(camera.recentred(ORIGIN).packed())
    _, depth = visible(source.run.surface, packed, camera.width, camera.height)
    return advice.InView(camera, depth.numpy())


def search(source, seen_in=None):
    return advice.search(source.run, source.cameras, source.up, source.extent, seen_in)


def test_a_photo_too_few_counts_as_much_as_one_that_is_twice_as_coarse():
    count = np.array([0, 2, 3, 5, 5, 5, 5])
    best = np.array([np.inf, 1.0, 1.0, 1.0, 1.3, 2.0, 2.0])
    size = np.array([1.0, 1, 1, 1, 1, 1, np.nan])
    values = advice.lack(count, best, size)
    assert np.array_equal(np.isnan(values), [False, False, True, True, True, False, True])
    assert values[[0, 1, 5]].tolist() == [3, 1, 1]


def test_counts_and_sizes_are_those_of_the_photos_that_see_a_point(source):
    run = source.run
    points = run.surface.vertices[::7].numpy()
    normals = run.surface.normals[::7].numpy()
    count, best, front = advice.resolution(run.views, points, normals)
    compared = 0
    assert front > 0.95
    for point, normal, many, size in zip(points, normals, count, best, strict=True):
        seen = photos_seeing(run.surface, source.cameras, point + ORIGIN, normal, ORIGIN)
        angles = [sighting.angle for sighting in seen]
        if len(seen) != many or not seen or max(angles) > 60:
            continue
        compared += 1
        # Without the smaller angle of pixels beside the picture's middle.
        assert size == pytest.approx(min(s.size for s in seen), rel=0.35)
    assert compared > 25


@pytest.mark.parametrize("inside_out", [False, True])
def test_advised_photos_see_their_places_as_finely_as_is_wanted(inside_out):
    source = source_of(inside_out)
    found = search(source)
    assert len(found) > 3
    near = advice._NEAREST * source.extent
    good = 0
    for wanted in found:
        assert wanted.photos < advice.FEW or wanted.best > wanted.size
        camera, place = wanted.camera, wanted.place
        seen = photos_seeing(
            source.run.surface, {"wanted": camera}, place.point, place.normal, ORIGIN
        )
        least = near / np.sqrt(camera.fx * camera.fy)
        good += bool(seen) and seen[0].size <= max(wanted.size, least) * 1.2
    # A place on a rim may be missed by its own ray.
    assert good >= 0.8 * len(found)
    # The right half, which no photo was taken of, and nothing of what all photos show.
    assert max(wanted.place.point[0] for wanted in found) > ORIGIN[0] + 1


def test_from_close_up_photos_are_missing_that_are_not_from_afar(source):
    afar = search(source, in_view(source, camera_at((-1.2, 0.1, 2.5), (-1.2, 0, 0))))
    camera = camera_at((-1.2, 0.1, 2.5), (-1.2, 0, 0), focal=2400.0)
    near = search(source, in_view(source, camera))
    assert not [wanted for wanted in afar if wanted.photos >= advice.FEW]
    assert near
    for wanted in near:
        assert wanted.photos >= advice.FEW
        assert wanted.best > 4 * wanted.size
        pixel, ahead = camera.project(wanted.place.point[None])
        assert ahead[0] > 0
        assert (pixel[0] >= 0).all()
        assert (pixel[0] <= (320, 240)).all()


def test_without_photos_none_is_advised(source):
    assert advice.search(source.run, {}, source.up, source.extent) == []


def test_what_lacks_is_said_with_sizes(source):
    camera = next(iter(source.cameras.values()))
    place = Place(np.zeros(3), np.array([0.0, 0, 1]), 1.0)
    line = lacking(advice.Wanted(place, 2, 0.0034, 0.0012, camera), "m")
    assert line == "2 photos, the best 3.4 mm a pixel; wanted 1.2 mm"
    line = lacking(advice.Wanted(place, 0, np.inf, 0.0012, camera), "m")
    assert line == "no photo sees it; wanted 1.2 mm a pixel"
