import os
import subprocess
import sys

import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError
from xscale.ops._selftest import frame_problem

KINDS = pytest.mark.parametrize("kind", ["relu", "film"])


def chain(mesh, camera, face_id, grid, shader, photo_range=255):
    """The single ops one after the other."""
    index = (face_id.reshape(-1) >= 0).nonzero().squeeze(1)
    width = face_id.shape[1]
    pixel = torch.stack([index % width + 0.5, index // width + 0.5], 1).float()
    zero = torch.zeros(len(index), dtype=torch.int32)
    points = ops.interpolate(
        *mesh, None, camera[None], zero, pixel, face_id.reshape(-1)[index].contiguous()
    )
    features = ops.encode(
        (points.position - grid.box[0]) * grid.box[1] + 0.5,
        grid.table,
        grid.layout,
        interpolation=grid.interpolation,
        footprint=points.footprint * float(grid.box[1].min()) if grid.footprint_scale else None,
        footprint_scale=grid.footprint_scale,
    )
    exposure = None if shader.exposure is None else shader.exposure[None]
    photo = None if exposure is None else zero
    inputs = (features, points.direction, shader.weights, shader.layout)
    colour = ops.shade(*inputs, exposure, photo, shader.light)
    rgb = torch.full((face_id.numel(), 3), 255, dtype=torch.uint8)
    rgb[index] = ((colour * (photo_range / 255)).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return rgb.reshape(*face_id.shape, 3)


def differences(a, b):
    """Largest difference of a pixel's channels, for every pixel."""
    return (a.int() - b.int()).abs().amax(-1)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_one_pass_gives_the_picture_of_the_single_ops(kind, dtype):
    mesh, camera, face_id, grid, shader = frame_problem(kind)
    grid = grid._replace(table=grid.table.to(dtype))
    ours = ops.fused_frame(*mesh, camera, face_id, grid, shader, photo_range=256)
    expected = chain(mesh, camera, face_id, grid, shader, photo_range=256)
    assert expected[face_id >= 0].float().std() > 5  # a picture, not a grey wall
    away = differences(ours, expected)
    assert (away > 1).double().mean() < 1e-3
    assert away.max() <= 2
    assert (away > 0).double().mean() < 0.2
    if ops.isa() != "avx512bf16":
        assert not away.any()


@KINDS
def test_one_pass_gives_the_reference_picture(kind):
    problem = frame_problem(kind)
    ours = ops.fused_frame(*problem[0], *problem[1:])
    with ops.use_backend("reference"):
        exact = ops.fused_frame(*problem[0], *problem[1:])
    assert (differences(ours, exact) > 1).double().mean() < 1e-3


@pytest.mark.parametrize("isa", ["base", "avx2", "avx512"])
def test_every_instruction_set_gives_the_picture(isa):
    script = """
import torch
from tests.ops.test_fused_frame import chain, differences, frame_problem
from xscale import ops
for kind in ("relu", "film"):
    mesh, *rest = frame_problem(kind)
    ours = ops.fused_frame(*mesh, *rest)
    assert torch.equal(ours, chain(mesh, *rest)), kind
    with ops.use_backend("reference"):
        exact = ops.fused_frame(*mesh, *rest)
    assert (differences(ours, exact) > 0).double().mean() < 1e-3, kind
print(ops.isa())
"""
    environment = {**os.environ, "XSCALE_ISA": isa, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    order = ("none", "base", "avx2", "avx512")
    assert order.index(done.stdout.strip()) <= order.index(isa)


@KINDS
def test_nothing_depends_on_threads_or_on_how_the_picture_is_cut(kind):
    mesh, camera, face_id, grid, shader = frame_problem(kind)
    pictures = []
    for threads in (1, 2, 4):
        with ops.limit_threads(threads):
            pictures.append(ops.fused_frame(*mesh, camera, face_id, grid, shader))
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])
    left, top, right, bottom = 13, 7, 90, 71
    part = ops.fused_frame(
        *mesh, camera, face_id[top:bottom, left:right].contiguous(), grid, shader,
        corner=(left, top),
    )  # fmt: skip
    assert torch.equal(part, pictures[0][top:bottom, left:right])


def test_pixels_without_a_face_are_white_and_others_do_not_care():
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    whole = ops.fused_frame(*mesh, camera, face_id, grid, shader)
    assert (face_id < 0).any()
    assert (whole[face_id < 0] == 255).all()
    gone = torch.rand(face_id.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    holes = ops.fused_frame(
        *mesh, camera, torch.where(gone, torch.full_like(face_id, -1), face_id), grid, shader
    )
    assert torch.equal(holes[~gone], whole[~gone])
    assert (holes[gone] == 255).all()
    nothing = ops.fused_frame(*mesh, camera, torch.full_like(face_id, -1), grid, shader)
    assert (nothing == 255).all()
    empty = torch.zeros(0, 5, dtype=torch.int32)
    assert ops.fused_frame(*mesh, camera, empty, grid, shader).shape == (0, 5, 3)


def test_levels_far_finer_than_a_pixel_are_not_read():
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    layout = grid.layout
    grid = grid._replace(footprint_scale=2000.0)
    clean = ops.fused_frame(*mesh, camera, face_id, grid, shader)
    table = grid.table.clone()
    table[layout.offsets[-2] :] = float("nan")
    assert torch.equal(
        ops.fused_frame(*mesh, camera, face_id, grid._replace(table=table), shader), clean
    )


def test_a_bad_table_row_spoils_the_pixels_that_read_it_and_no_other():
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    clean = ops.fused_frame(*mesh, camera, face_id, grid, shader)
    table = grid.table.clone()
    first, last = grid.layout.offsets[-2:]
    table[first + (last - first) // 2 : last] = float("nan")
    spoilt = ops.fused_frame(*mesh, camera, face_id, grid._replace(table=table), shader)
    same = (spoilt == clean).all(-1)
    assert same.any()
    assert (spoilt[~same] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face_id": torch.zeros(4, 5)}, "fused_frame: face_id must be int32, got float32"),
        ({"camera": torch.zeros(3).double()}, r"camera must be \[32\], got \[3\]"),
        ({"table": torch.zeros(3, 2)}, r"grid.table must be \[\d+, 4\], got \[3, 2\]"),
        ({"weights": torch.zeros(3)}, r"shader.weights must be \[\d+\], got \[3\]"),
        ({"layout": ops.ReluShaderLayout(8)}, "the shader takes 8 features, the grid has 32"),
        ({"light": torch.zeros(4, 64)}, "light belongs to the film shader"),
        ({"interpolation": "cubic"}, "interpolation must be 'smoothstep' or 'linear', got 'cubic'"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(change, message):
    mesh, camera, face_id, grid, shader = frame_problem("relu")
    values = {"camera": camera, "face_id": face_id}
    values |= {name: value for name, value in change.items() if name in values}
    grid = grid._replace(**{k: v for k, v in change.items() if k in grid._fields and k != "layout"})
    shader = shader._replace(**{k: v for k, v in change.items() if k in shader._fields})
    with pytest.raises(ShapeError, match=message):
        ops.fused_frame(*mesh, grid=grid, shader=shader, **values)
