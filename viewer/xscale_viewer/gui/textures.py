"""Textures of the window: pictures that stay on the graphics card while they are drawn."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from imgui_bundle import hello_imgui, imgui

_MOST = 600


class Textures:
    """Textures by key; the least recently drawn ones are given up.

    Args:
        enabled: False on backends without pictures (tests of the logic).
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._kept: OrderedDict[object, tuple[object, object]] = OrderedDict()

    def of(self, key: object, picture: np.ndarray, mark: object = None) -> object | None:
        """Return the texture of a picture, made anew where ``mark`` has changed.

        Args:
            key: Whose picture it is.
            picture: Uint8 [H, W, 3] or [H, W, 4].
            mark: Anything that differs when the pixels do.
        """
        if not self.enabled or picture.size == 0:
            return None
        known = self._kept.get(key)
        if known is None or known[0] != mark:
            texture = hello_imgui.create_texture_gpu_from_rgba_data(_rgba(picture))
            self._kept[key] = known = (mark, texture)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return imgui.ImTextureRef(known[1].texture_id())

    def clear(self) -> None:
        """Give all textures up; while the window still exists."""
        self._kept.clear()


def _rgba(picture: np.ndarray) -> np.ndarray:
    if picture.shape[2] == 4:
        return np.ascontiguousarray(picture)
    full = np.full((*picture.shape[:2], 4), 255, np.uint8)
    full[..., :3] = picture
    return full
