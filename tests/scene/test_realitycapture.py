"""RealityCapture's camera table: the makers' rotation, calibration in larger sides, refusals."""

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, InputError, SceneError
from xscale.geometry.camera import Camera
from xscale.scene.layouts import realitycapture
from xscale.scene.scene import Scene

COLUMNS = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"


def angles(R):
    """Heading, pitch, roll in degrees: world from camera is Rz(-h) Rx(p) Ry(r) (OpenGL axes)."""
    turn = R.T @ np.diag([1.0, -1.0, -1.0])
    pitch = np.arcsin(turn[2, 1])
    heading = np.arctan2(turn[0, 1], turn[1, 1])
    roll = np.arctan2(-turn[2, 0], turn[2, 2])
    return np.degrees([heading, pitch, roll])


def table(built, bending=(0.0,) * 6, separator=","):
    lines = [COLUMNS.replace(",", separator)]
    for name, camera in built.cameras.items():
        larger = max(camera.width, camera.height)
        values = [
            *camera.position,
            *angles(camera.R),
            camera.fx * 36 / larger,
            (camera.cx - camera.width / 2) / larger,
            (camera.cy - camera.height / 2) / larger,
            *bending,
        ]
        lines.append(separator.join([name, *(repr(float(v)) for v in values)]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def small():
    """Square pixels, as the table has one focal length; the principal point is off centre."""
    return builders.with_one_focal_length(builders.asymmetric_scene(photos=3), 49.5, 36)


@pytest.fixture
def folder(small, tmp_path):
    builders.write_photos_and_mesh(small, tmp_path)
    (tmp_path / "cameras.csv").write_text(table(small))
    return tmp_path


def test_rotation_is_the_one_the_program_wrote_beside_the_angles():
    # One camera exported by RealityCapture both ways, as published in its forum.
    wrote = [
        [0.982594073038806, 0.185426733553445, -0.0112166890261935],
        [-0.032113633044729, 0.11008102707942, -0.993403685341366],
    ]
    R = realitycapture.rotation(163.736597399311, 83.4154313461628, 174.386496244756)
    np.testing.assert_allclose(R[:2], wrote, atol=1e-13)
    assert R[2, 0] == pytest.approx(-0.18296886, abs=1e-8)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(R) > 0


def test_with_angles_of_zero_the_camera_looks_down_and_north_is_up():
    R = realitycapture.rotation(0, 0, 0)
    assert R.tolist() == [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
    # Heading turns clockwise seen from above: at 90 degrees the picture's upper edge is east.
    np.testing.assert_allclose(-realitycapture.rotation(90, 0, 0)[1], [1, 0, 0], atol=1e-15)
    # Pitch lifts the view towards the upper edge: at 90 degrees it looks north at the horizon.
    np.testing.assert_allclose(realitycapture.rotation(0, 90, 0)[2], [0, 1, 0], atol=1e-15)


@pytest.mark.parametrize("head", ["", "#cameras 3\n", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_scene_opens_with_the_cameras_that_were_written(small, folder, head, separator):
    (folder / "cameras.csv").write_text(head + table(small, separator=separator), "utf-8")
    scene = Scene.open(folder)
    assert scene.layout == "realitycapture"
    assert scene.reason == "cameras.csv is a RealityCapture camera table"
    assert scene.warnings == ()
    assert len(scene.photos) == 3
    for photo in scene.photos:
        truth = small.cameras[photo.name]
        np.testing.assert_allclose(photo.camera.K, truth.K, rtol=1e-13)
        np.testing.assert_allclose(photo.camera.R, truth.R, atol=1e-13)
        np.testing.assert_allclose(photo.camera.t, truth.t, atol=1e-12)


@pytest.mark.parametrize(
    ("bending", "model"),
    [
        ((-0.12, 0.05, -0.02, 0.006, 0, 0), "BROWN"),
        ((-0.12, 0.05, -0.02, 0, 0, 0), "FULL_OPENCV"),
        ((-0.12, 0.05, 0, 0, 0, 0), "RADIAL"),
    ],
)
def test_a_point_lands_where_the_makers_formula_puts_it(small, folder, bending, model, rng):
    (folder / "cameras.csv").write_text(table(small, bending))
    for view in realitycapture.read(folder).views:
        assert view.model == model
        camera = Camera(view.model, *view.size, view.K, view.R, view.t, view.distortion)
        points = rng.uniform((-0.5, -0.5, 1), (0.5, 0.5, 2), (50, 3))
        x, y, z = points.T
        r2 = (x / z) ** 2 + (y / z) ** 2
        radial = 1 + sum(k * r2 ** (n + 1) for n, k in enumerate(bending[:4]))
        wanted = np.stack([90 * x / z * radial + 49.5, 90 * y / z * radial + 36], 1)
        seen, _ = camera.project((points - view.t) @ view.R)
        np.testing.assert_allclose(seen, wanted, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",k1,", ",k9,", r"cameras.csv:1: lacks the columns k1; export it as Internal/External"),
        (",t1,", ",k1,", "has a column twice"),
        (",0.0,0.0\n", ",0.01,0.0\n", r"cameras.csv:2: has tangential .*Brown3 or Brown4"),
        (",0.0,0.0,0.0,0.0,0.0,0.0\n", ",0.1,0,0,0,0,0\n", "k1 alone.*division"),
        (",0.0\n", "\n", r"cameras.csv:2: has 15 fields, the table has 16 columns"),
        (",0.0\n", ",nan\n", r"cameras.csv:2: 'nan' is not a finite number"),
        ("view_00.png,", "view_00.png,9", "cameras.csv"),
    ],
)
def test_what_is_not_documented_or_damaged_is_refused(small, folder, old, new, words):
    text = table(small)
    assert old in text
    (folder / "cameras.csv").write_text(text.replace(old, new, 1))
    if words == "cameras.csv":
        (folder / "cameras.csv").write_text(text.replace(old, new + "e20", 1))
    with pytest.raises(CameraError, match=words):
        realitycapture.read(folder)


def test_several_tables_none_with_a_camera_and_paths_of_another_computer(small, folder):
    text = table(small)
    (folder / "cameras.csv").write_text(text.replace("view_0", "D:\\photos\\view_0"))
    assert [v.name for v in realitycapture.read(folder).views] == list(small.cameras)
    (folder / "more.csv").write_text(text)
    with pytest.raises(SceneError, match=r"several RealityCapture tables: cameras.csv, more.csv"):
        Scene.open(folder)
    assert Scene.open(folder, cameras=folder / "more.csv").layout == "realitycapture"
    (folder / "more.csv").unlink()
    (folder / "cameras.csv").write_text(COLUMNS + "\n")
    with pytest.raises(SceneError, match="has no camera"):
        Scene.open(folder)


def test_every_prefix_and_mutation_ends_in_our_error_or_in_cameras(small, folder, rng):
    text = table(small).rstrip()
    for length in range(text.index("\n") + 1, len(text) - 40, 7):
        (folder / "cameras.csv").write_text(text[:length])
        try:
            views = realitycapture.read(folder).views
        except InputError:
            continue
        # Cut at the end of a line, or within a last number: whole cameras only.
        assert text[:length].rstrip().count(",") % 15 == 0
        assert len(views) == text[:length].rstrip().count("\n")
    values = [48, 57, 45, 44, 59, 10, 34]
    for bad in builders.mutations(rng, text.encode(), values, 300, len(COLUMNS)):
        (folder / "cameras.csv").write_bytes(bad)
        try:
            views = realitycapture.read(folder).views
        except InputError:
            continue
        for view in views:
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
