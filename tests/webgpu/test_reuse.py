"""Colours from key frames by WebGPU, against the reference of the op, and moving pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.builders import look_at
from tests.render.conftest import write_tiny_run
from tests.webgpu.problems import HEIGHT, WIDTH, pinhole, problem
from xscale import Run, ops
from xscale.gbuffer.build import visible
from xscale.render.live import ViewPainter
from xscale.render.painter_reuse import PainterMovingRenderer, mover
from xscale.render.reuse import MovingRenderer
from xscale.render.service import ViewRequest


def moved(camera, step):
    """The camera a step beside, turned a little."""
    turn = np.array([[1, 0, step], [0, 1, 0], [-step, 0, 1]]) / np.sqrt(1 + step**2)
    rotation = np.eye(3)
    rotation[np.ix_([0, 2], [0, 2])] = turn[np.ix_([0, 2], [0, 2])]
    return replace(camera, R=rotation @ camera.R, t=camera.t + np.array([step, step / 2, 0]))


@pytest.mark.parametrize("skew", [0.0, 3.0])
@pytest.mark.parametrize("step", [0.003, 0.02, 0.1, 0.4])
def test_colours_of_key_frames_are_the_references(device, step, skew):
    case = problem(camera=pinhole(skew=skew))
    surface, painter = case.surface, case.painter(device)
    places = [case.camera, moved(case.camera, -0.2), moved(case.camera, 0.7)]
    room = painter.key_frames(WIDTH, HEIGHT)
    colour, depth = [], []
    for number, place in enumerate(places):
        found = painter.paint(place, (0, 0, WIDTH, HEIGHT), case.shader, depth=True)
        known = found.depth.copy()
        known[: 7 * number] = np.inf  # rows that are not rendered yet
        rgba = np.pad(found.colour, ((0, 0), (0, 0), (0, 1)), constant_values=255)
        room.write(number, 0, rgba[:20], known[:20])
        room.write(number, 20, rgba[20:], known[20:])
        colour.append(torch.from_numpy(rgba))
        depth.append(torch.from_numpy(known))
    packed = torch.from_numpy(np.stack([place.packed() for place in places]))
    keys = ops.KeyFrames(packed, torch.stack(colour), torch.stack(depth))
    view = moved(case.camera, step)
    order = [2, 0, 1]
    found = painter.reproject(view, room, [(n, places[n]) for n in order])
    face, at = visible(surface, torch.from_numpy(view.packed()), WIDTH, HEIGHT)
    with ops.use_backend("reference"):
        expected = ops.reproject(
            surface.vertices, surface.faces, torch.from_numpy(view.packed()), face, at, keys,
            torch.tensor(order, dtype=torch.int32),
        )  # fmt: skip
    same = found.face == face.numpy()
    assert same.mean() > 0.997
    both = (found.missing == -1) == (expected.missing.numpy() == -1)
    assert both[same].mean() > 0.995  # limits that are met to the last bit may fall either way
    taken = same & (found.face >= 0) & (found.missing == -1) & (expected.missing.numpy() == -1)
    assert taken.sum() > 100
    away = np.abs(found.rgba.astype(int) - expected.rgba.numpy())[taken]
    assert away.max() <= 1
    assert np.array_equal(found.missing[same & ~taken & both], face.numpy()[same & ~taken & both])
    hit = same & (found.face >= 0)
    assert np.allclose(found.depth[hit], at.numpy()[hit], rtol=2e-6)
    assert np.isinf(found.depth[found.face < 0]).all()


def test_faces_that_are_known_are_shaded_as_in_the_picture(device):
    case = problem()
    painter = case.painter(device)
    whole = case.paint(device, painter=painter)
    assert np.array_equal(painter.faces(case.camera), whole.face)
    some = np.where(np.indices(whole.face.shape).sum(0) % 3 == 0, whole.face, -1)[5:40]
    found = painter.shade(case.camera, some, (0, 5), case.shader)
    assert np.abs(found.astype(int) - whole.colour[5:40])[some >= 0].max() <= 1
    assert (found[some < 0] == 255).all()


def test_key_frames_larger_than_the_devices_limits_have_no_room(device):
    painter = problem().painter(device)
    assert painter.keeps(2000, 1000)
    assert not painter.keeps(device.limits["max-texture-dimension-2d"] + 1, 8)
    assert not painter.keeps(8000, 8000)


@pytest.fixture(scope="module")
def runs(adapter, asymmetric, tmp_path_factory):
    path = write_tiny_run(asymmetric, tmp_path_factory.mktemp("runs") / "run")
    return Run.open(path), Run.open(path, f"webgpu:{adapter.number}")


def beside(camera, step):
    R, t = look_at(camera.position + step * np.array([1, 0.6, -0.3]), (0.1, 0, 0), (0.1, -1, 0))
    return replace(camera, R=R, t=t)


@pytest.mark.parametrize("background", ["white", "black"])
def test_moving_pictures_are_those_of_the_cpu(runs, background):
    renderers = [run.renderer_on(background) for run in runs]
    camera = runs[0].camera(runs[0].names("train")[0])
    size = (camera.width, camera.height)
    movers = [mover(renderer, size, None) for renderer in renderers]
    assert [type(m) for m in movers] == [MovingRenderer, PainterMovingRenderer]
    for part in movers:
        part.seconds = 1e9  # no coarse colours, which depend on the chip's speed
    for step in (0.0, 0.02, 0.3):
        expected, found = (part.render(beside(camera, step)) for part in movers)
        same = (expected.face == found.face).numpy()
        assert same.mean() > 0.99
        away = (expected.rgba.int() - found.rgba.int()).abs().amax(2).numpy()
        assert (away[same] <= 1).mean() > 0.99
        assert abs(expected.reused - found.reused) < 0.01
        for part in movers:
            part.improve(lambda: False)
    assert movers[1].ready
    assert found.reused > 0.05


def test_slow_chips_share_colours_between_pixels(runs):
    renderer = runs[1].renderer
    camera = runs[1].camera(runs[1].names("train")[0])
    moving = mover(renderer, (camera.width, camera.height), None)
    moving.render(camera)
    moving.seconds = 0.0
    view = beside(camera, 1.5)
    found, exact = moving.render(view), renderer.render(view, ("colour", "coverage"), smooth=False)
    covered = exact.coverage.numpy()
    away = (found.rgba[..., :3].int() - exact.colour.int()).abs().amax(2).numpy()
    assert np.median(away[covered]) <= 16


def test_the_viewer_reuses_colours_on_the_chip(runs):
    _, gpu = runs
    painter = ViewPainter(gpu)
    camera = gpu.camera(gpu.names("train")[0])
    shown = painter.shown(ViewRequest(camera, moving=True))
    assert not painter.can_reuse(shown)
    first, reused = painter.moving(shown, lambda: None)
    assert reused == 0
    assert painter.can_reuse(shown)
    again, reused = painter.moving(shown, lambda: None)
    assert reused > 0.8
    assert np.abs(first.rgb.astype(int) - again.rgb).max() <= 1


def test_lenses_that_bend_are_not_reused_on_the_chip(runs):
    camera = runs[1].camera(runs[1].names("train")[0])
    camera = replace(camera, model="OPENCV", distortion=np.array([0.1, 0, 0, 0]))
    painter = ViewPainter(runs[1])
    shown = painter.shown(ViewRequest(camera, moving=True))
    rows, reused = painter.moving(shown, lambda: None)
    assert reused == 0
    assert not painter.can_reuse(shown)
    assert rows.rgb.shape == (camera.height, camera.width, 4)
