"""Silhouettes are smooth: pixels in which the surface breaks off are means over the pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xscale.gbuffer.build import visible
from xscale.gbuffer.edges import breaks
from xscale.render.outputs import TABLE
from xscale.render.renderer import Renderer

FINE = 8


@pytest.fixture(scope="module")
def renderer(tiny_run):
    """A renderer of the run whose colours tell surfaces apart, white where nothing is."""
    return Renderer(tiny_run.surface, tiny_run.model, tiny_run.manifest.origin)


@pytest.fixture(scope="module")
def camera(tiny_run):
    return tiny_run.camera("view_01.png").scaled(150, 110)


def flagged(renderer, camera):
    local = camera.recentred(renderer.origin)
    packed = torch.from_numpy(local.packed())
    size = (camera.width, camera.height)
    seen = visible(renderer.surface, packed, *size)
    return breaks(renderer.surface, packed, size, (0, 0, *size), *seen)


def test_only_colours_change_and_only_where_the_surface_breaks_off(renderer, camera):
    outputs = [n for n, row in TABLE.items() if row.refusal(renderer) is None]
    hard = renderer.render(camera, outputs, smooth=False)
    smooth = renderer.render(camera, outputs)
    flags = flagged(renderer, camera).flags > 0
    assert 0.005 < flags.float().mean() < 0.5
    for name in outputs:
        a, b = getattr(hard, name).nan_to_num(7), getattr(smooth, name).nan_to_num(7)
        if TABLE[name].smooth:
            changed = (a != b).any(2)
            assert changed.any()
            assert not changed[~flags].any()
        else:
            assert torch.equal(a, b), name


def test_smooth_edges_are_nearer_to_means_over_many_samples(renderer, camera):
    fine = camera.scaled(camera.width * FINE, camera.height * FINE)
    many = renderer.render(fine, ("srgb",), smooth=False)
    blocks = many.srgb.reshape(camera.height, FINE, camera.width, FINE, 3)
    hit = many.coverage.reshape(camera.height, FINE, camera.width, FINE).all(3).all(1)
    truth = blocks.mean((1, 3))
    flags = (flagged(renderer, camera).flags > 0) & hit
    assert flags.sum() > 30
    hard, smooth = (renderer.render(camera, ("srgb",), smooth=s).srgb[flags] for s in (False, True))
    error = [float((x - truth[flags]).square().mean()) for x in (hard, smooth)]
    assert error[1] < 0.65 * error[0]


def test_white_beside_the_mesh_is_not_mixed_into_it(renderer, camera):
    hard = renderer.render(camera, ("colour",), smooth=False)
    smooth = renderer.render(camera, ("colour",))
    assert (smooth.colour[~smooth.coverage] == 255).all()
    missed = flagged(renderer, camera).missed
    outline = missed[1:, 1:] | missed[:-1, 1:] | missed[1:, :-1] | missed[:-1, :-1]
    outline &= hard.coverage
    assert outline.any()
    brighter = smooth.colour[outline].float().mean() - hard.colour[outline].float().mean()
    assert brighter.abs() < 3


def test_the_command_line_s_hard_edges_are_single_samples(tiny_run, camera):
    frame = tiny_run.render(camera, smooth=False)
    assert torch.equal(frame.colour, tiny_run.renderer.render(camera, smooth=False).colour)
    assert np.any(frame.colour.numpy() != tiny_run.render(camera).colour.numpy())
