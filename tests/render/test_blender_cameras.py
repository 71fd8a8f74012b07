"""Cameras as Blender's exporters write them: glTF, two add-ons, the script of NeRF's data."""

import itertools
import json

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, InputError
from xscale.render.camera_files import read_cameras
from xscale.render.foreign_cameras import Known

FLIP = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=4)


def pose(camera, scale=1.0):
    """Blender's ``matrix_world`` of a camera, 4 x 4, below a parent of that scale."""
    found = np.eye(4)
    found[:3, :3] = scale * camera.R.T @ FLIP
    found[:3, 3] = camera.position
    return found


def same(camera, truth, atol=1e-6):
    np.testing.assert_allclose(camera.R, truth.R, atol=atol)
    np.testing.assert_allclose(camera.position, truth.position, atol=atol)


def quaternion(R):
    w, x, y, z = builders.quaternion(R)
    return [x, y, z, w]


def gltf(cameras, *, animated=False, above=None):
    """Return what Blender's exporter writes: a node a camera, or a camera with a key a frame."""
    shape = {"aspectRatio": 1.75, "yfov": 0.7, "zfar": 1000, "znear": 0.1}
    lens = {"name": "Camera", "type": "perspective", "perspective": shape}
    places = np.array([c.position for c in cameras], np.float32)
    turns = np.array([quaternion(c.R.T @ FLIP) for c in cameras], np.float32)
    for k in range(1, len(turns)):  # exporters keep neighbours on one side
        turns[k] *= np.sign(turns[k] @ turns[k - 1])
    document = {"asset": {"version": "2.0", "generator": "Khronos glTF Blender I/O v5.0"},
                "scene": 0, "cameras": [lens], "nodes": []}  # fmt: skip
    if not animated:
        for k in range(len(cameras)):
            document["nodes"].append(
                {"name": f"shot_{k}", "camera": 0, "translation": places[k].tolist(),
                 "rotation": turns[k].tolist()}
            )  # fmt: skip
        data = b""
    else:
        times = (np.arange(len(cameras), dtype=np.float32) + 1) / 30
        data = times.tobytes() + places.tobytes() + turns.tobytes()
        document["nodes"] = [{"name": "shot", "camera": 0}]
        ends = np.cumsum([0, times.nbytes, places.nbytes, turns.nbytes])
        kinds = ("SCALAR", "VEC3", "VEC4")
        document["bufferViews"] = [
            {"buffer": 0, "byteOffset": int(a), "byteLength": int(b - a)}
            for a, b in itertools.pairwise(ends)
        ]
        document["accessors"] = [
            {"bufferView": k, "componentType": 5126, "count": len(cameras), "type": kind}
            for k, kind in enumerate(kinds)
        ]
        document["animations"] = [
            {
                "samplers": [{"input": 0, "output": 1}, {"input": 0, "output": 2}],
                "channels": [
                    {"sampler": 0, "target": {"node": 0, "path": "translation"}},
                    {"sampler": 1, "target": {"node": 0, "path": "rotation"}},
                ],
            }
        ]
        document["buffers"] = [{"byteLength": len(data)}]
    roots = list(range(len(document["nodes"])))
    if above is not None:
        document["nodes"].append({"name": "rig", "children": roots, **above})
        roots = [len(document["nodes"]) - 1]
    document["scenes"] = [{"nodes": roots}]
    return document, data


def glb(document, data):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    parts = len(text).to_bytes(4, "little") + b"JSON" + text
    if data:
        parts += len(data).to_bytes(4, "little") + b"BIN\0" + data
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(parts)).to_bytes(4, "little") + parts


def test_cameras_of_a_glb_stand_where_their_nodes_do(small, tmp_path):
    cameras = list(small.cameras.values())
    (tmp_path / "shots.glb").write_bytes(glb(*gltf(cameras)))
    path = read_cameras(tmp_path / "shots.glb", (700, 400))
    assert [named.name for named in path.cameras] == [f"shot_{k}" for k in range(4)]
    for named, truth in zip(path.cameras, cameras, strict=True):
        same(named.camera, truth)
        assert (named.camera.width, named.camera.height) == (700, 400)
        assert named.camera.fy == pytest.approx(200 / np.tan(0.35))


def test_an_animated_camera_of_a_glb_is_a_path_with_its_rate(small, tmp_path):
    cameras = list(small.cameras.values())
    above = {"translation": [1, 2, 3], "scale": [2, 2, 2]}
    (tmp_path / "shot.glb").write_bytes(glb(*gltf(cameras, animated=True, above=above)))
    path = read_cameras(tmp_path / "shot.glb", None, Known(small.cameras))
    assert path.fps == pytest.approx(30, rel=1e-5)
    assert [named.name for named in path.cameras] == [f"shot_{k:05d}" for k in range(4)]
    for named, truth in zip(path.cameras, cameras, strict=True):
        np.testing.assert_allclose(named.camera.R, truth.R, atol=1e-6)
        np.testing.assert_allclose(named.camera.position, 2 * truth.position + (1, 2, 3), atol=1e-5)
        assert (named.camera.width, named.camera.height) == (112, 64)


