"""Frame: the values of a camera's pixels, as the renderer gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from xscale.render.outputs import TABLE


class Frame:
    """Pixels of one camera: its coverage and what else was asked for; row 0 is the top.

    Every output of ``xscale.render.outputs.TABLE``, where its meaning stands, is an attribute: a
    tensor [H, W] or [H, W, channels], or None where it was not asked for.

    Args:
        coverage: Bool [H, W].
        colour: Uint8 [H, W, 3].
        **values: Tensors of other outputs by name.

    Raises:
        TypeError: There is no output of such a name.
    """

    coverage: Tensor
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor | None:
            """Return an output."""

    def __init__(
        self, coverage: Tensor, colour: Tensor | None = None, **values: Tensor | None
    ) -> None:
        if unknown := values.keys() - TABLE.keys():
            raise TypeError(f"a frame has no output {sorted(unknown)[0]!r}")
        self.__dict__.update(dict.fromkeys(TABLE), coverage=coverage, colour=colour, **values)

    def values(self) -> dict[str, Tensor]:
        """Return what was asked for, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def on_cpu(self) -> Frame:
        """Return the frame in the CPU's memory, where files are written from."""
        return Frame(**{name: value.cpu() for name, value in self.values().items()})
