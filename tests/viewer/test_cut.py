"""The clipping plane: set along the view or an axis, dragged by its handle, honoured everywhere."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xscale_viewer")

from tests.render.conftest import write_tiny_run
from tests.viewer.fakes import UP, FakeService, FakeSource
from tests.viewer.test_session import session, until, user, user_folder  # noqa: F401
from xscale.gbuffer.cut import Plane
from xscale.render.service import RenderService, ViewRequest
from xscale_viewer import cut
from xscale_viewer.inspection import look_up
from xscale_viewer.navigation import look_at
from xscale_viewer.session import Session
from xscale_viewer.source import open_source

LOW, HIGH = np.array([-5.0, -5, 0]), np.array([5.0, 5, 5])
VIEW = look_at(np.array([0.0, -8, 2]), np.array([0.0, 0, 2]), UP)


def height(which, point):
    """How far a point lies on the side that is cut away."""
    return float(Plane(*which.plane()).height(np.array(point)))


def test_along_the_view_what_is_nearer_is_cut_away():
    found = cut.new_cut("view", VIEW, 6.0, LOW, HIGH)
    assert height(found, (0, -2.5, 2)) > 0
    assert height(found, (0, -1, 2)) < 0
    assert height(found.flipped(), (0, -1, 2)) > 0


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_along_an_axis_the_box_is_halved_and_the_views_side_goes(axis):
    found = cut.new_cut(axis, VIEW, 6.0, LOW, HIGH)
    number = "xyz".index(axis)
    assert found.place == pytest.approx((LOW + HIGH)[number] / 2)
    if axis == "y":
        assert height(found, VIEW.position) > 0
    assert cut.span(found, LOW, HIGH) == (LOW[number], HIGH[number])


def test_the_outline_is_the_planes_part_in_the_box():
    for which in ("view", "x", "z"):
        found = cut.new_cut(which, VIEW, 6.0, LOW, HIGH)
        corners = cut.outline(found, LOW, HIGH)
        assert len(corners) == 4
        assert np.allclose(corners @ found.axis, found.place)
        sides = [np.linalg.norm(b - a) for a, b in pairwise([*corners, corners[0]])]
        area = {"view": 50, "x": 50, "z": 100}[which]
        assert sides[0] * sides[1] == pytest.approx(area)  # in order, not crossed
    assert not len(cut.outline(found.at(99.0), LOW, HIGH))


def test_the_handle_follows_the_mouse():
    across = cut.new_cut("x", VIEW, 6.0, LOW, HIGH)
    assert cut.dragged(across, VIEW, (10, 3), 0.1).place == pytest.approx(across.place + 1.0)
    # A plane that faces the eye: upwards is away.
    facing = cut.new_cut("view", VIEW, 6.0, LOW, HIGH)
    assert cut.dragged(facing, VIEW, (0, -10), 0.1).place == pytest.approx(facing.place + 1.0)
    lying = cut.new_cut("z", VIEW, 6.0, LOW, HIGH)
    assert cut.dragged(lying, VIEW, (5, -10), 0.1).place == pytest.approx(lying.place + 1.0)


def test_requests_carry_the_plane_and_a_change_asks_anew(user):  # noqa: F811
    s, _, commands, copied = user
    before = len(s._service.requests)
    commands.run("clip")
    s.tick(10.0)
    assert len(s._service.requests) == before + 1
    assert s._service.requests[-1].cut == s.plane()
    s.cut = s.cut.at(s.cut.place + 0.5)
    s.tick(10.1)
    assert len(s._service.requests) == before + 2
    s._service.answer()
    s.tick(20.0)
    commands.run("copy_command")
    assert "without the clipping plane" in s.status
    assert copied
    commands.run("clip")
    s.tick(30.0)
    assert s._service.requests[-1].cut is None


def test_another_run_opens_whole(session):  # noqa: F811
    session.cut = cut.new_cut("x", session.view, 3.0, LOW, HIGH)
    session.open(Path("other"))
    until(session, lambda: session.opening is None)
    assert session.cut is None


@pytest.fixture(scope="module")
def source(asymmetric, tmp_path_factory):
    return open_source(write_tiny_run(asymmetric, tmp_path_factory.mktemp("cut") / "run"))


def test_a_click_meets_what_is_left_and_photos_that_see_it_are_those_of_the_whole_mesh(source):
    camera = source.cameras["view_03.png"]
    pixel = (56.5, 32.5)
    whole = look_up(source.run, source.origin, source.cameras, camera, pixel)
    away = Plane(tuple(-camera.R[2]), float(-camera.R[2] @ whole.point) - 1e-3)
    behind = look_up(source.run, source.origin, source.cameras, camera, pixel, away)
    assert behind is None or behind.distance > whole.distance
    beside = Plane(tuple(camera.R[2]), float(camera.R[2] @ whole.point) + 1.0)
    same = look_up(source.run, source.origin, source.cameras, camera, pixel, beside)
    assert np.array_equal(same.point, whole.point)
    assert [s.name for s in same.seen] == [s.name for s in whole.seen]


def test_pictures_at_rest_and_moving_show_what_is_left(source):
    camera = source.cameras["view_03.png"]
    middle = (source.low + source.high) / 2
    plane = Plane((1.0, 0.0, 0.0), float(middle[0]))
    pictures, errors = [], []
    with RenderService(source.run, pictures.append, on_error=errors.append) as service:
        for which in (None, plane):
            for moving in (True, False, True):
                service.request(ViewRequest(camera, moving=moving, samples=1, cut=which))
                assert service.wait(30)
    assert errors == []
    whole, moved, exact = (
        next(p for p in reversed(pictures) if p.request.cut == which and p.stage == stage)
        for which, stage in ((None, "exact"), (plane, "moving"), (plane, "exact"))
    )
    left = np.isfinite(exact.depth)
    assert 0.1 < left.mean() < 0.9 * np.isfinite(whole.depth).mean()
    assert np.array_equal(np.isfinite(moved.depth), left)
    # Where the nearest face was left, nothing has changed.
    same = left & (exact.face == whole.face)
    assert np.array_equal(exact.rgba[same], whole.rgba[same])
    apart = np.abs(moved.rgba[same].astype(int) - whole.rgba[same]).max(1)
    assert np.median(apart) <= 1


def test_without_anything_open_there_is_no_plane():
    s = Session(opener=FakeSource, make_service=FakeService)
    assert s.plane() is None
