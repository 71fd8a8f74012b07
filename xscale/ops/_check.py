"""Checks of an op's arguments, with messages that say what was wanted and what came."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xscale.errors import ShapeError
from xscale.ops import _ext


def check_tensor(
    op: str,
    name: str,
    tensor: torch.Tensor,
    shape: Sequence[int | str | None],
    dtypes: Sequence[torch.dtype],
    device: torch.device | None = None,
    *,
    rows_apart: bool = False,
) -> None:
    """Refuse a tensor of another shape, dtype, device or layout.

    Args:
        op: Name of the op, for the message.
        name: Name of the argument, for the message.
        tensor: The argument.
        shape: A size, or a name for a size that may be anything, for each dimension.
        dtypes: The allowed dtypes.
        device: The device of the op's first tensor; None accepts any.
        rows_apart: Whether rows need to be contiguous only in themselves: columns of a wider array.

    Raises:
        ShapeError: It does not fit.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ShapeError(f"{op}: {name} must be a torch.Tensor, got {type(tensor).__name__}")
    wanted = f"[{', '.join(str(size) for size in shape)}]"
    if tensor.dim() != len(shape) or any(
        isinstance(size, int) and size != got for size, got in zip(shape, tensor.shape, strict=True)
    ):
        raise ShapeError(f"{op}: {name} must be {wanted}, got {list(tensor.shape)}")
    if tensor.dtype not in dtypes:
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        got = str(tensor.dtype).removeprefix("torch.")
        raise ShapeError(f"{op}: {name} must be {names}, got {got}")
    if device is not None and tensor.device != device:
        raise ShapeError(f"{op}: {name} is on {tensor.device}, the other tensors on {device}")
    if _address(tensor) % tensor.element_size():
        raise ShapeError(
            f"{op}: {name} must begin at a multiple of {tensor.element_size()} bytes",
            advice="call .clone()",
        )
    if rows_apart and tensor.stride()[1:] == (1,) * (tensor.dim() - 1) and tensor.stride(0) > 0:
        return
    if not tensor.is_contiguous():
        raise ShapeError(f"{op}: {name} must be contiguous", advice="call .contiguous()")


def check_rows(op: str, name: str, tensor: torch.Tensor) -> None:
    """Refuse rows that a device's body cannot move whole, in pieces of up to 16 bytes.

    Args:
        op: Name of the op, for the message.
        name: Name of the argument, for the message.
        tensor: The argument, [rows, width], checked by ``check_tensor``.

    Raises:
        ShapeError: It begins, or its rows lie apart, at other addresses than multiples of a piece.
    """
    piece = _piece(op, tensor)
    if piece > 1:
        raise ShapeError(
            f"{op}: rows of {name} must lie at multiples of {piece} bytes", advice="call .clone()"
        )


def whole_rows(op: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return rows that a device's body can move whole: the tensor, or a copy. See ``check_rows``.

    For tensors that PyTorch hands over, whose caller could not do better.
    """
    tensor = tensor.contiguous()
    return tensor.clone() if _piece(op, tensor) > 1 else tensor


def _piece(op: str, tensor: torch.Tensor) -> int:
    """Return the bytes at whose multiples rows should lie and do not, or 1."""
    if _ext.body_of(op, tensor.device) == "cpu":
        return 1
    size = tensor.element_size()
    piece = min(16, tensor.shape[-1] * size)
    apart = tensor.stride(0) * size if tensor.shape[0] > 1 else 0
    return piece if _address(tensor) % piece or apart % piece else 1


def _address(tensor: torch.Tensor) -> int:
    """Return where a tensor lies, or 0 for those without memory, which torch.compile makes."""
    if torch.compiler.is_compiling():
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return 0
