"""Rigs and frames of COLMAP 4: poses are composed, and nothing damaged is half-believed."""

import re
import struct

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, InputError
from xscale.geometry.frames import rotation_from_quaternion
from xscale.scene.layouts import colmap
from xscale.scene.layouts.views import Choice

TURN = np.array([0.9, 0.1, -0.3, 0.2]) / np.linalg.norm([0.9, 0.1, -0.3, 0.2])
SHIFT = np.array([0.2, -0.05, 0.01])


@pytest.fixture(scope="module")
def pair():
    """Two photos that one rig took at once: the second camera sits on it turned and shifted."""
    built = builders.asymmetric_scene(photos=2)
    first, second = built.cameras.values()
    R, _ = rotation_from_quaternion(TURN, "test")
    built.cameras["view_01.png"] = type(second)(
        "PINHOLE", 112, 64, second.K, R @ first.R, R @ first.t + SHIFT
    )
    return built


def rigs_bin(has_pose=1):
    pose = struct.pack("<7d", *TURN, *SHIFT) if has_pose else b""
    return struct.pack("<QIIiIiIB", 1, 5, 2, 0, 1, 0, 2, has_pose) + pose


def frames_bin(camera, rig=5, count=2, sensor=2):
    pose = (*builders.quaternion(camera.R), *camera.t)
    data = struct.pack("<iIQiIQ", 0, 1, 1, 0, sensor, 2)
    return struct.pack("<QII7dI", 1, 9, rig, *pose, count) + data


@pytest.fixture
def model(pair, tmp_path):
    folder = tmp_path / "sparse" / "0"
    builders.write_model(pair, folder)
    (tmp_path / "images").mkdir()
    (folder / "rigs.bin").write_bytes(rigs_bin())
    (folder / "frames.bin").write_bytes(frames_bin(pair.cameras["view_00.png"]))
    return folder


def _forget_poses(folder):
    """Leave the poses to the frames: zero quaternions in images.bin."""
    data = bytearray((folder / "images.bin").read_bytes())
    first = 8
    second = data.index(b"view_01.png") - 64
    for start in (first, second):
        data[start + 4 : start + 36] = bytes(32)
    (folder / "images.bin").write_bytes(data)


def test_poses_that_only_the_frames_have_are_composed(pair, model):
    before = colmap.read(model.parents[1])
    assert before.reason == "sparse/0/cameras.bin, rigs and frames and images/ found"
    _forget_poses(model)
    after = colmap.read(model.parents[1])
    for view, listed in zip(after.views, before.views, strict=True):
        np.testing.assert_allclose(view.R, pair.cameras[view.name].R, atol=1e-12)
        np.testing.assert_allclose(view.t, pair.cameras[view.name].t, atol=1e-12)
        np.testing.assert_allclose(view.R, listed.R, atol=1e-12)
    (model / "rigs.bin").unlink()
    (model / "frames.bin").unlink()
    with pytest.raises(CameraError, match="length 0"):
        colmap.read(model.parents[1])


def test_pose_that_contradicts_its_frame_stops(pair, model):
    moved = pair.moved((0.01, 0, 0)).cameras["view_00.png"]
    (model / "frames.bin").write_bytes(frames_bin(moved))
    with pytest.raises(CameraError, match=r"2 photos have another pose .* view_00.png, view_01"):
        colmap.read(model.parents[1])


@pytest.mark.parametrize(
    ("rigs", "frames", "words"),
    [
        (rigs_bin(has_pose=0), {}, "camera 2 has no pose on rig 5"),
        (rigs_bin(), {"rig": 6}, "frame 9 is of rig 6"),
        (rigs_bin(), {"sensor": 3}, "camera 3, which is not on rig 5"),
        (rigs_bin(), {"count": 2**31}, r"ends inside the 2147483648 data ids of frame 1 at byte"),
        (rigs_bin() + rigs_bin()[8:], {}, "W-COLMAP-TAIL"),
    ],
)
def test_incomplete_rigs_are_named(pair, model, rigs, frames, words):
    (model / "rigs.bin").write_bytes(rigs)
    (model / "frames.bin").write_bytes(frames_bin(pair.cameras["view_00.png"], **frames))
    if words.startswith("W-"):
        assert colmap.read(model.parents[1]).warnings[0].startswith(words)
        return
    with pytest.raises(CameraError, match=words):
        colmap.read(model.parents[1])


