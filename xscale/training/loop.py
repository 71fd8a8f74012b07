"""The loop: steps until the steps or the minutes are over; logs, previews and checkpoints aside."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from xscale import interrupts, threads
from xscale.errors import InterruptedRunError, NumericsError, StorageError
from xscale.io.system_errors import is_about_storage
from xscale.run.folder import RunFolder
from xscale.training.divergence import StepWatch
from xscale.training.readback import StepLosses
from xscale.training.request import Goal
from xscale.training.trainer import Trainer

CHECKPOINT_SECONDS = 300.0
CHECKPOINT_STEPS = 1000
MOST_FAILED_SAVES = 3
"""Saves in a row that may fail until the training stops."""
_LOG_SECONDS = 2.0


@dataclass
class Progress:
    """Values of the progress bar."""

    step: int
    share: float
    loss: float
    psnr: float
    rays_per_second: float
    seconds_left: float


def _nothing(*_: object) -> None:
    """Stand in for a callback."""


def run_loop(
    trainer: Trainer,
    folder: RunFolder,
    goal: Goal,
    watch: StepWatch,
    say: Callable[[str], None],
    *,
    seconds_before: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
    on_preview: Callable[[int], None] | None = None,
    on_log: Callable[[dict], None] = _nothing,
    on_begun: Callable[[], None] | None = None,
    before_save: Callable[[], None] | None = None,
    state: Callable[[], dict] = dict,
    before_step: Callable[[float], None] | None = None,
    preview_shares: tuple[float, ...] = (0.02, 0.1, 0.25, 0.5, 0.75),
) -> float:
    """Train until the goal; the last checkpoint is written before this returns.

    Args:
        trainer: Holds everything that changes.
        folder: The run folder.
        goal: When to stop.
        watch: Counts steps that move nothing.
        say: Called with a coded line: about a log, a preview or a checkpoint that could not be
            written. The training goes on without the first two, and tries the third again.
        seconds_before: Training time already spent (resume, preparation).
        on_progress: Called after the first step, then every two seconds or so.
        on_preview: Called with the step when a preview is due.
        on_log: Called with each line of metrics.jsonl.
        on_begun: Called once, after the first step.
        before_save: Called before a checkpoint is written.
        state: Gives what a checkpoint keeps beside tensors and the training time.
        before_step: Called before each step with the share of the training that is done.
        preview_shares: Shares of the training at which previews are due.

    Returns:
        Training time in seconds, earlier sessions included.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM came; a checkpoint was written first.
        NumericsError: The training diverged; no checkpoint with such numbers was written.
        StorageError: The last checkpoint could not be written, or several before it.
    """
    start = time.monotonic() - seconds_before
    saver = _Saver(folder, state, before_save, say)
    lenient = Lenient(say)
    folder.on_lost_line = lenient.told
    average = _Running()
    due = list(preview_shares)
    saved_step, saved_time, logged = trainer.step, time.monotonic(), time.monotonic()
    logged_step, shown = trainer.step, False
    with interrupts.saving() as stopped:
        while True:
            seconds = time.monotonic() - start
            share = goal.share(trainer.step, seconds)
            if share >= 1.0 or stopped.is_set():
                break
            if before_step is not None:
                before_step(share)
            found = trainer.train_step(share)
            watch.add(found, trainer.step)
            average.add(found)
            now = time.monotonic()
            # The first step is shown at once: people wait for it.
            first = not shown
            if average.steps and (now - logged >= _LOG_SECONDS or first):
                shown = True
                rate = (trainer.step - logged_step) * trainer.batch / (now - logged)
                logged, logged_step = now, trainer.step
                line = _line(trainer.step, now - start, average, rate, watch.skipped)
                watch.look(trainer.step, average.psnr)
                folder.log(line)
                with lenient:
                    on_log(line)
                if on_progress is not None:
                    left = (now - start) * (1 - share) / max(share, 1e-6)
                    on_progress(
                        Progress(trainer.step, share, average.loss, average.psnr, rate, left)
                    )
                if first and on_begun is not None:
                    on_begun()
            if on_preview is not None and due and share >= due[0]:
                due = [later for later in due if later > share]
                with lenient:
                    on_preview(trainer.step)
            due_steps = trainer.step - saved_step >= CHECKPOINT_STEPS
            due_seconds = now - saved_time >= CHECKPOINT_SECONDS
            if (due_steps or due_seconds or stopped.save.is_set()) and saver.idle():
                stopped.save.clear()
                saved_step, saved_time = trainer.step, now
                saver.save(trainer, now - start)
        watch.add(trainer.finish(), trainer.step)
        seconds = time.monotonic() - start
        try:
            saver.save_last(trainer, seconds)
            outcome = "a checkpoint is written"
        except NumericsError as error:
            if not stopped.is_set():
                raise
            outcome = f"{error.what}: the checkpoint before it is kept"
        if stopped.is_set():
            raise InterruptedRunError(
                f"stopped at step {trainer.step}; {outcome}",
                where=folder.path,
                advice="continue with --resume",
            )
    return seconds


class _Running:
    """Loss and mean squared error, averaged over about the last 50 steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.overflows = 0
        self.loss = math.nan
        self._mse = math.nan

    def add(self, found: StepLosses | None) -> None:
        """Take in what is known of some steps together."""
        if found is None:
            return
        self.overflows = found.overflows
        if found.steps == 0:
            return
        old = 0.0 if self.steps == 0 else 0.98**found.steps
        self.steps += found.steps
        self.loss = old * (self.loss if old else 0.0) + (1 - old) * found.loss
        self._mse = old * (self._mse if old else 0.0) + (1 - old) * found.squared_error

    @property
    def psnr(self) -> float:
        return -10 * math.log10(max(self._mse, 1e-12))


