"""Hardware that computes wrong without an error, found by shading the same points twice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale.errors import DeviceError
from xscale.gbuffer.build import surface_samples
from xscale.gbuffer.gbuffer import GBuffer
from xscale.training.trainer import Trainer

_MOST_RAYS = 4096


class HardwareProbe:
    """Shades the same points twice before each checkpoint and compares all bits.

    The ops that shade have no sums whose order is open, so any difference is the machine's.

    Args:
        trainer: Holds the model, and the rays that the points come from.
        say: Called with a coded line where a difference does not come again.
    """

    def __init__(self, trainer: Trainer, say: Callable[[str], None]) -> None:
        self._trainer = trainer
        self._say = say
        self._told = False
        self._samples: GBuffer | None = None

    def check(self) -> None:
        """Compare, and compare once more where the bits differ.

        Raises:
            DeviceError: They differ both times. What the steps since the last checkpoint changed
                may be wrong too, so no checkpoint may be written.
        """
        if self._agree():
            return
        where = self._trainer.model.device
        if not self._agree():
            raise DeviceError(
                f"{where} gives different bits for the same points, twice in a row",
                advice="test the machine's memory, cooling and overclocking; continue elsewhere "
                "from the last checkpoint with --resume",
            )
        if not self._told:
            self._told = True
            self._say(
                f"W-HARDWARE: {where} gave different bits for the same points once: test the "
                "machine's memory, cooling and overclocking"
            )

    def _agree(self) -> bool:
        first, second = self._colour(), self._colour()
        return torch.equal(first.view(torch.int32), second.view(torch.int32))

    def _colour(self) -> Tensor:
        return self._trainer.model.colour(self._points())

    def _points(self) -> GBuffer:
        """Return the points that the next step would look at when this is asked first."""
        if self._samples is None:
            trainer = self._trainer
            rays = trainer.pool.draw(trainer.step, trainer.batch).to(trainer.model.device)
            first = slice(_MOST_RAYS)
            self._samples = surface_samples(
                trainer.pool.surface,
                trainer.cameras,
                rays.photo[first],
                rays.pixel[first],
                rays.face_id[first],
            )
        return self._samples
