"""What is exported opens elsewhere, lies where the mesh lies and has the model's colours."""

from __future__ import annotations

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


@pytest.mark.parametrize("ending", [".ply", ".laz"])
def test_cloud_opens_elsewhere_with_places_and_colours(run, tmp_path, ending):
    path = tmp_path / f"cloud{ending}"
    words = ["export", str(run.path), "points", "--points", "2000", "--out", str(path)]
    if ending == ".laz":
        laspy = pytest.importorskip("laspy")
        pytest.importorskip("lazrs")
    else:
        trimesh = pytest.importorskip("trimesh")
    assert main(words) == 0
    if ending == ".laz":
        cloud = laspy.read(path)
        places = np.stack([cloud.x, cloud.y, cloud.z], 1)
        colours = np.stack([cloud.red, cloud.green, cloud.blue], 1) // 257
    else:
        cloud = trimesh.load(path)
        places, colours = np.asarray(cloud.vertices), np.asarray(cloud.colors)[:, :3]
    position, normal = spread(*_arrays(run), 2000)
    # Local places are float32; nothing more is lost on the way to the world.
    np.testing.assert_allclose(places, position + np.array(run.manifest["origin"]), atol=1e-6)
    size = np.sqrt(surface_area(*_arrays(run)[:2]).sum() / 2000)
    np.testing.assert_array_equal(colours, SurfaceColour(run)(position, normal, size))
    assert colours.std(0).min() > 2
    assert main(words) == 4


def test_colour_without_view_dependence_is_the_renderers(run, monkeypatch):
    camera = run.camera(run.names("train")[1])
    packed = torch.from_numpy(camera.recentred(run.manifest["origin"]).packed())
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
    texture = bake(page, colour, 0.02)
    # The middle of every face, found in the texture by its own coordinates.
    middle = page.texel[page.faces].mean(1)
    position = page.vertices[page.faces].mean(1)
    normal = page.normals[page.faces].mean(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    column, row = middle.astype(int).T
    expected = colour(position, normal, 0.02).astype(int)
    assert np.abs(texture[row, column] - expected).max() < 25


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
    origin = np.array(run.manifest["origin"])
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
    assert np.corrcoef(turned.ravel(), expected.ravel())[0, 1] < 0.6


def test_udim_tiles_have_squares_of_their_own(run, tmp_path):
    pytest.importorskip("xatlas")
    path = tmp_path / "mesh.obj"
    words = ["export", str(run.path), "mesh", "--out", str(path), "--texel", "0.01"]
    assert main([*words, "--page", "128", "--udim"]) == 0
    tiles = sorted(p.name for p in tmp_path.glob("*.png"))
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
    assert "mesh.<UDIM>.png" in (tmp_path / "mesh.mtl").read_text()


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
