"""transforms.json: every field that says something is understood, damage is named by pointer."""

import copy
import json
import math

import numpy as np
import pytest

from tests import builders
from tests.advice import advised
from xscale.errors import CameraError, InputError, MaskError, SceneError, UnsafePathError
from xscale.io.mesh.ply import encode_ply
from xscale.scene.layouts import nerfstudio
from xscale.scene.layouts.views import Choice
from xscale.scene.scene import Scene

# What nerfstudio documents for a scene processed through COLMAP: world z up by applied_transform.
APPLIED = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]]


def opengl(camera):
    pose = np.linalg.inv(camera.camera_from_world)
    return pose @ np.diag([1, -1, -1, 1])


def transforms(built, **extra):
    """The file as nerfstudio writes it: intrinsics once, poses with OpenGL axes."""
    camera = next(iter(built.cameras.values()))
    return {
        "camera_model": "OPENCV",
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),
        "frames": [
            {"file_path": f"images/{name}", "transform_matrix": opengl(camera).tolist()}
            for name, camera in built.cameras.items()
        ],
        **extra,
    }


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=3)


@pytest.fixture(scope="module")
def template(small, tmp_path_factory):
    root = tmp_path_factory.mktemp("nerfstudio")
    for name in small.cameras:
        builders.save_photo(root / "images" / name, small.photo(name))
    (root / "mesh.ply").write_bytes(encode_ply(small.vertices, small.faces))
    return root


@pytest.fixture
def write(template):
    """Write transforms.json into the shared scene and return the folder."""

    def _write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (template / "transforms.json").write_text(text)
        return template

    yield _write
    (template / "transforms.json").unlink(missing_ok=True)


def _same(views, small, atol=1e-12):
    assert [v.name for v in views] == list(small.cameras)
    for view in views:
        truth = small.cameras[view.name]
        np.testing.assert_allclose(view.R, truth.R, atol=atol)
        np.testing.assert_allclose(view.t, truth.t, atol=atol)
        np.testing.assert_allclose(view.K, truth.K, rtol=1e-12)


def test_scene_opens_with_the_cameras_that_were_written(small, write):
    scene = Scene.open(write(transforms(small)))
    assert scene.layout == "nerfstudio"
    assert scene.reason == "transforms.json with 3 frames found"
    assert scene.warnings == ()
    _same(list(map(_as_view, scene.photos)), small)


def _as_view(photo):
    from types import SimpleNamespace

    camera = photo.camera
    return SimpleNamespace(name=photo.name, R=camera.R, t=camera.t, K=camera.K)


def test_applied_transform_and_scale_are_undone_for_cameras_and_points_and_recorded(small, write):
    applied = np.vstack([np.array(APPLIED, float), [0, 0, 0, 1]])
    applied[:3, 3] = 0.3, -2, 1
    content = transforms(small, applied_transform=applied[:3].tolist(), applied_scale=2.5)
    for frame, camera in zip(content["frames"], small.cameras.values(), strict=True):
        pose = applied @ opengl(camera)
        pose[:3, 3] *= 2.5
        frame["transform_matrix"] = pose.tolist()
    root = write(content | {"ply_file_path": "points.ply", "aabb_scale": 16})
    moved = 2.5 * (small.points @ applied[:3, :3].T + applied[:3, 3])
    (root / "points.ply").write_bytes(encode_ply(moved, np.zeros((0, 3), np.int32)))
    reading = nerfstudio.read(root)
    _same(reading.views, small)
    np.testing.assert_allclose(reading.points, small.points, atol=1e-12)
    assert reading.provenance["undone"]["applied_scale"] == 2.5
    assert reading.provenance["not_applied"] == {"aabb_scale": 16}
    assert Scene.open(root).provenance == reading.provenance


