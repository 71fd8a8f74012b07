"""Pictures by WebGPU against the float64 references."""

import numpy as np
import pytest
import torch

from tests.lenses import BENT, WIDE, camera_of
from tests.webgpu.problems import HEIGHT, WIDTH, check, pinhole, problem
from xscale.errors import NumericsError, ResourceError
from xscale.webgpu import source
from xscale.webgpu.device import WEB_LIMITS
from xscale.webgpu.layout import table_groups
from xscale.webgpu.pieces import mesh_pieces


def test_the_device_has_no_more_than_the_web_grants(device):
    assert device.limits == WEB_LIMITS
    for name, most in WEB_LIMITS.items():
        if name.startswith("max-storage"):
            assert device.handle.limits[name] == most


@pytest.mark.parametrize("kind", ["relu", "film"])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_picture_is_the_references(device, kind, width):
    case = problem(kind, width)
    check(case, case.paint(device))


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": 64},
        pytest.param({"hidden": 128}, marks=pytest.mark.slow),
        {"kind": "film", "hidden": 64},
        {"sh_degree": 1},
        {"sh_degree": 3},
        {"interpolation": "smoothstep"},
        {"footprint_scale": 0.0},
        {"footprint_scale": 4.0},
        {"box": ((0.1, 0.0, 0.2), (0.4, 0.6, 1.1))},
        {"exposed": False},
        {"kind": "film", "exposed": False},
        {"dtype": torch.float32, "width": 2},
        {"dtype": torch.float32, "width": 8},
        {"camera": pinhole(skew=3.0)},
        {"camera": pinhole(near=0.85)},
        {"camera": pinhole(near=0.0)},
    ],
    ids=str,
)
def test_every_setting_is_followed(device, options):
    case = problem(**options)
    check(case, case.paint(device))


def test_the_published_range_is_followed(device):
    case = problem()
    check(case, case.paint(device, painter=case.painter(device, photo_range=256)), 256)


_ALWAYS = ("OPENCV", "FULL_OPENCV", "FOV", "THIN_PRISM_FISHEYE", "EQUIRECTANGULAR")
"""One lens of each projection; drivers that compute on the CPU compile for seconds."""


@pytest.mark.parametrize(
    "model", [m if m in _ALWAYS else pytest.param(m, marks=pytest.mark.slow) for m in BENT]
)
def test_lenses_that_bend_show_the_references_faces(device, model):
    camera = camera_of(model, WIDTH, HEIGHT, t=[0.1, -0.2, 0.55], near=1e-3)
    case = problem(hidden=16).seen_by(camera)
    if model in WIDE:
        assert len({-1, *case.faces().unique().tolist()}) > 100
    check(case, case.paint(device))


def test_a_lens_whose_rays_all_leave_its_domain_sees_nothing(device):
    camera = camera_of("FISHEYE", WIDTH, HEIGHT, near=1e-3)
    case = problem().seen_by(camera)
    found = case.paint(device, rect=(9000, 9000, 8, 8))
    assert not found.covered.any()
    assert (found.colour == 255).all()
    assert (found.face == -1).all()


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_tables_in_several_bindings_give_the_same_bits(device, kind, monkeypatch):
    case = problem(kind)
    whole = case.paint(device)
    small = replaced(device, "max-storage-buffer-binding-size", 20_000)
    painter = case.painter(small)
    assert len(painter.sizes.groups) == 3
    parts = case.paint(device, painter=painter)
    assert np.array_equal(parts.colour, whole.colour)


def test_networks_too_large_for_a_uniform_buffer_give_the_same_bits(device):
    case = problem()
    whole = case.painter(device)
    stored = case.painter(replaced(device, "max-uniform-buffer-binding-size", 1000))
    assert (whole.sizes.weights, stored.sizes.weights) == ("uniform", "storage")
    a, b = (case.paint(device, painter=painter) for painter in (whole, stored))
    assert np.array_equal(a.colour, b.colour)


