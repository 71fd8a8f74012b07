"""Pictures with more than 8 bits: every bit arrives, and damage is refused."""

import random

import numpy as np
import pytest

from tests.fuzz.readers import damage
from xscale.errors import InputError, PhotoError, SetupError
from xscale.io.photo.images import OutOfRange, image_info, read_pixels, read_rgb
from xscale.io.photo.resample import area_downscale, to_8bit
from xscale.scene.photo import Notes

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")
OpenEXR = pytest.importorskip("OpenEXR")


@pytest.fixture
def deep(rng):
    return rng.integers(0, 65536, (19, 23, 3), dtype=np.uint16)


def _exr(path, planes, **header):
    given = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(given, planes) as file:
        file.write(str(path))
    return path


def _planes(linear, dtype="f"):
    return {
        name: np.ascontiguousarray(linear[..., k].astype(dtype)) for k, name in enumerate("RGB")
    }


def _encoded(linear):
    light = np.clip(linear.astype(np.float64), 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def test_all_levels_of_a_16_bit_png_arrive(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(ramp))
    rgb, kept = read_pixels(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb[..., 1], ramp)
    assert kept is None
    assert image_info(tmp_path / "a.png").bits == 16


def test_colour_and_alpha_of_16_bit_png_and_tiff(tmp_path, deep):
    alpha = np.resize(np.array([0, 32639, 32896, 65535], np.uint16), deep.shape[:2])
    rgba = np.dstack([deep, alpha])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(rgba))
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("a.png", "a.tif"):
        assert image_info(tmp_path / name).has_alpha
        rgb, kept = read_pixels(tmp_path / name)
        np.testing.assert_array_equal(rgb, deep)
        np.testing.assert_array_equal(kept, alpha >= 32896)


@pytest.mark.parametrize("options", [
    {}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)},
    {"bigtiff": True}, {"byteorder": ">"}, {"planarconfig": "separate"}, {"rowsperstrip": 3},
])  # fmt: skip
def test_tiff_layouts_give_the_same_pixels(tmp_path, deep, options):
    values = np.moveaxis(deep, -1, 0) if "planarconfig" in options else deep
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", **options)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[0], deep)
    info = image_info(tmp_path / "a.tif")
    assert (info.width, info.height, info.kind, info.bits) == (23, 19, "TIFF", 16)
    assert not info.has_alpha


def test_8_bit_tiff_stays_8_bit(tmp_path, deep):
    tifffile.imwrite(tmp_path / "a.tif", (deep >> 8).astype(np.uint8), photometric="rgb")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[0], deep >> 8)


def test_float_pictures_are_linear_light(tmp_path, rng):
    linear = rng.uniform(-0.2, 1.3, (9, 11, 3)).astype(np.float32)
    expected = np.floor(_encoded(linear) * 65535 + 0.5)
    tifffile.imwrite(tmp_path / "a.tif", linear, photometric="rgb")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[0], expected)
    _exr(tmp_path / "a.exr", _planes(linear))
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.exr")[0], expected)
    half = _exr(tmp_path / "h.exr", _planes(linear, np.float16))
    expected = np.floor(_encoded(linear.astype(np.float16)) * 65535 + 0.5)
    np.testing.assert_array_equal(read_pixels(half)[0], expected)


def test_exr_pixels_that_are_no_numbers_are_left_out(tmp_path):
    linear = np.full((4, 5, 3), 0.25, np.float32)
    linear[1, 2, 0], linear[3, 4, 1] = np.nan, np.inf
    rgb, kept = read_pixels(_exr(tmp_path / "a.exr", _planes(linear)))
    assert np.argwhere(~kept).tolist() == [[1, 2], [3, 4]]
    assert (rgb[0] == rgb[0, 0]).all()


def test_exr_colour_is_divided_by_its_alpha(tmp_path):
    linear = np.full((3, 4, 3), 0.2, np.float32)
    alpha = np.array([[0.0, 0.25, 0.5, 1.0]] * 3, np.float32)
    planes = {**_planes(linear * alpha[..., None]), "A": alpha}
    rgb, kept = read_pixels(_exr(tmp_path / "a.exr", planes))
    assert kept[0].tolist() == [False, False, True, True]
    assert np.ptp(rgb[:, 1:].astype(int)) <= 1


