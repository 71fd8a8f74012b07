"""Metashape's camera export: its lens formulas, its transforms, and what it leaves out."""

import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, InputError, SceneError
from xscale.geometry.camera import Camera
from xscale.geometry.models import BY_NAME
from xscale.io.mesh.ply import encode_ply
from xscale.scene.layouts import metashape, metashape_lens
from xscale.scene.scene import Scene

# World from chunk of the component: the numbers that Metashape writes as rotation, translation,
# scale, so that chunk coordinates differ from the scene's in everything.
TURN = builders.look_at((1, 2, 3), (0.2, 0, 0.1))[0]
SHIFT = np.array([10.0, -20.0, 5.0])
SCALE = 3.7


def numbers(values):
    return " ".join(repr(float(v)) for v in np.asarray(values).reshape(-1))


def camera_xml(index, name, camera, label=None, sensor=0, more=""):
    pose = np.linalg.inv(camera.camera_from_world)
    pose[:3, 3] = TURN.T @ (pose[:3, 3] - SHIFT) / SCALE
    pose[:3, :3] = TURN.T @ pose[:3, :3]
    return f"""
      <camera id="{index}" sensor_id="{sensor}" component_id="0" label="{label or name[:-4]}"{more}>
        <transform>{numbers(pose)}</transform>
        <rotation_covariance>1 0 0 0 1 0 0 0 1</rotation_covariance>
        <orientation>1</orientation>
      </camera>"""


def calibration(camera, **values):
    """f, b1, b2 and the centre's offsets as Metashape counts them."""
    said = {
        "f": camera.fy,
        "cx": camera.cx - camera.width / 2,
        "cy": camera.cy - camera.height / 2,
        "b1": camera.fx - camera.fy,
        "b2": camera.skew,
        **values,
    }
    return "".join(f"<{k}>{v!r}</{k}>" for k, v in said.items())


