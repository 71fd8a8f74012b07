"""Bundler's output: OpenGL cameras, pixels from the centre, names from the list beside it."""

import numpy as np
import pytest

from tests import builders
from xscale.errors import InputError, SceneError
from xscale.scene.layouts import bundler
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def small():
    """One focal length and a principal point in the middle: all that Bundler can say."""
    return builders.with_one_focal_length(builders.asymmetric_scene(photos=3), 56, 32)


def bundle(built, lens="90.0 0 0"):
    lines = ["# Bundle file v0.3", f"{len(built.cameras)} {len(built.points)}"]
    for camera in built.cameras.values():
        rows = [*(np.diag([1, -1, -1]) @ camera.R), np.diag([1, -1, -1]) @ camera.t]
        lines += [lens, *(" ".join(repr(float(v)) for v in row) for row in rows)]
    for point in built.points:
        lines += [" ".join(repr(float(v)) for v in point), "9 8 7", "2 0 5 1.5 -2.5 1 6 3 4"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(small, tmp_path):
    builders.write_photos_and_mesh(small, tmp_path)
    (tmp_path / "bundle.out").write_text(bundle(small))
    (tmp_path / "list.txt").write_text("".join(f"./{n} 0 95.5\n" for n in small.cameras))
    return tmp_path


def test_scene_opens_with_the_cameras_that_were_written(small, folder):
    scene = Scene.open(folder)
    assert scene.layout == "bundler"
    assert scene.reason == "bundle.out is a Bundler file v0.3"
    assert scene.warnings == ()
    np.testing.assert_array_equal(scene.points, small.points)
    for photo in scene.photos:
        truth = small.cameras[photo.name]
        np.testing.assert_array_equal(photo.camera.K, truth.K)
        np.testing.assert_allclose(photo.camera.R, truth.R, atol=1e-15)
        np.testing.assert_array_equal(photo.camera.t, truth.t)


def test_a_point_lands_where_bundlers_formulas_put_it(small, folder, monkeypatch):
    monkeypatch.setattr(bundler, "supported_model", lambda known, where: known)
    (folder / "bundle.out").write_text(bundle(small, "90.0 -0.1 0.02"))
    for view in bundler.read(folder).views:
        camera = small.cameras[view.name]
        bundler_R, bundler_t = np.diag([1, -1, -1]) @ camera.R, np.diag([1, -1, -1]) @ camera.t
        point = small.points[0]
        P = bundler_R @ point + bundler_t
        p = -P[:2] / P[2]
        seen = 90.0 * (1 - 0.1 * p @ p + 0.02 * (p @ p) ** 2) * p
        expected = np.array([56 + seen[0], 32 - seen[1]])
        x = view.R @ point + view.t
        n = x[:2] / x[2]
        k1, k2 = view.distortion
        ours = view.K[:2, :2] @ (n * (1 + k1 * n @ n + k2 * (n @ n) ** 2)) + view.K[:2, 2]
        assert view.model == "RADIAL"
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_cameras_without_pose_are_counted_and_named(small, folder):
    lines = bundle(small).splitlines()
    lines[7:12] = ["0 0 0", *["0 0 0"] * 4]
    (folder / "bundle.out").write_text("\n".join(lines))
    reading = bundler.read(folder)
    assert [v.name for v in reading.views] == ["view_00.png", "view_02.png"]
    assert reading.warnings == [
        "W-BUNDLER-CAMERAS: 1 cameras have no pose and are not used: view_01.png"
    ]


def test_paths_of_another_computer_are_joined_by_name(small, folder):
    (folder / "list.txt").write_text("".join(f"D:\\photos\\x\\{n}\n" for n in small.cameras))
    assert [v.name for v in bundler.read(folder).views] == list(small.cameras)
    (folder / "list.txt").rename(folder / "bundle_list.txt")
    assert [v.name for v in bundler.read(folder).views] == list(small.cameras)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\n90.0 0 0\n", "\n90.0 0\n", r"bundle.out:\d+: has 2 numbers, needs 3"),
        ("\n90.0 0 0\n", "\nnan 0 0\n", r"bundle.out:3: 'nan'"),
        ("3 120", "4 120", "has 4 cameras, list.txt names 3 photos"),
        ("3 120", "3 121", "ends too early"),
        ("3 120", "3 99999999999", "its cameras and points would take"),
        ("2 0 5", "7 0 5", "says 7 views and has 8 numbers"),
    ],
)
def test_damage_is_named(small, folder, old, new, words):
    (folder / "bundle.out").write_text(bundle(small).replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        bundler.read(folder)


def test_list_that_is_missing_is_named(folder):
    (folder / "list.txt").unlink()
    with pytest.raises(SceneError, match="no list of photos beside it"):
        bundler.read(folder)


def test_every_prefix_is_refused_and_mutations_end_in_our_error(small, folder, rng):
    few = builders.Built(small.vertices, small.faces, small.cameras, small.colour, small.points[:3])
    text = bundle(few).rstrip()
    start = text.index("\n") + 1
    last = text.rindex(" ")
    for length in range(start, last, 3):
        (folder / "bundle.out").write_text(text[:length])
        with pytest.raises(InputError):
            bundler.read(folder)
    for bad in builders.mutations(rng, text.encode(), [48, 57, 45, 32, 10], 300, start):
        (folder / "bundle.out").write_bytes(bad)
        try:
            views = bundler.read(folder).views
        except InputError:
            continue
        for view in views:
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
