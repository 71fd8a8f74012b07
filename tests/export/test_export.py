"""What is exported opens elsewhere, lies where the mesh lies and has the model's colours."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.render.conftest import write_tiny_run
from xscale.cli.main import main
from xscale.export.bake import bake
from xscale.export.colour import SurfaceColour
from xscale.export.points import spread
from xscale.export.unwrap import surface_area, unwrap
from xscale.gbuffer.build import build_gbuffer, build_surface, pixel_samples, visibility
from xscale.geometry.mesh import Mesh
from xscale.io.checkpoints import save_checkpoint
from xscale.io.photo.images import read_pixels
from xscale.render.run import Run

OFFSET = np.array([400.0, -3000.0, 70.0])


@pytest.fixture(scope="module")
def run(asymmetric, tmp_path_factory):
    """A run whose colours change slowly enough for texels, far from the world's origin."""
    moved = asymmetric.moved(OFFSET)
    made = Run.open(write_tiny_run(moved, tmp_path_factory.mktemp("export") / "run"))
    made.model.field.table[1000:] = 0
    tensors = {name: tensor.numpy() for name, tensor in made.model.tensors().items()}
    save_checkpoint(made.path / "checkpoints", 2, tensors, {})
    return Run.open(made.path)


def _arrays(run):
    surface = run.surface
    return surface.vertices.numpy(), surface.faces.numpy(), surface.normals.numpy()