@pytest.mark.parametrize("model", ["PINHOLE", "OPENCV"])
def test_meshes_in_several_pieces_give_the_same_bits(device, model):
    case = problem()
    if model != "PINHOLE":
        case = case.seen_by(camera_of(model, WIDTH, HEIGHT, t=[0.1, -0.2, 0.55], near=1e-3))
    whole = case.paint(device)
    vertices, faces = case.surface.vertices.numpy(), case.surface.faces.numpy()
    for most in (4000, 12 * len(vertices)):
        assert len(mesh_pieces(vertices, faces, most)) > 1
    in_parts = case.painter(device)
    small = replaced(device, "max-storage-buffer-binding-size", 4000)
    pieces = mesh_pieces(vertices, faces, small.binding_bytes)
    in_parts._passes.use_pieces(pieces)
    parts = case.paint(device, painter=in_parts)
    assert np.array_equal(parts.face, whole.face)
    assert np.array_equal(parts.colour, whole.colour)


def test_a_part_is_the_crop_of_the_whole(device):
    case = problem()
    painter = case.painter(device)
    whole = case.paint(device, painter=painter)
    part = case.paint(device, rect=(13, 7, 30, 20), painter=painter)
    crop = np.s_[7:27, 13:43]
    same = part.face == whole.face[crop]
    assert same.mean() > 0.995
    assert np.abs(part.colour.astype(int) - whole.colour[crop])[same].max() <= 1


def test_bands_and_tiles_give_the_same_picture(device, monkeypatch):
    case = problem()
    whole = case.paint(device)
    from xscale.webgpu import painter as module

    painter = case.painter(device)
    painter._seconds = 1.0  # so slow that every band is as low as can be
    monkeypatch.setattr(module, "_TILE", 40)
    parts = case.paint(device, painter=painter, depth=True)
    same = parts.face == whole.face
    assert same.mean() > 0.995
    assert np.abs(parts.colour.astype(int) - whole.colour)[same].max() <= 1
    assert parts.depth.shape == (HEIGHT, WIDTH)


def test_unrounded_colours_and_depths_belong_to_the_bytes(device):
    case = problem()
    painter = case.painter(device)
    rounded = case.paint(device, painter=painter, depth=True)
    exact = case.paint(device, painter=painter, floats=True, depth=True)
    assert np.array_equal(np.floor(exact.colour * 255 + 0.5).astype(np.uint8), rounded.colour)
    assert np.array_equal(exact.depth, rounded.depth)
    packed = torch.from_numpy(case.camera.packed())
    from xscale.gbuffer.build import pixel_samples

    samples = pixel_samples(case.surface, packed, torch.from_numpy(rounded.face))
    found = rounded.depth.reshape(-1)[samples.pixel_index]
    assert np.allclose(found, samples.depth, rtol=2e-6)
    assert np.isinf(rounded.depth[~rounded.covered]).all()


def test_a_half_float_network_is_within_two_steps(adapter):
    from xscale.webgpu.device import open_device

    if "shader-f16" not in adapter.features:
        pytest.skip("the adapter has no shader-f16")
    case = problem()
    half = open_device(adapter, WEB_LIMITS)
    painter = case.painter(half, half=True)
    assert "enable f16" in source.paint_source(painter.sizes)
    found = case.paint(half, painter=painter).colour.astype(int) - case.paint(half).colour
    assert 0 < np.abs(found).max() <= 2
    assert not problem("film").painter(half, half=True).sizes.half


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_table_with_numbers_that_are_not_finite_is_refused(device, bad):
    case = problem(width=2)
    case.grid.table[7, 1] = bad
    with pytest.raises(NumericsError, match="--device cpu"):
        case.painter(device)


def test_a_table_that_fits_nowhere_is_refused(device):
    case = problem(width=8)
    with pytest.raises(ResourceError, match="5 bindings of 0 MiB; use --device cpu"):
        case.painter(replaced(device, "max-storage-buffer-binding-size", 9_000))


def test_levels_are_never_cut():
    layout = problem().grid.layout
    groups = table_groups(layout, "float16", 20_000, 8)
    assert groups[-1] == layout.levels
    starts = (0, *groups[:-1])
    for begin, end in zip(starts, groups, strict=True):
        assert (layout.offsets[end] - layout.offsets[begin]) * 8 <= 20_000


def replaced(device, name, value):
    from dataclasses import replace

    return replace(device, limits={**device.limits, name: value})