def test_rigs_without_frames_stop(model):
    (model / "frames.bin").unlink()
    with pytest.raises(CameraError, match=r"frames.bin is missing"):
        colmap.read(model.parents[1])


@pytest.mark.parametrize("name", ["rigs.bin", "frames.bin"])
def test_every_prefix_and_mutation_ends_in_our_error_or_the_right_poses(pair, model, rng, name):
    data = (model / name).read_bytes()
    for length in range(len(data)):
        (model / name).write_bytes(data[:length])
        with pytest.raises(InputError, match=name):
            colmap.read(model.parents[1])
    for bad in builders.mutations(rng, data, [0, 1, 0x7F, 0x80, 0xFF], 300):
        (model / name).write_bytes(bad)
        try:
            views = colmap.read(model.parents[1]).views
        except InputError:
            continue
        for view in views:
            np.testing.assert_allclose(view.R, pair.cameras[view.name].R, atol=1e-12)


@pytest.fixture(scope="module")
def reconstruction(tmp_path_factory):
    """What COLMAP 4 itself writes: one rig of three cameras at four moments."""
    pycolmap = pytest.importorskip("pycolmap")
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 3, 4
    options.num_points3D, options.camera_model_id = 40, pycolmap.CameraModelId.PINHOLE
    options.camera_params = [1280, 1280, 512, 384]
    options.sensor_from_rig_rotation_stddev = 20.0
    options.sensor_from_rig_translation_stddev = 0.1
    options.feature_type = pycolmap.FeatureExtractorType.SIFT
    made = pycolmap.synthesize_dataset(options)
    root = tmp_path_factory.mktemp("colmap4")
    for sub, write in (("bin", made.write_binary), ("txt", made.write_text)):
        folder = root / "sparse" / sub
        folder.mkdir(parents=True)
        write(str(folder))
    (root / "images").mkdir()
    return made, root


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_models_that_colmap_4_writes_are_read_with_their_rigs(reconstruction, kind):
    made, root = reconstruction
    reading = colmap.read(root, Choice(colmap_model=kind))
    assert "rigs and frames" in reading.reason
    assert len(reading.views) == 12
    truth = {image.name: image.cam_from_world() for image in made.images.values()}
    for view in reading.views:
        np.testing.assert_allclose(view.R, truth[view.name].rotation.matrix(), atol=1e-9)
        np.testing.assert_allclose(view.t, truth[view.name].translation, atol=1e-9)
    assert len(reading.points) == 40
    for name, (pixels, points, _) in reading.observe().items():
        view = next(v for v in reading.views if v.name == name)
        local = points @ view.R.T + view.t
        projected = local[:, :2] / local[:, 2:] @ view.K[:2, :2].T + view.K[:2, 2]
        np.testing.assert_allclose(projected, pixels, atol=1e-4)


def test_poses_of_colmap_4_composed_from_frames_equal_its_own(reconstruction, tmp_path):
    made, root = reconstruction
    folder = tmp_path / "sparse"
    folder.mkdir()
    (tmp_path / "images").mkdir()
    for path in (root / "sparse" / "txt").iterdir():
        text = path.read_text()
        if path.name == "images.txt":
            # Keep ids and names, leave the poses to the frames.
            text = re.sub(
                r"^(\d+) (\S+ ){7}(\d+ \S+\.\S+)$", r"\1 0 0 0 0 0 0 0 \3", text, flags=re.M
            )
            assert " 0 0 0 0 0 0 0 " in text
        (folder / path.name).write_text(text)
    truth = {image.name: image.cam_from_world() for image in made.images.values()}
    for view in colmap.read(tmp_path).views:
        np.testing.assert_allclose(view.R, truth[view.name].rotation.matrix(), atol=1e-9)
        np.testing.assert_allclose(view.t, truth[view.name].translation, atol=1e-9)
