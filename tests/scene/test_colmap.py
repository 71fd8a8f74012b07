"""COLMAP models: binary and text agree, and nothing damaged is half-believed."""

import struct
import time
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from tests.lenses import MODELS, camera_of
from xscale.errors import CameraError, InputError, SceneError
from xscale.geometry.models import BY_NAME
from xscale.scene.layouts import colmap, colmap_binary, colmap_text
from xscale.scene.layouts.colmap_model import Tables
from xscale.scene.layouts.views import Choice
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def small():
    built = builders.asymmetric_scene(photos=3)
    built.points = built.points[:5]
    return built


@pytest.fixture
def model(small, tmp_path):
    builders.write_model(small, tmp_path / "sparse" / "0")
    (tmp_path / "images").mkdir()
    return tmp_path


def _images(path, cameras):
    tables = Tables()
    colmap_binary.read_cameras(cameras, tables)
    colmap_binary.read_images(path, tables)
    return tables


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("sub", ["sparse/0", "sparse"])
def test_reader_returns_the_cameras_that_were_written(small, tmp_path, binary, sub):
    builders.write_model(small, tmp_path / sub, binary=binary)
    (tmp_path / "images").mkdir()
    extension = "bin" if binary else "txt"
    assert colmap.detect(tmp_path) == f"{sub}/cameras.{extension} and images/ found"
    reading = colmap.read(tmp_path)
    assert [v.name for v in reading.views] == list(small.cameras)
    for view, camera in zip(reading.views, small.cameras.values(), strict=True):
        np.testing.assert_array_equal(view.K, camera.K)
        np.testing.assert_allclose(view.R, camera.R, atol=1e-12)
        np.testing.assert_array_equal(view.t, camera.t)
        assert view.size == (112, 64)
    np.testing.assert_array_equal(reading.points, small.points)
    assert reading.warnings == []


@pytest.mark.parametrize("binary", [True, False])
def test_observations_are_where_the_points_project(small, tmp_path, binary):
    builders.write_model(small, tmp_path / "sparse", binary=binary)
    found = colmap.observations(colmap.models(tmp_path)[0])
    assert sum(len(pixels) for pixels, _, _ in found.values()) > 3
    for name, (pixels, points, size) in found.items():
        np.testing.assert_allclose(small.cameras[name].project(points)[0], pixels, atol=1e-9)
        assert size == (112, 64)


def test_every_prefix_of_every_binary_table_is_refused_quickly(model):
    folder = model / "sparse" / "0"
    begin = time.process_time()
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        data = (folder / name).read_bytes()
        for length in range(len(data)):
            (folder / name).write_bytes(data[:length])
            with pytest.raises(InputError, match=name):
                colmap.read(model)
        (folder / name).write_bytes(data)
    assert time.process_time() - begin < 20
    assert len(colmap.read(model).views) == 3


def test_mutated_tables_never_escape_as_other_errors(model, rng):
    folder = model / "sparse" / "0"
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        data = (folder / name).read_bytes()
        for bad in builders.mutations(rng, data, [0, 1, 0x7F, 0x80, 0xFF], 250):
            (folder / name).write_bytes(bad)
            try:
                reading = colmap.read(model)
            except InputError:
                continue
            for view in reading.views:
                assert np.isfinite(view.R).all()
                assert np.isfinite(view.t).all()
                np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(("name", "at"), [("images.bin", 84), ("points3D.bin", 51)])
@pytest.mark.parametrize("count", [2**40, 10**9, 2**63])
def test_keypoints_and_tracks_are_not_believed_beyond_the_file(model, name, at, count):
    path = model / "sparse" / "0" / name
    data = path.read_bytes()
    path.write_bytes(data[:at] + struct.pack("<Q", count) + data[at + 8 :])
    with pytest.raises(CameraError, match=rf"{name}: ends inside (keypoints|the track)"):
        colmap.read(model)


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_counts_that_are_one_off_are_refused_or_remarked(model, name, step):
    path = model / "sparse" / "0" / name
    data = path.read_bytes()
    count = struct.unpack_from("<Q", data)[0]
    path.write_bytes(struct.pack("<Q", count + step) + data[8:])
    if step > 0 or name == "cameras.bin":  # without its camera, a photo cannot be
        with pytest.raises(CameraError, match=r"ends inside|bytes are left|not in the cameras"):
            colmap.read(model)
    else:
        assert colmap.read(model).warnings[0].startswith(f"W-COLMAP-TAIL: {name}: ")