def _looked_up(mesh, texture, camera):
    """Render a textured mesh that somebody else has read: the nearest texel at every pixel."""
    own = Mesh.from_world(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    surface = build_surface(own)
    packed = torch.from_numpy(camera.recentred(own.origin).packed())
    face_id = visibility(surface, packed, camera.width, camera.height)
    samples = pixel_samples(surface, packed, face_id)
    face = face_id.numpy()[face_id.numpy() >= 0]
    a, b, c = (own.vertices[own.faces[face, k]].astype(float) for k in range(3))
    point = samples.position.double().numpy()
    edges = np.stack([b - a, c - a], 2)
    weight = np.einsum("nkd,nd->nk", np.linalg.pinv(edges), point - a)
    corner = mesh.visual.uv[own.faces[face]]
    uv = corner[:, 0] + np.einsum("nk,nkd->nd", weight, corner[:, 1:] - corner[:, :1])
    height, width = texture.shape[:2]
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
    return texture[row, column], face_id.numpy() >= 0


def test_points_are_spread_evenly_and_lie_on_the_mesh(run):
    vertices, faces, normals = _arrays(run)
    position, normal = spread(vertices, faces, normals, 20_000)
    area = surface_area(vertices, faces)
    # The plate's two triangles and the roof's, told apart by height.
    roof = position[:, 2] > vertices[:4, 2].max() + 0.05
    assert roof.mean() == pytest.approx(area[2] / area.sum(), rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    plate = position[~roof]
    np.testing.assert_allclose(plate[:, 2], vertices[0, 2], atol=1e-6)
    counts, _, _ = np.histogram2d(plate[:, 0], plate[:, 1], bins=(6, 4))
    assert counts.min() > 0.75 * counts.mean()


@pytest.mark.parametrize("ending", [".ply", ".las", ".laz"])
def test_cloud_opens_elsewhere_with_places_and_colours(run, tmp_path, ending):
    path = tmp_path / f"cloud{ending}"
    words = ["export", str(run.path), "points", "--points", "2000", "--out", str(path)]
    if ending != ".ply":
        laspy = pytest.importorskip("laspy")
        pytest.importorskip("lazrs")
    else:
        trimesh = pytest.importorskip("trimesh")
    assert main(words) == 0
    if ending != ".ply":
        cloud = laspy.read(path)
        places = np.stack([cloud.x, cloud.y, cloud.z], 1)
        colours = np.stack([cloud.red, cloud.green, cloud.blue], 1) // 257
    else:
        cloud = trimesh.load(path)
        places, colours = np.asarray(cloud.vertices), np.asarray(cloud.colors)[:, :3]
    position, normal = spread(*_arrays(run), 2000)
    # Local places are float32; nothing more is lost on the way to the world.
    # LAS holds steps of 0.1 mm.
    step = 1e-6 if ending == ".ply" else 0.51e-4
    np.testing.assert_allclose(places, position + np.array(run.manifest.origin), 0, step)
    size = np.sqrt(surface_area(*_arrays(run)[:2]).sum() / 2000)
    np.testing.assert_array_equal(colours, SurfaceColour(run)(position, normal, size))
    assert colours.std(0).min() > 2
    assert main(words) == 4


def test_colour_without_view_dependence_is_the_renderers(run, monkeypatch):
    camera = run.camera(run.names("train")[1])
    packed = torch.from_numpy(camera.recentred(run.manifest.origin).packed())
    samples, _ = build_gbuffer(run.surface, packed, camera.width, camera.height)
    shade = run.model.shader.shade
    front = torch.tensor([[0.0, 0, -1]])
    monkeypatch.setattr(
        run.model.shader, "shade", lambda f, d, e=None: shade(f, front.repeat(len(f), 1), e)
    )
    footprint = float(samples.footprint.median())
    samples.footprint.fill_(footprint)
    expected = (run.model.colour(samples) * 255 + 0.5).to(torch.uint8).numpy().astype(int)
    colour = SurfaceColour(run)
    found = colour(samples.position.numpy(), samples.normal.numpy(), footprint)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("page", [64, 1024])
def test_pages_hold_the_whole_mesh_at_the_wanted_density(run, page):
    pytest.importorskip("xatlas")
    vertices, faces, normals = _arrays(run)
    pages = list(unwrap(vertices, faces, normals, 0.01, page))
    total = sum(surface_area(p.vertices, p.faces).sum() for p in pages)
    assert total == pytest.approx(surface_area(vertices, faces).sum(), rel=1e-5)
    assert len(pages) > 1 or page == 1024
    for p in pages:
        assert p.texel.min() >= 0
        assert (p.texel.max(0) <= (p.width, p.height)).all()
        flat = np.concatenate([p.texel, np.zeros((len(p.texel), 1), np.float32)], 1)
        density = surface_area(flat, p.faces) / surface_area(p.vertices, p.faces)
        np.testing.assert_allclose(density, 1e4, rtol=0.1)


def test_texel_has_the_colour_of_its_surface_point(run):
    pytest.importorskip("xatlas")
    (page,) = unwrap(*_arrays(run), 0.02, 1024)
    colour = SurfaceColour(run)
    texture, _ = bake(page, colour, 0.02)
    # The middle of every face, found in the texture by its own coordinates.
    middle = page.texel[page.faces].mean(1)
    position = page.vertices[page.faces].mean(1)
    normal = page.normals[page.faces].mean(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    column, row = middle.astype(int).T
    expected = colour(position, normal, 0.02).astype(int)
    assert np.abs(texture[row, column] - expected).max() < 25


def _sum(terms, direction):
    """sRGB of harmonics [N, terms, 3] along directions, by scipy's own functions."""
    from scipy.special import sph_harm_y

    x, y, z = direction.T
    polar, around = np.arccos(z), np.arctan2(y, x)
    total = 0.5
    for k in range(terms.shape[1]):
        degree = int(np.sqrt(k))
        order = k - degree * (degree + 1)
        value = sph_harm_y(degree, abs(order), polar, around)
        # scipy has the Condon-Shortley phase too; real functions of order m are root 2 times parts.
        real = value.real if order >= 0 else value.imag
        total = total + terms[:, k] * (real * (1 if order == 0 else np.sqrt(2)))[:, None]
    return total


def _seen_by(run, name):
    camera = run.camera(name)
    packed = torch.from_numpy(camera.recentred(run.manifest.origin).packed())
    samples, _ = build_gbuffer(run.surface, packed, camera.width, camera.height)
    return samples


@pytest.mark.parametrize(("degree", "share"), [(1, 0.45), (2, 0.12)])
def test_harmonics_follow_the_viewer_where_one_colour_cannot(run, degree, share):
    fitted, single = SurfaceColour(run, degree), SurfaceColour(run)
    footprint, errors = 0.01, []
    for name in run.names("train"):
        samples = _seen_by(run, name)
        samples.footprint.fill_(footprint)
        expected = run.model.colour(samples).numpy()
        points = (samples.position.numpy(), samples.normal.numpy(), footprint)
        colour, harmonics = fitted.fit(*points)
        np.testing.assert_array_equal(colour, single(*points))
        followed = _sum(harmonics, samples.direction.double().numpy())
        errors.append([np.square(followed - expected).mean(),
                       np.square(colour / 255 - expected).mean()])  # fmt: skip
    followed, one = np.mean(errors, 0)
    assert followed < share * one


def test_single_colour_is_the_best_one_over_the_training_pixels(run):
    """No colour between those of the views, moved a little, lowers the sum over all pixels."""
    colour = SurfaceColour(run)
    point = np.array([[0.03, 0.02, 0.0]], np.float32)
    point[0, 2] = run.surface.vertices[0, 2]
    normal = np.array([[0, 0, 1.0]], np.float32)
    best = colour(point, normal, 0.01)[0] / 255.0
    features = run.model.field.encode(torch.from_numpy(point), torch.full((1,), 0.01))
    weights, seen = [], []
    for name in run.names("train"):
        camera = run.camera(name).recentred(run.manifest.origin)
        # Pixels that a small square around the point covers, by projecting its corners.
        side = 1e-3
        corners = point + side / 2 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        (x, y), _ = camera.project(corners)[0].T, None
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        away = point[0] - camera.position
        direction = torch.from_numpy((away / np.linalg.norm(away))[None].astype(np.float32))
        weights.append(area)
        seen.append(run.model.shader.shade(features, direction).clamp(0, 1)[0].numpy())
    expected = np.average(seen, axis=0, weights=weights)
    np.testing.assert_allclose(best, expected, atol=0.003)


@pytest.mark.parametrize("ending", [".glb", ".obj"])
def test_harmonics_of_texels_are_read_as_their_index_says(run, tmp_path, ending):
    pytest.importorskip("xatlas")
    path = tmp_path / f"mesh{ending}"
    words = ["export", str(run.path), "mesh", "--out", str(path), "--texel", "0.02"]
    assert main([*words, "--degree", "2"]) == 0
    index = json.loads((tmp_path / "mesh.sh.json").read_text())
    assert index["degree"] == 2
    (names,) = index["pages"]
    values = np.stack([read_pixels(tmp_path / name).rgb for name in names])
    assert values.dtype == np.uint16
    terms = (values / 65535 * 2 - 1) * index["range"]
    (page,) = unwrap(*_arrays(run), 0.02, 1024)
    middle = page.texel[page.faces].mean(1)
    column, row = middle.astype(int).T
    found = terms[:, row, column].transpose(1, 0, 2)
    # The texel's own middle, not the face's: at most half a texel away.
    where = np.stack([column + 0.5, row + 0.5], 1) - middle
    assert np.abs(where).max() <= 0.5
    position = page.vertices[page.faces].mean(1)
    normal = page.normals[page.faces].mean(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    _, expected = SurfaceColour(run, 2).fit(position, normal, 0.02)
    direction = np.array([[0.1, 0.2, -1.0]]).repeat(len(found), 0)
    direction /= np.linalg.norm(direction[0])
    x, y, z = direction.T
    basis = np.stack([eval(b, {}, {"x": x, "y": y, "z": z}) + 0 * x for b in index["basis"]], 1)
    by_index = 0.5 + np.einsum("nk,nkc->nc", basis, found)
    np.testing.assert_allclose(by_index, _sum(found, direction), atol=1e-9)
    np.testing.assert_allclose(by_index, _sum(expected, direction), atol=0.1)
    assert main([*words, "--colour", "sh"]) == 4
    words[4] = str(tmp_path / f"plain{ending}")
    assert main([*words, "--colour", "single"]) == 0
    assert not list(tmp_path.glob("plain.sh*"))


def test_cloud_has_harmonics_under_the_names_of_gaussian_splats(run, tmp_path):
    path = tmp_path / "cloud.ply"
    words = ["export", str(run.path), "points", "--points", "500"]
    assert main([*words, "--out", str(path)]) == 0
    position, normal = spread(*_arrays(run), 500)
    size = np.sqrt(surface_area(*_arrays(run)[:2]).sum() / 500)
    _, expected = SurfaceColour(run, 1).fit(position, normal, size)
    trimesh = pytest.importorskip("trimesh")
    rows = trimesh.load(path).metadata["_ply_raw"]["vertex"]["data"]
    constant = np.stack([rows[f"f_dc_{k}"] for k in range(3)], -1).reshape(500, 3)
    rest = np.stack([rows[f"f_rest_{k}"] for k in range(9)], -1).reshape(500, 3, 3)
    np.testing.assert_array_equal(constant, expected[:, 0])
    np.testing.assert_array_equal(rest.transpose(0, 2, 1), expected[:, 1:])
    assert main([*words, "--colour", "sh", "--out", str(tmp_path / "cloud.laz")]) == 2


@pytest.mark.parametrize("ending", [".glb", ".obj"])
def test_textured_mesh_opens_in_trimesh_and_looks_like_the_render(run, tmp_path, ending):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("xatlas")
    path = tmp_path / f"mesh{ending}"
    words = ["export", str(run.path), "mesh", "--out", str(path), "--texel", "0.01"]
    assert main(words) == 0
    scene = trimesh.load(path)
    (mesh,) = scene.dump() if hasattr(scene, "dump") else [scene]
    low, high = run.surface.vertices.double().numpy().min(0), run.surface.vertices.numpy().max(0)
    origin = np.array(run.manifest.origin)
    np.testing.assert_allclose(mesh.bounds, [low + origin, high + origin], atol=1e-4)
    material = mesh.visual.material
    picture = material.baseColorTexture if ending == ".glb" else material.image
    texture = np.asarray(picture.convert("RGB"))
    camera = run.camera(run.names("train")[2])
    found, coverage = _looked_up(mesh, texture, camera)
    expected = run.render(camera).colour.numpy()[coverage]
    error = np.abs(found.astype(int) - expected)
    assert error.mean() < 8
    # Random weights make colours depend on the direction, which a texture cannot follow.
    alike = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    turned, _ = _looked_up(mesh, texture[::-1], camera)
    assert alike > 0.85
    assert np.corrcoef(turned.ravel(), expected.ravel())[0, 1] < alike - 0.05


def test_udim_tiles_have_squares_of_their_own(run, tmp_path):
    pytest.importorskip("xatlas")
    path = tmp_path / "mesh.obj"
    words = ["export", str(run.path), "mesh", "--out", str(path), "--texel", "0.01"]
    assert main([*words, "--page", "128", "--udim"]) == 0
    tiles = sorted(p.name for p in tmp_path.glob("mesh.1*.png"))
    assert tiles[0] == "mesh.1001.png"
    assert len(tiles) > 1
    lines = path.read_text().splitlines()
    uv = np.array([[float(x) for x in line.split()[1:]] for line in lines if line[:3] == "vt "])
    assert set(np.floor(uv[:, 0]).astype(int)) == set(range(min(len(tiles), 10)))
    corners = np.array(
        [[int(c.split("/")[1]) - 1 for c in line.split()[1:]] for line in lines if line[:2] == "f "]
    )
    squares = np.floor(uv[corners]).astype(int)
    assert (squares == squares[:, :1]).all()
    materials = (tmp_path / "mesh.mtl").read_text()
    assert [line.split()[1] for line in materials.splitlines() if line[:6] == "map_Kd"] == tiles


@pytest.mark.parametrize("name", ["my mesh.obj", "a (1).obj", "site#2.obj"])
def test_obj_of_any_name_is_found_with_its_texture(run, tmp_path, name):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("xatlas")
    words = ["export", str(run.path), "mesh", "--out", str(tmp_path / name), "--texel", "0.02"]
    assert main(words) == 0
    first = (tmp_path / name).read_text().splitlines()[0].split()
    assert len(first) == 2
    assert (tmp_path / first[1]).is_file()
    loaded = trimesh.load(tmp_path / name)
    (mesh,) = loaded.dump() if hasattr(loaded, "dump") else [loaded]
    assert mesh.visual.material.image is not None


@pytest.mark.parametrize("there", ["b.mtl", "b_000.png", "b.sh.json"])
def test_file_in_the_way_is_named_before_the_work(run, tmp_path, capsys, there):
    (tmp_path / there).write_text("mine")
    words = ["export", str(run.path), "mesh", "--out", str(tmp_path / "b.obj")]
    assert main(words) == 4
    assert f"{there}: already exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_maps_are_the_renderers(run, tmp_path):
    words = ["export", str(run.path), "maps", "--data", "npy", "--out", str(tmp_path / "maps")]
    assert main(words) == 0
    name = run.names("test")[0]
    depth = np.load(tmp_path / f"maps/depth/{name[:-4]}.npy")
    frame = run.render(run.camera(name), outputs=("depth", "normal"))
    np.testing.assert_array_equal(depth, frame.depth.numpy())
    picture = np.asarray(Image.open(tmp_path / f"maps/normal_map/{name}")).astype(int)
    hit = frame.coverage.numpy()
    np.testing.assert_allclose(picture[hit] / 127.5 - 1, frame.normal.numpy()[hit], atol=0.005)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["mesh", "--out", "x.fbx"], 2),
        (["points", "--out", "x.xyz"], 2),
        (["points", "--out", "x.ply", "--points", "0"], 2),
        (["mesh", "--out", "x.glb", "--texel", "0"], 2),
        (["mesh", "--out", "x.glb", "--texel", "1e-9"], 2),
        (["mesh", "--out", "x.glb", "--page", "99999"], 2),
    ],
)
def test_bad_exports_are_refused_and_nothing_is_written(run, tmp_path, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run.path), *words]) == code
    assert list(tmp_path.iterdir()) == []
