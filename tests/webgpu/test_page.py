"""Exported pages in a real browser: the native picture, any way in, and words where it fails."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.webgpu.browser import WITHOUT_WEBGPU, Browser, needs_browser, opened
from tests.webgpu.conftest import HOSTILE
from xscale import Run
from xscale.cli.main import main
from xscale.errors import OutputExistsError, ResourceError, UsageError
from xscale.export import web_page
from xscale.export.page_quality import page_surface
from xscale.export.web_page import PageOptions, page_mesh, write_page
from xscale.geometry.camera import Camera
from xscale.webgpu import codec
from xscale.webgpu.painter import Painter


@pytest.fixture(scope="module")
def run(run_with_background):
    return run_with_background


@pytest.fixture(scope="module")
def server(pages):
    handler = functools.partial(QuietHandler, directory=str(pages / "folder"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}/index.html"
        found.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def picture(browser):
    """The page's picture at rest [h, w, 3], and its view."""
    browser.run("xscale.samples = 1")
    browser.wait("xscale.stage === 'exact'")
    found = browser.run(
        "xscale.pixels().then((p) => ({w: p.width, h: p.height, view: xscale.view,"
        " data: btoa(Array.from(p.data, (c) => String.fromCharCode(c)).join(''))}))"
    )
    raw = np.frombuffer(base64.b64decode(found["data"]), np.uint8)
    return raw.reshape(found["h"], found["w"], 4)[..., :3], found["view"]


def native(run, view, width, height, device):
    """The same picture by the native painter, from the page's mesh and table."""
    opened = Run.open(run)
    focal = view["f"] * min(width, height)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    R, eye = np.array(view["R"]), np.array(view["eye"])
    nears = [opened.camera(n).near for n in opened.names("all")]
    camera = Camera("PINHOLE", width, height, K, R, -R @ eye, near=min(n for n in nears if n > 0)
                    if any(n > 0 for n in nears) else 1e-3)  # fmt: skip
    grid = opened.model.field.frame_grid()
    shader = opened.model.shader.frame_shader()
    painter = Painter(
        device, page_surface(page_mesh(opened)), grid, shader, table=codec.quantised(grid, "8bit")
    )
    painted = painter.paint(camera, (0, 0, width, height), shader)
    picture = painted.colour.copy()
    v, u = np.nonzero(~painted.covered)
    direction = torch.from_numpy(camera.rays(np.stack([u, v], 1) + 0.5)).float()
    colour = opened.background.colour(torch.from_numpy(eye).float(), direction)
    picture[v, u] = (colour * 255 + 0.5).to(torch.uint8).numpy()
    assert 0.1 < painted.covered.mean() < 0.95
    return picture


@needs_browser
def test_the_picture_is_the_native_one_from_disk_and_from_a_server(
    browser, run, pages, server, device
):
    found = {}
    for name, url in (("disk", (pages / "one.html").as_uri()), ("server", server)):
        opened(browser, url)
        found[name], view = picture(browser)
    assert np.array_equal(found["disk"], found["server"])
    height, width, _ = found["disk"].shape
    assert (width, height) == (320, 240)
    expected = native(run, view, width, height, device)
    away = np.abs(found["disk"].astype(int) - expected).max(-1)
    assert (away <= 1).mean() >= 0.999
    assert expected.std() > 5


@needs_browser
def test_sides_that_are_not_surface_show_the_background(browser, run, tmp_path, monkeypatch):
    opened_run = Run.open(run)
    whole = page_mesh(opened_run)
    sided = replace(whole, hidden=np.full(len(whole.faces), 1, np.uint8))
    monkeypatch.setattr(web_page, "page_mesh", lambda _: sided)
    write_page(opened_run, tmp_path / "sides.html", PageOptions())
    opened(browser, (tmp_path / "sides.html").as_uri())
    hidden, _ = picture(browser)
    monkeypatch.setattr(web_page, "page_mesh", lambda _: replace(sided, hidden=sided.hidden * 2))
    write_page(opened_run, tmp_path / "others.html", PageOptions())
    opened(browser, (tmp_path / "others.html").as_uri())
    shown, _ = picture(browser)
    # A view shows fronts: without them it is all background, without backs it is what it was.
    pick = browser.run("xscale.pick(0.5, 0.5).then((p) => p !== null)")
    assert pick
    assert not np.array_equal(hidden, shown)
    middle = np.s_[100:140, 140:180]
    assert (np.abs(hidden[middle].astype(int) - shown[middle]).max(-1) > 1).mean() > 0.9


