import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError
from xscale.ops.adam import adam_reference


def _state(rows, width, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    make = lambda: torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    return make(), make(), make() * 0.1, make().square() * 0.01


@pytest.mark.parametrize("width", [1, 2, 4, 8, 3])
def test_adam_lazy_matches_float64_reference(width):
    param, grad, first, second = _state(1001, width)
    grad[::3] = 0
    steps = torch.arange(1001).to(torch.uint16)
    exact = [t.double() for t in (param, grad, first, second)]
    exact_steps = steps.clone()
    kwargs = {"learning_rate": 0.01, "betas": (0.9, 0.99), "epsilon": 1e-15, "clear_grad": True}
    adam_reference(*exact, steps=exact_steps, touched=None, step=1, **kwargs)
    ops.adam(param, grad, first, second, steps=steps, **kwargs)
    for ours, reference in zip((param, grad, first, second), exact, strict=True):
        error = (ours.double() - reference).abs().max() / reference.abs().max().clamp(min=1e-30)
        assert error < ops.OPS["adam"].float32_tolerance
    assert torch.equal(steps.int(), exact_steps.int())


def test_adam_row_without_gradient_stays_bit_for_bit():
    param, grad, first, second = _state(64, 2)
    grad[10] = 0
    before = [t[10].clone() for t in (param, first, second)]
    ops.adam(
        param, grad, first, second, steps=torch.zeros(64, dtype=torch.uint16), learning_rate=1.0
    )
    for tensor, kept in zip((param, first, second), before, strict=True):
        assert torch.equal(tensor[10], kept)


def test_adam_touched_bits_decide_which_rows_are_looked_at():
    param, grad, first, second = _state(20, 2)
    before = param.clone()
    touched = torch.zeros(3, dtype=torch.uint8)
    touched[1] = 0b100  # row 10
    ops.adam(
        param, grad, first, second,
        steps=torch.zeros(20, dtype=torch.uint16), touched=touched, learning_rate=1.0,
    )  # fmt: skip
    moved = (param != before).any(dim=1).nonzero().flatten().tolist()
    assert moved == [10]


def test_adam_dense_equals_torch_adam_over_many_steps():
    torch.manual_seed(1)
    param = torch.randn(300, 4)
    peer = torch.nn.Parameter(param.clone().double())
    optimizer = torch.optim.Adam([peer], lr=1e-2)
    first, second = torch.zeros(300, 4), torch.zeros(300, 4)
    for step in range(1, 201):
        grad = torch.randn(300, 4)
        peer.grad = grad.double()
        optimizer.step()
        ops.adam(param, grad, first, second, step=step, learning_rate=1e-2)
    assert (param.double() - peer).abs().max() < 2e-5


def test_adam_first_lazy_update_is_one_learning_rate_long():
    param = torch.zeros(8, 2)
    grad = torch.full((8, 2), 123.0)
    ops.adam(
        param, grad, torch.zeros(8, 2), torch.zeros(8, 2),
        steps=torch.zeros(8, dtype=torch.uint16), learning_rate=0.5, epsilon=1e-15,
    )  # fmt: skip
    assert torch.allclose(param, torch.full((8, 2), -0.5), atol=1e-6)
    assert torch.equal(grad, torch.zeros(8, 2))


def test_adam_refuses_a_gradient_of_another_shape_and_says_so():
    param, _, first, second = _state(8, 2)
    with pytest.raises(ShapeError, match=r"adam: grad must be \[8, 2\], got \[2, 8\]"):
        ops.adam(param, torch.zeros(2, 8), first, second, learning_rate=1.0)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_adam_does_not_depend_on_threads(threads):
    results = []
    for count in (1, threads):
        param, grad, first, second = _state(200_000, 2)
        with ops.limit_threads(count):
            ops.adam(
                param, grad, first, second,
                steps=torch.zeros(200_000, dtype=torch.uint16), learning_rate=0.1,
            )  # fmt: skip
        results.append(param)
    assert torch.equal(*results)


def test_adam_columns_of_one_array_give_the_same_bits():
    generator = torch.Generator().manual_seed(5)
    rows, width = 3000, 4
    state = torch.zeros(rows, 16)
    apart = [torch.zeros(rows, width) for _ in range(3)]
    together = [state[:, i * width : (i + 1) * width] for i in range(3)]
    steps = torch.zeros(rows, dtype=torch.uint16)
    columns = state.view(torch.uint16)[:, 24]
    one = torch.randn(rows, width, generator=generator)
    two = one.clone()
    for _ in range(4):
        used = torch.rand(rows, generator=generator) < 0.3
        grad = torch.randn(rows, width, generator=generator) * used[:, None]
        apart[0].copy_(grad)
        together[0].copy_(grad)
        options = {"learning_rate": 1e-2, "betas": (0.9, 0.99), "epsilon": 1e-15}
        ops.adam(one, *apart, steps=steps, **options)
        ops.adam(two, *together, steps=columns, **options)
    assert torch.equal(one, two)
    assert torch.equal(steps.int(), columns.int())
    assert torch.equal(apart[1], together[1])
    assert not state[:, 13:].any()
