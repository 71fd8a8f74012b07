"""Mixed steps, and steps whose host does not wait: the device kernels' logic, run on the host."""

from dataclasses import replace

import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError, UsageError
from xscale.ops._selftest import step_problem
from xscale.ops.fused_step import fused_step_reference

pytestmark = pytest.mark.usefixtures("emulated")

# An epsilon far above the gradients: Adam's first steps are signs otherwise.
OPTIONS = {"loss": "l2", "learning_rate": 1.0, "betas": (0.9, 0.99), "epsilon": 1e-2}
PLACE = {name: i for i, name in enumerate(ops.CONTROL_FIELDS)}


def _exact(problem):
    """The float64 reference's step of a problem, and its grid afterwards."""
    rays, grid, shader = problem
    grid = replace(
        grid, table=grid.table.double(), first=grid.first.double(), second=grid.second.double(),
        steps=grid.steps.clone(),
    )  # fmt: skip
    tensors = ("weights", "exposure", "light")
    given = {name: getattr(shader, name) for name in tensors}
    wide = {name: None if t is None else t.double() for name, t in given.items()}
    return fused_step_reference(rays, grid, replace(shader, **wide), **OPTIONS), grid


def _apart(ours, exact):
    """Distance of two gradients as vectors, relative to the exact one's length."""
    return float((ours.double() - exact).norm() / exact.norm())


# Layers of 64 and of 80 inputs; widths that fill no step of 16 or 32 channels; more than a tile.
@pytest.mark.parametrize(("kind", "levels", "width"), [
    ("relu", 8, 4), ("relu", 5, 4), ("film", 16, 8), ("film", 10, 2),
])  # fmt: skip
def test_mixed_gradients_are_near_the_float64_reference(kind, levels, width):
    problem = step_problem(width=width, kind=kind, rays=333, log2_rows=10, levels=levels)
    exact, exact_grid = _exact(problem)
    rays, grid, shader = problem
    ours = ops.fused_step(rays, grid, shader, mixed=True, **OPTIONS)
    with ops.use_backend("cpu"):
        plain = ops.fused_step(
            *step_problem(width=width, kind=kind, rays=333, log2_rows=10, levels=levels), **OPTIONS
        )
    # Half floats have 11 bits; the film shader multiplies their error by its frequencies.
    most = 3e-3 if kind == "relu" else 3e-2
    for name in ("grad_weights", "grad_exposure", "grad_light"):
        found = getattr(ours, name)
        if found is not None:
            assert _apart(found, getattr(exact, name)) < most, name
            assert not torch.equal(found, getattr(plain, name)), name
    # A row may see one ray, whose units flip where they are within a half float's error of zero.
    assert _apart(grid.first, exact_grid.first) < 0.05
    length = exact_grid.first.norm(dim=1)
    away = (grid.first.double() - exact_grid.first).norm(dim=1)[length > 0] / length[length > 0]
    assert away.median() < 2 * most
    assert ours.loss == pytest.approx(exact.loss, rel=1e-3 if kind == "relu" else 1e-2)