def test_mesh_in_the_files_own_frame_is_refused_with_the_way_out(small, write, template):
    far = np.vstack([np.array(APPLIED, float), [0, 0, 0, 1]])
    far[:3, 3] = 0, 50, 0
    content = transforms(small, applied_transform=far[:3].tolist(), ply_file_path="points.ply")
    (template / "points.ply").unlink(missing_ok=True)  # another test's points
    with pytest.raises(SceneError, match=r"do not meet.*frame after applied_transform") as error:
        Scene.open(write(content))
    assert len(Scene.open(template, **advised(str(error.value), template)).photos) == 3
    (template / "points.ply").write_bytes(encode_ply(small.points, np.zeros((0, 3), np.int32)))
    with pytest.raises(SceneError, match=r"sparse points .*frame after applied_transform"):
        Scene.open(write(content))
    (template / "points.ply").unlink()


def test_frames_own_intrinsics_win_and_say_so(small, write):
    content = transforms(small)
    content["frames"][1] |= {"fl_x": 80.0, "fl_y": 81.0, "cx": 50.0, "w": 112, "h": 64}
    reading = nerfstudio.read(write(content))
    K = reading.views[1].K
    assert (K[0, 0], K[1, 1], K[0, 2], K[1, 2]) == (80, 81, 50, 36.5)
    assert reading.views[0].K[0, 0] == 95
    assert reading.warnings[0].startswith("W-TRANSFORMS-BOTH: 1 frames have their own cx, fl_x")
    for key in ("w", "h", "fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"):
        value = content.pop(key)
        for frame in content["frames"]:
            frame.setdefault(key, value)
    reading = nerfstudio.read(write(content))
    assert reading.views[1].K[0, 0] == 80
    assert reading.views[2].K[0, 0] == 95
    assert reading.warnings == []


def test_angle_alone_is_enough_and_sizes_come_from_the_photos(small, write):
    content = {"camera_angle_x": 0.9, "frames": transforms(small)["frames"]}
    for frame in content["frames"]:
        frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")
    view = nerfstudio.read(write(content)).views[0]
    focal = 112 / (2 * math.tan(0.45))
    np.testing.assert_allclose(view.K, [[focal, 0, 56], [0, focal, 32], [0, 0, 1]])
    assert view.size == (112, 64)
    assert (view.model, view.name) == ("PINHOLE", "view_00.png")
    content |= {"y_fov": 40.0}
    assert nerfstudio.read(write(content)).views[0].K[1, 1] == pytest.approx(
        64 / (2 * math.tan(math.radians(20)))
    )