def export(built, *, kind="frame", values=None, sensor=None, cameras=None, reference="LOCAL_CS[x]"):
    """A document as version 2 of Metashape writes it."""
    camera = next(iter(built.cameras.values()))
    size = f'<resolution width="{camera.width}" height="{camera.height}"/>'
    wrong = f'<calibration type="{kind}" class="initial">{size}<f>1</f></calibration>'
    right = calibration(camera, **(values or {}))
    adjusted = f'<calibration type="{kind}" class="adjusted">{size}{right}</calibration>'
    body = wrong + adjusted if sensor is None else sensor
    poses = cameras or "".join(
        camera_xml(k, name, camera) for k, (name, camera) in enumerate(built.cameras.items())
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<document version="2.0.0">
  <chunk label="Chunk 1" enabled="true">
    <sensors next_id="1">
      <sensor id="0" label="FC6310, 8.8mm" type="{kind}">
        {size}
        <property name="pixel_width" value="0.002"/>
        <bands><band label="Red"/></bands>
        {body}
        <covariance><params>f cx cy</params><coeffs>1 2 3</coeffs></covariance>
      </sensor>
    </sensors>
    <components next_id="1" active_id="0">
      <component id="0" label="Component 1">
        <transform>
          <rotation locked="false">{numbers(TURN)}</rotation>
          <translation locked="false">{numbers(SHIFT)}</translation>
          <scale locked="false">{SCALE}</scale>
        </transform>
      </component>
    </components>
    <cameras next_id="9" next_group_id="1">{poses}
    </cameras>
    <reference>{reference}</reference>
  </chunk>
</document>
"""


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=3)


@pytest.fixture
def folder(small, tmp_path):
    builders.write_photos_and_mesh(small, tmp_path)
    return tmp_path


def _read(folder, text):
    (folder / "cameras.xml").write_text(text)
    return metashape.read(folder)


def test_scene_opens_through_the_components_transform_and_the_adjusted_calibration(small, folder):
    (folder / "cameras.xml").write_text(export(small))
    scene = Scene.open(folder)
    assert scene.layout == "metashape"
    assert scene.reason == "cameras.xml is a Metashape camera export"
    assert scene.warnings == ()
    for photo in scene.photos:
        truth = small.cameras[photo.name]
        np.testing.assert_allclose(photo.camera.K, truth.K, rtol=1e-14)
        np.testing.assert_allclose(photo.camera.R, truth.R, atol=1e-14)
        np.testing.assert_allclose(photo.camera.t, truth.t, atol=1e-13)


def metashape_pixel(kind, camera, values, points):
    """Metashape's own formulas (user manual, appendix on camera models), written out."""
    names = ("k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4", "b1", "b2", "cx", "cy")
    v = dict.fromkeys(names, 0.0) | values
    x, y = (points[:, :2] / points[:, 2:]).T
    if kind == "fisheye":
        r0 = np.hypot(x, y)
        x, y = x * np.arctan(r0) / r0, y * np.arctan(r0) / r0
    r2 = x * x + y * y
    radial = 1 + v["k1"] * r2 + v["k2"] * r2**2 + v["k3"] * r2**3 + v["k4"] * r2**4
    more = 1 + v["p3"] * r2 + v["p4"] * r2**2
    xd = x * radial + (v["p1"] * (r2 + 2 * x * x) + 2 * v["p2"] * x * y) * more
    yd = y * radial + (v["p2"] * (r2 + 2 * y * y) + 2 * v["p1"] * x * y) * more
    u = camera.width / 2 + v["cx"] + xd * v["f"] + xd * v["b1"] + yd * v["b2"]
    return np.stack([u, camera.height / 2 + v["cy"] + yd * v["f"]], axis=1)


def colmap_pixel(view, points):
    """COLMAP's formulas of the models that the reader maps to, written out."""
    x, y = (points[:, :2] / points[:, 2:]).T
    d = list(view.distortion)
    if "FISHEYE" in view.model:
        r0 = np.hypot(x, y)
        x, y = x * np.arctan(r0) / r0, y * np.arctan(r0) / r0
    r2 = x * x + y * y
    if view.model == "OPENCV_FISHEYE":
        k, p, lower = d, (0, 0), 1
    elif view.model == "THIN_PRISM_FISHEYE":
        k, p, lower = [d[0], d[1], d[4], d[5]], d[2:4], 1
        assert d[6:] == [0, 0]
    elif view.model == "FULL_OPENCV":
        k, p = [d[0], d[1], d[4], 0], d[2:4]
        lower = 1 + d[5] * r2 + d[6] * r2**2 + d[7] * r2**3
    elif view.model == "OPENCV":
        k, p, lower = [d[0], d[1], 0, 0], d[2:4], 1
    elif view.model in ("BROWN", "METASHAPE"):
        k, p, lower = [d[0], d[1], d[4], d[5]], d[2:4], 1
    else:
        k, p, lower = [0, 0, 0, 0], (0, 0), 1
    radial = (1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3 + k[3] * r2**4) / lower
    more = 1 + d[6] * r2 + d[7] * r2**2 if view.model == "METASHAPE" else 1
    xd = x * radial + (2 * p[0] * x * y + p[1] * (r2 + 2 * x * x)) * more
    yd = y * radial + (2 * p[1] * x * y + p[0] * (r2 + 2 * y * y)) * more
    return np.stack([xd, yd], axis=1) @ view.K[:2, :2].T + view.K[:2, 2]


@pytest.mark.parametrize(
    ("kind", "values", "model"),
    [
        ("frame", {}, "PINHOLE"),
        ("frame", {"k1": -0.1, "k2": 0.03, "p1": 0.004, "p2": -0.002}, "OPENCV"),
        ("frame", {"k1": -0.1, "k3": 0.05, "p1": 0.004, "p2": 0.01, "b2": 1.5}, "FULL_OPENCV"),
        ("frame", {"k1": -0.1, "k4": 0.01, "p1": 0.004, "p2": 0.01, "b2": 1.5}, "BROWN"),
        ("frame", {"k1": -0.1, "p1": 0.01, "p2": -0.02, "p3": 0.5, "p4": -0.2}, "METASHAPE"),
        ("frame", {"k1": -0.1, "p3": 0.5, "p4": -0.2}, "OPENCV"),
        ("fisheye", {"k1": 0.02, "k4": -0.003}, "OPENCV_FISHEYE"),
        ("fisheye", {"k1": 0.02, "k3": 0.01, "p1": 0.004, "p2": -0.01}, "THIN_PRISM_FISHEYE"),
    ],
)
def test_lenses_are_the_same_function(small, folder, rng, monkeypatch, kind, values, model):
    monkeypatch.setattr(metashape_lens, "supported_model", lambda known, where: known)
    (view, *_) = _read(folder, export(small, kind=kind, values=values)).views
    assert view.model == model
    points = rng.uniform((-1, -0.6, 1), (1, 0.6, 2), (200, 3))
    camera = small.cameras[view.name]
    said = {"f": camera.fy, "b1": camera.fx - camera.fy, "cx": camera.cx - 56, "cy": camera.cy - 32}
    expected = metashape_pixel(kind, camera, said | values, points)
    np.testing.assert_allclose(colmap_pixel(view, points), expected, atol=1e-10)


def test_newer_name_of_the_fisheye_is_the_same(small, folder, monkeypatch):
    monkeypatch.setattr(metashape_lens, "supported_model", lambda known, where: known)
    text = export(small, kind="equidistant_fisheye", values={"k1": 0.1})
    assert _read(folder, text).views[0].model == "OPENCV_FISHEYE"


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("fisheye", {"p4": 0.1}, r"p3 or p4.*Optimize Cameras"),
        ("equisolid_fisheye", {}, "type equisolid_fisheye are not supported"),
        ("cylindrical", {}, "type cylindrical"),
        ("rpc", {}, "type rpc"),
        ("frame", {"f": 0.0}, "focal length is 0"),
        ("frame", {"f": float("nan")}, "'nan' is not a finite number"),
    ],
)
def test_lenses_without_a_counterpart_are_refused_with_the_setting(
    small, folder, kind, values, words
):
    with pytest.raises(CameraError, match=rf"sensor FC6310, 8.8mm: .*{words}"):
        _read(folder, export(small, kind=kind, values=values))


