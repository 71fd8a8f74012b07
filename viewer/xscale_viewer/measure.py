"""Measurements between picked surface points: lengths with their error, kept, named, as CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

_AIM = 1.0
"""Pixels by which a pick may miss what the user means."""


@dataclass(frozen=True, eq=False)
class Pick:
    """One picked surface point."""

    point: np.ndarray
    """Float64 [3], world."""
    error: float
    """Radius in world units within which the point lies that the user means: one pixel on the
    surface. Errors of the mesh itself are not in it."""


def pick(point: np.ndarray, pixel_size: float, cosine: float) -> Pick:
    """Return a pick with its error.

    Args:
        point: Float64 [3], world.
        pixel_size: Width of a pixel at the point's depth, world units.
        cosine: Of the angle between line of sight and normal; slant makes the error larger.
    """
    return Pick(np.asarray(point, float), _AIM * pixel_size / max(abs(cosine), 0.05))


@dataclass(eq=False)
class Measurement:
    """A chain of picks."""

    name: str
    picks: list[Pick] = field(default_factory=list)

    @property
    def length(self) -> float:
        """Length of the chain, world units."""
        points = [p.point for p in self.picks]
        return float(sum(np.linalg.norm(b - a) for a, b in pairwise(points)))

    @property
    def error(self) -> float:
        """How far off the length may be by aiming: the picks' errors, independent of each other.

        A middle pick moves both of its edges: its error counts once for each.
        """
        ends = [p.error**2 for p in self.picks]
        return math.sqrt(sum(ends) + sum(ends[1:-1])) if len(ends) > 1 else 0.0

    @property
    def height(self) -> float:
        """Difference of the last and the first pick along z, world units."""
        return float(self.picks[-1].point[2] - self.picks[0].point[2]) if self.picks else 0.0


class Measurements:
    """All measurements of a session, and the one being made."""

    def __init__(self) -> None:
        self.all: list[Measurement] = []
        self.current: Measurement | None = None

    def add(self, picked: Pick) -> Measurement:
        """Add a pick to the measurement being made, or begin one."""
        if self.current is None:
            self.current = Measurement(self._free_name())
            self.all.append(self.current)
        self.current.picks.append(picked)
        return self.current

    def finish(self) -> None:
        """End the measurement being made; one with a single pick is dropped."""
        if self.current is not None and len(self.current.picks) < 2:
            self.all.remove(self.current)
        self.current = None

    def remove_last(self) -> None:
        """Take the last pick back."""
        if self.current is None:
            return
        self.current.picks.pop()
        if not self.current.picks:
            self.all.remove(self.current)
            self.current = None

    def remove(self, measurement: Measurement) -> None:
        """Delete a measurement."""
        self.all.remove(measurement)
        if self.current is measurement:
            self.current = None

    def _free_name(self) -> str:
        taken = {m.name for m in self.all}
        number = next(n for n in range(1, len(taken) + 2) if f"M{n}" not in taken)
        return f"M{number}"

    def csv(self, unit: str | None) -> str:
        """Return all as CSV, one row a pick, with the chain's length so far and its error."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["name", "pick", "x", "y", "z", "pick_error", "length", "error", "unit"])
        for m in self.all:
            for number, p in enumerate(m.picks):
                part = Measurement(m.name, m.picks[: number + 1])
                rows.writerow(
                    [m.name, number + 1, *(repr(float(x)) for x in p.point), f"{p.error:.6g}",
                     repr(part.length), f"{part.error:.6g}", unit or ""]
                )  # fmt: skip
        return text.getvalue()

    def to_plain(self) -> list[dict]:
        """Return all as plain values for a settings file."""
        return [
            {"name": m.name, "picks": [[*map(float, p.point), float(p.error)] for p in m.picks]}
            for m in self.all
        ]

    def load(self, plain: object) -> None:
        """Take what :meth:`to_plain` gave; what makes no sense is left out."""
        self.all, self.current = [], None
        for entry in plain if isinstance(plain, list) else []:
            try:
                picks = [
                    Pick(np.array(numbers[:3], float), float(numbers[3]))
                    for numbers in entry["picks"]
                ]
                good = all(p.point.shape == (3,) and np.isfinite(p.point).all() for p in picks)
                if good and len(picks) > 1:
                    self.all.append(Measurement(str(entry["name"])[:80], picks))
            except (KeyError, IndexError, TypeError, ValueError):
                continue
