"""Formats give back what was rendered; files are streamed; samples that miss do not count."""

from __future__ import annotations

import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from xscale.color import colour_scale, linear_from_srgb
from xscale.errors import UsageError
from xscale.geometry.models import BY_NAME
from xscale.render import picture, sinks
from xscale.render.frame import Frame
from xscale.render.outputs import output_file, output_names
from xscale.render.picture import bands_of, render_band, render_rows, write_picture
from xscale.render.projections import project
from xscale.render.resolve import resolve
from xscale.render.sinks import ENDINGS, check_fits, open_sink

KINDS = [
    ("png", np.uint8, 1), ("png", np.uint8, 3), ("png", np.uint16, 1), ("png", np.uint16, 3),
    ("tiff", np.uint8, 3), ("tiff", np.uint16, 3), ("tiff", np.float32, 1), ("tiff", np.int32, 1),
    ("tiff", np.float32, 3), ("npy", np.float32, 3), ("npy", np.int32, 1),
    ("exr", np.float32, 1), ("exr", np.float32, 3),
]  # fmt: skip


def _read(path, kind):
    if kind == "npy":
        return np.load(path)
    if kind == "tiff":
        tifffile = pytest.importorskip("tifffile")
        with tifffile.TiffFile(path) as file:
            assert file.pages[0].tile == (256, 256)
            return file.asarray()
    if kind == "exr":
        channels = pytest.importorskip("OpenEXR").File(str(path)).channels()
        (values,) = channels.values()
        return values.pixels
    return _png(path.read_bytes())