def test_whole_panorama_sees_what_metashapes_formulas_say_or_is_refused(small, folder, rng):
    sensor = '<calibration type="spherical" class="adjusted"><f>18</f></calibration>'
    text = export(small, kind="spherical", sensor=sensor).replace('height="64"', 'height="56"')
    if not BY_NAME["EQUIRECTANGULAR"].supported:
        with pytest.raises(CameraError, match="EQUIRECTANGULAR is not supported"):
            _read(folder, text)
        return
    view = _read(folder, text).views[0]
    camera = Camera(view.model, *view.size, view.K, view.R, view.t)
    points = rng.normal(size=(40, 3)) * 3
    x, y, z = (points @ view.R.T + view.t).T
    f = 112 / (2 * np.pi)
    u, v = 56 + f * np.arctan2(x, z), 28 + f * np.arctan(y / np.hypot(x, z))
    np.testing.assert_allclose(camera.project(points)[0], np.stack([u, v], axis=1), atol=1e-9)


def test_parts_of_panoramas_and_corrected_ones_are_refused(small, folder):
    sensor = '<calibration type="spherical" class="adjusted"><f>18</f>{}</calibration>'
    text = export(small, kind="spherical", sensor=sensor.format(""))
    with pytest.raises(CameraError, match="the panorama is 112 x 64"):
        _read(folder, text)
    text = text.replace('height="64"', 'height="56"')
    with pytest.raises(CameraError, match="the panorama has cx"):
        _read(folder, text.replace("<f>18</f>", "<f>18</f><cx>1</cx>"))


