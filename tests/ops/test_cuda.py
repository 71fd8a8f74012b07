"""The CUDA bodies on a device, against the float64 references and the CPU bodies."""

from dataclasses import replace

import pytest
import torch

from xscale import ops
from xscale.ops._selftest import SELF_TESTS, frame_problem, grey_relu_weights, step_problem

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("op", SELF_TESTS)
def test_every_op_keeps_its_tolerance_on_the_device(op):
    assert SELF_TESTS[op](torch.device("cuda")) <= ops.OPS[op].float32_tolerance


@pytest.mark.parametrize("sizes", [(32, 64), (4, 16), (52, 128)])
def test_relu_shader_on_the_device_is_that_of_the_cpu(sizes):
    features, hidden = sizes
    generator = torch.Generator().manual_seed(5)
    layout = ops.ReluShaderLayout(features, hidden)
    weights = grey_relu_weights(layout, generator)
    exposure = ops.identity_exposure(3) + 0.1 * torch.randn(3, 12, generator=generator)
    rays = 10_007
    direction = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    inputs = [
        torch.randn(rays, features, generator=generator),
        direction,
        weights,
        torch.rand(rays, 3, generator=generator),
        exposure,
        torch.randint(-1, 3, (rays,), generator=generator).int(),
    ]

    def train(device):
        x, d, w, target, e, photo = (part.to(device) for part in inputs)
        return ops.shade_train(x, d, w, layout, target, e, photo, loss="l2", scale=1 / rays)

    for ours, expected in zip(train("cuda"), train("cpu"), strict=True):
        if expected is None:  # the light of the other shader
            continue
        assert (ours.cpu() - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("kind", ["relu", "film"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_picture_of_one_pass_on_the_device_is_that_of_the_cpu(kind, dtype):
    mesh, camera, face_id, grid, shader = frame_problem(kind)
    grid = grid._replace(table=grid.table.to(dtype))

    def paint(device):
        def moved(parts):
            return [p.to(device) if isinstance(p, torch.Tensor) else p for p in parts]

        return ops.fused_frame(
            *moved([*mesh, camera, face_id]),
            ops.FrameGrid(*moved(grid)),
            ops.FrameShader(*moved(shader)),
        ).cpu()

    apart = (paint("cuda").int() - paint("cpu").int()).abs().amax(-1)
    assert (apart <= 1).double().mean() > 0.999


@pytest.mark.parametrize("kind", ["relu", "film"])
@pytest.mark.parametrize("gradient", [torch.float32, torch.float16])
def test_a_mixed_step_on_the_device_is_near_that_of_the_emulated_kernels(kind, gradient):
    options = {"loss": "l2", "learning_rate": 1.0, "betas": (0.9, 0.99), "epsilon": 1e-2}

    def step(device, backend):
        rays, grid, shader = (
            type(part)(**{
                name: value.to(device) if isinstance(value, torch.Tensor) else value
                for name, value in vars(part).items()
            })
            for part in step_problem(width=8, kind=kind, rays=1000, log2_rows=12)
        )  # fmt: skip
        grid = replace(grid, gradient=torch.zeros_like(grid.table, dtype=gradient))
        control = ops.step_control(device)
        with ops.use_backend(backend):
            found = ops.fused_step(rays, grid, shader, mixed=True, control=control, **options)
        assert control[2] == 1
        return [found.loss.cpu(), found.grad_weights.cpu(), grid.first.cpu(), grid.table.cpu()]

    for ours, theirs in zip(step("cuda", "auto"), step("cpu", "emulated"), strict=True):
        assert (ours - theirs).norm() < 1e-2 * theirs.norm()


def test_adam_on_the_device_takes_its_rate_and_step_from_a_control():
    generator = torch.Generator().manual_seed(3)
    start = [torch.randn(1000, 4, generator=generator) for _ in range(2)]

    def step(device, **options):
        state = [part.to(device).clone() for part in start]
        state += [torch.zeros(1000, 4, device=device) for _ in range(2)]
        ops.adam(*state, **options)
        return state[0].cpu()

    control = ops.step_control("cuda")
    control[:2] = torch.tensor([0.5, 7.0])
    ours = step("cuda", learning_rate=0.1, control=control)
    assert torch.allclose(ours, step("cpu", learning_rate=0.05, step=7), rtol=1e-5, atol=1e-7)
