"""Plug-ins found by name among the entry points of installed packages.

Groups: ``xscale.rasterizers`` (``--rasterizer``), ``xscale.lookups`` (``--encoding``),
``xscale.encodings`` (``model.encoding``) and ``xscale.scenes`` (makers of scenes whose photos are
made on demand, functions of the scene's folder). xscale's wheel brings ``xscale_comparisons`` with
it; another package adds its own in its pyproject.toml, for example::

    [project.entry-points."xscale.rasterizers"]
    mine = "my_package.raster:rasterizer"

The interfaces are those of the functions that the plug-ins stand in for: ``use_peers`` in
xscale/ops/_peers.py, ``make_field`` in xscale/model/field.py.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from xscale.errors import SetupError, UsageError


def names(group: str) -> tuple[str, ...]:
    """Return the names of a group's plug-ins, sorted, without importing them."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def load(group: str, name: str, what: str, own: tuple[str, ...] = ()) -> object:
    """Import the plug-in of that name.

    Args:
        group: Group of entry points.
        name: Name of the plug-in.
        what: Noun for the message, for example "rasterizer".
        own: Names that need no plug-in, for the message.

    Raises:
        UsageError: No installed package has a plug-in of that name.
        SetupError: The plug-in cannot be imported.
    """
    found: tuple[EntryPoint, ...] = tuple(entry_points(group=group, name=name))
    if not found:
        known = ", ".join((*own, *names(group)))
        raise UsageError(f"no {what} {name!r}; there are {known}")
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise SetupError(
            f"{what} {name!r} cannot be loaded from {found[0].value}: {error}",
            advice="reinstall the package that brings it",
        ) from error
