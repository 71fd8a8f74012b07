import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.report.builders import HOSTILE, NAMES
from xscale.errors import InputError
from xscale.report import figures
from xscale.report.page import write_report
from xscale.report.pictures import embed

METRICS = [
    {"step": i, "time": 0.5 * i, "loss": 0.1 / (i + 1), "psnr": 10 + 0.1 * i} for i in range(200)
] + [{"step": 199, "test_psnr": 27.5}, {"step": 200, "loss": float("nan"), "time": 101.0}]


class Page(HTMLParser):
    """Elements with their attributes, and the text outside style and script."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text):
        super().__init__()
        self.elements, self.stack, self.texts, self.scripts = [], [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)
        elif not self.stack or self.stack[-1] != "style":
            self.texts.append(data)

    def all(self, tag):
        return [a for t, a in self.elements if t == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def _pictures(folder):
    renders = folder / "renders/test"
    return {"renders_dir": renders, "coverage_dir": renders / "coverage"}


@pytest.fixture
def written(scored):
    folder, photos, scores = scored
    path = write_report(
        folder / "report.html",
        scores,
        names=NAMES,
        read_photo=photos.__getitem__,
        **_pictures(folder),
        title="A <b>scene</b>",
        facts={"preset": "default & more", "commit": "abc1234"},
        metrics=METRICS,
        timings={"encode <x>": 12.0, "shade": 3.0},
        settings={"levels": 16, "note": "</pre><script>"},
        groups={n: n.split("/")[0] for n in NAMES},
    )
    assert path == folder / "report.html"
    return path.read_text("utf-8")


def test_the_page_asks_nothing_of_a_network(written):
    assert not re.search(r"https?:|//[a-z]+\.", re.sub(r"base64,[^\"]*", "", written))
    page = Page(written)
    for _, attributes in page.elements:
        assert not attributes.keys() & {"srcset", "action", "data", "background"}
        assert attributes.get("src", "data:").startswith("data:image/jpeg;base64,") or (
            "src" not in attributes
        )
        assert "href" not in attributes


def test_only_the_pages_own_script_may_run(written):
    page = Page(written)
    assert len(page.scripts) == 1
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not any(k.startswith("on") for _, attributes in page.elements for k in attributes)


def test_names_are_text_and_never_markup(written):
    page = Page(written)
    assert len(page.all("script")) == 1
    assert len(page.all("pre")) == 2
    assert HOSTILE in page.text
    assert "A <b>scene</b>" in page.text
    assert "encode <x>" in page.text
    assert any(HOSTILE in a["alt"] for a in page.all("img"))


def test_every_photo_has_render_photo_and_error(written, scored):
    photos = scored[1]
    images = Page(written).all("img")
    assert len(images) == 3 * len(NAMES)
    data = base64.b64decode(images[1]["src"].split(",")[1])
    shown = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert shown.shape == (40, 56, 3)
    assert np.abs(shown - photos[NAMES[0]]).mean() < 9


def test_scores_groups_warnings_and_times_are_on_the_page(written, scored):
    page = Page(written)
    text = page.text
    mean = scored[2]["mean"]
    assert f"{mean['psnr_covered_cc']:.2f}" in text
    assert text.index("covered pixels, colour-fitted") < text.index("whole frame as rendered")
    assert "far 1 " in text
    assert "near 2 " in text
    assert "lpips_vgg and lpips_alex not scored" in text
    assert "12 s 80%" in text
    assert len(page.all("svg")) == 3
    assert "nan" not in re.sub(r"base64,[^\"]*", "", written).lower()


def test_a_run_without_curves_or_times_still_has_a_page(scored):
    folder, photos, scores = scored
    path = write_report(
        folder / "a.html", scores, names=NAMES, read_photo=photos.__getitem__, title="scene",
        **_pictures(folder),
    )  # fmt: skip
    assert not Page(path.read_text("utf-8")).all("svg")


def test_a_photo_without_scores_is_named(scored):
    folder, photos, scores = scored
    with pytest.raises(InputError, match=r"the scores lack c\.jpg"):
        write_report(
            folder / "a.html", scores, names=["c.jpg"], read_photo=photos.__getitem__,
            title="scene", **_pictures(folder),
        )  # fmt: skip


def test_the_page_stays_small_by_narrower_pictures(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (700, 2000, 3), dtype=np.uint8) for _ in range(3)]
    wide, narrow = embed(noise, 10**9), embed(noise, 10**6)
    assert {(p.width, p.height) for p in wide} == {(1536, 538)}
    assert sum(len(p.uri) for p in narrow) <= 10**6
    assert narrow[0].width < 1000
    with Image.open(io.BytesIO(base64.b64decode(narrow[0].uri.split(",")[1]))) as image:
        assert image.size == (narrow[0].width, narrow[0].height)
        assert image.format == "JPEG"


def test_the_error_map_is_black_where_right_and_grey_where_nothing_is():
    photo = np.full((2, 3, 3), 0.5)
    render = photo.copy()
    render[0, 1] += figures.ERROR_TOP
    coverage = np.ones((2, 3), bool)
    coverage[1, 2] = False
    found = figures.error_map(render, photo, coverage)
    assert found[0, 0].max() < 25
    np.testing.assert_array_equal(found[0, 1], figures.colormap(np.array(1.0)))
    assert np.ptp(found[1, 2].astype(int)) < 20
    assert found[1, 2].min() > 100


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 5.98), (12.2, 26.1), (0, 7e5), (-3, 3e-3)])
def test_ticks_are_round_few_and_inside(low, high):
    ticks = figures.nice_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert low - 1e-9 <= min(ticks)
    assert max(ticks) <= high * (1 + 1e-9)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0])
    assert f"{steps[0]:.1e}"[:3] in ("1.0", "2.0", "2.5", "5.0")


def test_a_chart_draws_later_points_further_right_and_higher_values_higher():
    svg = figures.line_chart("x", [figures.Series("a", [0, 5, 10], [1, 3, 2], "main")])
    points = re.search(r'<polyline class="main" points="([^"]*)"', svg)[1].split()
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in points)
    assert x0 < x1 < x2
    assert y1 < y2 < y0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (59.6, "60 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_read_well(seconds, text):
    assert figures.duration(seconds) == text