def test_gltf_as_text_is_the_same(small, tmp_path):
    document, _ = gltf(list(small.cameras.values()))
    (tmp_path / "shots.gltf").write_text(json.dumps(document))
    (tmp_path / "shots.glb").write_bytes(glb(document, b""))
    a, b = (read_cameras(tmp_path / f"shots.{end}", (70, 40)) for end in ("gltf", "glb"))
    assert [n.name for n in a.cameras] == [n.name for n in b.cameras]


def test_gltf_without_cameras_names_blenders_option(tmp_path):
    (tmp_path / "scene.gltf").write_text(json.dumps({"asset": {"version": "2.0"}, "nodes": [{}]}))
    with pytest.raises(InputError, match=r"holds no cameras.*Include > Cameras"):
        read_cameras(tmp_path / "scene.gltf")


def test_orthographic_cameras_of_gltf_are_refused(small, tmp_path):
    document, _ = gltf(list(small.cameras.values()))
    document["cameras"][0] = {"type": "orthographic", "orthographic": {"xmag": 1, "ymag": 1}}
    (tmp_path / "scene.gltf").write_text(json.dumps(document))
    with pytest.raises(CameraError, match="orthographic"):
        read_cameras(tmp_path / "scene.gltf", (70, 40))


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_path_of_nerfstudios_blender_add_on(small, tmp_path, scale):
    # The add-on divides by the matrix of the mesh: a mesh scaled in Blender leaves its scale there.
    poses = [pose(camera, scale) for camera in small.cameras.values()]
    entries = [{"camera_to_world": p.reshape(-1).tolist(), "fov": 40.0, "aspect": 1} for p in poses]
    keys = [
        {"matrix": str(p.T.reshape(-1).tolist()), "fov": 40.0, "aspect": 1,
         "properties": f'[["FOV",40.0],["NAME","Camera {k}"],["TIME",{k / 24}]]'}
        for k, p in enumerate(poses)
    ]  # fmt: skip
    document = {
        "keyframes": keys, "camera_type": "perspective", "render_height": 540, "render_width": 960,
        "camera_path": entries, "fps": 24, "seconds": 4 / 24, "smoothness_value": 0,
        "is_cycle": False,
    }  # fmt: skip
    (tmp_path / "camera_path_blender.json").write_text(json.dumps(document, indent=2))
    path = read_cameras(tmp_path / "camera_path_blender.json")
    assert path.warnings == ()
    for named, truth in zip(path.cameras, small.cameras.values(), strict=True):
        same(named.camera, truth, atol=1e-12)
        assert named.camera.fy == pytest.approx(270 / np.tan(np.radians(20)))


def test_transforms_of_blendernerf_need_no_photos(small, tmp_path):
    document = {
        "camera_angle_x": 1.1, "camera_angle_y": 0.7, "fl_x": 790.0, "fl_y": 790.0, "k1": 0.0,
        "k2": 0.0, "p1": 0.0, "p2": 0.0, "cx": 480.0, "cy": 270.0, "w": 960.0, "h": 540.0,
        "aabb_scale": 4,
        "frames": [
            {"file_path": f"images_test/{k:04d}.png", "transform_matrix": pose(c).tolist()}
            for k, c in enumerate(small.cameras.values())
        ],
    }  # fmt: skip
    (tmp_path / "transforms_test.json").write_text(json.dumps(document, indent=4))
    path = read_cameras(tmp_path / "transforms_test.json")
    for named, truth in zip(path.cameras, small.cameras.values(), strict=True):
        same(named.camera, truth, atol=1e-12)
        np.testing.assert_allclose(named.camera.K, [[790, 0, 480], [0, 790, 270], [0, 0, 1]])


def test_transforms_of_nerfs_blender_script_take_their_size_from_the_option(small, tmp_path):
    document = {
        "camera_angle_x": 0.6911112070083618,
        "frames": [
            {"file_path": f"./test/r_{k}", "rotation": 0.0314, "transform_matrix": pose(c).tolist()}
            for k, c in enumerate(small.cameras.values())
        ],
    }
    (tmp_path / "transforms_test.json").write_text(json.dumps(document))
    with pytest.raises(CameraError, match="--size"):
        read_cameras(tmp_path / "transforms_test.json")
    path = read_cameras(tmp_path / "transforms_test.json", (800, 800))
    assert len(path.cameras) == 4
    for named, truth in zip(path.cameras, small.cameras.values(), strict=True):
        same(named.camera, truth, atol=1e-12)
        assert named.camera.fx == pytest.approx(400 / np.tan(0.6911112070083618 / 2))
