"""Verdicts about a scene are earned: by amount and spread, in any size of photo, of any side."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import builders
from tests.inspection.table import Maker, judged, similarity
from xscale.errors import SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale.inspection.examine import examine
from xscale.inspection.findings import PhotoRow, findings_of
from xscale.inspection.measured import Measured
from xscale.io.mesh.ply import encode_ply
from xscale.scene.checks.agree import quick_check
from xscale.scene.checks.sightings import check_reprojection, far_pixels
from xscale.scene.scene import Scene

BAD = "view_4.png"
GOOD = Measured(9, 9, 36, 700, 1.0, 0.05, 0.0, 0.02)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def scene(make, tmp_path):
    return Scene.open(make()(tmp_path / "scene"))


# Kind A: an absent or mostly failed measurement is not agreement.


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "together"),
        ({"patches": 8}, "unknown"),
        ({"compared": 4}, "unknown"),  # of nine: they are not spread over the scene
        ({"matched": 0.2}, "apart"),
        ({"matched": 0.7}, "partly"),
        ({"shift": 1.2}, "apart"),
        ({"shift": 0.8}, "partly"),
        ({"misfit": 1.1}, "partly"),
    ],
)
def test_verdict_needs_amount_spread_and_a_misfit_below_its_bound(change, verdict):
    assert replace(GOOD, **change).verdict == verdict


def test_bounds_are_said_in_pixels():
    assert "0.1 of at most 0.6 small pixels apart" in GOOD.line
    assert "the mesh 0.0 of at most 1 beside its place" in GOOD.line


def test_a_mesh_slid_along_itself_is_not_called_right(make, tmp_path):
    """Photos agree nearly everywhere: only all patches together know that the mesh is elsewhere."""
    root = make(mesh=similarity(shift=(0.12, 0, 0)))(tmp_path / "scene")
    found = examine(Scene.open(root), measure=False)
    assert found.facts["verdict"]["fits"] == "no"
    assert found.findings[0].code in ("W-MESH-PLACE", "W-SCENE-DISAGREES")


def test_only_two_photos_of_many_overlap(make, tmp_path):
    def apart(name, camera):
        if name in ("view_0.png", "view_1.png"):
            return camera
        return replace(camera, t=camera.t - camera.R @ (100.0 * int(name[5]), 0, 0))

    scene = Scene.open(make()(tmp_path / "scene"))
    photos = tuple(replace(p, camera=apart(p.name, p.camera)) for p in scene.photos)
    found = examine(replace(scene, photos=photos), measure=False)
    assert found.facts["verdict"]["fits"] != "yes"


# Kind B: degrees, a unit that only fits by coverage, the matrix that changes nothing.


def test_cameras_in_degrees_are_named(make, tmp_path):
    def degrees(name, camera):
        place = np.array([11.58, 48.14, 0.5]) + camera.position * (1e-5, 1e-5, 1e-3)
        return replace(camera, t=-camera.R @ place)

    make_degrees = make(cameras=degrees, mesh=similarity(shift=(690_000.0, 5_335_000.0, 500.0)))
    with pytest.raises(SceneError, match="look like degrees of longitude and latitude"):
        Scene.open(make_degrees(tmp_path / "scene"))


def test_small_scenes_in_metres_are_not_called_degrees(make, tmp_path):
    root = make(mesh=similarity(shift=(40.0, 0, 0)))(tmp_path / "scene")
    with pytest.raises(SceneError) as error:
        Scene.open(root)
    assert "degrees" not in str(error.value)
    assert "0.3048" not in str(error.value)


# Kind C and train: the same is said before a training.


def test_quick_check_tells_right_and_wrong(make, scene, tmp_path):
    assert quick_check(scene).startswith("photos agree roughly through the mesh: correlation")
    turned = {f"view_{k}.png": f"view_{(k + 4) % 9}.png" for k in range(9)}
    mixed = Scene.open(make(names=turned)(tmp_path / "mixed"))
    assert quick_check(mixed).startswith("W-SCENE-DISAGREES: photos do not agree")
    dark = Scene.open(make(photo=lambda n, rgb: rgb // 100)(tmp_path / "dark"))
    assert quick_check(dark).startswith("W-SCENE-UNCOMPARED: ")


# Kind K and larger captures: blame, limits, sides.


def _row(name, **values):
    return PhotoRow(**{"name": name, "scale": 4.0, "pixel_degrees": 0.02, "matched": 0.95,
                       "coverage": 0.9, **values})  # fmt: skip


@pytest.mark.parametrize(
    ("reprojection", "says"),
    [(0.7, "the mesh lacks what it shows"), (None, "is it blurred"), (60.0, None)],
)
def test_a_photo_unlike_its_neighbours_is_blamed_only_where_its_points_do_not_fit(
    scene, reprojection, says
):
    rows = [_row(f"view_{k}.png", reprojection=reprojection and 0.7) for k in range(8)]
    rows.append(_row("view_8.png", matched=0.1, reprojection=reprojection))
    (found,) = findings_of(rows, None, GOOD, scene, [])
    assert found.photo == "view_8.png"
    if says is None:
        assert found.code == "W-PHOTO-POSE"
    else:
        assert found.code == "W-PHOTO-UNLIKE"
        assert says in found.advice


def test_photo_in_a_scene_of_poor_matches_is_not_singled_out(scene):
    rows = [_row(f"view_{k}.png", matched=0.4) for k in range(8)]
    assert findings_of([*rows, _row("view_8.png", matched=0.1)], None, GOOD, scene, []) == []


@pytest.mark.parametrize(
    ("size", "off", "named"),
    [((3958, 2624), 2.6, False), ((3958, 2624), 5.0, True), ((640, 480), 2.6, True),
     ((640, 480), 1.9, False), ((12_000, 9_000), 9.0, False)],
)  # fmt: skip
def test_limits_of_reprojection_know_the_size_of_the_photo(scene, size, off, named):
    K = np.array([[size[0], 0, size[0] / 2], [0, size[0], size[1] / 2], [0, 0, 1.0]])
    camera = Camera("PINHOLE", *size, K, np.eye(3), np.zeros(3))
    points = np.random.default_rng(3).uniform((-1, -1, 4), (1, 1, 6), (60, 3))
    photo = replace(scene.photos[0], camera=camera)
    seen = {photo.name: (camera.project(points)[0] + (off, 0), points)}
    assert bool(check_reprojection(seen, [photo])[0]) == named
    assert far_pixels(camera) == max(2.0, size[0] / 1000)


def test_back_faces_seen_through_holes_are_counted(make, tmp_path):
    built = make.built
    hole = built.vertices[built.faces].mean(axis=1)
    kept = built.faces[(np.abs(hole[:, :2]) > 0.5).any(axis=1)]
    # A floor below the hole, wound the other way round: its back is seen.
    floor = np.array([[-2, -2, -0.8], [2, -2, -0.8], [2, 2, -0.8], [-2, 2, -0.8]], float)
    count = len(built.vertices)
    faces = np.concatenate([kept, [[count, count + 2, count + 1], [count, count + 3, count + 2]]])
    vertices = np.concatenate([built.vertices, floor])
    root = make(vertices=vertices, faces=faces.astype(np.int32))(tmp_path / "scene")
    found = examine(Scene.open(root), measure=False)
    assert 0.02 < found.facts["back_faces"]["uncovered"] < 0.5
    assert any(line.startswith("W-MESH-BACK: ") for line in found.facts["warnings"])


def test_a_mesh_wound_the_other_way_shows_no_back(scene):
    mesh = Mesh(scene.mesh.vertices, scene.mesh.faces[:, ::-1].copy(), scene.mesh.origin)
    found = examine(replace(scene, mesh=mesh), measure=False)
    assert found.facts["back_faces"]["uncovered"] == 0.0
    assert not any(line.startswith("W-MESH-BACK") for line in found.facts["warnings"])


def _stored(root, names, orientation):
    """Store photos turned over, with the orientation that turns them back."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180}[orientation]
    for name in names:
        path = root / "images" / name
        Image.open(path).transpose(turn).save(path, exif=exif)


