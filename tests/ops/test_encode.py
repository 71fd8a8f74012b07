import math
import os
import subprocess
import sys

import pytest
import torch

from tests.ops.same import same_sums
from xscale import ops
from xscale.errors import ShapeError
from xscale.ops._grid import encode_backward_reference, encode_reference, fade_weights
from xscale.ops.encode import Lookup, lookup_name

PAPER = (16, 8, 22, 16, 1.4768261459394993)


def _scene(width=2, points=1500, levels=12, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    layout = ops.grid_layout(levels, width, 12, 8, 1.4)
    position = torch.rand(points, 3, generator=generator)
    table = torch.randn(layout.rows, width, generator=generator).to(dtype)
    # Footprints between a thousandth of the cube and all of it: some levels fade, some vanish.
    footprint = 10 ** (-3 * torch.rand(points, generator=generator))
    return layout, position, table, footprint


def _double(tensor):
    return None if tensor is None else tensor.double()


# Structure


def test_paper_layout_has_the_published_size():
    layout = ops.grid_layout(*PAPER)
    assert layout.rows == 44_043_888
    assert layout.resolutions == (
        16, 24, 35, 52, 77, 113, 166, 246, 363, 535, 790, 1167, 1723, 2544, 3757, 5548,
    )  # fmt: skip
    assert layout.dense == (True,) * 6 + (False,) * 10
    assert layout.offsets[:4] == (0, 4096, 4096 + 13824, 4096 + 13824 + 42880)
    assert all(offset % 8 == 0 for offset in layout.offsets)
    assert layout.scales[0] == 15.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((33, 2, 19, 16, 1.5), "levels must be 1 to 32, got 33"),
        ((16, 3, 19, 16, 1.5), r"features_per_level must be one of \(1, 2, 4, 8\), got 3"),
        ((16, 2, 31, 16, 1.5), "log2_table_size must be 3 to 30, got 31"),
        ((16, 2, 19, 0, 1.5), "base_resolution must be"),
        ((16, 2, 19, 16, 0.5), "per_level_scale must be"),
        ((16, 2, 19, 16, 4.0), "vertices per axis"),
    ],
)
def test_impossible_layouts_are_refused_with_the_setting_named(settings, message):
    with pytest.raises(ShapeError, match=message):
        ops.grid_layout(*settings)


# Oracles


def test_value_at_a_vertex_is_its_row():
    layout = ops.grid_layout(1, 2, 15, 17, 1.0)  # scale 16: halves of cells are exact
    table = torch.randn(layout.rows, 2)
    vertex = torch.tensor([[1, 1, 1], [3, 9, 15], [16, 1, 2], [16, 16, 16]])
    position = (vertex - 0.5) / 16
    row = vertex[:, 0] + 17 * (vertex[:, 1] + 17 * vertex[:, 2])
    for interpolation in ("smoothstep", "linear"):
        features = ops.encode(position, table, layout, interpolation=interpolation)
        assert torch.equal(features, table[row])


def test_linear_interpolation_reproduces_a_linear_function():
    layout = ops.grid_layout(1, 1, 18, 33, 1.0)
    n = layout.resolutions[0]
    axis = torch.arange(n, dtype=torch.float32)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    table = torch.zeros(layout.rows, 1)
    table[: n**3, 0] = (2 * x - 3 * y + 5 * z + 1).flatten()
    position = torch.rand(500, 3) * 0.95
    at = position * layout.scales[0] + 0.5
    expected = at @ torch.tensor([2.0, -3.0, 5.0]) + 1
    features = ops.encode(position, table, layout, interpolation="linear")[:, 0]
    assert (features - expected).abs().max() < 1e-4


def _by_definition(point, table, layout, smooth):
    """One point's features from tiny-cuda-nn's definition, number by number."""
    features = []
    for level in range(layout.levels):
        scale, resolution = layout.scales[level], layout.resolutions[level]
        first = layout.offsets[level]
        size = layout.offsets[level + 1] - first
        at = [x * scale + 0.5 for x in point]
        cell = [math.floor(x) for x in at]
        sums = [0.0] * table.shape[1]
        for corner in range(8):
            bits = [corner & 1, corner >> 1 & 1, corner >> 2 & 1]
            x, y, z = (c + b for c, b in zip(cell, bits, strict=True))
            # The stride product decides, as there: it stops growing beyond the level's rows.
            stride = index = 0
            stride = 1
            for coordinate in (x, y, z):
                if stride > size:
                    break
                index += coordinate * stride
                stride *= resolution
            if stride > size:
                index = x ^ (y * 2654435761 % 2**32) ^ (z * 805459861 % 2**32)
            weight = 1.0
            for bit, a, c in zip(bits, at, cell, strict=True):
                t = a - c
                t = t * t * (3 - 2 * t) if smooth else t
                weight *= t if bit else 1 - t
            row = table[first + index % size].tolist()
            sums = [s + weight * v for s, v in zip(sums, row, strict=True)]
        features += sums
    return features


