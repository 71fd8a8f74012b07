"""A user's script on null backends: drives the panels without a display. Run as a process.

Usage: python -m tests.viewer.window_script RUN

Its last line is OK when everything held; the test engine's own end is not waited for, since the
null backends raise an assertion there.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

from imgui_bundle import hello_imgui, imgui
from imgui_bundle.immapp import testing

from xscale_viewer.gui.app import App
from xscale_viewer.session import Session
from xscale_viewer.settings import Settings
from xscale_viewer.window import Start, runner_params


def main(folder: Path) -> None:
    session = Session(Settings(), threads=1)
    app = App(session, pictures=False)
    params = runner_params(app, Start(size=(1000, 700)))
    params.platform_backend_type = hello_imgui.PlatformBackendType.null
    params.renderer_backend_type = hello_imgui.RendererBackendType.null

    def before_frame() -> None:
        io = imgui.get_io()
        io.backend_flags |= imgui.BackendFlags_.renderer_has_textures.value
        io.display_size = imgui.ImVec2(*app_size)

    params.fps_idling.enable_idling = False
    app_size = [1000, 700]
    params.callbacks.pre_new_frame = before_frame

    def script(context: imgui.test_engine.TestContext) -> None:
        try:
            check(app, context, folder, app_size)
        except BaseException:  # the engine would pass over it
            traceback.print_exc()
            os._exit(1)
        sys.stdout.write("OK\n")
        sys.stdout.flush()
        session.close()
        os._exit(0)

    testing.run(test_function=script, runner_params=params)


def check(app: App, context: object, folder: Path, size: list[int]) -> None:
    """Do what a user does, and look at the state."""
    session = app.session
    key = imgui.Key

    def wait(done: object, seconds: float = 60.0) -> None:
        limit = time.monotonic() + seconds
        while not done():
            if time.monotonic() > limit:
                raise TimeoutError(session.status)
            context.yield_()
            time.sleep(0.002)

    def rest() -> None:
        context.yield_(3)
        wait(lambda: not session.busy())

    # The first screen: a folder that is none, then the run.
    context.set_ref("//xscale")
    session.open(folder / "nothing")
    wait(lambda: session.opening is None)
    assert "does not exist" in session.status, session.status
    assert session.source is None
    app.dropped([str(folder)])
    wait(lambda: session.source is not None)
    rest()
    assert session.picture.stage == "refined"
    assert app.view.line == "" or "distance" in app.view.line or "surface" in app.view.line

    # A file that is no run, dropped on the window: a line, and the run stays.
    before = session.source
    app.dropped([__file__])
    wait(lambda: session.opening is None)
    assert "is not a folder" in session.status, session.status
    assert session.source is before

    # Orbit by a drag; the wheel; a double click.
    before = session.view
    context.mouse_move_to_pos(imgui.ImVec2(300, 330))
    context.mouse_down(0)
    context.mouse_move_to_pos(imgui.ImVec2(360, 340))
    context.mouse_up(0)
    assert session.view is not before
    assert not app.inspector.asking, "a drag is not a click"
    rest()
    before = session.view
    context.mouse_wheel_y(1)
    context.yield_(2)
    assert session.view is not before
    rest()
    before = session.view
    context.mouse_move_to_pos(imgui.ImVec2(330, 330))
    context.mouse_double_click(0)
    context.yield_(2)
    assert session.view is not before
    context.key_press(key.escape)
    rest()

    # Keys: modes, photos, wipe, help.
    for name in session.source.modes[1:3]:
        context.key_press(key.v)
        context.yield_(2)
        assert session.mode == name
    context.key_press(key.right_bracket)
    context.yield_(2)
    assert session.photo == "view_00.png"
    context.key_press(key.b)
    rest()
    assert session.wipe
    assert session.mode == "colour"
    wait(lambda: session.photos.fault is not None)  # this run's scene is nowhere
    context.key_press(key.f1)
    context.yield_(2)
    assert app.commands.show_help
    context.key_press(key.escape)
    context.yield_(2)
    assert not app.commands.show_help
    context.key_press(key.escape)
    context.yield_(2)
    assert session.photo is None

    # A click lists photos; two clicks in measuring make a length.
    rest()
    middle = imgui.ImVec2(session.size[0] / 2, session.size[1] / 2)
    context.mouse_move_to_pos(middle)
    context.mouse_click(0)
    wait(lambda: app.inspector.clicked is not None)
    assert app.inspector.clicked.seen
    context.key_press(key.m)
    context.yield_(2)
    assert session.measuring
    for shift in (0, 40):
        time.sleep(0.4)  # two quick clicks are a double click
        context.mouse_move_to_pos(imgui.ImVec2(middle.x + shift, middle.y))
        context.mouse_click(0)
        wait(lambda: not app.inspector.asking)
    context.key_press(key.enter)
    context.yield_(2)
    (chain,) = session.measurements.all
    assert chain.length > 0
    assert 0 < chain.error < chain.length

    # Fly, undo, home.
    before = session.view
    context.key_hold(key.d, 0.2)
    assert session.view is not before
    rest()
    context.key_press(key.home)
    context.yield_(2)
    assert session.view is session.home

    # The tour, and what is written: a screenshot in a mode, the lengths, the photos wanted.
    context.key_press(key.n)
    wait(lambda: session.tour.at == 0)
    session.mode = "depth"
    files = [folder.parent / name for name in ("depth.png", "lengths.csv", "wanted.json")]
    app.commands.screenshot((120, 90), files[0])
    wait(lambda: app.commands.shot.done)
    app.commands.save_csv(files[1])
    app.commands.run("advice")
    wait(lambda: "photos are missing at" in session.status)
    assert session.wanted, session.status
    session.say("")
    app.commands.run("advice_in_view")
    wait(lambda: "in this view" in session.status)

    # The clipping plane, along the view and an axis.
    context.key_press(key.t)
    context.yield_(2)
    assert session.cut.direction == "view"
    rest()
    app.commands.cut_along("x")
    context.yield_(2)
    rest()
    assert session.picture.request.cut == session.plane()
    context.key_press(key.t)
    context.yield_(2)
    assert session.cut is None
    app.commands.save_advice(files[2])
    assert all(file.stat().st_size > 50 for file in files), session.status
    session.mode = "colour"

    # A camera path: two keys, played, saved, loaded and rendered from its tab.
    context.key_press(key.y)
    context.yield_(2)
    context.key_hold(key.d, 0.2)
    context.key_press(key.y)
    context.yield_(2)
    track = session.track
    assert len(track.keys) == 2
    context.key_press(key.space)
    context.yield_(3)
    assert track.playing
    assert session.held is not None
    context.key_press(key.space)
    context.yield_(2)
    assert not track.playing
    track.set_duration(0.1)
    track.size = (48, 32)
    app.commands.paths.path = str(folder.parent / "way.json")
    context.item_click("**/Path")
    context.yield_(2)
    context.item_click("**/Save")
    context.yield_(2)
    track.clear()
    context.item_click("**/Load")
    wait(lambda: "2 keys" in session.status)
    context.item_click("**/Render")
    wait(lambda: app.commands.paths.rendering.done, 120)
    assert (folder.parent / "way/video.mp4").is_file(), session.status

    # All tabs, the smallest window, and back.
    for tab in ("Photos", "Inspect", "Measure", "Tour", "View"):
        context.item_click(f"**/{tab}")
        context.yield_(2)
    for edge in ((1, 1), (0, 0), (1000, 700)):
        size[:] = edge
        context.yield_(3)
    rest()
    assert app.faults == 0, session.status


if __name__ == "__main__":
    main(Path(sys.argv[1]))
