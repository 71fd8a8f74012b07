"""Cameras that are well formed and wrong: noticed by what they see, and named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import builders
from xscale.errors import InputError, SceneError
from xscale.geometry.camera import Camera
from xscale.io.mesh.ply import encode_ply
from xscale.scene.checks.conventions import CONVENTIONS, reread
from xscale.scene.checks.sightings import check_reprojection
from xscale.scene.photo import Photo
from xscale.scene.scene import Scene

FLIP = np.diag([1.0, -1, -1])


@pytest.fixture
def built():
    return builders.asymmetric_scene(photos=7)


def _written(built, root, vertices=None, faces=None):
    folder = builders.write_colmap(built, root / "scene")
    if vertices is not None:
        faces = built.faces if faces is None else faces
        (folder / "mesh.ply").write_bytes(encode_ply(vertices, faces))
    return folder


def _changed(built, name, **changes):
    cameras = {n: replace(c, **changes) if n == name else c for n, c in built.cameras.items()}
    return replace(built, cameras=cameras)


def _codes(scene):
    return [line.split(":")[0] for line in scene.warnings]


@pytest.mark.parametrize("own", CONVENTIONS)
@pytest.mark.parametrize("meant", CONVENTIONS)
def test_a_matrix_read_by_another_convention_is_what_its_words_say(own, meant, rng):
    R, _ = builders.look_at(rng.normal(size=3), rng.normal(size=3))
    t = rng.normal(size=3)
    point = rng.normal(size=3)
    file = np.eye(4)  # a file of the convention that is meant, of the camera R, t
    file[:3, :3], file[:3, 3] = R, t
    if "opengl" in meant:
        file = np.diag([1, -1, -1, 1]) @ file
    if meant.startswith("camera"):
        file = np.linalg.inv(file)
    if meant.endswith("centre"):
        file[:3, 3] = -R.T @ t
    read = np.linalg.inv(file) if own.startswith("camera") else file.copy()  # as a reader takes it
    if own.endswith("centre"):
        read[:3, 3] = -file[:3, :3] @ file[:3, 3]
    if "opengl" in own:
        read = np.diag([1, -1, -1, 1]) @ read
    A, b = reread(read[:3, :3], read[:3, 3], own, meant)
    np.testing.assert_allclose(A @ point + b, R @ point + t, atol=1e-12)


def test_cameras_that_see_a_scrap_of_the_mesh_and_otherwise_all_of_it_stop(built, tmp_path):
    # Looking the other way they see a scrap, too little to be meant and enough to go on.
    scrap = np.array([[-0.9, -0.9, 8], [0.9, -0.9, 8], [0, 0.9, 8]])
    vertices = np.concatenate([built.vertices, scrap])
    faces = np.concatenate([built.faces, [[7, 8, 9]]]).astype(np.int32)
    cameras = {n: replace(c, R=FLIP @ c.R, t=FLIP @ c.t) for n, c in built.cameras.items()}
    folder = _written(replace(built, cameras=cameras), tmp_path, vertices, faces)
    with pytest.raises(SceneError, match=r"fills \d% of the pictures, \d\d% when") as refused:
        Scene.open(folder)
    assert "--pose-convention world-to-camera-opengl" in refused.value.advice
    scene = Scene.open(folder, pose_convention="world-to-camera-opengl")
    np.testing.assert_allclose(scene.photos[3].camera.R, built.cameras["view_03.png"].R, atol=1e-9)
    # Who says that they are right as they are is believed.
    assert Scene.open(folder, pose_convention="world-to-camera").photos


def test_mesh_that_fills_little_of_the_pictures_is_remarked(built, tmp_path):
    folder = _written(built, tmp_path, built.vertices * 0.15)
    (folder / "sparse/0/points3D.bin").unlink()
    (line,) = Scene.open(folder).warnings
    assert line.startswith("W-CAMERA-COVERAGE: the mesh fills under 10% of the picture of 7 of 7")


def test_points_that_land_elsewhere_name_the_scene_or_the_camera(built, tmp_path):
    assert Scene.open(_written(built, tmp_path / "right")).warnings == ()
    bad = built.cameras["view_04.png"]
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    # The tables hold one wrong camera; keypoints and photos are those of the right one.
    folder = _written(built, tmp_path / "one")
    keypoints = builders.observed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            builders, "observed", lambda b, camera: keypoints(built, right.get(id(camera), camera))
        )
        wrong = _changed(built, "view_04.png", R=turn @ bad.R, t=turn @ bad.t)
        right = {id(c): built.cameras[n] for n, c in wrong.cameras.items()}
        builders.write_model(wrong, folder / "sparse/0")
        (line,) = Scene.open(folder).warnings
        assert line.startswith("W-CAMERA-REPROJECTION: 1 of 7 photos saw sparse points over 2.0")
        assert "view_04.png" in line
        cameras = {n: _wider(c) for n, c in built.cameras.items()}
        wrong = replace(built, cameras=cameras)
        right = {id(c): built.cameras[n] for n, c in wrong.cameras.items()}
        for binary in (True, False):
            folder = _written(built, tmp_path / f"all-{binary}")
            (folder / "sparse/0/images.bin").unlink()
            builders.write_model(wrong, folder / "sparse/0", binary=binary)
            (line,) = Scene.open(folder).warnings
            assert "sparse points land" in line
            assert "(median of 7 photos)" in line


def test_points_beyond_what_numbers_hold_count_as_seen_by_none(built):
    # Warnings are errors here: an overflow on the way would be one.
    camera = replace(next(iter(built.cameras.values())), R=np.eye(3), t=np.zeros(3))
    seen = {"a.png": (np.ones((30, 2)), np.tile([1e200, 0.0, 1.0], (30, 1)))}
    (line,), names = check_reprojection(seen, [Photo("a.png", camera, Path("a.png"))])
    assert line.startswith("W-CAMERA-REPROJECTION: sparse points land inf pixels")
    assert not names


def _wider(camera: Camera) -> Camera:
    K = np.array(camera.K)
    K[0, 2] += 9
    return replace(camera, K=K)


@pytest.mark.parametrize("layout", ["colmap", "mvsnet"])
@pytest.mark.parametrize("fault", ["looks away", "far away"])
def test_single_cameras_that_see_nothing_or_stand_far_off_are_named(built, tmp_path, layout, fault):
    camera = built.cameras["view_02.png"]
    if fault == "looks away":
        changes = {"R": FLIP @ camera.R, "t": FLIP @ camera.t}
    else:
        changes = {"t": camera.t + np.array([0, 0, 5000])}
    wrong = _changed(built, "view_02.png", **changes)
    write = builders.write_colmap if layout == "colmap" else builders.write_mvsnet
    folder = write(wrong, tmp_path / "scene")
    scene = Scene.open(folder)
    assert _codes(scene) == ["W-CAMERA-OUTLIER"]
    assert "1 of 7 cameras" in scene.warnings[0]
    assert "view_02.png" in scene.warnings[0]


@pytest.mark.parametrize(("bad", "test"), [("view_02.png", False), ("view_04.png", True)])
def test_outliers_are_left_out_on_request_but_never_a_test_photo(built, tmp_path, bad, test):
    camera = built.cameras[bad]
    wrong = _changed(built, bad, R=FLIP @ camera.R, t=FLIP @ camera.t)
    folder = _written(wrong, tmp_path)
    assert len(Scene.open(folder).photos) == 7
    scene = Scene.open(folder, drop_outliers=True)
    assert bad not in [photo.name for photo in scene.photos]
    assert len(scene.photos) == 6
    assert scene.warnings[-1] == f"W-CAMERA-DROPPED: 1 training photos are left out: {bad}"
    assert Scene.open(folder, **scene.options).fingerprint() == scene.fingerprint()
    if test:
        with pytest.raises(InputError, match=rf"{bad}: its camera does not fit.*a test photo"):
            scene.split()
    else:
        split = scene.split()
        assert bad not in (*split.train, *split.test)
        assert len(split.train) + len(split.test) == 6


def test_three_outliers_of_seven_are_too_many_to_leave_out(built, tmp_path):
    cameras = dict(built.cameras)
    for name in ("view_01.png", "view_02.png", "view_03.png"):
        cameras[name] = replace(cameras[name], R=FLIP @ cameras[name].R, t=FLIP @ cameras[name].t)
    folder = _written(replace(built, cameras=cameras), tmp_path)
    assert "3 of 7 cameras see nothing" in Scene.open(folder).warnings[-1]
    with pytest.raises(InputError, match="too many to leave out"):
        Scene.open(folder, drop_outliers=True)


def test_one_photo_opens_with_a_remark_and_trains_on_nothing(built, tmp_path):
    one = replace(built, cameras={"view_00.png": built.cameras["view_00.png"]})
    scene = Scene.open(_written(one, tmp_path))
    assert _codes(scene) == ["W-CAMERA-PARALLAX"]
    with pytest.raises(Exception, match="none is left to train on"):
        scene.split()


def test_cameras_that_all_look_away_stop(built, tmp_path):
    cameras = {n: replace(c, R=FLIP @ c.R, t=FLIP @ c.t) for n, c in built.cameras.items()}
    folder = _written(replace(built, cameras=cameras), tmp_path)
    with pytest.raises(SceneError, match="7 of 7 cameras see the mesh in under 1 %") as refused:
        Scene.open(folder)
    assert "--pose-convention world-to-camera-opengl" in refused.value.advice


def test_cameras_of_which_half_look_away_say_nothing_of_the_mesh(asymmetric, tmp_path):
    flip = np.diag([-1.0, 1.0, -1.0])
    named = sorted(asymmetric.cameras.items())
    cameras = {
        name: replace(camera, R=flip @ camera.R, t=flip @ camera.t) if k % 2 else camera
        for k, (name, camera) in enumerate(named)
    }
    root = builders.write_colmap(replace(asymmetric, cameras=cameras), tmp_path / "scene")
    with pytest.raises(SceneError, match="3 of 6 cameras see the mesh in under 1 %") as refused:
        Scene.open(root)
    assert "the photos that see the mesh agree through it" in refused.value.advice
    # The advice followed: without those photos the scene opens, its mesh as it is.
    kept = dict(named[::2])
    good = builders.write_colmap(replace(asymmetric, cameras=kept), tmp_path / "good")
    assert len(Scene.open(good).photos) == 3