@pytest.mark.parametrize("count", [2**40, 10**9, 4, 2**63])
def test_counts_larger_than_the_file_are_refused(model, count):
    folder = model / "sparse" / "0"
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        data = (folder / name).read_bytes()
        claim = count if name != "points3D.bin" else max(count, 6)
        (folder / name).write_bytes(struct.pack("<Q", claim) + data[8:])
        with pytest.raises(CameraError, match=r"byte \d+|ends inside"):
            colmap.read(model)
        (folder / name).write_bytes(data)


def test_name_without_end_is_refused_at_once(model):
    images = model / "sparse" / "0" / "images.bin"
    images.write_bytes(images.read_bytes()[:72] + b"x" * 10_000)
    begin = time.process_time()
    with pytest.raises(CameraError, match="name of image 1 at byte 72 has no end"):
        colmap.read(model)
    assert time.process_time() - begin < 1


def test_trailing_bytes_are_remarked(model):
    images = model / "sparse" / "0" / "images.bin"
    images.write_bytes(images.read_bytes() + b"xyz")
    assert colmap.read(model).warnings == [
        "W-COLMAP-TAIL: images.bin: 3 bytes after the last record ignored"
    ]


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (12, np.float64(np.nan), "NaN"),
        (44, np.float64(np.inf), "NaN or infinite"),
        (12, np.zeros(4), "length 0"),
        (12, np.array([1.2, 0, 0, 0]), "length 1.2"),
        (68, np.uint32(77), "camera 77 is not in the cameras file"),
    ],
)
def test_impossible_pose_is_named_with_its_photo(model, offset, value, words):
    images = model / "sparse" / "0" / "images.bin"
    data = bytearray(images.read_bytes())
    data[offset : offset + value.nbytes] = value.tobytes()
    images.write_bytes(data)
    with pytest.raises(CameraError, match=rf"images.bin: image record 1 .*view_00.png.*{words}"):
        colmap.read(model)


def test_quaternion_a_little_off_is_normalised_and_remarked(model):
    images = model / "sparse" / "0" / "images.bin"
    data = bytearray(images.read_bytes())
    quaternion = np.frombuffer(bytes(data[12:44])) * 1.05
    data[12:44] = quaternion.tobytes()
    images.write_bytes(data)
    reading = colmap.read(model)
    assert reading.warnings[0].startswith("W-POSE-QUATERNION: view_00.png")
    np.testing.assert_allclose(reading.views[0].R @ reading.views[0].R.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("model_id", "words"),
    [
        (16, "EUCM is not supported.*undistort with colmap image_undistorter"),
        (99, "camera model 99 is unknown"),
        (-1, "camera model -1 is unknown"),
    ],
)
def test_models_that_cannot_be_computed_are_refused(model, model_id, words):
    cameras = model / "sparse" / "0" / "cameras.bin"
    count = 6 if model_id == 16 else 4
    record = struct.pack("<IiQQ", 1, model_id, 112, 64) + struct.pack(
        f"<{count}d", *range(9, 9 + count)
    )
    rest = cameras.read_bytes()[8 + 56 :]
    cameras.write_bytes(struct.pack("<Q", 3) + record + rest)
    with pytest.raises(CameraError, match=words):
        colmap.read(model)


@pytest.mark.parametrize("model", [m for m in MODELS if BY_NAME[m].colmap_id is not None])
@pytest.mark.parametrize("binary", [True, False])
def test_every_camera_model_is_read_from_both_tables(small, tmp_path, model, binary):
    lens = camera_of(model)
    view = next(iter(small.cameras.values()))
    camera = replace(lens, R=view.R, t=view.t)
    built = replace(small, cameras={"a.png": camera})
    builders.write_model(built, tmp_path / "sparse" / "0", binary=binary)
    (read,) = colmap.read(tmp_path).views
    assert read.model == model
    np.testing.assert_allclose(read.K, camera.K, rtol=1e-14)
    np.testing.assert_array_equal(read.distortion, camera.distortion)


def test_model_that_is_not_colmaps_is_unknown_in_its_tables(tmp_path):
    (tmp_path / "cameras.txt").write_text("7 BROWN 20 10 30 30 9 4 0 0 0 0 0 0\n")
    with pytest.raises(CameraError, match="camera model 'BROWN' is unknown"):
        colmap_text.read_cameras(tmp_path / "cameras.txt", Tables())