@pytest.mark.parametrize("smooth", [True, False])
def test_some_points_equal_the_definition_number_by_number(smooth):
    layout, position, table, _ = _scene(points=20)
    # Faces and corners of the cube too: there the dense levels' rows wrap around.
    position[:4] = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0.3], [0.2, 1, 1]])
    interpolation = "smoothstep" if smooth else "linear"
    features = ops.encode(position, table, layout, interpolation=interpolation)
    expected = [_by_definition(p, table, layout, smooth) for p in position.double().tolist()]
    assert (features.double() - torch.tensor(expected).double()).abs().max() < 2e-5


def test_fade_is_the_error_function():
    layout = ops.grid_layout(4, 1, 12, 8, 2.0)
    footprint = torch.tensor([0.0, 1e-4, 0.01, 0.05, 0.2, 1.0], dtype=torch.float64)
    cells = footprint[:, None] * 0.5 * torch.tensor(layout.scales, dtype=torch.float64)
    expected = torch.erf(1 / (8 * cells**2).sqrt())
    assert (fade_weights(footprint, layout, 0.5) - expected).abs().max() < 4e-7


# Bodies against the reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("interpolation", ["smoothstep", "linear"])
@pytest.mark.parametrize("faded", [False, True])
def test_encode_matches_the_float64_reference(width, interpolation, faded, dtype):
    layout, position, table, footprint = _scene(width, dtype=dtype)
    footprint = footprint if faded else None
    settings = {"interpolation": interpolation, "footprint_scale": 0.4}
    ours = ops.encode(position, table, layout, footprint=footprint, **settings)
    exact = encode_reference(
        position.double(), table.double(), layout, footprint=_double(footprint), **settings
    )
    assert ours.dtype == torch.float32
    error = (ours - exact).abs().max() / exact.abs().max()
    assert error < ops.OPS["encode"].float32_tolerance


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("interpolation", ["smoothstep", "linear"])
@pytest.mark.parametrize("faded", [False, True])
def test_gradients_match_the_float64_reference(width, interpolation, faded):
    layout, position, table, footprint = _scene(width)
    footprint = footprint if faded else None
    settings = {"interpolation": interpolation, "footprint_scale": 0.4}
    position[0] = torch.tensor([-0.5, 2.0, 0.5])
    position.requires_grad_()
    table.requires_grad_()
    exact_position = position.detach().double().requires_grad_()
    exact_table = table.detach().double().requires_grad_()
    exact = encode_reference(
        exact_position, exact_table, layout, footprint=_double(footprint), **settings
    )
    weight = torch.randn_like(exact)
    (exact * weight).sum().backward()
    ours = ops.encode(position, table, layout, footprint=footprint, **settings)
    (ours * weight.float()).sum().backward()
    for got, wanted in ((table.grad, exact_table.grad), (position.grad, exact_position.grad)):
        assert (got - wanted).abs().max() / wanted.abs().max() < 2e-5
    assert position.grad[0, :2].tolist() == [0, 0]
    grad_table = torch.zeros_like(exact_table)
    encode_backward_reference(
        weight, exact_position.detach(), layout, footprint=_double(footprint),
        grad_table=grad_table, touched=None, **settings,
    )  # fmt: skip
    assert torch.allclose(grad_table, exact_table.grad, rtol=1e-12, atol=1e-12)


def test_reference_gradients_match_finite_differences():
    layout, position, table, footprint = _scene(points=6, levels=3)
    settings = {"interpolation": "smoothstep", "footprint_scale": 0.5}

    def features(p, t):
        return encode_reference(p, t, layout, footprint=footprint[:6].double(), **settings)

    inputs = (position.double().requires_grad_(), table.double()[: layout.rows])
    assert torch.autograd.gradcheck(features, inputs)


