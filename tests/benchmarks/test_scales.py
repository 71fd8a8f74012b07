import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

import xscale
from benchmarks import _chart, _runs, _shimmer, curves, photos, scales
from tests.render.conftest import write_tiny_run
from xscale.io.photo.images import read_rgb
from xscale.metrics.variants import colour_fitted
from xscale.render.run import Run

SMALL = ["optim.batch=1500", "model.grid.levels=6", "model.grid.log2_table_size=12"]


@pytest.fixture
def run(asymmetric, tmp_path):
    return Run.open(write_tiny_run(asymmetric, tmp_path / "run"))


def test_frames_of_one_camera_have_no_warping_error_and_fading_lowers_it_from_afar(run):
    name = run.names("test")[0]
    still = [run.camera(name)] * 2
    assert _shimmer.warping_error(run, still) == pytest.approx(0, abs=1e-3)
    afar = _shimmer.approached(run, name, 3.0)
    faded = _shimmer.warping_error(run, afar)
    field = run.model.field
    field.settings = dataclasses.replace(field.settings, footprint_scale=0)
    assert _shimmer.warping_error(run, afar) > 1.5 * faded > 0


def test_four_samples_a_pixel_lower_the_warping_error_from_afar(run):
    afar = _shimmer.approached(run, run.names("test")[0], 3.0)
    assert _shimmer.warping_error(run, afar, 2) < 0.9 * _shimmer.warping_error(run, afar)


def test_pictures_of_several_samples_count_where_pixels_centres_hit(
    run, asymmetric_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(_runs, "compared", lambda *_: {})
    kept = {}
    for samples in (1, 2):
        out = tmp_path / f"{samples}"
        curves.scored_at(asymmetric_folder, run, 2.0, samples, out)
        name = run.names("test")[0]
        kept[samples] = [read_rgb(folder / name)[0] for folder in (out, out / "coverage")]
    assert (kept[1][0] != kept[2][0]).any()
    np.testing.assert_array_equal(kept[1][1], kept[2][1])


def test_a_zoom_shows_the_middle_of_every_frame_at_every_distance(run):
    name = run.names("test")[0]
    strips = _shimmer.zoom(run, name, (2.0, 1.0))
    assert list(strips) == ["2", "1"]
    camera = _shimmer.approached(run, name, 1.0)[2]
    whole = run.render(camera).colour.numpy()
    assert np.array_equal(strips["1"][2], whole[: _shimmer.SQUARE, : _shimmer.SQUARE])


def test_a_chart_is_valid_xml_with_a_point_a_value_and_none_where_there_is_none():
    drawn = _chart.chart("psnr", "size <", ["4", "2", "1"], {"a": [1.0, None, 3.0], "b": [2.0] * 3})
    root = ElementTree.fromstring(drawn)
    assert len(root.findall("{*}circle")) == 5
    high, low = (float(c.get("cy")) for c in root.findall("{*}circle")[:2])
    assert high > low


def test_approached_cameras_keep_their_distance_and_step_sideways(run):
    name = run.names("test")[0]
    camera = run.camera(name)
    two, three = (_shimmer.approached(run, name, factor) for factor in (2.0, 3.0))
    step = two[1].position - two[0].position
    assert np.dot(step, camera.R[2]) == pytest.approx(0, abs=1e-9)
    assert np.allclose(three[0].position - two[0].position, two[0].position - camera.position)


def test_octaves_share_out_all_pixels_and_all_of_the_error(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=3, settings=SMALL)
    found = _shimmer.octaves(scene, run, _shimmer.middle_footprint(run))
    assert sum(part["share"] for part in found.values()) == pytest.approx(1, abs=0.03)
    total, count = 0.0, 0
    for name in run.names("test"):
        frame, photo = run.render(run.camera(name)), scene.photo(name).read()
        covered = frame.coverage.numpy()
        fitted = colour_fitted(frame.colour.numpy(), photo, covered)
        total += np.square(fitted - photo / 255)[covered].sum() / 3
        count += covered.sum()
    pooled = sum(part["share"] * 10 ** (-part["psnr"] / 10) for part in found.values())
    assert pooled == pytest.approx(total / count, rel=0.1)


def test_table_has_a_row_for_each_octave_size_and_distance():
    mean = dict.fromkeys(scales.tables.METRICS, 0.5)
    one = {
        "octaves": {"-1": {"share": 0.25, "psnr": 20.0, "ssim": 0.5}},
        "sizes": {"2": mean, "1": mean},
        "sizes_chosen": {"2": {**mean, "samples": 3}},
        "warping": {"8": 1.5, "1": None},
        "warping_chosen": {"8": 0.5},
    }
    lines = scales.table({"s": dict.fromkeys(scales.PAIR, one)})
    assert "| s | -1 | 0.25 | 20.00 | 0.500 | 20.00 | 0.500 |" in lines
    assert "| s | 8 | 1.50 | 1.50 | 0.50 |" in lines
    assert "| s | 1 | - | - | - |" in lines
    assert sum(line.startswith("| s |") for line in lines) == 1 + 2 * 2 + 1 + 2
    assert sum(line.startswith("| s | 2 | samples as chosen: 3 x 3 |") for line in lines) == 1


def test_photos_table_has_a_row_for_each_way_of_making_pictures():
    run = {"mean": dict.fromkeys(photos.tables.METRICS, 0.25), "rays": 24_600_000}
    lines = photos.table({"s": dict.fromkeys(photos.WAYS, run)})
    assert len(lines) == 2 + len(photos.WAYS)
    assert lines[-1] == "| s | image-based k4 | 0.2500 | 0.2500 | 0.2500 | 0.2500 | 25 |"
