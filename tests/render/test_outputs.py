"""A new output is one row of the table; options are checked before anything is opened."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xscale.cli.main import main
from xscale.color import colour_scale
from xscale.errors import OutputExistsError, StorageError, UsageError, XscaleError
from xscale.geometry.trajectory import resized
from xscale.render.frame import Frame
from xscale.render.job import JobFrame
from xscale.render.options import RenderOptions, parse_pair, parse_size
from xscale.render.outputs import TABLE, Output, output_meanings, output_names
from xscale.render.render_job import render_job

SLOPE = Output(
    meaning="cosine between normal and viewing ray",
    miss=-2.0,
    resolve="nearest",
    dtype=np.float32,
    values=lambda hits: (hits.points.normal * hits.points.direction).sum(1).abs(),
    map=lambda frame, depths: colour_scale(frame.slope.numpy().astype(np.float64)),
    map_meaning="steep is dark",
)


def test_one_row_makes_an_output(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLE, "slope", SLOPE)
    assert output_names()[-2:] == ("slope", "slope_map")
    assert "slope (cosine" in output_meanings()
    camera = resized(tiny_run.camera("view_01.png"), 40, 30)
    frame = tiny_run.render(camera, ("slope", "normal", "coverage"), samples=2)
    seen = frame.coverage
    assert 0 < seen.sum() < seen.numel()
    assert (frame.slope[~seen] == SLOPE.miss).all()
    assert ((frame.slope[seen] >= 0) & (frame.slope[seen] <= 1.0001)).all()
    options = RenderOptions(
        views=("view_01.png",), outputs=("slope", "slope_map"), size="40x30", samples=2
    )
    made = render_job(tiny_run, options, tmp_path / "out")
    written = np.load(made.folder / "slope/view_01.npy")
    np.testing.assert_array_equal(written, frame.slope.numpy())
    assert np.asarray(Image.open(made.folder / "slope_map/view_01.png")).shape == (30, 40, 3)


def test_every_output_keeps_its_type_and_misses(tiny_run):
    camera = tiny_run.camera("view_01.png").scaled(64, 48)
    for samples in (1, 2):
        frame = tiny_run.render(camera, tuple(TABLE), samples=samples)
        missed = ~frame.coverage
        assert missed.any()
        for name, row in TABLE.items():
            values = getattr(frame, name).numpy()
            assert values.dtype == row.dtype, name
            assert values.shape[2:] == ((row.channels,) if row.channels > 1 else ()), name
            if name != "coverage":
                missing = np.asarray(row.miss, row.dtype)
                np.testing.assert_array_equal(values[missed.numpy()], missing, err_msg=name)


def test_frames_hold_nothing_that_the_table_does_not_know(tiny_run):
    frame = tiny_run.render(tiny_run.camera("view_01.png").scaled(8, 6), ("depth",))
    assert frame.values().keys() == {"coverage", "depth"}
    assert frame.position is None
    with pytest.raises(TypeError, match="slope"):
        Frame(frame.coverage, slope=frame.depth)
    with pytest.raises(AttributeError):
        _ = frame.slope


WRONG = [
    ("--outputs", "colour", "depth", "colour"),
    ("--outputs", "dept"),
    ("--samples", "17"),
    ("--size", "0x4"),
    ("--size", "4"),
    ("--size", "9" * 5000 + "x4"),
    ("--projection", "perspective", "--fov", "180"),
    ("--projection", "fisheye", "--fov", "nan"),
    ("--projection", "stereo"),
    ("--projection", "stereo", "--baseline", "inf"),
    ("--fps", "0"),
    ("--video", "mp4", "--format", "exr"),
    ("--video", "mp4", "--outputs", "depth"),
    ("--shard", "3/2"),
    ("--shard", "1-2"),
    ("--side-by-side", "--outputs", "colour", "depth"),
    ("--cameras", "path.json"),
    ("--device", "gpu"),
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_options_are_checked_before_the_run_is_looked_for(tmp_path, capsys, words):
    assert main(["render", str(tmp_path / "nowhere"), *words]) == 2
    assert "nowhere" not in capsys.readouterr().err


def test_mistakes_are_reported_without_pytorch(tmp_path):
    (tmp_path / "file").write_text("x")
    code = (
        "import sys; from xscale.cli.main import main\n"
        "assert main(['render', 'nowhere', '--fps', '0']) == 2\n"
        f"assert main(['render', 'nowhere', '--out', {str(tmp_path / 'file')!r}]) == 4\n"
        f"assert main(['render', 'nowhere', '--out', {str(tmp_path)!r}]) == 4\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "holds other files (file)" in done.stderr


def test_folders_that_hold_other_things_are_refused_until_told(tiny_run, tmp_path):
    options = RenderOptions(size="16x12", samples=1)
    (tmp_path / "thesis.pdf").write_text("x")
    with pytest.raises(OutputExistsError, match=r"thesis\.pdf"):
        render_job(tiny_run, options, tmp_path)
    with pytest.raises(StorageError, match="not a folder"):
        render_job(tiny_run, options, tmp_path / "thesis.pdf")
    made = render_job(tiny_run, options, tmp_path, overwrite=True)
    assert made.summary.rendered == 1
    assert (tmp_path / "thesis.pdf").exists()
    again = render_job(tiny_run, options, tmp_path)
    assert (again.summary.rendered, again.summary.kept) == (0, 1)


def test_python_and_the_command_line_write_the_same_files(tiny_run, tmp_path):
    options = RenderOptions(
        views=("all",), outputs=("colour", "normal_map"), projection="stereo", baseline=0.1,
        join=True, size="24x18",
    )  # fmt: skip
    planned, shown = [], []
    made = render_job(
        tiny_run.path, options, tmp_path / "python", on_plan=planned.append,
        on_frame=lambda *words: shown.append(words),
    )  # fmt: skip
    count = len(tiny_run.names("all"))
    assert len(planned) == 1
    assert [words[:2] for words in shown] == [(k + 1, count) for k in range(count)]
    assert made.summary.complete
    line = "--views all --outputs colour normal_map --projection stereo --baseline 0.1 --join"
    words = ["render", str(tiny_run.path), *line.split(), "--size", "24x18"]
    assert main([*words, "--out", str(tmp_path / "line")]) == 0
    pictures = sorted(p.relative_to(made.folder) for p in made.folder.rglob("*.png"))
    assert len(pictures) == 2 * count
    for picture in pictures:
        assert (tmp_path / "line" / picture).read_bytes() == (made.folder / picture).read_bytes()


def test_photos_that_the_run_does_not_have_are_named(tiny_run, tmp_path):
    with pytest.raises(UsageError, match=r"no photo view_99\.png"):
        render_job(tiny_run, RenderOptions(views=("view_99.png",)), tmp_path / "out")
    with pytest.raises(UsageError, match="--views"):
        replace(RenderOptions(), views=()).validate()


@pytest.mark.parametrize("text", ["", "x", "1x", "1x-2", "1.5x2", "٣x٤", "2000000x1", "1e3x2"])
def test_sizes_are_whole_numbers_within_reason(text):
    with pytest.raises(UsageError):
        parse_size(text)
    assert parse_size(" 96X54 ") == (96, 54)
    assert parse_pair("2/3", "--shard", "i/n", "/") == (2, 3)


def test_bad_cameras_among_good_ones_stay_single_failures(tiny_run, monkeypatch):
    from xscale.render import render_job as module

    def fails(camera, *_):
        raise XscaleError("has NaN")

    monkeypatch.setattr(module, "project", fails)
    planned = module.plan_job(tiny_run, RenderOptions(views=("all",), samples=1))
    assert {type(frame) for frame in planned.job.frames} == {JobFrame}
    assert {frame.fault for frame in planned.job.frames} == {"has NaN"}
