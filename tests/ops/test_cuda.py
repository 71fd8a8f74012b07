"""The CUDA bodies on a device, against the float64 references and the CPU bodies."""

import pytest
import torch

from xscale import ops
from xscale.ops._selftest import SELF_TESTS, frame_problem

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("op", SELF_TESTS)
def test_every_op_keeps_its_tolerance_on_the_device(op):
    assert SELF_TESTS[op](torch.device("cuda")) <= ops.OPS[op].float32_tolerance


@pytest.mark.parametrize("sizes", [(32, 64), (4, 16), (52, 128)])
def test_relu_shader_on_the_device_is_that_of_the_cpu(sizes):
    features, hidden = sizes
    generator = torch.Generator().manual_seed(5)
    layout = ops.ReluShaderLayout(features, hidden)
    weights = ops.relu_shader_init(layout, generator)
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
        return ops.shade_relu_train(x, d, w, layout, target, e, photo, loss="l2", scale=1 / rays)

    for ours, expected in zip(train("cuda"), train("cpu"), strict=True):
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
