"""The benchmark's page in Chromium: the wipe follows the mouse, tables sort, nothing overflows."""

import pytest

from tests.chromium import chromium
from tests.giganvs.test_page_pictures import methods_of
from xscale.cli.main import main

WIPE = "document.querySelector('.wipe')"


@pytest.fixture(scope="module")
def page_file(prepared, tmp_path_factory):
    import numpy as np

    folder = tmp_path_factory.mktemp("page")
    files, pictures = methods_of(prepared, folder, np.random.default_rng(3))
    out = folder / "page.html"
    argv = ["giganvs", "table", *files, "--page", str(out), "--scene", str(prepared.path)]
    assert main([*argv, "--pictures", *pictures]) == 0
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.mark.parametrize("width", [1400, 420])
def test_the_wipe_follows_the_mouse_and_shows_what_is_chosen(page_file, browser, width):
    browser.open(page_file, width, 900)
    box = browser.value(
        f"(() => {{ {WIPE}.scrollIntoView({{block: 'center'}}); "
        f"const b = {WIPE}.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }})()"
    )
    left, top, wide, high = box
    middle = top + high / 2
    place = f"parseFloat(getComputedStyle({WIPE}).getPropertyValue('--at'))"
    assert browser.value(place) == 50
    for share in (0.1, 0.9, 0.35):
        browser.drag((left + wide / 2, middle), (left + share * wide, middle))
        assert browser.value(place) == pytest.approx(100 * share, abs=1)
    over = f"{WIPE}.querySelector('.over').getBoundingClientRect().width"
    assert browser.value(over) == pytest.approx(wide, abs=1)
    chosen = browser.value(
        "(() => { const s = document.querySelectorAll('.choices select')[1]; s.value = 2; "
        f"s.dispatchEvent(new Event('change')); return [{WIPE}.querySelector('img').alt, "
        "s.selectedOptions[0].text] })()"
    )
    assert chosen[0] == chosen[1] == "<i>soft</i>"
    assert browser.errors == []


@pytest.mark.parametrize("width", [1400, 420])
def test_the_page_is_as_wide_as_the_window_and_its_charts_are_drawn(page_file, browser, width):
    browser.open(page_file, width, 900)
    assert browser.value("document.documentElement.scrollWidth") <= width
    charts = browser.value(
        "[...document.querySelectorAll('.curve svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert len(charts) >= 3
    assert all(200 < chart <= width for chart in charts)
    assert browser.value("document.querySelectorAll('polyline.line').length") >= 6
    assert browser.errors == []


def test_a_press_on_a_head_sorts_the_photos(page_file, browser):
    browser.open(page_file, 1400, 900)
    rows = "[...document.querySelector('table.sortable').tBodies[0].rows]"
    column = f"{rows}.map(r => +r.cells[3].innerText)"
    press = "document.querySelectorAll('table.sortable th button')[3].click()"
    browser.value(press)
    values = browser.value(column)
    assert values == sorted(values)
    browser.value(press)
    assert browser.value(column) == sorted(values, reverse=True)


def test_the_page_prints(page_file, browser, tmp_path):
    browser.open(page_file, 1400, 900)
    browser.printed(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
    browser.call("Emulation.setEmulatedMedia", media="print")
    shown = (
        "[...document.querySelectorAll('.choices, .wipe')].map(e => getComputedStyle(e).display)"
    )
    assert set(browser.value(shown)) == {"none"}
    browser.call("Emulation.setEmulatedMedia", media="")
