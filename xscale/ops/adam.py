"""adam: one optimizer step over the rows of a table, touching only rows that have gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale.ops import _ext
from xscale.ops._check import check_tensor
from xscale.ops._control import check_control
from xscale.ops._dispatch import use_reference
from xscale.ops._memory import whole_words

_FLOATS = (torch.float32,)


def adam(
    param: Tensor,
    grad: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    steps: Tensor | None = None,
    touched: Tensor | None = None,
    step: int = 1,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    clear_grad: bool = True,
    control: Tensor | None = None,
) -> None:
    """Update ``param`` and its moments in place by one step of Adam.

    With ``steps`` (the lazy rule, tiny-cuda-nn's): a row whose gradient is zero stays exactly as it
    is, moments included, and every row counts its own updates for the bias correction; the cost
    follows the rows hit. Without (the dense rule, PyTorch's): every row moves, ``step`` counts.

    ``grad``, ``first``, ``second`` and ``steps`` may be columns of one wider array: a row that lies
    anywhere in a large table then costs two cache lines instead of five.

    Args:
        param: Float32 [rows, width], updated.
        grad: Float32 [rows, width]. Rows that were used become zero when ``clear_grad``.
        first: Float32 [rows, width], running mean of the gradient, updated.
        second: Float32 [rows, width], running mean of the squared gradient, updated.
        steps: Uint16 [rows], updates each row has had, saturating at 65535;
            updated. None for the dense rule.
        touched: Uint8 [ceil(rows / 8)], bit r set where row r may have gradient; rows without the
            bit are not looked at. None looks at every row.
        step: This update's number from 1, for the dense rule.
        learning_rate: Step size.
        betas: Decay of the two running means.
        epsilon: Added to the root of the second moment.
        clear_grad: Whether used gradients are set to zero for the next step.
        control: See ``step_control``: its rate multiplies ``learning_rate``, its step takes the
            place of ``step``, and where it says that nothing moves only gradients are cleared.

    Raises:
        ShapeError: An argument has another shape, dtype or device.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1.
    """
    check_tensor("adam", "param", param, ("rows", "width"), _FLOATS)
    rows, width = param.shape
    for name, tensor in (("grad", grad), ("first", first), ("second", second)):
        check_tensor("adam", name, tensor, (rows, width), _FLOATS, param.device, rows_apart=True)
    if steps is not None:
        check_tensor(
            "adam", "steps", steps, (rows,), (torch.uint16,), param.device, rows_apart=True
        )
    if touched is not None:
        check_tensor("adam", "touched", touched, ((rows + 7) // 8,), (torch.uint8,), param.device)
    check_control("adam", control, param.device)
    if use_reference("adam", param.device):
        if control is not None:
            rate, step, moves = control[:3].tolist()
            learning_rate, step = learning_rate * rate, int(step)
            if not moves:
                grad.mul_(not clear_grad)
                return
        adam_reference(
            param, grad, first, second, steps=steps, touched=touched, step=step,
            learning_rate=learning_rate, betas=betas, epsilon=epsilon, clear_grad=clear_grad,
        )  # fmt: skip
        return
    with whole_words(touched) as words:
        fields = adam_fields(
            param, grad, first, second, steps, learning_rate=learning_rate, betas=betas,
            epsilon=epsilon, touched=words, step=step, clear_grad=clear_grad, control=control,
        )  # fmt: skip
        _ext.call("adam", param.device, **fields)


def adam_fields(
    param: Tensor,
    grad: Tensor | None,
    first: Tensor,
    second: Tensor,
    steps: Tensor | None,
    *,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    touched: Tensor | None = None,
    step: int = 1,
    clear_grad: bool = False,
    control: Tensor | None = None,
) -> dict[str, object]:
    """Return the fields of AdamArgs, for ``adam`` and for ops that contain its step."""
    rows, width = param.shape
    return {
        "param": param, "grad": grad, "first": first, "second": second, "steps": steps,
        "touched": touched, "grad_stride": 0 if grad is None else grad.stride(0),
        "first_stride": first.stride(0), "second_stride": second.stride(0),
        "steps_stride": 1 if steps is None else steps.stride(0), "rows": rows, "width": width,
        "step": step, "learning_rate": learning_rate, "beta1": betas[0], "beta2": betas[1],
        "epsilon": epsilon, "clear_grad": clear_grad, "control": control,
    }  # fmt: skip


@torch.no_grad()
def adam_reference(
    param: Tensor,
    grad: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    steps: Tensor | None,
    touched: Tensor | None,
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    clear_grad: bool,
) -> None:
    """Reference of ``adam`` in plain PyTorch; works in float64 too."""
    used = torch.ones(len(param), dtype=torch.bool, device=param.device)
    if touched is not None:
        bits = touched[:, None].bitwise_right_shift(
            torch.arange(8, dtype=torch.uint8, device=param.device)
        )
        used = (bits & 1).bool().reshape(-1)[: len(param)]
    if steps is None:
        count = torch.full((len(param), 1), step, dtype=torch.float64, device=param.device)
    else:
        used = used & (grad != 0).any(dim=1)
        counted = (steps.to(torch.int32) + used.to(torch.int32)).clamp(max=65535)
        steps.copy_(counted.to(torch.uint16))
        count = counted[:, None].double()
    g = grad[used]
    first[used] = betas[0] * first[used] + (1 - betas[0]) * g
    second[used] = betas[1] * second[used] + (1 - betas[1]) * g * g
    corrected1 = first[used] / (1 - betas[0] ** count[used]).to(param.dtype)
    corrected2 = second[used] / (1 - betas[1] ** count[used]).to(param.dtype)
    param[used] -= learning_rate * corrected1 / (corrected2.sqrt() + epsilon)
    if clear_grad:
        grad[used] = 0
