"""OpenMVS's interface file: every version, poses on platforms, and nothing damaged believed."""

import struct

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, InputError, SceneError, UnsafePathError
from xscale.scene.layouts import openmvs
from xscale.scene.scene import Scene

TURN, _ = builders.look_at((1, 2, 3), (0.2, 0, 0.1))
PLACE = np.array([0.1, -0.2, 0.3])


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def floats(values):
    values = np.asarray(values, np.float64).reshape(-1)
    return struct.pack(f"<{len(values)}d", *values)


def scene_mvs(built, version=7, *, normalised=False, poses=None, name="images/{}", mask=""):
    """A platform with one camera that is turned and shifted on it."""
    camera = next(iter(built.cameras.values()))
    K = np.array(camera.K)
    K[:2, 2] -= 0.5  # pixels count from the first pixel's centre
    size = (0, 0) if normalised else (camera.width, camera.height)
    out = b"MVSI" + struct.pack("<II", version, 0)
    out += struct.pack("<Q", 1) + text("platform") + struct.pack("<Q", 1) + text("camera")
    out += text("RGB") if version > 3 else b""
    out += struct.pack("<II", *size) + floats(K) + floats(TURN) + floats(PLACE)
    out += struct.pack("<Q", len(built.cameras))
    for c in built.cameras.values():
        R = TURN.T @ c.R
        out += floats(R) + floats(c.position - R.T @ PLACE)
    out += struct.pack("<Q", len(built.cameras))
    for k, photo in enumerate(built.cameras):
        out += text(name.format(photo))
        out += text(mask) if version > 4 else b""
        out += struct.pack("<III", 0, 0, k if poses is None else poses[k])
        out += struct.pack("<I", k) if version > 2 else b""
        if version > 6:
            out += struct.pack("<3fQ", 1, 2, 3, 1) + struct.pack("<II4f", 1, 2, 3, 4, 5, 6)
    out += struct.pack("<Q", len(built.points))
    for point in built.points:
        out += struct.pack("<3fQIf", *point, 1, 0, 0.5)
    return out + struct.pack("<QQQQQ", 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def small():
    built = builders.asymmetric_scene(photos=3)
    built.points = built.points.astype(np.float32).astype(np.float64)
    return built


@pytest.fixture
def folder(small, tmp_path):
    builders.write_photos_and_mesh(small, tmp_path)
    return tmp_path


def _read(folder, data):
    (folder / "scene.mvs").write_bytes(data)
    return openmvs.read(folder)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7])
def test_every_version_gives_the_cameras_that_were_written(small, folder, version):
    (folder / "scene.mvs").write_bytes(scene_mvs(small, version))
    scene = Scene.open(folder)
    assert (scene.layout, scene.reason) == ("openmvs", "scene.mvs is an OpenMVS scene")
    assert scene.warnings == ()
    np.testing.assert_array_equal(scene.points, small.points)
    for photo in scene.photos:
        truth = small.cameras[photo.name]
        np.testing.assert_allclose(photo.camera.K, truth.K, rtol=1e-14)
        np.testing.assert_allclose(photo.camera.R, truth.R, atol=1e-14)
        np.testing.assert_allclose(photo.camera.t, truth.t, atol=1e-13)


def test_photos_without_pose_and_segmentations_are_counted(small, folder):
    reading = _read(folder, scene_mvs(small, poses=[0, 2**32 - 1, 2], mask="m.png"))
    assert [v.name for v in reading.views] == ["view_00.png", "view_02.png"]
    assert "1 photos have no pose and are not used: images/view_01.png" in reading.warnings[0]
    assert "segmentations of 2 photos" in reading.warnings[1]
    with pytest.raises(SceneError, match="no photo has a pose"):
        _read(folder, scene_mvs(small, poses=[2**32 - 1] * 3))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda s: b"MVS\0" + b"\1" * 50, r"has no fixed form; .*InterfaceCOLMAP -i scene.mvs -o"),
        (lambda s: scene_mvs(s, 8), "is of version 8, known are 1 to 7"),
        (lambda s: scene_mvs(s, normalised=True), "no picture size"),
        (lambda s: scene_mvs(s, poses=[0, 1, 3]), "pose 3 of platform 0 is missing"),
    ],
)
def test_what_cannot_be_read_reliably_is_refused_with_the_export(small, folder, data, words):
    with pytest.raises(CameraError, match=words):
        _read(folder, data(small))


def test_photos_outside_the_folder_are_refused(small, folder):
    with pytest.raises(UnsafePathError, match="not a file below"):
        _read(folder, scene_mvs(small, name="../{}"))


def test_every_prefix_is_refused_and_mutations_end_in_our_error(small, folder, rng):
    few = builders.Built(small.vertices, small.faces, small.cameras, small.colour, small.points[:2])
    data = scene_mvs(few)
    # Behind the points nothing is read.
    for length in range(4, len(data) - 40):
        with pytest.raises(InputError):
            _read(folder, data[:length])
    for _ in range(400):
        bad = bytearray(data)
        for place in rng.integers(4, len(bad), rng.integers(1, 3)):
            bad[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
        try:
            views = _read(folder, bad).views
        except InputError:
            continue
        for view in views:
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
            assert np.isfinite(view.t).all()
