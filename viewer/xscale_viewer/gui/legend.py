"""Legend of the mode that is shown: its colours, and what their ends stand for."""

from __future__ import annotations

import numpy as np
from imgui_bundle import imgui

from xscale.render.modes import Legend, legend_of
from xscale_viewer.gui.overlay import colour, label
from xscale_viewer.session import Session
from xscale_viewer.units import length

_STEPS = 32


def draw(drawing: imgui.ImDrawList, corner: tuple[float, float], session: Session) -> None:
    """Draw it at the lower left of the view, or that the mode's picture is still being made.

    Args:
        drawing: The view's.
        corner: The view's upper left one.
        session: The session.
    """
    picture, em = session.picture, imgui.get_font_size()
    wanted = session.mode_and_photo()[0]
    left, low = corner[0] + em, corner[1] + session.size[1] - 2 * em
    if picture is None:
        return
    if picture.request.mode != wanted:
        label(drawing, (left, low), f"{wanted}: the picture is being made ...")
        return
    found = legend_of(wanted, picture.scale)
    if found is not None:
        _bar(drawing, (left, low), found, session.unit)


def _bar(
    drawing: imgui.ImDrawList, at: tuple[float, float], legend: Legend, unit: str | None
) -> None:
    """Draw the colours from dark to bright between the values of their ends."""
    # With NumPy only, but its package brings more: the window is there before.
    from xscale.color import colour_scale

    em = imgui.get_font_size()
    texts = [ends(legend, value, unit) for value in (legend.dark, legend.bright)]
    label(drawing, at, texts[0])
    # Whole pixels: between the steps nothing shows through.
    x = round(at[0] + imgui.calc_text_size(texts[0]).x + em / 2)
    step = max(round(em / 4), 1)
    for k, rgb in enumerate(colour_scale(np.linspace(0, 1, _STEPS)) / 255):
        a = imgui.ImVec2(x + k * step, at[1])
        drawing.add_rect_filled(a, imgui.ImVec2(a.x + step, at[1] + em), colour(tuple(rgb)))
    label(drawing, (x + _STEPS * step + em / 2, at[1]), texts[1])


def ends(legend: Legend, value: float, unit: str | None) -> str:
    """Return the text at an end of the colours."""
    if legend.unit == "length":
        return length(value, unit)
    return f"{value:.0f} {legend.unit}" if legend.unit != "level" else f"level {value:.0f}"
