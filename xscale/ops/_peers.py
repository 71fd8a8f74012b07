"""The choice of another package's rasterizer or hash-grid look-up, by the name of a plug-in.

None is ever needed; they are there for comparison. "auto" is xscale's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from xscale import plugins

OWN = ("auto", "xscale")
_GROUPS = {"rasterizer": "xscale.rasterizers", "encoding": "xscale.lookups"}
_chosen: dict[str, tuple[str, object]] = dict.fromkeys(_GROUPS, ("xscale", None))


@contextlib.contextmanager
def use_peers(rasterizer: str = "auto", encoding: str = "auto") -> Iterator[None]:
    """Let another package rasterize or encode, for every op called inside, in all threads.

    ``fused_step`` and ``fused_frame`` hold their own encoding, so with another one trainer and
    renderer take the chain of single ops.

    A plug-in is a function without arguments. A rasterizer's returns a function of (vertices,
    faces, face_ids, camera, rect, offset) that returns face ids and depths as ``ops.rasterize``
    does; a look-up's returns what has ``encode`` and ``encode_backward`` as in ``ops``.

    Args:
        rasterizer: "auto", "xscale" or a plug-in's name.
        encoding: "auto", "xscale" or a plug-in's name.

    Raises:
        UsageError: There is no such choice.
        SetupError: The package behind it is not installed.
    """
    before = dict(_chosen)
    chosen = {what: _load(what, n) for what, n in zip(_GROUPS, (rasterizer, encoding), strict=True)}
    _chosen.update(chosen)
    try:
        yield
    finally:
        _chosen.update(before)


def encoding() -> str:
    """Return whose look-up runs: "xscale" or a plug-in's name."""
    return _chosen["encoding"][0]


def plugin(what: str) -> object | None:
    """Return the "rasterizer" or "encoding" that runs in place of xscale's, or None."""
    return _chosen[what][1]


def _load(what: str, name: str) -> tuple[str, object]:
    if name in OWN:
        return "xscale", None
    return name, plugins.load(_GROUPS[what], name, what, OWN)()