def _line(step: int, seconds: float, average: _Running, rate: float, skipped: int) -> dict:
    line = {
        "step": step,
        "time": round(seconds, 3),
        "loss": round(average.loss, 6),
        "psnr": round(average.psnr, 4),
        "rays_per_second": round(rate),
    }
    if average.overflows + skipped:
        line["skipped_steps"] = average.overflows + skipped
    return line


class Lenient:
    """Lets a training go on where a log line or a preview cannot be written; said once.

    Args:
        say: Called with a coded line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = False

    def told(self, error: Exception) -> None:
        """Say that something was not written."""
        if not self._told:
            self._told = True
            self._say(f"W-LOG: {error}; the training continues without it")

    def __enter__(self) -> None:
        """Begin something that may fail."""

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        """Pass over storage that fails; TensorBoard's own errors are the system's."""
        ours = isinstance(error, StorageError) and is_about_storage(error)
        if ours or isinstance(error, OSError):
            self.told(error)
            return True
        return False


class _Saver:
    """Checkpoints written by a thread; the loop waits only for the copy of the tensors."""

    def __init__(
        self,
        folder: RunFolder,
        state: Callable[[], dict],
        before: Callable[[], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._run = folder.manifest.run
        self._state = state
        self._before = before
        self._say = say
        self._failures = 0
        self._thread = threads.aside("save")
        self._pending: Future | None = None

    def idle(self) -> bool:
        """Whether the last save is over; its failure is told here, in the loop's thread."""
        if self._pending is not None and not self._pending.done():
            return False
        self.finish()
        return True

    def save(self, trainer: Trainer, seconds: float, last: bool = False) -> None:
        if self._before is not None:
            try:
                self._before()
            except StorageError as error:
                self._failed(error, last)
                return
        state = {"seconds": seconds, **self._state()}
        tensors = trainer.state(copy=not last)
        self._pending = self._thread.submit(
            self._folder.save_checkpoint, trainer.step, tensors, state, self._run
        )

    def finish(self, *, last: bool = False) -> None:
        """Wait for the save; one that failed is tried again when the next is due."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except StorageError as error:
            self._failed(error, last)
        else:
            self._failures = 0

    def save_last(self, trainer: Trainer, seconds: float) -> None:
        """Save when no step follows, and wait for it."""
        self._failures = 0  # it is always tried
        self.finish()
        self.save(trainer, seconds, last=True)
        self.finish(last=True)

    def _failed(self, error: StorageError, last: bool) -> None:
        """Bear a save that failed, unless nothing follows or too many have."""
        self._failures += 1
        if last or self._failures >= MOST_FAILED_SAVES or not is_about_storage(error):
            raise error
        self._say(f"W-SAVE: {error}; older checkpoints are kept, and the next is tried")
