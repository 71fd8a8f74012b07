"""fused_step against the chain of single ops, the float64 reference, and itself on more threads."""

from dataclasses import replace

import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError, UsageError
from xscale.ops._selftest import step_problem
from xscale.ops.fused_step import fused_step_reference

OPTIONS = {"learning_rate": 1e-2, "betas": (0.9, 0.99), "epsilon": 1e-15}


def _turned(problem):
    """Return a problem whose rays' directions are turned."""
    rays, grid, shader = problem
    generator = torch.Generator().manual_seed(9)
    turn = 0.3 * torch.randn(len(rays.face_id), 3, generator=generator)
    return replace(rays, turn=turn), grid, shader


def _chain(rays, grid, shader, *, loss, learning_rate, betas, epsilon):
    """The same step by the single ops; what the trainer runs where fused_step cannot."""
    points = ops.interpolate(
        rays.vertices, rays.faces, None, rays.cameras, rays.camera_index, rays.pixel, rays.face_id
    )
    position = (points.position - grid.centre) * grid.unit + 0.5
    at = {
        "interpolation": grid.interpolation,
        "footprint": points.footprint * grid.footprint_unit if grid.footprint_scale else None,
        "footprint_scale": grid.footprint_scale,
    }
    features = ops.encode(position, grid.table, grid.layout, **at)
    target = rays.target.float() / rays.target_range
    photo = None if shader.exposure is None else rays.camera_index
    direction = points.direction
    if rays.turn is not None:
        direction = ops.turned(direction, rays.turn)
    given = (features, direction, shader.weights, shader.layout)
    options = {"loss": loss, "scale": 1 / len(target)}
    found = ops.shade_train(*given, target, shader.exposure, photo, shader.light, **options)
    grad = torch.zeros_like(grid.table)
    ops.encode_backward(found.grad_features, position, grid.layout, grad_table=grad, **at)
    ops.adam(
        grid.table, grad, grid.first, grid.second, steps=grid.steps, learning_rate=learning_rate,
        betas=betas, epsilon=epsilon,
    )  # fmt: skip
    error = float((found.rgb - target).square().mean())
    return float(found.ray_loss.mean()), error, found.grad_weights, found.grad_exposure, None


