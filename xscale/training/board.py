"""TensorBoard: the same lines as metrics.jsonl, and the previews, for those who watch there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xscale.training.request import require_tensorboard


class Board:
    """Writes event files into ``RUN/tensorboard``.

    Args:
        folder: Where the event files go.

    Raises:
        SetupError: The tensorboard package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def line(self, line: dict) -> None:
        """Add the numbers of one line of metrics.jsonl."""
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, line["step"])

    def picture(self, step: int, picture: np.ndarray) -> None:
        """Add a preview, uint8 [H, W, 3]."""
        self._writer.add_image("preview", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the files."""
        self._writer.close()