@pytest.mark.parametrize("points", [True, False], ids=["points", "no points"])
def test_one_photo_turned_by_exif_is_named_so(make, tmp_path, points):
    root = make(points=points)(tmp_path / "scene")
    _stored(root, [BAD], 3)
    found = examine(Scene.open(root), measure=False)
    assert [(f.code, f.photo) for f in found.findings] == [("W-PHOTO-EXIF", BAD)]
    # The advice followed: the pixels are turned and the orientation is gone.
    path = root / "images" / BAD
    Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
    assert examine(Scene.open(root), measure=False).findings == []


@pytest.mark.parametrize("orientation", [2, 3])
def test_all_photos_turned_by_exif_are_named_so(make, tmp_path, orientation):
    root = make()(tmp_path / "scene")
    _stored(root, [f"view_{k}.png" for k in range(9)], orientation)
    found = examine(Scene.open(root), measure=False)
    assert found.facts["verdict"]["fits"] == "no"
    assert found.findings[0].code == "W-PHOTO-EXIF"


def test_an_orientation_that_the_camera_follows_is_not_named(make, tmp_path):
    """Many programs ignore the orientation: pixels as stored are what the cameras mean."""
    root = make()(tmp_path / "scene")
    exif = Image.Exif()
    exif[0x0112] = 3
    for k in range(9):
        path = root / "images" / f"view_{k}.png"
        Image.open(path).save(path, exif=exif)
    assert examine(Scene.open(root), measure=False).facts["verdict"]["fits"] == "yes"


