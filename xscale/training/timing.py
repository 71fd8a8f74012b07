"""Where a training's time went."""

from __future__ import annotations

from xscale.training.trainer import Trainer


def timing_of(trainer: Trainer, before: float, seconds: float) -> dict[str, float]:
    """Return what the seconds since the start went to; steps wait for tiles inside the draw.

    Args:
        trainer: Counts the parts of its steps.
        before: Seconds before its first step.
        seconds: All of them.
    """
    waited = trainer.pool.seconds_waited
    spent = {"preparation and earlier": before, **trainer.seconds}
    spent["draw"] = max(spent.get("draw", 0.0) - waited, 0.0)
    spent["waiting for tiles"] = waited
    spent["everything else"] = max(seconds - sum(spent.values()), 0.0)
    return {name: round(value, 3) for name, value in spent.items()}


def shares_of(timing: dict[str, float]) -> str:
    """Write times as people read them: longest first, each with its share."""
    total = max(sum(timing.values()), 1e-9)
    ordered = sorted(timing.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:.1f} s ({value / total:.0%})" for name, value in ordered)
