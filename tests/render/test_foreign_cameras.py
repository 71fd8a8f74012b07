"""Cameras as other programs write them today stand where those programs put them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from tests.render.conftest import write_tiny_run
from tests.scene import test_bundler, test_metashape, test_nerfstudio, test_openmvs
from tests.scene import test_realitycapture as test_rc
from xscale.cli.main import main
from xscale.errors import CameraError, InputError
from xscale.render.camera_files import read_cameras
from xscale.render.foreign_cameras import Known

FLIP = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=4)


def _same(named, truth, atol=1e-9):
    assert [n.name for n in named] == [name[:-4] for name in truth]
    for n, camera in zip(named, truth.values(), strict=True):
        np.testing.assert_allclose(n.camera.R, camera.R, atol=atol)
        np.testing.assert_allclose(n.camera.position, camera.position, atol=atol)
        np.testing.assert_allclose(n.camera.K, camera.K, atol=1e-6)


def _pose(camera, turn=None, factor=1.0, shift=(0, 0, 0)):
    """A camera's OpenGL pose, 4 x 4, in the frame ``factor * turn @ x + shift``."""
    turn = np.eye(3) if turn is None else turn
    pose = np.eye(4)
    pose[:3, :3] = turn @ camera.R.T @ FLIP
    pose[:3, 3] = factor * turn @ camera.position + shift
    return pose


TURN = builders.look_at((1, 2, 3), (0.2, 0, 0.1))[0]


def test_every_camera_file_that_train_reads(small, tmp_path):
    writers = {
        "transforms.json": json.dumps(test_nerfstudio.transforms(small)),
        "cameras.xml": test_metashape.export(small),
    }
    for name, text in writers.items():
        (tmp_path / name).write_text(text)
        named = read_cameras(tmp_path / name).cameras
        _same(named, small.cameras)
    (tmp_path / "scene.mvs").write_bytes(test_openmvs.scene_mvs(small))
    assert len(read_cameras(tmp_path / "scene.mvs").cameras) == 4
    builders.write_model(small, tmp_path / "sparse/0", binary=False)
    _same(read_cameras(tmp_path).cameras, small.cameras)
    centred = builders.asymmetric_scene(photos=4)
    K = np.array([[90.0, 0, 56], [0, 90, 32], [0, 0, 1]])
    centred.cameras = {
        n: replace(c, model="SIMPLE_PINHOLE", K=K) for n, c in centred.cameras.items()
    }
    (tmp_path / "table.csv").write_text(test_rc.table(centred))
    (tmp_path / "bundle.out").write_text(test_bundler.bundle(centred))
    (tmp_path / "list.txt").write_text("".join(f"{n}\n" for n in centred.cameras))
    for name in ("table.csv", "bundle.out"):
        # Neither says a size: the option does, or the run.
        with pytest.raises(CameraError, match="--size"):
            read_cameras(tmp_path / name)
        _same(read_cameras(tmp_path / name, (112, 64)).cameras, centred.cameras)
        known = Known(centred.cameras)
        _same(read_cameras(tmp_path / name, None, known).cameras, centred.cameras)


def _viewer_path(**changes):
    entry = {
        "camera_to_world": np.eye(4).reshape(-1).tolist(), "fov": 75.0, "aspect": 1.7777,
        "render_time": 0.0,
    }  # fmt: skip
    key = {"matrix": "[1.0]", "fov": 75.0, "aspect": 1.7, "override_time_enabled": False}
    return {
        "default_fov": 75.0, "default_time": 0.0, "default_transition_sec": 2.0, "keyframes": [key],
        "camera_type": "perspective", "render_height": 1080.0, "render_width": 1920.0, "fps": 24.0,
        "seconds": 1.0, "is_cycle": False, "smoothness_value": 0.5, "camera_path": [entry],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({}, None),
        ({"camera_type": "Perspective"}, None),
        ({"camera_type": "EQUIRECTANGULAR"}, None),
        ({"fps": 24}, None),
        ({"crop": {"crop_center": [0, 0, 0], "crop_scale": [1, 1, 1]}}, "W-CAMERAS-CROP"),
        ({"new_thing_of_next_year": 1}, "W-CAMERAS-FIELDS"),
    ],
)
def test_path_of_todays_viewer_opens(tmp_path, changes, warning):
    (tmp_path / "path.json").write_text(json.dumps(_viewer_path(**changes)))
    path = read_cameras(tmp_path / "path.json")
    assert (path.cameras[0].camera.width, path.cameras[0].camera.height) == (1920, 1080)
    codes = [line.split(":")[0] for line in path.warnings]
    assert codes == ([] if warning is None else [warning])


@pytest.mark.parametrize("width", [1920.5, 0.0, "1920", None])
def test_size_that_is_not_whole_is_refused(tmp_path, width):
    (tmp_path / "path.json").write_text(json.dumps(_viewer_path(render_width=width)))
    with pytest.raises(CameraError, match="render_width"):
        read_cameras(tmp_path / "path.json")