def test_simple_pinhole_has_one_focal_length(tmp_path):
    (tmp_path / "cameras.txt").write_text("7 SIMPLE_PINHOLE 20 10 30.5 9 4\n")
    tables = Tables()
    colmap_text.read_cameras(tmp_path / "cameras.txt", tables)
    camera = tables.cameras[7]
    K, distortion = camera.model.intrinsics(camera.params)
    assert K.tolist() == [[30.5, 0, 9], [0, 30.5, 4], [0, 0, 1]]
    assert distortion.size == 0


def test_duplicate_camera_photo_and_id_are_refused(small, tmp_path):
    cameras = list(small.cameras.values())
    data = builders.cameras_bin(cameras[:2])
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<Q", 2) + data[8:64] + data[8:64])
    with pytest.raises(CameraError, match="camera id 1 occurs twice"):
        colmap_binary.read_cameras(tmp_path / "cameras.bin", Tables())
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 20 10 30 30 9 4\n")
    pose = "1 0 0 0 0 0 0 1"
    for first, second, word in (("1", "2", "photo a.png"), ("1", "1", "image id 1")):
        names = ("a.png", "a.png") if first != second else ("a.png", "b.png")
        text = f"{first} {pose} {names[0]}\n\n{second} {pose} {names[1]}\n\n"
        (tmp_path / "images.txt").write_text(text)
        tables = Tables()
        colmap_text.read_cameras(tmp_path / "cameras.txt", tables)
        with pytest.raises(CameraError, match=f"{word} occurs twice"):
            colmap_text.read_images(tmp_path / "images.txt", tables)


def test_two_models_that_disagree_stop_and_equal_ones_are_remarked(small, model):
    builders.write_model(small, model / "sparse" / "0", binary=False)
    assert colmap.read(model).warnings[0].startswith("W-COLMAP-BOTH")
    images = model / "sparse" / "0" / "images.txt"
    text = images.read_text()
    images.write_text("".join(text.splitlines(keepends=True)[:-2]))
    with pytest.raises(SceneError, match="binary model has 3 photos, the text model 2"):
        colmap.read(model)
    number = repr(float(small.cameras["view_01.png"].t[0]))
    images.write_text(text.replace(number, repr(float(number) + 0.01)))
    with pytest.raises(SceneError, match=r"differ in the pose or camera of view_01.png"):
        colmap.read(model)
    moved = colmap.read(model, Choice(colmap_model="0/images.txt"))
    assert moved.views[1].t[0] == pytest.approx(float(number) + 0.01)
    assert colmap.read(model, Choice(colmap_model="0/images.bin")).views[1].t[0] == float(number)


def test_several_models_stop_with_a_list_and_one_can_be_chosen(small, model):
    cameras = dict(list(small.cameras.items())[:2])
    builders.write_model(replace(small, cameras=cameras), model / "sparse" / "10")
    with pytest.raises(SceneError, match=r"sparse/0 \(3 photos\), sparse/10 \(2 photos\)"):
        colmap.read(model)
    with pytest.raises(SceneError, match=r"--colmap-model 0"):
        colmap.detect(model)
    for name in ("10", "sparse/10"):
        reading = colmap.read(model, Choice(colmap_model=name))
        assert len(reading.views) == 2
        assert reading.reason == "sparse/10/cameras.bin and images/ found"
    with pytest.raises(SceneError, match="no COLMAP model 2; there are sparse/0"):
        colmap.read(model, Choice(colmap_model="2"))


def test_model_without_photos_is_refused(model):
    (model / "sparse" / "0" / "images.bin").write_bytes(struct.pack("<Q", 0))
    with pytest.raises(SceneError, match="no posed photo"):
        colmap.read(model)


@pytest.mark.parametrize("focal", ["1e-300", "1e300"])
def test_intrinsics_out_of_all_proportion_are_refused(small, tmp_path, focal):
    folder = builders.write_colmap(small, tmp_path / "s", binary=False)
    path = folder / "sparse" / "0" / "cameras.txt"
    path.write_text(path.read_text().replace(" 95.0 ", f" {focal} ", 1))
    with pytest.raises(CameraError, match=r"focal lengths 1e.300 and 88 .* are not a camera's"):
        Scene.open(folder)
