"""Losses and failures of an exported page: which state follows which, and which words stay."""

from __future__ import annotations

import pytest

from tests.webgpu.browser import needs_browser, opened

pytestmark = needs_browser

# Devices of a page: lose(reason) tells the newest one's loss, fault(words) an error of it.
PLANTED = """
(() => {
  const devices = [], losses = new WeakMap();
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await request.apply(this, args);
    const planted = {};
    planted.lost = new Promise((done) => { planted.lose = done; });
    losses.set(device, planted);
    devices.push(device);
    if (window.onDevice) window.onDevice(devices.length);
    return device;
  };
  Object.defineProperty(GPUDevice.prototype, "lost", { get() { return losses.get(this).lost; } });
  const adapters = GPU.prototype.requestAdapter;
  GPU.prototype.requestAdapter = async function (...args) {
    if (window.withheld > 0) { window.withheld--; return null; }
    return adapters.apply(this, args);
  };
  window.devices = devices;
  window.lose = (n = devices.length) => losses.get(devices[n - 1]).lose({ reason: "unknown" });
  window.fault = (words, n = devices.length) => devices[n - 1].dispatchEvent(
    new GPUUncapturedErrorEvent("uncapturederror", { error: new GPUValidationError(words) }));
  // Delays of seconds are told here and cut short.
  window.delays = [];
  const timer = window.setTimeout;
  window.setTimeout = (f, ms, ...more) => {
    if (ms >= 500) window.delays.push(ms);
    return timer(f, Math.min(ms, 400), ...more);
  };
})();
"""
LATER = "new Promise((done) => setTimeout(done, 400))"
AT_REST = "/exact|refined/.test(xscale.stage)"


@pytest.fixture
def page(browser, pages):
    with browser.before_pages(PLANTED):
        yield (pages / "one.html").as_uri()


def state(browser):
    return browser.run("document.body.dataset.state")


def test_an_error_at_rest_is_told_at_once_and_its_words_stay(browser, page):
    opened(browser, page)
    browser.run("fault('planted fault')")
    browser.wait("document.body.dataset.state === 'failed'", timeout=10)
    assert "planted fault" in browser.words()
    for action in (
        "xscale.view = xscale.view",
        "document.getElementById('measure').click()",
        "document.getElementById('measure').click()",
        "document.getElementById('save').click()",
        "document.getElementById('after').click()",
        "dispatchEvent(new Event('resize'))",
        "lose()",
    ):
        browser.run(action)
        browser.run(LATER)
        assert (state(browser), browser.run("xscale.stage")) == ("failed", "failed"), action
        assert "planted fault" in browser.words(), action
    assert browser.run("devices.length") == 1
    assert browser.run("getComputedStyle(document.getElementById('poster')).display") != "none"


def test_a_chip_lost_again_and_again_ends_the_page(browser, page):
    opened(browser, page)
    for lost in range(1, 4):
        browser.run("lose()")
        browser.wait("xscale.stage === 'loading'")
        assert "starting again" in browser.words()
        browser.wait(f"devices.length === {lost + 1} && {AT_REST}")
        assert (state(browser), browser.words()) == ("running", "")
    assert browser.run("delays.filter((ms) => ms >= 500)") == [500, 2000, 8000]
    browser.run("lose()")
    browser.wait("document.body.dataset.state === 'failed'")
    browser.run(LATER)
    assert browser.run("xscale.stage") == "failed"
    assert "again and again" in browser.words()


def test_a_loss_while_the_parts_are_read_is_not_called_damage(browser, page):
    slow = """
    const whole = Response.prototype.arrayBuffer;
    Response.prototype.arrayBuffer = async function () {
      await new Promise((done) => setTimeout(done, 350));
      return whole.apply(this);
    };
    window.onDevice = (count) => { if (count === 1) setTimeout(() => lose(1), 100); };
    """
    with browser.before_pages(slow):
        browser.open(page)
        browser.wait(f"window.xscale && devices.length === 2 && {AT_REST}")
    assert (state(browser), browser.words()) == ("running", "")


def test_a_chip_withheld_after_a_loss_is_asked_for_again(browser, page):
    opened(browser, page)
    browser.run("window.withheld = 1; lose()")
    browser.wait(f"devices.length === 2 && {AT_REST}")
    assert browser.run("window.withheld") == 0
    assert state(browser) == "running"


def test_errors_of_a_lost_chip_do_not_end_its_successor(browser, page):
    opened(browser, page)
    # The error comes first, the loss that caused it a moment later.
    browser.run("fault('an echo'); setTimeout(lose, 50)")
    browser.wait(f"devices.length === 2 && {AT_REST}")
    browser.run("fault('another echo', 1)")
    browser.run(LATER)
    assert (state(browser), browser.words()) == ("running", "")


def test_buttons_act_once_after_a_restart(browser, page):
    opened(browser, page)
    browser.run("lose()")
    browser.wait(f"devices.length === 2 && {AT_REST}")
    themes = []
    for _ in range(2):
        browser.run("document.getElementById('theme').click()")
        themes.append(browser.run("document.documentElement.dataset.theme"))
    assert sorted(themes) == ["dark", "light"]


def test_a_tab_that_sleeps_draws_nothing_and_goes_on_when_it_wakes(browser, page):
    asleep = "Object.defineProperty(document, 'hidden', {get: () => window.asleep === true});"
    turn = "document.dispatchEvent(new Event('visibilitychange'))"
    with browser.before_pages(asleep):
        opened(browser, page)
        browser.run(f"window.asleep = true; {turn}")
        browser.run("xscale.view = {...xscale.view, eye: xscale.view.eye.map((c) => c + 0.05)}")
        before = browser.run("xscale.stage")
        for _ in range(8):  # longer than a picture takes
            browser.run(LATER)
        assert browser.run("xscale.stage") == before
        assert not browser.run(AT_REST)
        assert (state(browser), browser.words()) == ("running", "")
        browser.run(f"window.asleep = false; {turn}")
        browser.wait(AT_REST)
    assert (state(browser), browser.words()) == ("running", "")