def test_exported_cameras_of_nerfstudio_come_into_the_runs_frame(small, tmp_path):
    document = [
        {"file_path": f"/data/x/images/{name}",
         "transform": _pose(c, TURN, 0.3, (0.1, 0.2, -0.4))[:3].tolist()}
        for name, c in small.cameras.items()
    ]  # fmt: skip
    (tmp_path / "transforms_train.json").write_text(json.dumps(document))
    path = read_cameras(tmp_path / "transforms_train.json", None, Known(small.cameras))
    for named, camera in zip(path.cameras, small.cameras.values(), strict=True):
        np.testing.assert_allclose(named.camera.R, camera.R, atol=1e-9)
        np.testing.assert_allclose(named.camera.position, camera.position, atol=1e-9)
        np.testing.assert_allclose(named.camera.K, camera.K)
    assert "4 photos" in path.warnings[0]
    with pytest.raises(CameraError, match="intrinsics"):
        read_cameras(tmp_path / "transforms_train.json")


def test_path_in_nerfstudios_frame_is_undone_by_the_file_beside_it(small, tmp_path):
    camera = small.cameras["view_00.png"]
    pose = _pose(camera, TURN, 0.3, 0.3 * np.array([0.1, 0.2, -0.4]))
    document = _viewer_path()
    document["camera_path"][0]["camera_to_world"] = pose.reshape(-1).tolist()
    key = {"matrix": pose.reshape(-1).tolist(), "fov": 40.0, "aspect": 1.5,
           "override_transition_enabled": False, "override_transition_sec": None}  # fmt: skip
    document |= {"keyframes": [key, key], "default_transition_sec": 1.5}
    (tmp_path / "path.json").write_text(json.dumps(document))
    transform = np.column_stack([TURN, (0.1, 0.2, -0.4)])
    (tmp_path / "dataparser_transforms.json").write_text(
        json.dumps({"transform": transform.tolist(), "scale": 0.3})
    )
    path = read_cameras(tmp_path / "path.json")
    assert [key.seconds for key in path.keys] == [0, 1.5]
    for found in (path.cameras[0].camera, *(key.camera for key in path.keys)):
        np.testing.assert_allclose(found.position, camera.position, atol=1e-9)
        np.testing.assert_allclose(found.R, camera.R, atol=1e-9)


@pytest.mark.parametrize("box", [{}, {"scale": 0.5, "offset": [0.1, 0.2, 0.3]}])
def test_key_poses_of_instant_ngp(small, tmp_path, box):
    camera = small.cameras["view_02.png"]
    scale, offset = box.get("scale", 0.33), np.array(box.get("offset", [0.5] * 3))
    # instant-ngp: scale and offset, then the axes x, y, z become z, x, y.
    cycle = np.array([[0, 1.0, 0], [0, 0, 1], [1, 0, 0]])
    place = cycle @ (scale * camera.position + offset)
    w, x, y, z = builders.quaternion(cycle @ camera.R.T)
    key = {"R": [x, y, z, w], "T": place.tolist(), "fov": 50.0, "scale": 1.0, "slice": 0.0,
           "aperture_size": 0.0, "glow_mode": 0, "glow_y_cutoff": 0.0}  # fmt: skip
    (tmp_path / "base_cam.json").write_text(json.dumps({"path": [key], "time": 1.0, "loop": False}))
    known = Known(small.cameras, {"not_applied": box})
    path = read_cameras(tmp_path / "base_cam.json", None, known)
    found = path.cameras[0].camera
    np.testing.assert_allclose(found.position, camera.position, atol=1e-9)
    np.testing.assert_allclose(found.R, camera.R, atol=1e-9)
    assert (found.width, found.height) == (112, 64)
    assert found.fy == pytest.approx(32 / np.tan(np.radians(25)))
    assert "flythrough" in path.warnings[0]


def test_what_holds_no_cameras_says_what_is_read(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError, match="holds no known cameras"):
        read_cameras(tmp_path / "notes.txt")


def test_cameras_that_see_nothing_are_refused_with_their_probable_frame(small, tmp_path, capsys):
    far = small.moved((5000.0, -300.0, 80.0))
    run = write_tiny_run(far, tmp_path / "run")
    (tmp_path / "path.json").write_text(json.dumps(_viewer_path()))
    out = ["--out", str(tmp_path / "out")]
    assert main(["render", str(run), "--cameras", str(tmp_path / "path.json"), *out]) == 3
    error = capsys.readouterr().err
    assert "none of the 1 cameras sees the mesh" in error
    assert "dataparser_transforms.json" in error
    assert not (tmp_path / "out").exists()
    # The advice followed: the file says that the frame was moved, and the picture shows the mesh.
    move = np.eye(4)
    move[:3, 3] = (-5000.0, 300.0, -83.0)
    beside = tmp_path / "dataparser_transforms.json"
    beside.write_text(json.dumps({"transform": move.tolist(), "scale": 1.0}))
    size = ["--size", "32x18"]
    assert main(["render", str(run), "--cameras", str(tmp_path / "path.json"), *out, *size]) == 0