def test_reduction_rounds_the_exact_average_of_all_bits_once(rng):
    deep = rng.integers(0, 65536, (12, 18, 3), dtype=np.uint16)
    for width, height in ((6, 4), (7, 5), (18, 12), (1, 1)):
        found = area_downscale(deep, width, height)
        sums = np.array([[_overlap(deep[..., c], x, y, width, height) for x in range(width)
                          for y in range(height)] for c in range(3)])  # fmt: skip
        expected = np.floor(sums / 257 + 0.5 + 1e-12).reshape(3, width, height).transpose(2, 1, 0)
        np.testing.assert_array_equal(found, expected)
    every = np.arange(65536, dtype=np.uint16)[None, :, None]
    np.testing.assert_array_equal(to_8bit(every)[0, :, 0], np.floor(every[0, :, 0] / 257 + 0.5))
    eight = np.arange(256, dtype=np.uint16)[None, :, None]
    np.testing.assert_array_equal(to_8bit(eight * 257), eight)


def _overlap(plane, x, y, width, height):
    def weights(k, result, source):
        edges = np.arange(source + 1)
        low, high = k * source / result, (k + 1) * source / result
        return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)

    wy, wx = weights(y, height, plane.shape[0]), weights(x, width, plane.shape[1])
    return wy @ plane.astype(float) @ wx / (wy.sum() * wx.sum())


