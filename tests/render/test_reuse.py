"""Pictures of a moving camera: exact outlines, colours of key frames, never of reused pictures."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.builders import look_at
from xscale.render.reuse import MovingRenderer


@pytest.fixture
def camera(tiny_run):
    return tiny_run.camera(tiny_run.names("train")[0])


def beside(camera, step):
    """The camera, moved and turned a little."""
    R, t = look_at(camera.position + step * np.array([1, 0.6, -0.3]), (0.1, 0, 0), (0.1, -1, 0))
    return replace(camera, R=R, t=t)


def exact(run, camera):
    return run.render(camera, ("colour", "depth", "face"))


def with_key(run, camera, **options):
    moving = MovingRenderer(run.renderer, (camera.width, camera.height), **options)
    frame = exact(run, camera)
    moving.keep(camera, frame.colour, frame.depth)
    return moving


def test_from_the_key_frames_own_place_the_picture_is_the_exact_one(tiny_run, camera):
    frame = with_key(tiny_run, camera).render(camera)
    expected = exact(tiny_run, camera)
    assert frame.reused > 0.8
    apart = (frame.rgba[..., :3].int() - expected.colour.int()).abs()
    # A pixel's place may be off by the rounding of its point to float32.
    assert apart[expected.coverage].max() <= 1
    assert torch.equal(frame.face, expected.face)
    assert torch.allclose(frame.depth, expected.depth, rtol=1e-6)


@pytest.mark.parametrize("step", [0.02, 0.3, 1.5])
def test_outlines_and_depths_are_exact_and_colours_near(tiny_run, camera, step):
    view = beside(camera, step)
    frame = with_key(tiny_run, camera).render(view)
    expected = exact(tiny_run, view)
    assert torch.equal(frame.face, expected.face)
    assert torch.allclose(frame.depth, expected.depth, rtol=1e-6)
    assert 0 <= frame.reused < 1
    apart = (frame.rgba[..., :3].float() - expected.colour.float()).abs()
    shaded = (apart[expected.coverage].amax(1) == 0).float().mean()
    assert shaded >= 0.9 * (1 - frame.reused)


def test_without_key_frames_the_first_picture_is_exact_and_becomes_one(tiny_run, camera):
    moving = MovingRenderer(tiny_run.renderer, (camera.width, camera.height))
    assert not moving.ready
    frame = moving.render(camera)
    assert frame.reused == 0
    assert torch.equal(frame.rgba[..., :3], exact(tiny_run, camera).colour)
    assert moving.ready


def test_pictures_made_from_key_frames_never_become_ones(tiny_run, camera):
    moving = with_key(tiny_run, camera)
    view = beside(camera, 0.2)
    moving.render(view)
    moving.improve(lambda: True)
    moving.render(beside(camera, 0.1))
    for slot, key in enumerate(moving._cameras):
        if key is None:
            continue
        known = moving._keys.depth[slot].isfinite()
        true = tiny_run.renderer.render(key.recentred(-tiny_run.origin), ("colour",)).colour
        assert known.float().mean() > 0.01
        assert torch.equal(moving._keys.colour[slot][known][:, :3], true[known])


def test_improving_makes_a_key_frame_of_the_view(tiny_run, camera):
    moving = with_key(tiny_run, camera)
    view = beside(camera, 0.5)
    before = moving.render(view)
    stops = iter([True, False] + [False] * 1000)
    moving.improve(lambda: next(stops))
    moving.improve(lambda: False)
    after = moving.render(view)
    expected = exact(tiny_run, view)
    assert after.reused > before.reused
    apart = [
        (frame.rgba[..., :3].int() - expected.colour.int()).abs()[expected.coverage].float().mean()
        for frame in (before, after)
    ]
    assert apart[1] < 0.5
    assert apart[1] < 0.2 * apart[0]


def test_rows_of_a_key_frame_that_are_not_rendered_are_not_taken(tiny_run, camera):
    frame = exact(tiny_run, camera)
    half = camera.height // 2
    colour, depth = frame.colour.clone(), frame.depth.clone()
    colour[half:], depth[half:] = 0, float("inf")
    moving = MovingRenderer(tiny_run.renderer, (camera.width, camera.height))
    moving.keep(camera, colour, depth)
    found = moving.render(camera)
    assert 0.2 < found.reused < 0.8
    apart = (found.rgba[..., :3].int() - frame.colour.int()).abs()
    assert apart[frame.coverage].max() <= 1


@pytest.mark.parametrize("size", [(112, 64), (113, 63), (1, 1), (2, 3)])
def test_where_time_is_short_pixels_share_colours(tiny_run, camera, size):
    view = camera.scaled(*size)
    moving = with_key(tiny_run, view, seconds=0.0)
    frame = moving.render(beside(view, 0.4))
    expected = exact(tiny_run, beside(view, 0.4))
    assert torch.equal(frame.face, expected.face)
    assert frame.rgba.shape == (size[1], size[0], 4)
    # Uncovered pixels are the background, white here; no other pixel is left white.
    white = (frame.rgba == 255).all(2)
    assert white[~expected.coverage].all()
    left = white & expected.coverage & ~(expected.colour == 255).all(2)
    assert not left.any()


def test_more_views_than_key_frames_keep_the_nearest(tiny_run, camera):
    moving = MovingRenderer(tiny_run.renderer, (camera.width, camera.height))
    for step in (0.0, 0.3, 0.6, 0.9, 1.2, 1.5):
        view = beside(camera, step)
        frame = exact(tiny_run, view)
        moving.keep(view, frame.colour, frame.depth)
    assert moving.render(beside(camera, 1.5)).reused > 0.8


@pytest.mark.parametrize("size", [(112, 64), (113, 63), (57, 34)])
def test_uncovered_pixels_show_the_background_nearly(tiny_run, camera, size):
    view = beside(camera.scaled(*size), 0.3)
    renderer = copy.copy(tiny_run.renderer)
    renderer.background = Striped()
    moving = MovingRenderer(renderer, size)
    first = renderer.render(camera.scaled(*size), ("colour", "depth"))
    moving.keep(camera.scaled(*size), first.colour, first.depth)
    expected = renderer.render(view, ("colour",))
    apart = (moving.render(view).rgba[..., :3].int() - expected.colour.int()).abs()
    assert (~expected.coverage).sum() > 0
    assert apart[~expected.coverage].max() <= 20, "the stripes are a few pixels wide"


class Striped:
    """A background of smooth stripes."""

    def colour(self, position, direction):
        return 0.5 + 0.4 * torch.sin(6 * direction)
