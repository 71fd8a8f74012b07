"""The bars of one H100 (performance.md, "Bars to beat"), and whether a row meets its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

Row = dict[str, object]

H100_COPY_RATE = 3000.0
"""Gigabytes a second that an H100 SXM copies, both ways counted."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Goal of a row; None: nothing is asked of it."""

    ratio: float | None = None
    """Times as fast as the peer, at least."""
    peer_copies: bool = False
    """Whether the peer is bound by memory as a copy is, and we are not: where memory is faster than
    an H100's, the ratio that is asked is as much lower."""
    ms: float | None = None
    """At most."""
    share: float | None = None
    """Share of the ceiling, at least."""
    others: dict[str, float] = field(default_factory=dict)
    """Times as fast as another peer of the row, at least."""
    at_most: dict[str, float] = field(default_factory=dict)
    """Another work of the row may take so many times ours."""
    at_most_of: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Another work of the row may take so many times a second one."""
    rate: tuple[str, float] | None = None
    """A rate of the row, at least."""

    def text(self) -> str:
        """Say it in a table's cell."""
        parts = []
        if self.ratio is not None:
            parts.append(f">= {self.ratio:g} x")
        parts += [f">= {times:g} x {name}" for name, times in self.others.items()]
        if self.ms is not None:
            parts.append(f"<= {self.ms:g} ms")
        if self.rate is not None:
            parts.append(f">= {self.rate[1]:,g} {self.rate[0]}")
        if self.share is not None:
            parts.append(f">= {100 * self.share:g} % of the ceiling")
        parts += [f"{name} <= {times:g} x ours" for name, times in self.at_most.items()]
        parts += [
            f"{name} <= {times:g} x {base}" for name, (base, times) in self.at_most_of.items()
        ]
        return "; ".join(parts)

    def on(self, copy_rate: float | None) -> Bar:
        """Return the bar for a device that copies so many gigabytes a second; None: not known."""
        if not self.peer_copies or self.ratio is None or copy_rate is None:
            return self
        return replace(self, ratio=round(self.ratio * min(1.0, H100_COPY_RATE / copy_rate), 1))

    def met(self, row: Row) -> bool | None:
        """Whether a row meets it; None where a part of it was not measured and no other fails."""
        peers: dict[str, float] = row.get("peers_ms", {})
        ours: float = row["ours"]

        def against(name: str, base: str | None = None) -> float | None:
            below = ours if base is None else peers.get(base)
            return peers[name] / below if name in peers and below else None

        found = [
            (self.ratio, row.get("ratio"), 1),
            (self.ms, ours, -1),
            (self.share, row.get("share_of_ceiling"), 1),
            *((times, against(name), 1) for name, times in self.others.items()),
            *((times, against(name), -1) for name, times in self.at_most.items()),
            *((times, against(name, base), -1) for name, (base, times) in self.at_most_of.items()),
        ]
        if self.rate is not None:
            found.append((self.rate[1], row.get(self.rate[0]), 1))
        asked = [(mark, value, way) for mark, value, way in found if mark is not None]
        if any(value is not None and way * value < way * mark for mark, value, way in asked):
            return False
        return None if any(value is None for _, value, _ in asked) else True


BARS = {
    "encode forward": Bar(ratio=30, others={"compiled": 8}, share=0.65),
    "encode backward": Bar(ratio=20, others={"scalar atomics": 2}, share=0.6),
    "fused inference": Bar(
        others={"bfloat16, compiled": 40}, rate=("mpixel_per_s", 1200), share=0.5
    ),
    "raster 2M": Bar(ratio=5, ms=0.15),
    "raster 10M": Bar(ratio=10, ms=0.35),
    "raster 16M": Bar(ratio=10, ms=0.7),
    "raster 100M": Bar(ratio=10, ms=2.5),
    "frame 1080p paper": Bar(ratio=30, ms=2.5),
    "training step": Bar(
        ratio=15,
        rate=("mray_per_s", 100),
        # Deterministic steps are float32 ones, so that is what they are compared with.
        at_most_of={"deterministic": ("float32", 1.6)},
    ),
    "lazy adam 2^16": Bar(ratio=7, peer_copies=True, share=0.7),
    "lazy adam 2^18": Bar(ratio=3, peer_copies=True, share=0.7),
    "photo decode": Bar(rate=("cores_worth", 0.95)),  # of one Pillow thread, on the CPU's cores
}


def judged(row: Row, copy_rate: float | None = None) -> Row:
    """Return a row with its ``bar`` in words and whether it was ``met``, where it has one.

    Args:
        row: The row.
        copy_rate: Gigabytes a second that the device copies, both ways counted, where measured.
    """
    bar = BARS.get(str(row["name"]))
    if bar is None or "ours" not in row:
        return row
    bar = bar.on(copy_rate)
    return {**row, "bar": bar.text(), "met": bar.met(row)}
