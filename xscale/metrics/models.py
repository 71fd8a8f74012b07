"""Models that metrics need beside the pictures: networks with their weights, and packages."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from xscale.errors import UsageError
from xscale.metrics.dists import DistsModel
from xscale.metrics.flip import FlipModel
from xscale.metrics.lpips import LpipsModel
from xscale.metrics.lpips_weights import check_available
from xscale.metrics.measures import METRICS
from xscale.metrics.variants import VARIANTS


def load_models(
    weights_dir: str | Path | None = None, extras: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Load every LPIPS network whose weights are there, and what the metrics on request need.

    Args:
        weights_dir: Folder with the backbones' weights; None looks in the usual places.
        extras: Metrics and suffixes on request.

    Returns:
        Models by name, and a line on how to get LPIPS networks that are missing.

    Raises:
        UsageError: The named folder does not exist, or no metric has such a name.
        SetupError: A metric on request lacks its package or weights.
        IntegrityError: A weights file is damaged.
    """
    models = check_extras(extras, weights_dir)
    found, notice = check_available(weights_dir)
    models |= {net: LpipsModel(net, weights_dir) for net in found}
    return models, [notice] if notice else []


def check_extras(extras: Collection[str], weights_dir: str | Path | None = None) -> dict[str, Any]:
    """Load what the metrics on request need, or say in a line what is missing.

    Args:
        extras: Metrics and suffixes on request.
        weights_dir: Folder with the backbones' weights; None looks in the usual places.

    Returns:
        Models by name.

    Raises:
        UsageError: No metric has such a name.
        SetupError: A metric lacks its package or weights.
    """
    known = [row.name for row in METRICS if row.on_request]
    known += [row.suffix for row in VARIANTS if row.on_request]
    always = {row.name for row in METRICS if not row.on_request}
    for name in extras:
        if name in always:
            raise UsageError(
                f"{name} is always scored",
                advice=f"metrics on request are {', '.join(known)}",
            )
        if name not in known:
            raise UsageError(
                f"no metric on request is called {name}", advice=f"there are {', '.join(known)}"
            )
    models: dict[str, Any] = {}
    if "dists" in extras:
        models["dists"] = DistsModel(weights_dir)
    if "flip" in extras:
        models["flip"] = FlipModel()
    return models
