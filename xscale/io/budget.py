"""How much memory reading a file may take: 6 times its size and 256 MiB.

Files of usual programs stay far below that. What does not is refused before the memory is taken:
rows of a byte or two that would each become an object, polygons over a handful of vertices.
"""

from __future__ import annotations

from pathlib import Path

from xscale.errors import LimitError

GROWTH = 6
SPARE = 256 << 20

_OBJECT, _LIST, _PAIR, _ITEM, _QUOTE = 80, 64, 40, 34, 15
"""Bytes that Python takes at most for what begins with these characters of a JSON text."""
_ELEMENT, _ATTRIBUTE = 120, 120


def allowed(path: Path) -> int:
    """Return how many bytes reading a file may take."""
    return GROWTH * path.stat().st_size + SPARE


def check_growth(needed: int, path: Path, what: str) -> None:
    """Refuse what would take more memory than the file's size explains.

    Args:
        needed: Bytes.
        path: The file.
        what: What would take them, for the error.

    Raises:
        LimitError: It is more than is allowed.
    """
    most = allowed(path)
    if needed > most:
        raise LimitError(
            f"{what} would take {needed >> 20} MiB, reading this file may take {most >> 20} MiB",
            where=path,
            advice="it is damaged or made to fill the memory: export it again",
        )


def check_json(data: bytes, path: Path) -> None:
    """Refuse a JSON text that would become far more objects than its length explains.

    Raises:
        LimitError: It would.
    """
    sizes = ((b"{", _OBJECT), (b"[", _LIST), (b":", _PAIR), (b",", _ITEM), (b'"', _QUOTE))
    check_growth(sum(size * data.count(mark) for mark, size in sizes), path, "its values")


def check_xml(data: bytes, path: Path) -> None:
    """Refuse an XML text that would become far more objects than its length explains.

    Raises:
        LimitError: It would.
    """
    needed = _ELEMENT * data.count(b"<") + _ATTRIBUTE * data.count(b"=")
    check_growth(needed, path, "its elements")
