import pytest
import torch

from xscale import ops
from xscale.ops._grid import encode_backward_reference, encode_reference


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("interpolation", ["smoothstep", "linear"])
@pytest.mark.parametrize("faded", [False, True])
def test_encode_and_its_gradient_match_the_float64_reference(width, interpolation, faded):
    torch.manual_seed(0)
    layout = ops.grid_layout(12, width, 12, 8, 1.4)
    position = torch.rand(1500, 3)
    footprint = torch.rand(1500) ** 3 if faded else None
    table = torch.randn(layout.rows, width)
    settings = {"interpolation": interpolation, "footprint_scale": 0.5}
    exact = {**settings, "footprint": footprint.double() if faded else None}
    ours = ops.encode(position, table, layout, footprint=footprint, **settings)
    reference = encode_reference(position.double(), table.double(), layout, **exact)
    assert (ours - reference).abs().max() < 2e-5
    grad = torch.randn_like(ours)
    grad_table, exact_table = torch.zeros_like(table), torch.zeros_like(table).double()
    touched, exact_touched = (torch.zeros(layout.rows // 8, dtype=torch.uint8) for _ in range(2))
    ops.encode_backward(
        grad, position, layout, footprint=footprint, grad_table=grad_table, touched=touched,
        **settings,
    )  # fmt: skip
    encode_backward_reference(
        grad.double(), position.double(), layout, grad_table=exact_table, touched=exact_touched,
        **exact,
    )  # fmt: skip
    assert (grad_table - exact_table).abs().max() / exact_table.abs().max() < 2e-5
    assert torch.equal(touched, exact_touched)
