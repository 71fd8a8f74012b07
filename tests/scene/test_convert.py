"""convert: what is read from the written folder is what was read before, to the last bit."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.cli import main
from xscale.errors import CameraError, OutputExistsError, SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.frames import quaternion_from_rotation, rotation_from_quaternion
from xscale.geometry.models import BY_NAME
from xscale.io.mesh.ply import encode_ply
from xscale.scene.layouts.convert import convert
from xscale.scene.layouts.writers import ColmapTables, mvsnet_camera, nerfstudio_transforms
from xscale.scene.scene import Scene

TARGETS = [("colmap", False), ("colmap", True), ("mvsnet", False), ("nerfstudio", False)]


def _assert_same(scene, other, exact):
    assert [p.name for p in other.photos] == [p.name for p in scene.photos]
    compare = np.testing.assert_array_equal if exact else _close
    for a, b in zip(scene.photos, other.photos, strict=True):
        np.testing.assert_array_equal(a.camera.K, b.camera.K)
        np.testing.assert_array_equal(a.camera.R, b.camera.R)
        compare(a.camera.t, b.camera.t)
        np.testing.assert_array_equal(a.read(), b.read())
        np.testing.assert_array_equal(a.camera.distortion, b.camera.distortion)
        assert (a.mask_path is None) == (b.mask_path is None)
        if a.mask_path is not None:
            np.testing.assert_array_equal(a.read_mask(), b.read_mask())
    np.testing.assert_array_equal(scene.mesh.vertices, other.mesh.vertices)


def _close(a, b):
    np.testing.assert_allclose(a, b, atol=1e-14)


@pytest.fixture
def scene(asymmetric_folder):
    mask = np.full((64, 112), 255, np.uint8)
    mask[3:20, 40:] = 0
    builders.save_photo(asymmetric_folder / "masks" / "view_02.png", mask)
    return Scene.open(asymmetric_folder)


@pytest.mark.parametrize(("target", "text"), TARGETS)
@pytest.mark.parametrize("photos", ["copy", "link"])
def test_written_folder_reads_back_the_same(scene, tmp_path, target, text, photos):
    out = convert(scene, tmp_path / "out", target, text=text, photos=photos)
    other = Scene.open(out)
    assert other.layout == target
    codes = {line.partition(":")[0] for line in other.warnings}
    assert codes == {"W-MASK-MISSING"} | ({"W-PHOTO-OUTSIDE"} if photos == "link" else set())
    # transforms.json holds positions, so t goes through one product.
    _assert_same(scene, other, exact=target != "nerfstudio")
    assert (other.fingerprint() == scene.fingerprint()) is (target != "nerfstudio")
    assert other.photos[0].path.is_symlink() is (photos == "link")
    if target == "mvsnet":
        return
    np.testing.assert_array_equal(other.points, scene.points)
    if target == "colmap":
        before, after = scene.sparse_observations(), other.sparse_observations()
        for name, (pixels, points) in before.items():
            np.testing.assert_array_equal(pixels, after[name][0])
            np.testing.assert_array_equal(points, after[name][1])


@pytest.mark.parametrize("target", ["colmap", "mvsnet", "nerfstudio"])
def test_mesh_is_written_where_the_transform_put_it(
    asymmetric, asymmetric_folder, tmp_path, target
):
    turn, shift = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]), np.array([3.0, -7, 2])
    elsewhere = (asymmetric.vertices - shift) @ turn / 4
    (asymmetric_folder / "mesh.ply").write_bytes(encode_ply(elsewhere, asymmetric.faces))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 4 * turn, shift
    np.savetxt(tmp_path / "matrix.txt", matrix)
    scene = Scene.open(asymmetric_folder, transform=tmp_path / "matrix.txt")
    other = Scene.open(convert(scene, tmp_path / "out", target))
    assert other.warnings == ()
    _assert_mesh(other.mesh, asymmetric)


def test_mesh_of_several_files_and_a_repaired_one_are_written_whole(
    asymmetric, asymmetric_folder, tmp_path
):
    (asymmetric_folder / "mesh.ply").unlink()
    for part, faces in (("a", asymmetric.faces[:2]), ("b", asymmetric.faces[2:])):
        vertices = np.concatenate([asymmetric.vertices, [[np.nan, 0, 0]]])
        bad = np.array([[0, 1, len(asymmetric.vertices)]], np.int32)
        data = encode_ply(vertices, np.concatenate([faces, bad]))
        (asymmetric_folder / f"mesh_{part}.ply").write_bytes(data)
    scene = Scene.open(asymmetric_folder, mesh_repair="drop-bad-faces")
    other = Scene.open(convert(scene, tmp_path / "out", "colmap"))
    corners = (other.mesh.vertices + other.mesh.origin)[other.mesh.faces]
    np.testing.assert_allclose(corners, asymmetric.vertices[asymmetric.faces], atol=1e-6)


def _assert_mesh(mesh, built):
    np.testing.assert_array_equal(mesh.faces, built.faces)
    np.testing.assert_allclose(mesh.vertices + mesh.origin, built.vertices, atol=1e-6)


def test_every_layout_leads_to_every_other(scene, tmp_path):
    current = scene
    for step, (target, text) in enumerate([*TARGETS, TARGETS[0]]):
        current = Scene.open(convert(current, tmp_path / str(step), target, text=text))
    _assert_same(scene, current, exact=False)


def test_colmap_itself_reads_what_is_written(scene, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    for text in (False, True):
        out = convert(scene, tmp_path / str(text), "colmap", text=text)
        model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
        truth = {photo.name: photo.camera for photo in scene.photos}
        assert model.num_points3D() == len(scene.points)
        for image in model.images.values():
            pose = image.cam_from_world()
            np.testing.assert_allclose(pose.rotation.matrix(), truth[image.name].R, atol=1e-12)
            np.testing.assert_array_equal(pose.translation, truth[image.name].t)
        assert model.compute_mean_reprojection_error() < 1e-6


def test_quaternions_read_back_for_every_angle(rng):
    for _ in range(300):
        q = rng.normal(size=4) * 10.0 ** rng.uniform(-8, 0, 4)
        q /= np.linalg.norm(q)
        R, _ = rotation_from_quaternion(q, "test")
        found = quaternion_from_rotation(R)
        np.testing.assert_allclose(found, q * np.sign(q[0]), atol=1e-15)


def _cameras(**bent):
    K = np.array([[50.0, 0, 20], [0, 60, 10], [0, 0, 1]])
    camera = Camera("PINHOLE", 40, 20, K, np.eye(3), np.zeros(3))
    return {"a.png": replace(camera, **bent)}


@pytest.mark.parametrize(
    ("model", "distortion", "words"),
    [
        ("OPENCV", [0.1, 0.2, 0.3, 0.4], {"k1": 0.1, "k2": 0.2, "p1": 0.3, "p2": 0.4}),
        ("SIMPLE_RADIAL", [0.1], {"k1": 0.1, "k2": 0.0, "p1": 0.0, "p2": 0.0}),
        ("RADIAL", [0.1, 0.2], {"k1": 0.1, "k2": 0.2, "p1": 0.0, "p2": 0.0}),
        (
            "FULL_OPENCV",
            [0.1, 0.2, 0.3, 0.4, 0.5, 0, 0, 0],
            {"k1": 0.1, "k2": 0.2, "p1": 0.3, "p2": 0.4, "k3": 0.5},
        ),
        (
            "OPENCV_FISHEYE",
            [0.1, 0.2, 0.3, 0.4],
            {"k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4},
        ),
        ("RADIAL_FISHEYE", [0.1, 0.2], {"k1": 0.1, "k2": 0.2, "k3": 0.0, "k4": 0.0}),
        ("SIMPLE_FISHEYE", [], {"k1": 0.0, "k2": 0.0, "k3": 0.0, "k4": 0.0}),
    ],
)
def test_lenses_in_nerfstudios_words(model, distortion, words):
    K = np.array([[50.0, 0, 20], [0, 50, 10], [0, 0, 1]])
    cameras = _cameras(model=model, distortion=np.array(distortion), K=K)
    content = nerfstudio_transforms(cameras, {}, None)
    fisheye = "FISHEYE" in model
    assert content["camera_model"] == ("OPENCV_FISHEYE" if fisheye else "OPENCV")
    assert {k: v for k, v in content.items() if k[0] in "kp"} == words
    with pytest.raises(CameraError, match="only pinholes; --to colmap can hold it"):
        mvsnet_camera(cameras["a.png"])
    tables = ColmapTables(cameras, np.zeros((0, 3)), {})
    (row,) = [line for line in tables.text()["cameras.txt"].decode().splitlines() if line[0] != "#"]
    focal = ["50.0"] if model.startswith(("SIMPLE", "RADIAL")) else ["50.0", "50.0"]
    assert row.split() == [
        "1",
        model,
        "40",
        "20",
        *focal,
        "20.0",
        "10.0",
        *map(str, map(float, distortion)),
    ]


BENT = {
    "OPENCV": [0.05, -0.02, 0.003, -0.004],
    "SIMPLE_RADIAL": [0.05],
    "RADIAL": [0.05, -0.01],
    "FULL_OPENCV": [0.05, -0.02, 0.003, -0.004, 0.01, 0, 0, 0],
    "OPENCV_FISHEYE": [0.02, -0.01, 0.003, 0.001],
    "RADIAL_FISHEYE": [0.02, 0.01],
    "FISHEYE": [],
}


@pytest.mark.parametrize("model", BENT)
def test_lens_keeps_its_rays_in_every_layout_or_is_refused_by_name(
    asymmetric, asymmetric_folder, tmp_path, rng, model
):
    K = np.array([[90.0, 0, 50], [0, 90, 33], [0, 0, 1]])
    cameras = {
        name: Camera(model, 112, 64, K, c.R, c.t, np.array(BENT[model]))
        for name, c in asymmetric.cameras.items()
    }
    for name, data in ColmapTables(cameras, np.zeros((0, 3)), {}).binary().items():
        (asymmetric_folder / "sparse" / "0" / name).write_bytes(data)
    if not BY_NAME[model].supported:
        with pytest.raises(CameraError, match=f"camera model {model} is not supported"):
            Scene.open(asymmetric_folder)
        return
    scene = Scene.open(asymmetric_folder)
    pixel = rng.uniform((0, 0), (112, 64), (50, 2))
    for target in ("colmap", "nerfstudio"):
        other = Scene.open(convert(scene, tmp_path / target, target))
        for a, b in zip(scene.photos, other.photos, strict=True):
            np.testing.assert_allclose(a.camera.rays(pixel), b.camera.rays(pixel), atol=1e-13)


def test_layouts_that_cannot_hold_a_camera_name_one_that_can():
    skewed = _cameras(K=np.array([[50.0, 2, 20], [0, 60, 10], [0, 0, 1]]))
    with pytest.raises(CameraError, match=r"skew of 2 pixels.*--to mvsnet can hold it"):
        ColmapTables(skewed, np.zeros((0, 3)), {})
    with pytest.raises(CameraError, match="--to mvsnet can hold it"):
        nerfstudio_transforms(skewed, {}, None)
    assert "2.0" in mvsnet_camera(skewed["a.png"])
    with pytest.raises(CameraError, match=r"no camera model FOV; --to colmap can hold it"):
        nerfstudio_transforms(_cameras(model="FOV", distortion=np.array([0.5])), {}, None)
    brown = _cameras(model="BROWN", distortion=np.full(6, 0.01))
    with pytest.raises(CameraError, match=r"COLMAP has no camera model BROWN.*undistorted photos"):
        ColmapTables(brown, np.zeros((0, 3)), {})
    with pytest.raises(CameraError, match=r"no camera model BROWN; no other layout"):
        nerfstudio_transforms(brown, {}, None)
    mixed = {
        **_cameras(),
        "b.png": _cameras(model="OPENCV_FISHEYE", distortion=np.ones(4))["a.png"],
    }
    with pytest.raises(CameraError, match=r"one camera model for all .*--to colmap"):
        nerfstudio_transforms(mixed, {}, None)


def test_photos_in_folders_do_not_fit_the_authors_layout(asymmetric, tmp_path):
    cameras = {f"left/{name}": camera for name, camera in asymmetric.cameras.items()}
    scene = Scene.open(builders.write_colmap(replace(asymmetric, cameras=cameras), tmp_path / "s"))
    with pytest.raises(SceneError, match="--to colmap and --to nerfstudio can hold it"):
        convert(scene, tmp_path / "out", "mvsnet")
    assert not (tmp_path / "out").exists()
    other = Scene.open(convert(scene, tmp_path / "out", "nerfstudio"))
    assert [p.name for p in other.photos] == [p.name for p in scene.photos]


def test_failure_leaves_nothing_and_a_folder_is_replaced_only_on_request(scene, tmp_path):
    out = tmp_path / "out"
    gone = scene.photos[3].path
    hidden = gone.rename(tmp_path / "hidden.png")
    with pytest.raises(Exception, match="could not copy"):
        convert(scene, out, "colmap")
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []
    hidden.rename(gone)
    convert(scene, out, "colmap")
    with pytest.raises(OutputExistsError):
        convert(scene, out, "nerfstudio")
    convert(scene, out, "nerfstudio", overwrite=True)
    assert json.loads((out / "transforms.json").read_text())["w"] == 112


def test_command_writes_and_says_what_to_do_next(asymmetric_folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["convert", str(asymmetric_folder), "--to", "nerfstudio", "--out", str(out)]
    assert main.main(command) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out)
    assert f"next: xscale inspect {out}" in said.err
    assert main.main(command) == 4
    assert main.main([*command, "--text", "--overwrite"]) == 2
    shutil.rmtree(asymmetric_folder)
    assert Scene.open(out).layout == "nerfstudio"


@pytest.mark.data
@pytest.mark.parametrize("name", ["fountain", "monstree", "brighton"])
def test_real_scenes_keep_their_bits_in_every_layout(scenes, tmp_path, name):
    scene = Scene.open(scenes / name)
    for step, (target, text) in enumerate(TARGETS):
        out = convert(scene, tmp_path / str(step), target, text=text, photos="link")
        other = Scene.open(out)
        assert (other.fingerprint() == scene.fingerprint()) is (target != "nerfstudio")
        for a, b in zip(scene.photos, other.photos, strict=True):
            assert a.name == b.name
            np.testing.assert_array_equal(a.camera.K, b.camera.K)
            np.testing.assert_array_equal(a.camera.R, b.camera.R)
            np.testing.assert_allclose(a.camera.t, b.camera.t, rtol=1e-14, atol=1e-14)
        if target != "mvsnet":
            np.testing.assert_array_equal(np.sort(other.points, 0), np.sort(scene.points, 0))