def test_photos_in_another_order_are_named_with_the_names_they_need(make, tmp_path):
    names = [f"view_{k}.png" for k in range(9)]
    mixed = dict(zip(names, names[1:] + names[:1], strict=True))
    found = examine(Scene.open(make(names=mixed)(tmp_path / "scene")), measure=False)
    assert found.findings[0].code == "W-PHOTO-ORDER"
    assert "view_0.png to view_1.png" in found.findings[0].advice


PLACE = np.array([500_000.123, 5_400_000.456, 312.5])


def _in_utm(make, root, mesh):
    """The scene in metres of UTM, its mesh written by the caller."""
    points = make.built.points + PLACE
    cameras = {n: replace(c, t=c.t - c.R @ PLACE) for n, c in make.built.cameras.items()}
    builders.write_model(replace(make.built, cameras=cameras, points=points), root / "sparse/0")
    shutil.copytree(make.base / "images", root / "images")
    mesh(root, make.built.vertices + PLACE, make.built.faces)
    return judged(root)


def _single(root, vertices, faces):
    (root / "mesh.ply").write_bytes(encode_ply(vertices.astype(np.float32), faces))


def _text_of_single(root, vertices, faces):
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices.astype(np.float32).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in faces + 1]
    (root / "mesh.obj").write_text("\n".join(lines))


@pytest.mark.parametrize("mesh", [_single, _text_of_single], ids=["PLY", "OBJ"])
def test_a_mesh_that_single_precision_broke_does_not_fit(make, tmp_path, mesh):
    said, line = _in_utm(make, tmp_path, mesh)
    assert said == "no"
    assert line.startswith("W-MESH-ROUNDED")
    assert "relative to an offset" in line


def test_a_mesh_of_doubles_in_utm_fits(make, tmp_path):
    def doubles(root, vertices, faces):
        (root / "mesh.ply").write_bytes(encode_ply(vertices, faces))

    assert _in_utm(make, tmp_path, doubles)[0] == "yes"
