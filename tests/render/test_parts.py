"""A rectangle of a picture is the crop of the whole, and every output says what the rays hit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import builders
from xscale.errors import ResourceError, UsageError
from xscale.render import renderer
from xscale.render.outputs import TABLE

OUTPUTS = tuple(TABLE)
FIELDS = [name for name in OUTPUTS if name != "colour"]


@pytest.fixture(scope="module")
def view(tiny_run):
    camera = tiny_run.camera("view_01.png").scaled(141, 83)
    return camera, tiny_run.renderer.render(camera, OUTPUTS)


@pytest.mark.parametrize("rect", [(0, 0, 1, 1), (17, 5, 64, 40), (140, 0, 1, 83), (3, 82, 137, 1)])
def test_part_equals_the_crop_bit_for_bit(tiny_run, view, rect):
    camera, whole = view
    part = tiny_run.renderer.render(camera, OUTPUTS, rect=rect)
    left, top, width, height = rect
    for name in ("colour", *FIELDS):
        crop = getattr(whole, name)[top : top + height, left : left + width]
        assert torch.equal(
            getattr(part, name).view(torch.uint8), crop.contiguous().view(torch.uint8)
        ), name


def test_only_what_is_asked_for_is_computed(tiny_run, view, monkeypatch):
    camera, whole = view
    monkeypatch.setattr(tiny_run.model, "paint", None)
    monkeypatch.setattr(tiny_run.model, "colour", None)
    for samples in (1, 2):
        frame = tiny_run.render(camera, ("depth", "face"), samples=samples)
        given = {name for name, value in vars(frame).items() if value is not None}
        assert given == {"coverage", "depth", "face"}
    assert torch.equal(tiny_run.render(camera, ("depth",)).depth, whole.depth)
    assert torch.equal(tiny_run.render(camera, ()).coverage, whole.coverage)


@pytest.mark.parametrize("pixels", [1, 700, 1 << 13])
def test_bands_of_any_size_give_the_same_bits(tiny_run, view, monkeypatch, pixels):
    camera, whole = view
    monkeypatch.setattr(renderer, "_BAND_PIXELS", pixels)
    again = tiny_run.renderer.render(camera, OUTPUTS)
    for name in ("colour", *FIELDS):
        assert torch.equal(getattr(again, name).nan_to_num(7), getattr(whole, name).nan_to_num(7))


class Full:
    """A device whose memory holds this many pixels of a band."""

    def __init__(self, found, most):
        self.bands = []
        self._most = most
        self._finished = found._finished

    def __call__(self, asked, rect):
        pixels = rect[2] * rect[3]
        self.bands.append(pixels)
        if pixels > self._most:
            raise torch.OutOfMemoryError("planted: out of memory")
        return self._finished(asked, rect)


def test_a_device_without_memory_gets_smaller_bands_and_the_picture_stays(
    tiny_run, view, monkeypatch
):
    camera, whole = view
    small = tiny_run.renderer.over(tiny_run.renderer.surface)
    full = Full(small, camera.width * (camera.height // 5))
    monkeypatch.setattr(small, "_finished", full)
    again = small.render(camera, OUTPUTS)
    assert full.bands[:4] == [camera.width * (camera.height >> halved) for halved in range(4)]
    for name in ("colour", *FIELDS):
        assert torch.equal(getattr(again, name).nan_to_num(7), getattr(whole, name).nan_to_num(7))
    # The next picture begins with bands that fit.
    full.bands.clear()
    small.render(camera, OUTPUTS)
    assert max(full.bands) <= camera.width * (camera.height // 5)


def test_a_device_that_holds_no_sixteenth_of_a_band_is_one_line(tiny_run, view, monkeypatch):
    small = tiny_run.renderer.over(tiny_run.renderer.surface)
    monkeypatch.setattr(small, "_finished", Full(small, view[0].width * 4))
    with pytest.raises(ResourceError, match="5 rows of 141 pixels do not fit into the memory of"):
        small.render(view[0], OUTPUTS)


def test_outputs_agree_with_single_rays(tiny_run, asymmetric, view):
    camera, frame = view
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    pixel = np.stack([u.ravel(), v.ravel()], 1)
    distance, face = builders.hits(asymmetric.vertices, asymmetric.faces, camera, pixel)
    hit = frame.coverage.numpy().ravel()
    same = frame.face.numpy().ravel() == face
    # Pixels whose centre lies on an edge up to rounding may go either way.
    assert same.mean() > 0.999
    seen = hit & same
    world = camera.position + camera.rays(pixel) * np.where(seen, distance, 0)[:, None]
    found = frame.position.numpy().reshape(-1, 3) + np.asarray(tiny_run.manifest.origin)
    np.testing.assert_allclose(found[seen], world[seen], atol=1e-5)
    assert np.isnan(frame.position.numpy().reshape(-1, 3)[~hit]).all()
    depth = (world @ camera.R.T + camera.t)[:, 2]
    np.testing.assert_allclose(frame.depth.numpy().ravel()[seen], depth[seen], rtol=1e-5)
    assert (frame.face.numpy().ravel()[~hit] == -1).all()
    rounded = (frame.srgb * 255 + 0.5).to(torch.uint8)
    assert torch.equal(rounded, frame.colour)


def test_level_is_the_one_whose_cells_are_as_large_as_the_footprint(tiny_run, view):
    _, frame = view
    field = tiny_run.model.field
    scales = np.array(field.layout.scales)
    cells = np.float64(max(field.box.extent)) / frame.footprint.numpy()[frame.coverage.numpy()]
    expected = np.interp(np.log(cells + 1), np.log(scales + 1), np.arange(len(scales)))
    np.testing.assert_allclose(frame.level[frame.coverage].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("rect", [(-1, 0, 5, 5), (0, 0, 0, 5), (100, 0, 42, 5), (0, 83, 1, 1)])
def test_rectangle_outside_the_picture_is_refused(tiny_run, view, rect):
    with pytest.raises(UsageError, match="leaves the picture of 141 x 83"):
        tiny_run.renderer.render(view[0], rect=rect)


@pytest.mark.parametrize("samples", [1, 2])
def test_photos_are_those_that_rays_find_unblocked(tiny_run, asymmetric, samples):
    camera = tiny_run.camera("view_01.png").scaled(60, 40)
    frame = tiny_run.render(camera, ("photos", "position"), samples=samples)
    hit = frame.coverage.numpy()
    world = frame.position.numpy()[hit] + np.asarray(tiny_run.manifest.origin)
    expected = np.zeros(len(world))
    for name in tiny_run.names("train"):
        view = tiny_run.camera(name)
        pixel, depth = view.project(world)
        inside = (depth > 0) & (pixel >= 0).all(1) & (pixel < (view.width, view.height)).all(1)
        distance, _ = builders.hits(asymmetric.vertices, asymmetric.faces, view, pixel[inside])
        away = np.linalg.norm(world[inside] - view.position, axis=1)
        rays = np.linalg.norm(view.rays(pixel[inside]), axis=1)
        expected[inside] += distance * rays > away * (1 - 1e-4)
    found = frame.photos.numpy()
    assert (found[~hit] == 0).all()
    assert len(np.unique(expected)) > 2
    # Depths are looked up at pixels: at outlines they may belong to the neighbour.
    assert (found[hit] == expected).mean() > 0.97
    assert np.abs(found[hit] - expected).mean() < 0.05


def test_renderer_without_training_photos_says_so(tiny_run, view):
    alone = renderer.Renderer(tiny_run.surface, tiny_run.model, tiny_run.manifest.origin)
    with pytest.raises(UsageError, match="does not know the training photos"):
        alone.render(view[0], ("photos",))