@pytest.mark.parametrize("kind", ["png", "tif", "exr"])
def test_damage_and_prefixes_never_escape_as_other_errors(tmp_path, deep, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "png":
        path.write_bytes(imagecodecs.png_encode(deep))
    elif kind == "tif":
        tifffile.imwrite(path, deep, photometric="rgb", compression="zlib")
    else:
        _exr(path, _planes(deep / 65535.0))
    data = path.read_bytes()
    whole = read_rgb(path)[0]
    for length in range(0, len(data) - 12, 1 + len(data) // 150):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_rgb(path)
    for seed in range(150):
        path.write_bytes(damage(data, random.Random(seed)))
        try:
            found = read_rgb(path)[0]
        except InputError:
            continue
        assert found.dtype == whole.dtype


@pytest.mark.parametrize(("options", "words"), [
    ({"photometric": "cfa"}, "RAW"), ({"photometric": "separated"}, "SEPARATED"),
])  # fmt: skip
def test_tiff_of_other_pixels_is_refused_by_name(tmp_path, deep, options, words):
    values = deep[..., 0] if options["photometric"] == "cfa" else np.dstack([deep, deep[..., 0]])
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises(PhotoError, match=words):
        image_info(tmp_path / "a.tif")


def test_unfinished_exr_is_named(tmp_path, deep):
    path = _exr(tmp_path / "a.exr", _planes(deep / 65535.0))
    data = bytearray(path.read_bytes())
    start = next(k for k in range(300, len(data)) if data[k + 2 : k + 8] == bytes(6))
    data[start : start + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(PhotoError, match="unfinished"):
        image_info(path)


def test_libraries_that_are_missing_are_named(tmp_path, deep, monkeypatch):
    for name, library in (("a.png", "imagecodecs"), ("a.tif", "tifffile")):
        if name == "a.png":
            (tmp_path / name).write_bytes(imagecodecs.png_encode(deep))
        else:
            tifffile.imwrite(tmp_path / name, deep, photometric="rgb")
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, library, None)
            with pytest.raises(SetupError, match=rf"needs {library}; pip install xscale.formats"):
                read_rgb(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_associated_alpha_of_a_tiff_is_undone(tmp_path, rng, dtype):
    whole = np.issubdtype(dtype, np.integer)
    scale = np.iinfo(dtype).max if whole else 1
    straight = rng.uniform(0.05, 0.95, (9, 11, 3))
    alpha = rng.uniform(0.5, 1.0, (9, 11, 1))
    alpha[0], alpha[1] = 1.0, 0.0
    stored = np.concatenate([straight * alpha, alpha], axis=2) * scale
    stored = (np.rint(stored) if whole else stored).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    rgb, kept = read_pixels(tmp_path / "a.tif")
    assert not kept[1].any()
    assert kept[2:].all()
    expected = straight if whole else _encoded(straight)
    found = rgb / np.iinfo(rgb.dtype).max
    off = np.abs(found - expected)[alpha[..., 0] > 0].max()
    assert off <= (2.5 / scale if whole else 2e-5)


def test_odd_pixels_are_counted_and_said(tmp_path):
    linear = np.full((4, 5, 3), 0.25, np.float32)
    linear[0, 0], linear[1, 2, 0], linear[2, 2, 1], linear[3, 3, 2] = np.nan, -0.5, 7.0, np.inf
    found = []
    tifffile.imwrite(tmp_path / "a.tif", linear, photometric="rgb")
    paths = [_exr(tmp_path / "a.exr", _planes(linear)), tmp_path / "a.tif"]
    for path in paths:
        for alpha in ("mask", "ignore", "over-white"):
            kept = read_pixels(path, alpha=alpha, on_out_of_range=found.append).kept
            assert np.argwhere(~kept).tolist() == [[0, 0], [3, 3]]
    assert found == [(2, 2)] * 6
    notes = Notes({"a.exr": found[0], "b.exr": OutOfRange(0, 3)})
    nan, beyond = notes.lines()
    assert nan == "W-PHOTO-NAN: 2 pixels are not numbers; they are left out: a.exr (2)"
    assert beyond.startswith("W-PHOTO-RANGE: 5 pixels are negative or brighter than white")


@pytest.mark.parametrize("tag", ["StripOffsets", "StripByteCounts"])
@pytest.mark.parametrize("value", [0, 1 << 30])
def test_tiff_whose_strips_lie_nowhere_is_damaged(tmp_path, deep, tag, value):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, deep, photometric="rgb", rowsperstrip=64)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite([value])
    with pytest.raises(InputError, match=r"a.tif: (cannot be read|.*strip)"):
        read_pixels(path)


def test_tiff_with_a_loop_of_directories_and_tiles_of_size_0(tmp_path, deep):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, deep, photometric="rgb")
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    after = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[after : after + 4] = data[4:8]
    path.write_bytes(data)
    np.testing.assert_array_equal(read_pixels(path)[0], deep)
    tifffile.imwrite(path, deep, photometric="rgb", tile=(16, 16))
    for tag in ("TileWidth", "TileLength"):
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags[tag].overwrite(0)
        with pytest.raises(InputError):
            read_pixels(path)


@pytest.mark.parametrize("extra", [["unspecified"], ["unspecified", "unspecified"]])
def test_extra_channel_that_is_not_said_to_be_alpha_masks_nothing(tmp_path, rng, extra):
    values = rng.integers(0, 256, (6, 8, 3 + len(extra)), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=extra)
    assert not image_info(tmp_path / "a.tif").has_alpha
    rgb, kept = read_pixels(tmp_path / "a.tif")
    np.testing.assert_array_equal(rgb, values[..., :3])
    assert kept is None


def test_grey_with_a_second_channel_that_is_not_alpha_is_kept_whole(tmp_path, rng):
    values = rng.integers(0, 256, (6, 8, 2), dtype=np.uint8)
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", values, extrasamples=["unspecified"], **options)
    rgb, kept = read_pixels(tmp_path / "a.tif")
    np.testing.assert_array_equal(rgb[..., 0], values[..., 0])
    assert kept is None


@pytest.mark.parametrize("kind", [1, 3])
def test_page_that_is_a_thumbnail_is_passed_over(tmp_path, rng, kind):
    values = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values[::2, ::2], photometric="rgb", subfiletype=kind)
        file.write(values, photometric="rgb")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[0], values)


def test_first_page_that_is_an_unmarked_thumbnail_is_passed_over(tmp_path, rng):
    values = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values[::4, ::4].copy(), photometric="rgb")
        file.write(values, photometric="rgb")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[0], values)


@pytest.mark.parametrize("second", [(48, 64), (60, 80), (96, 40)])
def test_later_pages_that_are_other_pictures_are_not_taken(tmp_path, rng, second):
    values = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values, photometric="rgb")
        file.write(rng.integers(0, 256, (*second, 3), dtype=np.uint8), photometric="rgb")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[0], values)


@pytest.mark.parametrize("extra", [(0, 0), (0, 2)])
def test_several_extra_channels_are_no_mask(tmp_path, rng, extra):
    """Multispectral cameras: red, green, blue, red edge and infrared."""
    values = rng.integers(0, 256, (6, 8, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=extra)
    rgb, kept = read_pixels(tmp_path / "a.tif")
    np.testing.assert_array_equal(rgb, values[..., :3])
    assert kept is None