def _png(data):
    """Decode by the standard's words, for Pillow has no 16-bit colour; only filters 0 and 2."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, body = 8, b""
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(name + content)
        if name == b"IHDR":
            width, height, bits, colour = struct.unpack(">IIBB", content[:10])
        body += content if name == b"IDAT" else b""
        place += 12 + length
    assert name == b"IEND"
    channels = {0: 1, 2: 3}[colour]
    step = width * channels * bits // 8
    lines = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, step + 1)
    assert set(lines[:, 0]) <= {0, 2}
    rows = np.cumsum(lines[:, 1:].astype(np.uint64), 0).astype(np.uint8)
    rows = rows.reshape(-1).view(">u2" if bits == 16 else "u1")
    return rows.reshape((height, width, channels) if channels > 1 else (height, width))


@pytest.mark.parametrize(("kind", "dtype", "channels"), KINDS)
def test_file_gives_back_its_rows(tmp_path, rng, kind, dtype, channels):
    shape = (300, 517) if channels == 1 else (300, 517, channels)
    low = -5 if np.dtype(dtype).kind in "if" else 0
    values = rng.uniform(low, 250, shape).astype(dtype)
    if kind == "exr":
        pytest.importorskip("OpenEXR")
    if kind == "tiff":
        pytest.importorskip("tifffile")
    files = []
    for step in (77, 300):
        path = tmp_path / f"{step}{ENDINGS[kind]}"
        with open_sink(path, kind, 517, 300, channels, np.dtype(dtype)) as sink:
            for top in range(0, 300, step):
                sink.write(values[top : top + step])
        np.testing.assert_array_equal(_read(path, kind), values)
        files.append(path.read_bytes())
    assert kind == "exr" or files[0] == files[1]
    if kind == "png" and dtype == np.uint8:
        np.testing.assert_array_equal(np.asarray(Image.open(path)), values)


@pytest.mark.parametrize("kind", ["png", "npy", "tiff", "jpg", "exr"])
def test_failure_in_the_middle_leaves_nothing(tmp_path, kind):
    if kind in ("tiff", "exr"):
        pytest.importorskip({"tiff": "tifffile", "exr": "OpenEXR"}[kind])
    dtype = np.dtype(np.float32 if kind in ("exr", "npy") else np.uint8)
    with (  # noqa: PT012
        pytest.raises(ZeroDivisionError),
        open_sink(tmp_path / "a", kind, 300, 600, 3, dtype) as sink,
    ):
        sink.write(np.zeros((300, 300, 3), dtype))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_large_tiffs_have_offsets_of_eight_bytes_and_read_the_same(
    tmp_path, rng, monkeypatch, dtype
):
    tifffile = pytest.importorskip("tifffile")
    values = rng.uniform(0, 60000, (300, 517, 3)).astype(dtype)
    for most, version, name in ((1 << 31, 42, "classic"), (values.nbytes - 1, 43, "big")):
        monkeypatch.setattr(sinks, "_BIG_BYTES", most)
        with open_sink(tmp_path / name, "tiff", 517, 300, 3, np.dtype(dtype)) as sink:
            for top in range(0, 300, 77):
                sink.write(values[top : top + 77])
        assert int.from_bytes((tmp_path / name).read_bytes()[2:4], "little") == version
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), values)


@pytest.mark.slow
def test_tiff_beyond_four_gigabytes_holds_its_last_row(tmp_path):
    """Pixels that do not compress, so that offsets in the file pass 2^32 too."""
    tifffile = pytest.importorskip("tifffile")
    if shutil.disk_usage(tmp_path).free < 12 << 30:
        pytest.skip("needs 12 GB of disk")
    width, height = 32768, 33280
    rows = np.random.default_rng(0).integers(0, 1 << 32, (256, width), np.uint64)
    rows = rows.astype(np.uint32).view(np.float32)
    with open_sink(tmp_path / "a", "tiff", width, height, 1, np.dtype(np.float32)) as sink:
        for _ in range(0, height, 256):
            sink.write(rows)
    assert (tmp_path / "a").stat().st_size > 1 << 32
    with tifffile.TiffFile(tmp_path / "a") as file:
        (page,) = file.pages
        assert file.is_bigtiff
        assert page.shape == (height, width)
        assert max(page.dataoffsets) > 1 << 32
        number = len(page.dataoffsets) - 1
        file.filehandle.seek(page.dataoffsets[number])
        packed = file.filehandle.read(page.databytecounts[number])
        last = page.decode(packed, number)[0]
    np.testing.assert_array_equal(
        last.reshape(256, 256).view(np.uint32), rows[:, -256:].view(np.uint32)
    )


def test_any_band_gives_the_same_bytes(tiny_run, asymmetric, tmp_path, monkeypatch):
    camera = asymmetric.cameras["view_02.png"].scaled(70, 45)
    files = [output_file(name, "png16") for name in output_names()]
    written = []
    for band in (1 << 21, 70 * 4 * 7):
        monkeypatch.setattr(picture, "_BAND_SAMPLES", band)
        paths = [tmp_path / f"{band}" / file.output for file in files]
        names = [path.relative_to(tmp_path) for path in paths]
        made = (
            render_band(tiny_run.renderer, [camera], files, (1.0, 4.0), 2, *rows)
            for rows in bands_of([camera], 2)
        )
        write_picture([camera], files, names, tmp_path, made)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]


def test_missing_samples_stay_out_of_the_mean():
    coverage = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    colour = torch.full((2, 4, 3), 255, dtype=torch.uint8)
    colour[coverage] = torch.tensor([[10, 20, 30], [20, 40, 60], [30, 60, 90]], dtype=torch.uint8)
    depth = torch.full((2, 4), float("inf"))
    depth[coverage] = torch.tensor([3.0, 2.0, 5.0])
    normal = torch.zeros(2, 4, 3)
    normal[coverage] = torch.tensor([[0, 0, 1.0], [0, 1, 0], [0, 0, 1]])
    face = torch.full((2, 4), -1, dtype=torch.int32)
    face[coverage] = torch.tensor([7, 8, 9], dtype=torch.int32)
    small = resolve(Frame(coverage, colour, depth=depth, normal=normal, face=face), 2)
    assert small.coverage.tolist() == [[True, False]]
    assert small.colour.tolist() == [[[20, 40, 60], [255, 255, 255]]]
    assert small.depth.tolist() == [[2.0, float("inf")]]
    assert small.face.tolist() == [[8, -1]]
    expected = np.array([0, 1, 2]) / np.sqrt(5)
    np.testing.assert_allclose(small.normal[0, 0].numpy(), expected, atol=1e-6)


def test_supersampled_picture_is_the_mean_of_a_larger_one(tiny_run, asymmetric):
    camera = asymmetric.cameras["view_00.png"]
    small = render_rows(tiny_run.renderer, [camera], ("srgb",), 0, camera.height, samples=3)
    wide = camera.scaled(camera.width * 3, camera.height * 3)
    large = tiny_run.render(wide, ("srgb",), smooth=False)
    blocks = large.srgb.reshape(camera.height, 3, camera.width, 3, 3).numpy()
    hit = large.coverage.reshape(camera.height, 3, camera.width, 3).numpy()
    full = hit.all((1, 3))
    expected = blocks.mean((1, 3))
    np.testing.assert_allclose(small.srgb.numpy()[full], expected[full], atol=1e-6)
    assert (small.coverage.numpy() == hit.any((1, 3))).all()


def test_cube_faces_meet_and_cover_the_sphere(asymmetric):
    camera = asymmetric.cameras["view_02.png"].scaled(112, 64)
    faces = project(camera, "cubemap")
    points = camera.position + np.random.default_rng(1).normal(size=(2000, 3))
    seen = np.zeros(len(points), int)
    for face in faces.values():
        pixel, depth = face.project(points)
        with np.errstate(invalid="ignore"):
            seen += (depth > 0) & ((pixel >= 0) & (pixel < 64)).all(1)
    assert (seen == 1).all()
    front = faces["_front"]
    np.testing.assert_allclose(front.R, camera.R)
    # What lies to the right in the front face's picture is in the right face's middle.
    right = camera.position + camera.R[0]
    np.testing.assert_allclose(faces["_right"].project(right[None])[0][0], (32, 32), atol=1e-9)
    below = camera.position + camera.R[1] + 0.1 * camera.R[2]
    assert faces["_down"].project(below[None])[0][0, 1] < 32


def test_panoramas_and_fisheyes_see_what_their_angles_say(asymmetric):
    camera = asymmetric.cameras["view_00.png"].scaled(360, 180)
    for kind, model in (("equirectangular", "EQUIRECTANGULAR"), ("fisheye", "OPENCV_FISHEYE")):
        if not BY_NAME[model].supported:
            with pytest.raises(UsageError, match=f"cannot render {model}"):
                project(camera, kind)
            continue
        wide = project(camera, kind)[""]
        # A degree a pixel, in both: 30 degrees to the right, 45 down, and (360 only) backwards.
        angles = np.radians([[0, 0], [30, 0], [0, 45], [-90, 0]])
        pixel = np.degrees(angles) + np.array([180, 90])
        x = np.sin(angles[:, 0]) * np.cos(angles[:, 1])
        z = np.cos(angles[:, 0]) * np.cos(angles[:, 1])
        expected = np.stack([x, np.sin(angles[:, 1]), z], 1) @ camera.R
        np.testing.assert_allclose(wide.rays(pixel), expected, atol=1e-9)


def test_pair_of_eyes_has_its_distance_and_disparity(asymmetric):
    camera = asymmetric.cameras["view_00.png"]
    left, right = project(camera, "stereo", baseline=0.2).values()
    np.testing.assert_allclose(right.position - left.position, 0.2 * camera.R[0], atol=1e-12)
    point = camera.position + 4 * camera.R[2]
    shift = left.project(point[None])[0] - right.project(point[None])[0]
    np.testing.assert_allclose(shift[0], (camera.fx * 0.2 / 4, 0), atol=1e-9)


def test_pictures_side_by_side_are_the_single_ones(tiny_run, asymmetric):
    eyes = list(project(asymmetric.cameras["view_00.png"], "stereo", baseline=0.2).values())
    both = render_rows(tiny_run.renderer, eyes, ("colour", "depth"), 0, 64)
    single = [tiny_run.render(eye, ("colour", "depth")) for eye in eyes]
    assert torch.equal(both.colour, torch.cat([f.colour for f in single], 1))
    assert torch.equal(both.depth, torch.cat([f.depth for f in single], 1))


def test_impossible_projections_and_sizes_are_refused(asymmetric):
    camera = asymmetric.cameras["view_00.png"]
    for words in (("stereo",), ("perspective", 180.0), ("fisheye", 400.0), ("dome",)):
        with pytest.raises(UsageError):
            project(camera, *words)
    with pytest.raises(UsageError, match="65535"):
        check_fits("jpg", 70_000, 10, 3)
    with pytest.raises(UsageError, match="streamed"):
        check_fits("exr", 32_768, 16_384, 12)
    check_fits("tiff", 32_768, 16_384, 12)


def test_colour_conversions():
    values = np.array([0, 0.04045, 0.5, 1], np.float32)
    np.testing.assert_allclose(
        linear_from_srgb(values), (0, 0.04045 / 12.92, 0.21404114, 1), rtol=1e-5
    )
    scale = colour_scale(np.array([0, 0.5, 1, np.nan])).astype(int)
    assert (np.diff(scale[:3].sum(1)) > 0).all()
    assert scale[3].tolist() == [255, 255, 255]