def test_backward_adds_to_what_is_there_and_marks_the_rows_it_hits():
    layout, position, _, footprint = _scene()
    grad = torch.randn(len(position), layout.levels * 2)
    start = torch.randn(layout.rows, 2)
    sums, exact = start.clone(), start.double()
    touched, exact_touched = (torch.zeros(layout.rows // 8, dtype=torch.uint8) for _ in range(2))
    touched[5] = exact_touched[5] = 0b1010
    ops.encode_backward(
        grad, position, layout, footprint=footprint, grad_table=sums, touched=touched
    )
    encode_backward_reference(
        grad.double(), position.double(), layout, interpolation="smoothstep",
        footprint=footprint.double(), footprint_scale=0.5, grad_table=exact,
        touched=exact_touched,
    )  # fmt: skip
    assert (sums - exact).abs().max() < 2e-4
    assert torch.equal(touched, exact_touched)


def test_reference_backend_gives_the_same_through_the_public_functions():
    layout, position, table, footprint = _scene(points=200)
    grad = torch.randn(200, layout.levels * 2)
    results = []
    for backend in ("auto", "reference"):
        with ops.use_backend(backend):
            grad_table = torch.zeros_like(table)
            ops.encode_backward(grad, position, layout, grad_table=grad_table)
            results.append(
                [
                    ops.encode(position, table, layout, footprint=footprint),
                    ops.encode_backward_position(grad, position, table, layout),
                    grad_table,
                ]
            )
    for ours, reference in zip(*results, strict=True):
        assert torch.allclose(ours, reference, rtol=1e-3, atol=1e-3 * reference.abs().max().item())


# Properties


def test_far_views_see_exact_zeros_at_fine_levels_and_touch_nothing_there():
    layout, position, table, _ = _scene()
    footprint = torch.full((len(position),), 20.0)
    weight = fade_weights(footprint[:1], layout, 0.5)[0]
    gone = weight == 0
    assert gone[-1]
    assert not gone[0]
    features = ops.encode(position, table, layout, footprint=footprint)
    by_level = features.reshape(len(position), layout.levels, 2)
    assert (by_level[:, gone] == 0).all()
    assert (by_level[:, ~gone] != 0).any()
    grad_table = torch.zeros_like(table)
    ops.encode_backward(
        torch.ones_like(features), position, layout, footprint=footprint, grad_table=grad_table
    )
    assert (grad_table[layout.offsets[int(gone.nonzero()[0])] :] == 0).all()


def test_positions_outside_count_as_the_nearest_point_inside():
    layout, _, table, _ = _scene()
    nan, inf = float("nan"), float("inf")
    outside = torch.tensor([[-1.0, 0.5, 3.0], [nan, inf, -inf], [1.0 + 1e-6, 0.2, 0.3]])
    inside = torch.tensor([[0.0, 0.5, 1.0], [0.0, 1.0, 0.0], [1.0, 0.2, 0.3]])
    features = ops.encode(outside, table, layout)
    assert torch.equal(features, ops.encode(inside, table, layout))


@pytest.mark.parametrize("threads", [2, 3, 16, 61])
def test_results_do_not_depend_on_threads_bit_for_bit(threads):
    layout, position, table, footprint = _scene(points=20_000)
    grad = torch.randn(len(position), layout.levels * 2)
    results = []
    for count in (1, threads):
        with ops.limit_threads(count):
            grad_table = torch.zeros_like(table)
            touched = torch.zeros(layout.rows // 8, dtype=torch.uint8)
            ops.encode_backward(
                grad, position, layout, footprint=footprint, grad_table=grad_table,
                touched=touched,
            )  # fmt: skip
            features = ops.encode(position, table, layout, footprint=footprint)
            results.append((features, grad_table, touched))
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


@pytest.mark.parametrize("isa", ["base", "avx2", "avx512"])
def test_every_instruction_set_agrees(isa):
    # The set is chosen once a process, hence a process each. Lower sets than this machine's are
    # honoured, higher ones quietly become this machine's.
    script = """
import torch
from tests.ops.test_encode import _scene
from tests.ops.same import same_sums
from xscale import ops
from xscale.ops._grid import encode_backward_reference, encode_reference
for width in (1, 2, 4, 8):
    for dtype in (torch.float32, torch.float16):
        layout, position, table, footprint = _scene(width, dtype=dtype)
        s = {"interpolation": "smoothstep", "footprint_scale": 0.5}
        ours = ops.encode(position, table, layout, footprint=footprint, **s)
        x, f = position.double(), footprint.double()
        exact = encode_reference(x, table.double(), layout, footprint=f, **s)
        assert (ours - exact).abs().max() / exact.abs().max() < 1e-5
    got, wanted = torch.zeros_like(table.float()), torch.zeros_like(table.double())
    ops.encode_backward(ours, position, layout, footprint=footprint, grad_table=got, **s)
    grad = ours.double()
    encode_backward_reference(
        grad, x, layout, footprint=f, grad_table=wanted, touched=None, **s
    )
    assert (got - wanted).abs().max() / wanted.abs().max() < 1e-5
print(ops.isa())
"""
    environment = {**os.environ, "XSCALE_ISA": isa, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("base", "avx2", "avx512")
    if isa == "base":
        assert done.stdout.strip() == "base"


def test_half_numbers_of_every_kind_are_read_exactly():
    layout = ops.grid_layout(1, 1, 12, 9, 1.0)
    values = torch.tensor([0.0, -0.0, 6e-8, -6.1e-5, 1.0, -65504.0, 0.333], dtype=torch.float16)
    for value in values:
        table = torch.full((layout.rows, 1), value.item(), dtype=torch.float16)
        position = torch.full((1, 3), 0.5 / 8)  # a vertex
        assert ops.encode(position, table, layout).item() == value.float().item()


def test_no_points_give_no_features_and_no_gradient():
    layout, _, table, _ = _scene()
    position = torch.empty(0, 3)
    features = ops.encode(position, table, layout, footprint=torch.empty(0))
    assert features.shape == (0, layout.levels * 2)
    grad_table = torch.zeros_like(table)
    ops.encode_backward(features, position, layout, grad_table=grad_table)
    assert (grad_table == 0).all()
    assert ops.encode_backward_position(features, position, table, layout).shape == (0, 3)


# Registration and errors


def test_encode_is_registered_as_torch_wants_it():
    layout, position, table, footprint = _scene(points=9, levels=3)
    name = lookup_name(Lookup(layout, "smoothstep", 0.5))
    inputs = (position.requires_grad_(), table.requires_grad_(), footprint, name)
    torch.library.opcheck(torch.ops.xscale.encode.default, inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": torch.zeros(5, 2)}, r"encode: position must be \[points, 3\], got \[5, 2\]"),
        ({"position": torch.zeros(5, 3).double()}, "position must be float32, got float64"),
        ({"table": torch.zeros(7, 2)}, r"encode: table must be \[\d+, 2\], got \[7, 2\]"),
        ({"footprint": torch.zeros(4)}, r"encode: footprint must be \[5\], got \[4\]"),
        ({"interpolation": "cubic"}, "interpolation must be 'smoothstep' or 'linear', got 'cubic'"),
    ],
)
def test_encode_refuses_what_does_not_fit_and_says_so(change, message):
    layout, _, table, _ = _scene()
    arguments = {"position": torch.zeros(5, 3), "table": table, **change}
    with pytest.raises(ShapeError, match=message):
        ops.encode(layout=layout, **arguments)


def test_backward_refuses_a_bit_set_of_another_size():
    layout, position, table, _ = _scene(points=3)
    with pytest.raises(ShapeError, match="encode_backward: touched must be"):
        ops.encode_backward(
            torch.zeros(3, layout.levels * 2), position, layout, grad_table=table,
            touched=torch.zeros(3, dtype=torch.uint8),
        )  # fmt: skip


def test_encode_backward_adds_to_columns_of_a_wider_array():
    layout = ops.grid_layout(6, 4, 10, 8, 1.7)
    generator = torch.Generator().manual_seed(9)
    position = torch.rand(2000, 3, generator=generator)
    grad_features = torch.randn(2000, 24, generator=generator)
    plain = torch.zeros(layout.rows, 4)
    wide = torch.zeros(layout.rows, 16)
    ops.encode_backward(grad_features, position, layout, grad_table=plain)
    ops.encode_backward(grad_features, position, layout, grad_table=wide[:, 4:8])
    assert same_sums(wide[:, 4:8], plain)
    assert not wide[:, :4].any()
    assert not wide[:, 8:].any()