@needs_browser
def test_mouse_wheel_keys_and_touch_move_the_view(browser, pages):
    opened(browser, (pages / "one.html").as_uri())
    before = browser.run("xscale.view")

    def moved():
        nonlocal before
        browser.wait(
            f"JSON.stringify(xscale.view) !== {json.dumps(json.dumps(before))}".replace(
                json.dumps(json.dumps(before)), f"JSON.stringify({json.dumps(before)})"
            )
        )
        now = browser.run("xscale.view")
        assert np.allclose(np.array(now["R"]) @ np.array(now["R"]).T, np.eye(3), atol=1e-9)
        before = now

    browser.mouse("mousePressed", 160, 120)
    browser.mouse("mouseMoved", 200, 130)
    moved()
    browser.mouse("mouseReleased", 200, 130)
    browser.mouse("mouseWheel", 160, 120, button="none", deltaX=0, deltaY=-120)
    moved()
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft")
        if kind == "keyDown":
            moved()
    fingers = [{"x": 120, "y": 120, "id": 1}, {"x": 200, "y": 120, "id": 2}]
    browser.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=fingers)
    fingers[1]["x"] = 240
    browser.send("Input.dispatchTouchEvent", type="touchMove", touchPoints=fingers)
    moved()
    browser.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


@needs_browser
def test_photos_measure_and_help_work_and_names_never_become_markup(browser, run, pages):
    opened(browser, (pages / "one.html").as_uri())
    assert browser.run("window.hacked") is None
    assert browser.run("document.querySelector('h1').textContent") == HOSTILE
    assert browser.run("document.querySelectorAll('h1 *, #credit *').length") == 0
    names = Run.open(run).names("all")
    options = browser.run(
        "[...document.querySelectorAll('#photos option')].map((o) => o.textContent)"
    )
    assert options[1:] == names
    browser.run("document.getElementById('after').click()")
    browser.wait(
        "Math.hypot(...xscale.view.eye.map((x, i) => x - xscale.meta.views[0].eye[i])) < 1e-9"
    )
    browser.run("document.getElementById('measure').click()")
    browser.wait("xscale.stage !== 'moving'")
    for x in (140, 180):
        browser.mouse("mousePressed", x, 120)
        browser.mouse("mouseReleased", x, 120)
        browser.run("new Promise((done) => setTimeout(done, 300))")
    browser.wait("/\\u00b1.* m /.test(document.getElementById('message').textContent)")
    length = float(browser.words().split()[0])
    ends = browser.run(
        "Promise.all([140, 180].map((x) => xscale.pick((x + 0) / 320, 120 / 240)))"
        ".then((p) => p.map((found) => found.point))"
    )
    assert length == pytest.approx(np.linalg.norm(np.subtract(*ends)), rel=0.1)
    browser.run("document.getElementById('help-open').click()")
    assert browser.run("!document.getElementById('help').hidden")


@needs_browser
def test_a_lost_chip_is_asked_again_and_no_size_is_no_picture(browser, pages):
    opened(browser, (pages / "one.html").as_uri())
    browser.run("document.getElementById('view').style.height = '0px'")
    browser.run("xscale.view = xscale.view")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    browser.run("document.getElementById('view').style.height = ''")
    browser.run("xscale.view = xscale.view")
    browser.wait("xscale.stage === 'exact'")
    assert browser.run("document.body.dataset.state") == "running"
    before, _ = picture(browser)
    browser.crash_gpu()
    browser.wait("xscale.stage !== 'exact'")
    browser.wait("xscale.stage === 'exact'")
    assert browser.words() == ""
    after, _ = picture(browser)
    assert np.array_equal(before, after)