@pytest.mark.parametrize(
    ("said", "model", "distortion"),
    [
        ({"k1": 0.1, "p2": 0.01}, "OPENCV", [0.1, 0, 0, 0.01]),
        ({"k1": 0.1, "k3": 0.02}, "FULL_OPENCV", [0.1, 0, 0, 0, 0.02, 0, 0, 0]),
        ({"camera_model": "OPENCV_FISHEYE", "k4": 0.1}, "OPENCV_FISHEYE", [0, 0, 0, 0.1]),
        ({"camera_model": None, "is_fisheye": True, "k1": 0.2}, "OPENCV_FISHEYE", [0.2, 0, 0, 0]),
        ({"camera_model": "SIMPLE_PINHOLE"}, "PINHOLE", []),
        ({"camera_model": "RADIAL", "k1": 0.1, "k2": 0.2}, "OPENCV", [0.1, 0.2, 0, 0]),
    ],
)
def test_lenses_are_mapped_to_the_same_function(small, write, monkeypatch, said, model, distortion):
    monkeypatch.setattr(nerfstudio, "supported_model", lambda known, where: known)
    view = nerfstudio.read(write(transforms(small, **said))).views[0]
    assert (view.model, view.distortion.tolist()) == (model, distortion)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"k4": 0.1}, r"OPENCV with k4 is not defined"),
        ({"camera_model": "PINHOLE", "k1": 0.1}, "PINHOLE with k1 is not defined"),
        ({"camera_model": "OPENCV_FISHEYE", "p1": 0.1}, "OPENCV_FISHEYE with p1"),
        (
            {"camera_model": "FISHEYE624"},
            r"/camera_model: camera model FISHEYE624 is not supported",
        ),
        ({"camera_model": "VR180_L"}, "VR180_L is not supported"),
        ({"rolling_shutter": [0, 0, 0.1, 0]}, "rolling shutter"),
        ({"ftheta_p0": 0.5}, "f-theta"),
        ({"latlong": True}, "latitude"),
        ({"orthographic": True}, "orthographic"),
        ({"fl_x": None, "fl_y": None}, "no focal length"),
        ({"fl_x": 0.85}, "not in pixels"),
        ({"fl_x": "95"}, r'/fl_x: "95" is not a finite number'),
        ({"fl_x": True}, "true is not a finite number"),
        ({"w": 112.5}, "/w: 112.5 is not a size"),
        ({"camera_angle_x": 4, "fl_x": None}, "angle of view along x is 4"),
        ({"applied_transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0]]}, "mirrors"),
        ({"applied_scale": 0}, "applied_scale is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(small, write, said, words):
    with pytest.raises(CameraError, match=words):
        nerfstudio.read(write(transforms(small, **said)))


@pytest.mark.parametrize("rolling", [[0, 0, 0, 0], None])
def test_fields_that_say_nothing_special_pass(small, write, rolling):
    extra = {"rolling_shutter": rolling, "latlong": False, "orientation_override": "none"}
    assert nerfstudio.read(write(transforms(small, **extra))).warnings == []


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (lambda m: m[2].__setitem__(1, None), "/2/1", "null is not a finite number"),
        (lambda m: m[2].__setitem__(1, "1"), "/2/1", '"1" is not'),
        (lambda m: m[2].__setitem__(1, 1e999), "", "Infinity is not a number"),
        (lambda m: m[3].__setitem__(3, 2), "/3", "last row"),
        (lambda m: m[1].pop(), "/1", "has 3 numbers, needs 4"),
        (lambda m: m.extend([[0]] * 12), "", "has 16 rows"),
        (lambda m: m.clear(), "", "has 0 rows"),
        (lambda m: [r.__setitem__(0, -r[0]) for r in m[:3]], "", "mirrors"),
        (lambda m: [r.__setitem__(0, 2 * r[0]) for r in m[:3]], "", "orthonormal"),
    ],
)
def test_damaged_matrix_is_named_by_its_pointer(small, write, change, where, words):
    content = copy.deepcopy(transforms(small))
    change(content["frames"][1]["transform_matrix"])
    pattern = rf"frames/1/transform_matrix{where}: .*{words}" if where else words
    with pytest.raises(InputError, match=pattern):
        nerfstudio.read(write(content))


def test_matrix_of_three_rows_is_enough(small, write):
    content = transforms(small)
    for frame in content["frames"]:
        frame["transform_matrix"].pop()
    _same(nerfstudio.read(write(content)).views, small)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../outside.png", "not a file below"),
        ("/etc/passwd", "not a file below"),
        ("images/../../x.png", "not a file below"),
        ("http://example.org/a.png", "never fetched"),
        ("file:///etc/passwd", "never fetched"),
        ("data:image/png;base64,AAAA", "never fetched"),
        ("C:\\photos\\a.png", "not a file below"),
        ("a\0b", "not a file below"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(small, write, path, words):
    for key in ("file_path", "mask_path"):
        content = transforms(small)
        content["frames"][1][key] = path
        with pytest.raises(UnsafePathError, match=rf"frames/1/{key}: .*{words}"):
            nerfstudio.read(write(content))


def test_paths_absolute_inside_or_with_backslashes_are_understood(small, write, template):
    content = transforms(small)
    content["frames"][0]["file_path"] = str((template / "images/view_00.png").resolve())
    content["frames"][1]["file_path"] = "images\\view_01.png"
    content["frames"][2]["file_path"] = "images/./view_02"
    _same(nerfstudio.read(write(content)).views, small)


def test_missing_ending_that_fits_two_photos_is_refused(small, write, template):
    content = transforms(small)
    content["frames"][2]["file_path"] = "images/view_02"
    extra = template / "images" / "view_02.jpg"
    builders.save_photo(extra, small.photo("view_02.png"))
    with pytest.raises(SceneError, match=r"view_02 could be view_02.png or view_02.jpg"):
        nerfstudio.read(write(content))
    extra.unlink()


def test_photo_with_two_poses_is_refused(small, write):
    content = transforms(small)
    content["frames"].append(content["frames"][1] | {"file_path": "./images/view_01"})
    with pytest.raises(CameraError, match=r"frames/3 .*photo view_01.png has a second pose"):
        Scene.open(write(content))


def test_files_for_parts_of_a_split_are_not_a_whole_scene(small, write, template):
    write(transforms(small)).joinpath("transforms.json").rename(template / "transforms_train.json")
    with pytest.raises(SceneError, match=r"has transforms_train.json and no .*--cameras"):
        Scene.open(template)
    assert len(Scene.open(template, cameras=template / "transforms_train.json").photos) == 3
    (template / "transforms_train.json").unlink()


def test_masks_of_the_frames_are_used_and_missing_ones_named(small, write, template):
    content = transforms(small)
    content["frames"][0]["mask_path"] = "m/first.png"
    mask = np.full((64, 112), 255, np.uint8)
    mask[:10] = 0
    builders.save_photo(template / "m" / "first.png", mask)
    scene = Scene.open(write(content))
    assert scene.photos[0].read_mask()[:, 0].tolist() == [False] * 10 + [True] * 54
    assert scene.photos[1].mask_path is None
    content["frames"][1]["mask_path"] = "m/second.png"
    with pytest.raises(MaskError, match=r"frames/1/mask_path: the mask m/second.png is missing"):
        nerfstudio.read(write(content))


def test_photos_elsewhere_are_given_by_images(small, write, tmp_path):
    for name in small.cameras:
        builders.save_photo(tmp_path / "else" / name, small.photo(name))
    root = write(transforms(small))
    cameras = (root / "transforms.json").rename(tmp_path / "renamed.txt")
    scene = Scene.open(root, cameras=cameras, images=tmp_path / "else")
    assert scene.layout == "nerfstudio"
    assert scene.options == {"cameras": str(cameras), "images": str(tmp_path / "else")}
    assert {p.path.parent for p in scene.photos} == {tmp_path / "else"}


def test_unknown_keys_and_a_split_are_remarked_once(small, write):
    content = transforms(small, train_filenames=["images/view_00.png"], colour="red")
    for frame in content["frames"]:
        frame["exposure"] = 1
    warnings = nerfstudio.read(write(content)).warnings
    assert warnings[0].endswith("keys without a meaning here: colour, exposure")
    assert "train_filenames" in warnings[1]
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"frames": [}', r"transforms.json:1:13: is not JSON"),
        ('{"w": NaN}', "NaN is not a number"),
        ('{"w": 1, "w": 2}', "key 'w' occurs twice"),
        ("[" * 100_000, "nested deeper than 64"),
        ('{"a": "' + "[" * 1000 + '"}', "has no frames"),
        ("[]", "is not a JSON object"),
        ('{"w": ' + "1" * 5000 + "}", "refused|no frames"),
        ("{}", "has no frames"),
        ('{"frames": [3]}', "/frames/0: is not an object"),
        ('{"frames": [{}]}', "/frames/0/file_path: null is not text"),
    ],
)
def test_json_that_others_let_pass_is_refused(write, text, words):
    with pytest.raises(InputError, match=words):
        nerfstudio.read(write(text))


def test_other_encodings(small, write, template):
    text = json.dumps(transforms(small))
    root = write(text)
    (root / "transforms.json").write_bytes(text.encode("utf-8-sig"))
    _same(nerfstudio.read(root).views, small)
    (root / "transforms.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(SceneError, match="is not UTF-8 at byte 0"):
        nerfstudio.read(root)


def test_every_prefix_is_refused_and_mutations_end_in_our_error_or_finite_cameras(
    small, write, rng
):
    content = transforms(small)
    content["frames"] = content["frames"][:1]
    text = json.dumps(content)
    for length in range(len(text)):
        with pytest.raises(InputError):
            nerfstudio.read(write(text[:length]))
    for _ in range(400):
        bad = bytearray(text.encode())
        for place in rng.integers(0, len(bad), rng.integers(1, 3)):
            bad[place] = rng.choice([48, 57, 45, 34, 123, rng.integers(256)])
        root = write("")
        (root / "transforms.json").write_bytes(bad)
        try:
            views = nerfstudio.read(root, Choice()).views
        except InputError:
            continue
        for view in views:
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
            assert np.isfinite(view.t).all()
            assert np.isfinite(view.K).all()
