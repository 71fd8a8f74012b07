"""Cameras survive a trip through nerfstudio's JSON; bad ones are named and do not stop others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, InputError, UnsafePathError
from xscale.geometry.camera import Camera
from xscale.render.camera_files import read_cameras
from xscale.render.camera_path import CameraPath, NamedCamera, parse_camera_path, write_camera_path

R, T = builders.look_at((1, -4, 2), (0, 0, 0.3))


def _same(a: Camera, b: Camera) -> None:
    assert (a.model, a.width, a.height, a.near) == (b.model, b.width, b.height, b.near)
    np.testing.assert_allclose(a.K, b.K, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(a.R, b.R, atol=1e-14)
    np.testing.assert_allclose(a.t, b.t, atol=1e-12)


def _document(**camera):
    matrix = np.eye(4)
    matrix[:3, :3] = R.T @ np.diag([1, -1, -1])
    matrix[:3, 3] = -R.T @ T
    entry = {"camera_to_world": matrix.reshape(-1).tolist(), "fov": 50, "aspect": 1.5} | camera
    return {"render_height": 200, "render_width": 300, "fps": 30, "camera_path": [entry]}


def test_path_of_others_means_what_nerfstudio_means():
    path = parse_camera_path(_document(), "path.json")
    camera = path.cameras[0].camera
    assert path.fps == 30
    np.testing.assert_allclose(camera.position, (1, -4, 2))
    # The camera looks along -z of camera_to_world, and fov spans the height.
    edge = camera.rays(np.array([[150.0, 0.0], [150.0, 200.0]]))
    assert math.degrees(math.acos(edge[0] @ edge[1])) == pytest.approx(50)
    np.testing.assert_allclose(camera.R, R, atol=1e-12)


def test_cameras_round_trip(tmp_path, asymmetric):
    odd = Camera("PINHOLE", 112, 64, [[95, 2, 49], [0, 88, 36.5], [0, 0, 1]], R, T, near=0.01)
    plain = replace(odd, K=[[90, 0, 56], [0, 90, 32], [0, 0, 1]], near=0)
    large = replace(plain, width=640, height=480)
    cameras = (
        NamedCamera("00000", plain), NamedCamera("odd", odd), NamedCamera("00002", large),
        *(NamedCamera(n[:-4], c) for n, c in asymmetric.cameras.items()),
    )  # fmt: skip
    write_camera_path(tmp_path / "a.json", CameraPath(cameras, 25.0))
    again = read_cameras(tmp_path / "a.json")
    assert again.fps == 25
    assert [c.name for c in again.cameras] == [c.name for c in cameras]
    for a, b in zip(again.cameras, cameras, strict=True):
        _same(a.camera, b.camera)
    write_camera_path(tmp_path / "b.json", again)
    third = read_cameras(tmp_path / "b.json")
    for a, b in zip(again.cameras, third.cameras, strict=True):
        _same(a.camera, b.camera)


def test_colmap_model_and_cam_files_are_cameras(tmp_path, asymmetric, asymmetric_folder):
    read = read_cameras(asymmetric_folder).cameras
    assert [c.name for c in read] == [n[:-4] for n in sorted(asymmetric.cameras)]
    for named in read:
        _same(named.camera, asymmetric.cameras[f"{named.name}.png"])
    camera = asymmetric.cameras["view_02.png"]
    matrix = "\n".join(" ".join(map(repr, row.tolist())) for row in camera.camera_from_world)
    K = "\n".join(" ".join(map(repr, row.tolist())) for row in camera.K)
    (tmp_path / "one_cam.txt").write_text(f"extrinsic\n{matrix}\n\nintrinsic\n{K}\n")
    _same(read_cameras(tmp_path, (112, 64)).cameras[0].camera, camera)
    with pytest.raises(CameraError, match="--size"):
        read_cameras(tmp_path)


@pytest.mark.parametrize(
    ("camera", "fault"),
    [
        ({"fov": float("nan")}, "fov is nan"),
        ({"fov": 180}, "between 0 and 180"),
        ({"camera_to_world": [float("nan")] * 16}, "NaN"),
        ({"camera_to_world": [[1, 0, 0, 0], 5, 6, 7]}, "camera_to_world must be"),
        ({"camera_to_world": [0.0] * 16}, "rotation"),
        ({"camera_to_world": [1, 2, 3]}, "must be 16 numbers"),
        ({"xscale": {"K": [0.0] * 9}}, "focal lengths"),
        ({"xscale": {"near": -1}}, "near"),
    ],
)
def test_a_bad_camera_is_named_and_the_others_stay(camera, fault):
    document = _document(**camera)
    document["camera_path"].append(_document()["camera_path"][0])
    bad, good = parse_camera_path(document, "path.json").cameras
    assert bad.camera is None
    assert "camera_path[0]" in bad.fault
    assert fault in bad.fault
    assert good.camera is not None


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda d: d["camera_path"][0].update(fovy=3), CameraError, "'fovy'"),
        (lambda d: d.update(camera_pth=[]), CameraError, "'camera_pth'"),
        (lambda d: d.update(render_width=0), CameraError, "render_width is 0"),
        (lambda d: d.update(render_height=1 << 30), CameraError, "render_height"),
        (lambda d: d.update(camera_type="omnidirectional"), CameraError, "not supported"),
        (lambda d: d.update(camera_path=[]), InputError, "empty"),
        (lambda d: d.update(fps=0), CameraError, "fps"),
        (lambda d: d["camera_path"][0].update(xscale={"name": "../x"}), UnsafePathError, "leaves"),
        (lambda d: d["camera_path"].append(d["camera_path"][0] | {"xscale": {"name": "00000"}}),
         CameraError, "twice"),
    ],
)  # fmt: skip
def test_a_bad_document_is_refused_and_named(change, error, text):
    document = _document()
    change(document)
    with pytest.raises(error, match=text):
        parse_camera_path(document, "path.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000])
def test_what_is_no_path_is_refused(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError):
        read_cameras(tmp_path / "p.json")
    with pytest.raises(InputError):
        read_cameras(tmp_path)