def test_mixed_steps_add_up_rows_in_half_floats_where_wanted():
    steps = {}
    for kind in (torch.float32, torch.float16):
        rays, grid, shader = step_problem(width=8, kind="relu", rays=200, log2_rows=10)
        gradient = torch.zeros_like(grid.table, dtype=kind)
        touched = torch.zeros(grid.layout.rows // 8, dtype=torch.uint8)
        grid = replace(grid, gradient=gradient, touched=touched)
        control = ops.step_control()
        ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
        assert control[PLACE["moves"]] == 1
        assert not gradient.any()
        assert not touched.any()
        steps[kind] = grid.first
    assert _apart(steps[torch.float16], steps[torch.float32].double()) < 3e-3
    assert not torch.equal(steps[torch.float16], steps[torch.float32])


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_a_gradient_beyond_the_half_floats_moves_nothing_and_halves_the_scale(kind):
    rays, grid, shader = step_problem(width=4, kind=kind, rays=64, log2_rows=10)
    before = [grid.table.clone(), grid.first.clone(), grid.steps.int()]
    control = ops.step_control()
    control[PLACE["scale"]] = 2.0**40
    control[PLACE["good"]] = 7
    found = ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
    assert torch.isfinite(found.loss)
    values = dict(zip(ops.CONTROL_FIELDS, control.tolist(), strict=True))
    assert values["moves"] == 0
    assert (values["steps"], values["bad"], values["overflows"]) == (0, 0, 1)
    assert (values["scale"], values["good"]) == (2.0**39, 0)
    after = [grid.table, grid.first, grid.steps.int()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    for _ in range(30):
        if control[PLACE["moves"]]:
            break
        ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
    assert control[PLACE["moves"]] == 1
    assert control[PLACE["steps"]] == 1
    assert not torch.equal(grid.table, before[0])


def test_rows_beyond_the_half_floats_stay_and_the_next_scale_is_lower():
    # Few rows and many rays: a row's sum is too large long before a ray's share of it is.
    for power in range(18, 40, 2):
        # The first four levels are summed as floats.
        rays, grid, shader = step_problem(width=2, kind="relu", rays=1000, log2_rows=3, levels=6)
        control = ops.step_control()
        control[PLACE["scale"]] = 2.0**power
        gradient = torch.zeros_like(grid.table, dtype=torch.float16)
        before = grid.table.clone()
        grid = replace(grid, gradient=gradient)
        ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
        if control[PLACE["scale"]] != 2.0**power:
            break
    assert control[PLACE["scale"]] == 2.0 ** (power - 1)
    assert control[PLACE["overflows"]] == 0
    assert control[PLACE["moves"]] == 1
    assert (grid.table == before).all(1).any()
    assert torch.isfinite(grid.table).all()
    assert torch.isfinite(grid.first).all()
    assert not gradient.any()
    ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
    assert control[PLACE["overflows"]] == 1


def test_coarse_levels_do_not_stand_still_where_their_rows_have_many_touches():
    # All rays through one cell, whose rows' sums pass 2048 times what a ray adds.
    rays, grid, shader = step_problem(width=2, kind="relu", rays=9000, log2_rows=6, levels=6)
    rays = replace(
        rays,
        face_id=rays.face_id[:1].repeat(9000),
        camera_index=rays.camera_index[:1].repeat(9000),
        pixel=rays.pixel[:1].repeat(9000, 1),
        target=torch.zeros_like(rays.target),
    )
    found = {}
    for kind in (torch.float32, torch.float16):
        mine = replace(
            grid, table=grid.table.clone(), first=torch.zeros_like(grid.first),
            second=torch.zeros_like(grid.second), steps=grid.steps.clone(),
            gradient=torch.zeros_like(grid.table, dtype=kind),
        )  # fmt: skip
        ops.fused_step(rays, mine, shader, mixed=True, control=ops.step_control(), **OPTIONS)
        found[kind] = mine.first[: grid.layout.offsets[4]]
    assert _apart(found[torch.float16], found[torch.float32].double()) < 1e-5


def test_the_scale_doubles_after_two_thousand_good_steps():
    rays, grid, shader = step_problem(width=2, kind="relu", rays=32, log2_rows=10)
    control = ops.step_control()
    control[PLACE["good"]] = 1998
    scales = []
    for _ in range(3):
        ops.fused_step(rays, grid, shader, mixed=True, control=control, **OPTIONS)
        scales.append(float(control[PLACE["scale"]]))
    assert scales == [65536, 131072, 131072]
    assert control[PLACE["good"]] == 1


@pytest.mark.parametrize("backend", ["cpu", "emulated", "reference"])
def test_a_control_counts_steps_and_gives_them_their_rate(backend):
    rays, grid, shader = step_problem(width=2, kind="relu", rays=100, log2_rows=12)
    plain = step_problem(width=2, kind="relu", rays=100, log2_rows=12)
    control = ops.step_control()
    control[PLACE["rate"]] = 0.25
    with ops.use_backend(backend):
        waited = ops.fused_step(*plain, **OPTIONS | {"learning_rate": 0.25})
        found = ops.fused_step(rays, grid, shader, control=control, **OPTIONS)
        assert torch.allclose(grid.table, plain[1].table, rtol=1e-6, atol=1e-7)
        assert float(found.loss) == pytest.approx(waited.loss, rel=1e-12)
        shader.weights[0] = float("nan")
        kept = grid.table.clone()
        ops.fused_step(rays, grid, shader, control=control, **OPTIONS)
    values = dict(zip(ops.CONTROL_FIELDS, control.tolist(), strict=True))
    assert torch.equal(grid.table, kept)
    assert (values["moves"], values["steps"], values["bad"]) == (0, 1, 1)
    assert values["loss"] == pytest.approx(waited.loss, rel=1e-12)
    assert values["error"] == pytest.approx(waited.squared_error, rel=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("lazy", [True, False])
def test_adam_takes_rate_and_step_of_a_control_and_moves_nothing_where_it_says_so(backend, lazy):
    generator = torch.Generator().manual_seed(1)
    param, grad = (torch.randn(50, 4, generator=generator) for _ in range(2))
    options = {"learning_rate": 0.1, "steps": torch.zeros(50, dtype=torch.uint16) if lazy else None}

    def state():
        return [param.clone(), grad.clone(), torch.zeros(50, 4), torch.zeros(50, 4)]

    one, two = state(), state()
    control = ops.step_control()
    control[:2] = torch.tensor([0.5, 3.0])
    with ops.use_backend(backend):
        ops.adam(*one, control=control, **options)
        again = options | {"steps": torch.zeros(50, dtype=torch.uint16) if lazy else None}
        ops.adam(*two, step=3, **again | {"learning_rate": 0.05})
        assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(one, two, strict=True))
        control[PLACE["moves"]] = 0
        one[1].copy_(grad)
        before = one[0].clone()
        ops.adam(*one, control=control, **options)
    assert torch.equal(one[0], before)
    assert not one[1].any()


def test_what_does_not_go_together_is_refused():
    rays, grid, shader = step_problem(width=2, kind="relu", rays=32, log2_rows=10)
    with pytest.raises(UsageError, match="mixed steps are not deterministic"):
        ops.fused_step(rays, grid, shader, mixed=True, deterministic=True, **OPTIONS)
    with pytest.raises(ShapeError, match="control must be"):
        ops.fused_step(rays, grid, shader, control=torch.zeros(3).double(), **OPTIONS)
    half = torch.zeros_like(grid.table, dtype=torch.float16)
    with pytest.raises(ShapeError, match="gradient must be"):
        ops.fused_step(rays, replace(grid, gradient=half), shader, **OPTIONS)