def test_disabled_and_unaligned_cameras_are_counted_and_named(small, folder):
    names = list(small.cameras)
    cameras = camera_xml(0, names[0], small.cameras[names[0]])
    cameras += "<group id='0' label='loop' type='folder'>"
    cameras += camera_xml(1, names[1], small.cameras[names[1]]) + "</group>"
    cameras += camera_xml(2, names[2], small.cameras[names[2]], more=' enabled="false"')
    cameras += '<camera id="3" sensor_id="0" label="lost_1"/><camera id="4" label="lost_2"/>'
    reading = _read(folder, export(small, cameras=cameras))
    assert [v.name for v in reading.views] == names[:2]
    assert reading.warnings == [
        "W-METASHAPE-CAMERAS: 1 cameras are disabled and not used: view_02",
        "W-METASHAPE-CAMERAS: 2 cameras are not aligned and not used: lost_1, lost_2",
    ]
    slave = cameras.replace('label="lost_1"', 'label="lost_1" master_id="0"')
    with pytest.raises(CameraError, match="lost_1 belongs to a multi-camera system"):
        _read(folder, export(small, cameras=slave))


def test_labels_are_joined_by_name_and_doubtful_ones_refused(small, folder):
    first, *_ = small.cameras
    whole = camera_xml(0, first, small.cameras[first], label=first)
    assert _read(folder, export(small, cameras=whole)).views[0].name == first
    for sub in ("a", "b"):
        builders.save_photo(folder / "images" / sub / "x.png", small.photo(first))
    one = camera_xml(0, first, small.cameras[first], label="x")
    with pytest.raises(SceneError, match=r"camera x could be a/x.png or b/x.png"):
        _read(folder, export(small, cameras=one))
    with pytest.raises(SceneError, match="1 labels occur twice: view_00"):
        _read(folder, export(small, cameras=2 * camera_xml(0, first, small.cameras[first])))
    gone = camera_xml(0, first, small.cameras[first], label="gone")
    (folder / "cameras.xml").write_text(export(small, cameras=gone))
    with pytest.raises(SceneError, match=r"1 of 1 photos .* missing: gone.*--images"):
        Scene.open(folder)


def test_georeferenced_project_says_where_its_cameras_stand(small, folder):
    text = export(small, reference='GEOGCS["WGS 84",DATUM["WGS_1984"]]')
    reading = _read(folder, text)
    assert "georeferenced (WGS 84)" in reading.warnings[0]
    far = small.moved((4e6, 5e5, 5e6))
    (folder / "mesh.ply").write_bytes(encode_ply(far.vertices, far.faces))
    with pytest.raises(SceneError, match=r"do not meet.*EPSG:4978"):
        Scene.open(folder)


def test_documents_that_are_none_are_refused(small, folder):
    text = export(small)
    bomb = text.replace("<document", '<!DOCTYPE d [<!ENTITY a "aaaa">]><document', 1)
    deep = text.replace("<reference>", "<reference>" + "<a>" * 50)
    two = text.replace("</document>", "<chunk/></document>")
    for bad, words in (
        (bomb, "has a DOCTYPE"),
        (deep, "nested deeper than 32"),
        (two, "has 2 chunks"),
        (text.replace('sensor_id="0"', 'sensor_id="7"'), "sensor '7' is missing"),
        (text.replace('component_id="0"', 'component_id="7"'), "component '7' is missing"),
        (text.replace(f">{SCALE}<", ">0<"), "scale is 0"),
        (text.replace('width="112"', 'width="x"'), "has no resolution"),
    ):
        with pytest.raises(CameraError, match=words):
            _read(folder, bad)
    (folder / "other.xml").write_text(text)
    with pytest.raises(SceneError, match=r"several Metashape exports: cameras.xml, other.xml"):
        metashape.detect(folder)


def test_every_prefix_is_refused_and_mutations_end_in_our_error_or_finite_cameras(
    small, folder, rng
):
    text = export(small).rstrip()
    head = text.index("<chunk") + 6
    for length in [*range(head, len(text), 7), len(text) - 1]:
        with pytest.raises(InputError):
            _read(folder, text[:length])
    for bad in builders.mutations(rng, text.encode(), [48, 57, 45, 60, 62], 300, head):
        (folder / "cameras.xml").write_bytes(bad)
        try:
            views = metashape.read(folder).views
        except InputError:
            continue
        for view in views:
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
            assert np.isfinite(view.t).all()
