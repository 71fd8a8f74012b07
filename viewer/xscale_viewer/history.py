"""Undo and redo of views."""

from __future__ import annotations

from xscale_viewer.navigation import View

_MOST = 200


class History:
    """Views that the user stopped at, oldest first, and a place in that list."""

    def __init__(self) -> None:
        self._views: list[View] = []
        self._at = -1

    def push(self, view: View) -> None:
        """Add a view after the present one; what could be redone is forgotten."""
        if self._at >= 0 and self._views[self._at] is view:
            return
        self._views = [*self._views[: self._at + 1], view][-_MOST:]
        self._at = len(self._views) - 1

    def undo(self) -> View | None:
        """Go one view back; None at the first."""
        if self._at <= 0:
            return None
        self._at -= 1
        return self._views[self._at]

    def redo(self) -> View | None:
        """Go one view forward; None at the last."""
        if self._at + 1 >= len(self._views):
            return None
        self._at += 1
        return self._views[self._at]
