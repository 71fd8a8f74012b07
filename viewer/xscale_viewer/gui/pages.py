"""Pages over the view: the first screen, the dialog to open a folder, and F1."""

from __future__ import annotations

from pathlib import Path

from imgui_bundle import imgui

from xscale.errors import printable
from xscale_viewer import keys
from xscale_viewer.commands import Commands
from xscale_viewer.session import Session

_TWO_COLUMNS = 54.0
"""Least width of the page of keys in heights of a line for its two columns."""


class Pages:
    """Draws the pages of a session."""

    def __init__(self, session: Session, commands: Commands) -> None:
        self._session, self._commands = session, commands
        self._path = ""
        self._focus = True
        self._chosen = False

    def first(self) -> None:
        """Draw the first screen: what to open."""
        em = imgui.get_font_size()
        imgui.dummy(imgui.ImVec2(0, em * 2))
        imgui.indent(em * 2)
        imgui.push_font(None, em * 1.6)
        imgui.text("xscale view")
        imgui.pop_font()
        opening = self._session.opening
        if opening is not None and not self._chosen:
            # The folder that the command named: there is nothing to choose.
            imgui.text(f"Opening {printable(opening)} ...")
        else:
            imgui.text("Drop the folder of a run or a scene here, or open one:")
            imgui.dummy(imgui.ImVec2(0, em * 0.5))
            self._chooser()
            if opening is None and self._session.status:
                imgui.dummy(imgui.ImVec2(0, em * 0.5))
                imgui.text_wrapped(self._session.status)
            imgui.dummy(imgui.ImVec2(0, em))
            imgui.text_disabled("Nothing to open yet? `xscale demo` makes a small run in minutes.")
        imgui.text_disabled("F1 shows all keys.")
        imgui.unindent(em * 2)

    def _chooser(self) -> None:
        s, em = self._session, imgui.get_font_size()
        imgui.set_next_item_width(em * 30)
        if self._focus:
            imgui.set_keyboard_focus_here()
            self._focus = False
        # After Enter the field stays active with its text selected: what is typed next takes its
        # place. Were it left and entered again, keys pressed in the frames between would be lost.
        imgui.get_io().config_input_text_enter_keep_active = True
        entered, self._path = imgui.input_text_with_hint(
            "##path", "folder", self._path, imgui.InputTextFlags_.enter_returns_true.value
        )
        imgui.get_io().config_input_text_enter_keep_active = False
        imgui.same_line()
        if imgui.button("Open") or entered:
            text = self._path.strip().strip("\"'")
            if text:
                self._open(Path(text).expanduser())
        if s.settings.recent:
            imgui.separator_text("Recent")
        for text in list(s.settings.recent):
            if imgui.selectable(text, False)[0]:
                self._open(Path(text))

    def _open(self, path: Path) -> None:
        self._commands.show_open, self._chosen = False, True
        self._session.open(path)

    def over(self) -> None:
        """Draw the open dialog and the page of keys, where they are on."""
        if not self._commands.show_open:
            self._focus |= self._session.source is not None
        elif self._session.source is not None:
            shown, keep = imgui.begin("Open", True, imgui.WindowFlags_.always_auto_resize.value)
            if shown:
                self._chooser()
            imgui.end()
            self._commands.show_open = bool(keep)
        if self._commands.show_help:
            self._help()

    def _help(self) -> None:
        em = imgui.get_font_size()
        area = imgui.get_main_viewport().work_size
        size = imgui.ImVec2(min(em * 60, area.x * 0.96), min(em * 52, area.y * 0.96))
        imgui.set_next_window_size(size)
        imgui.set_next_window_pos(
            imgui.ImVec2(area.x / 2, area.y / 2), imgui.Cond_.always.value, imgui.ImVec2(0.5, 0.5)
        )
        imgui.set_next_window_bg_alpha(1.0)
        # The themes' title bars let the picture through.
        style = imgui.get_style()
        ground = style.color_(imgui.Col_.title_bg_active.value)
        solid = imgui.ImVec4(ground.x, ground.y, ground.z, 1.0)
        for part in (imgui.Col_.title_bg, imgui.Col_.title_bg_active):
            imgui.push_style_color(part.value, solid)
        shown, keep = imgui.begin("Keys", True, imgui.WindowFlags_.no_collapse.value)
        imgui.pop_style_color(2)
        if shown:
            self._rows("Mouse", list(keys.MOUSE))
            columns = 2 if size.x >= _TWO_COLUMNS * em else 1
            if imgui.begin_table("keys", columns):
                groups = list(keys.by_group().items())
                halves = (groups[:1] + groups[2:3], groups[1:2] + groups[3:])
                for column in halves if columns == 2 else (groups,):
                    imgui.table_next_column()
                    for name, rows in column:
                        self._rows(name, [(keys.shown(key), key.help) for key in rows])
                imgui.end_table()
        imgui.end()
        self._commands.show_help = bool(keep)

    @staticmethod
    def _rows(title: str, rows: list[tuple[str, str]]) -> None:
        imgui.separator_text(title)
        if imgui.begin_table(title, 2, imgui.TableFlags_.sizing_fixed_fit.value):
            for key, text in rows:
                imgui.table_next_column()
                imgui.text(key)
                imgui.table_next_column()
                imgui.text(text)
            imgui.end_table()