def _several(step, problem, steps=4):
    """Run steps with new pixels each; the shader takes plain gradient steps."""
    rays, grid, shader = problem
    losses = []
    for i in range(steps):
        shifted = replace(rays, pixel=rays.pixel + 0.1 * i)
        found = step(shifted, grid, shader, loss="l1", **OPTIONS)
        loss, error, weights, exposure = found[:4]
        shader.weights.sub_(weights, alpha=0.1)
        if exposure is not None:
            shader.exposure.sub_(exposure, alpha=0.1)
        losses.append((loss, error))
    return torch.tensor(losses), [
        grid.table, grid.first, grid.second, grid.steps.int(), shader.weights,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["relu", "film"])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_fused_step_equals_the_chain_of_single_ops_over_steps(width, kind):
    problem = {"width": width, "kind": kind, "rays": 2500, "log2_rows": 14}
    one, chain = _several(_chain, step_problem(**problem))
    two, fused = _several(ops.fused_step, step_problem(**problem))
    assert torch.allclose(one, two, rtol=1e-5)
    for ours, theirs in zip(fused, chain, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_turned_directions_are_those_of_the_chain_and_change_the_step(kind):
    problem = {"width": 4, "kind": kind, "rays": 2500, "log2_rows": 14}
    _, straight = _several(ops.fused_step, step_problem(**problem))
    one, chain = _several(_chain, _turned(step_problem(**problem)))
    two, fused = _several(ops.fused_step, _turned(step_problem(**problem)))
    assert torch.allclose(one, two, rtol=1e-5)
    for ours, theirs in zip(fused, chain, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.allclose(straight[0], fused[0], atol=1e-3)


def test_turns_must_be_one_a_ray():
    rays, grid, shader = _turned(step_problem(width=4, kind="relu", rays=50, log2_rows=12))
    with pytest.raises(ShapeError, match="turn"):
        ops.fused_step(replace(rays, turn=rays.turn[:49]), grid, shader, **OPTIONS)


@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
@pytest.mark.parametrize(("loss", "turn"), [("l2", False), ("charbonnier", False), ("l2", True)])
def test_fused_step_matches_the_float64_reference(interpolation, loss, turn):
    problem = step_problem(width=4, kind="relu", rays=900, log2_rows=12)
    rays, grid, shader = _turned(problem) if turn else problem
    grid = replace(grid, interpolation=interpolation)
    exact_grid = replace(
        grid, table=grid.table.double(), first=grid.first.double(), second=grid.second.double(),
        steps=grid.steps.clone(),
    )  # fmt: skip
    exact_shader = replace(
        shader, weights=shader.weights.double(), exposure=shader.exposure.double()
    )
    options = {"loss": loss, "learning_rate": 1.0, "betas": (0.9, 0.99), "epsilon": 1e-2}
    exact = fused_step_reference(rays, exact_grid, exact_shader, **options)
    ours = ops.fused_step(rays, grid, shader, **options)
    tolerance = ops.OPS["fused_step"].float32_tolerance
    pairs = [
        (ours.grad_weights, exact.grad_weights),
        (ours.grad_exposure, exact.grad_exposure),
        (grid.table, exact_grid.table),
        (grid.first, exact_grid.first),
        (grid.second, exact_grid.second),
    ]
    for found, truth in pairs:
        assert (found.double() - truth).abs().max() < tolerance * truth.abs().max()
    assert ours.loss == pytest.approx(exact.loss, rel=1e-5)
    assert ours.squared_error == pytest.approx(exact.squared_error, rel=1e-5)


def test_fused_step_does_not_depend_on_threads():
    results = []
    for threads in (1, 2, 4, 7):
        with ops.limit_threads(threads):
            results.append(
                _several(
                    ops.fused_step, step_problem(width=4, kind="relu", rays=5000, log2_rows=15)
                )[1]
            )
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            assert torch.equal(ours, theirs)


def test_rows_that_no_ray_touches_stay_bit_for_bit():
    rays, grid, shader = step_problem(width=4, kind="relu", rays=50, log2_rows=14)
    before = grid.table.clone()
    ops.fused_step(rays, grid, shader, **OPTIONS)
    moved = (grid.table != before).any(dim=1)
    assert 0 < moved.sum() <= 50 * 8 * grid.layout.levels
    assert torch.equal(moved, grid.steps.int() == 1)
    assert (grid.first[~moved] == 0).all()


def test_more_rays_than_an_era_of_keys_are_told_apart():
    # Keys name points by 20 bits; 1.2 million rays need a second era.
    rays, grid, shader = step_problem(width=1, kind="relu", rays=1000, log2_rows=14, levels=4)
    many = 1200
    tiled = replace(
        rays,
        camera_index=rays.camera_index.repeat(many),
        pixel=rays.pixel.repeat(many, 1),
        face_id=rays.face_id.repeat(many),
        target=rays.target.repeat(many, 1),
    )
    again = step_problem(width=1, kind="relu", rays=1000, log2_rows=14, levels=4)
    options = OPTIONS | {"epsilon": 1e-3, "loss": "l2"}
    ops.fused_step(tiled, grid, shader, **options)
    ops.fused_step(*again, **options)
    # The mean over repeated rays is the mean over the rays.
    assert torch.allclose(grid.first, again[1].first, rtol=1e-3, atol=1e-7)
    assert torch.equal(grid.steps.int(), again[1].steps.int())


def test_a_loss_that_is_no_number_moves_nothing():
    rays, grid, shader = step_problem(width=2, kind="relu", rays=100, log2_rows=12)
    shader.weights[0] = float("nan")
    before = grid.table.clone()
    found = ops.fused_step(rays, grid, shader, **OPTIONS)
    assert found.loss != found.loss
    assert torch.equal(grid.table, before)
    assert not grid.steps.int().any()


def test_arguments_that_do_not_fit_are_named():
    rays, grid, shader = step_problem(width=2, kind="relu", rays=100, log2_rows=12)
    with pytest.raises(ShapeError, match=r"fused_step: target must be \[100, 3\]"):
        ops.fused_step(replace(rays, target=rays.target[:50]), grid, shader, **OPTIONS)
    with pytest.raises(ShapeError, match="fused_step: first must be"):
        ops.fused_step(rays, replace(grid, first=grid.first[:, :1]), shader, **OPTIONS)
    with pytest.raises(ShapeError, match="interpolation must be one of"):
        ops.fused_step(rays, replace(grid, interpolation="cubic"), shader, **OPTIONS)
    with pytest.raises(UsageError):
        ops.fused_step(rays, grid, shader, loss="huber", **OPTIONS)
