"""A step recorded once as a CUDA graph and played again: its many launches become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from xscale.training.rays import Rays

_STEPS_BEFORE = 3
"""Steps of a size that are taken plainly first: libraries make what they need at first use."""


class Recorded(Protocol):
    """A recording that can be played."""

    def replay(self) -> None:
        """Launch all that was recorded."""


class StepGraph:
    """Takes steps whose sizes repeat by playing a recording.

    What a recording reads and writes stays where it is: the batch is copied to tensors of its own.
    Where recording fails, steps are taken plainly from then on, and a notice says so.

    Args:
        step: Takes a step: launches only, nothing that waits for the device or looks at its
            numbers, and nothing on the host that must happen at every step.
        on_notice: Called with one line when recording fails.
        record: Takes a function that launches on a device, and the device; returns what plays
            these launches again. Nothing of them needs to have run.
    """

    def __init__(
        self,
        step: Callable[[Rays], None],
        on_notice: Callable[[str], None],
        record: Callable[[Callable[[], None], torch.device], Recorded] | None = None,
    ) -> None:
        self._step = step
        self._on_notice = on_notice
        self._record = record
        self._failed = False
        self.forget()

    def forget(self) -> None:
        """Let go of a recording and its memory."""
        self._size, self._before = (0, False), 0
        self._batch: Rays | None = None
        self._recorded: Recorded | None = None

    def take(self, rays: Rays) -> None:
        """Take a step with these rays, which lie on the device or in pinned memory."""
        size = len(rays.face_id), rays.turn is not None
        if size != self._size:
            self.forget()
            self._size = size
        if self._recorded is None and not self._failed and self._before >= _STEPS_BEFORE:
            self._make(rays)
        if self._recorded is None:
            self._before += 1
            self._step(rays)
            return
        for mine, given in zip(vars(self._batch).values(), vars(rays).values(), strict=True):
            if mine is not None:
                mine.copy_(given, non_blocking=True)
        self._recorded.replay()

    def _make(self, rays: Rays) -> None:
        batch = rays.each(torch.clone)
        try:
            record = self._record or record_cuda
            self._recorded = record(lambda: self._step(batch), batch.face_id.device)
            self._batch = batch
        except RuntimeError as error:  # whatever CUDA refuses to record, the step itself works
            self._failed = True
            line = str(error).splitlines()[0]
            self._on_notice(
                f"W-GRAPH: steps are launched one by one: recording failed: {line} "
                "(--set optim.graph=false leaves it out)"
            )


def record_cuda(launch: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """Record what ``launch`` launches on a device from this thread, without running it."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    # Other threads decode and rasterize meanwhile, on streams of their own.
    recording = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
    with torch.cuda.device(device), recording:
        launch()
    return graph
