"""A training's options: checked in milliseconds, before a scene is opened or PyTorch loads."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xscale.config import check_device_name, override
from xscale.errors import InputError, OutputExistsError, SetupError, UsageError
from xscale.io.system_errors import as_storage_error
from xscale.run.folder import RunFolder
from xscale.training.settings import OptimSettings, Settings, preset

_MINUTES = 10.0
_MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Goal:
    """When to stop: after ``steps`` steps, at ``seconds`` of training time, or what comes first."""

    steps: int | None
    seconds: float | None

    def __str__(self) -> str:
        """Return it as people say it."""
        return f"{self.steps} steps" if self.seconds is None else f"{self.seconds / 60:g} minutes"

    def share(self, step: int, seconds: float) -> float:
        """Return how much of the training is done, 0 to 1."""
        done = 0.0
        if self.steps is not None:
            done = step / self.steps
        if self.seconds is not None:
            done = max(done, seconds / max(self.seconds, 1e-9))
        return min(done, 1.0)

    def at_most(self, optim: OptimSettings, pixels: float) -> Goal:
        """Return the goal of a training that ends when pixels were visited often enough.

        Steps that were asked for are taken: only a goal of time is limited.

        Args:
            optim: Says how often is enough.
            pixels: Covered pixels of the training photos.
        """
        if self.steps is not None or not optim.visits:
            return self
        return Goal(max(math.ceil(optim.visits * pixels / optim.batch), 1), self.seconds)

    def had_enough(self, step: int) -> bool:
        """Return whether a training of minutes took all steps that help."""
        return self.seconds is not None and self.steps is not None and step >= self.steps


def enough(visits: float, seconds: float) -> str:
    """Return what a training says that ended before its minutes were over."""
    return (
        f"each covered pixel was visited {visits:g} times in {seconds / 60:.3g} minutes: as far "
        "as was measured, waiting longer buys nothing (optim.visits)"
    )


@dataclass(frozen=True)
class Request:
    """A training's options; arguments are those of ``xscale.train``."""

    out: str | Path
    preset: str = "default"
    minutes: float | None = None
    steps: int | None = None
    downscale: float = 1.0
    seed: int = 0
    settings: Sequence[str] = ()
    resume: bool = False
    device: str = "auto"
    tensorboard: bool = False

    def check(self) -> tuple[Settings, Goal]:
        """Return the settings, and when to stop.

        Raises:
            UsageError: A number is out of its range, a setting makes no sense, or the device has no
                such name.
            SetupError: ``tensorboard`` was asked for and is not installed.
            InputError: There is no run to resume.
            OutputExistsError: ``out`` holds something and ``resume`` was not asked for.
        """
        found = self.check_options()
        self._check_output()
        return found

    def check_options(self) -> tuple[Settings, Goal]:
        """Check everything but the output folder; see :meth:`check`."""
        goal = self._goal()
        if not (math.isfinite(self.downscale) and self.downscale >= 1):
            raise UsageError(f"downscale must be 1 or more, got {self.downscale:g}")
        if not 0 <= self.seed <= _MOST_SEED:
            raise UsageError(f"seed must be 0 to {_MOST_SEED}, got {self.seed}")
        check_device_name(self.device)
        if self.device.startswith("webgpu"):
            raise UsageError(
                f"--device {self.device} renders; it does not train",
                advice="use --device cpu or cuda",
            )
        settings = override(preset(self.preset), list(self.settings))
        if self.tensorboard:
            require_tensorboard()
        return settings, goal

    def _goal(self) -> Goal:
        if self.minutes is not None and self.steps is not None:
            raise UsageError("--minutes and --steps exclude each other", advice="give one of them")
        if self.steps is not None:
            if self.steps < 1:
                raise UsageError(f"steps must be 1 or more, got {self.steps}")
            return Goal(self.steps, None)
        minutes = _MINUTES if self.minutes is None else self.minutes
        if not (math.isfinite(minutes) and minutes > 0):
            raise UsageError(f"minutes must be above 0, got {minutes:g}")
        return Goal(None, 60 * minutes)

    def _check_output(self) -> None:
        folder = RunFolder(self.out)
        out = folder.path
        with as_storage_error(out, "be used"):
            if self.resume and not folder.is_run() and not folder.never_begun():
                raise InputError("holds no run to resume", where=out, advice="leave --resume out")
            if not self.resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise OutputExistsError(
                    "already exists", where=out, advice="choose another folder, or --resume"
                )


def require_tensorboard() -> None:
    """Refuse before any work what would be refused after it.

    Raises:
        SetupError: The tensorboard package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise SetupError(
            "--tensorboard needs the tensorboard package",
            advice="pip install 'xscale[tensorboard]'",
        )