@needs_browser
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_damaged_file_says_so_over_the_still_picture(browser, pages, tmp_path, damage):
    text = (pages / "one.html").read_text("utf-8")
    begin = text.index('id="part-level-3">') + len('id="part-level-3">')
    end = text.index("</script>", begin)
    if damage == "cut":
        text = text[: (begin + end) // 2]
    elif damage == "changed":
        middle = (begin + end) // 2
        text = text[:middle] + "aaaaaaaaaaaaaaaa" + text[middle + 16 :]
    else:
        text = text.replace('id="part-level-3"', 'id="part-other"')
    page = tmp_path / "damaged.html"
    page.write_text(text, "utf-8")
    browser.open(page.as_uri())
    browser.wait("document.body && document.body.dataset.state === 'failed'")
    assert "damaged or did not arrive whole" in browser.words()
    assert browser.run("getComputedStyle(document.getElementById('poster')).display") != "none"


@needs_browser
def test_a_browser_without_webgpu_shows_the_poster_and_words(pages):
    old = Browser(WITHOUT_WEBGPU)
    try:
        old.open((pages / "one.html").as_uri())
        old.wait("document.body && document.body.dataset.state === 'failed'")
        assert "WebGPU" in old.words()
        assert old.run("document.getElementById('poster').naturalWidth") > 100
    finally:
        old.close()


@pytest.mark.parametrize("kind", codec.TABLE_KINDS)
def test_every_table_keeps_the_picture(run, tmp_path, kind):
    page = write_page(Run.open(run), tmp_path / "page.html", PageOptions(table=kind))
    assert page.quality.psnr > {"8bit": 48, "6bit": 35, "f16": 70}[kind]
    assert page.size == (tmp_path / "page.html").stat().st_size


def test_text_holds_bytes():
    rng = np.random.default_rng(1)
    for length in (0, 1, 6, 7, 8, 1000):
        data = rng.integers(0, 256, length, np.uint8).tobytes()
        text = codec.as_text(data)
        assert not set(text) & set("\0\r<")
        assert len(text) == -(-length * 8 // 7)
    assert len(codec.as_text(bytes(7000)).encode()) == 16000  # NUL takes two bytes


def test_a_packed_mesh_is_the_mesh_to_a_sixteenth_of_a_cell(rng):
    vertices = rng.normal(size=(50, 3)).astype(np.float32)
    faces = rng.integers(0, 50, (80, 3)).astype(np.int32)
    order = rng.permutation(80).astype(np.int32)
    mesh = codec.packed_mesh(vertices, faces, order, 20_000)
    assert np.abs(mesh.vertices[mesh.faces] - vertices[faces[order]]).max() <= mesh.step
    extent = float(np.ptp(vertices, axis=0).max())
    assert mesh.step <= extent / 20_000 / 15
    assert len(mesh.data) == 12 * len(mesh.vertices) + 4 * mesh.faces.size


def test_the_limit_chooses_the_table_or_refuses(run, tmp_path, capsys):
    opened = Run.open(run)
    large = write_page(opened, tmp_path / "a.html", PageOptions()).size / 1e6
    small = write_page(opened, tmp_path / "b.html", PageOptions(table="6bit")).size / 1e6
    assert small < large
    chosen = write_page(opened, tmp_path / "c.html", PageOptions(size_limit=(small + large) / 2))
    assert chosen.table == "6bit"
    with pytest.raises(ResourceError, match="more than --size-limit"):
        write_page(opened, tmp_path / "d.html", PageOptions(size_limit=small / 2))
    assert not (tmp_path / "d.html").exists()
    with pytest.raises(UsageError, match="must be above 0"):
        write_page(opened, tmp_path / "d.html", PageOptions(size_limit=0))
    assert main(["export", str(run), "page", "--out", str(tmp_path / "e.html"), "--unit", "m"]) == 0
    assert "dB" in capsys.readouterr().err
    assert (
        main(["export", str(run), "page", "--out", str(tmp_path / "e.html")])
        == OutputExistsError.exit_code
    )
    assert main(["export", str(run), "page", "--out", str(tmp_path / "e.ply")]) == 2
