"""Features at vertices, in a texture and in the volume: right gradients, and runs that render."""

import dataclasses

import numpy as np
import pytest
import torch

import xscale
from xscale.errors import UsageError
from xscale.export.colour import SurfaceColour
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.geometry.mesh import Mesh
from xscale.model.box import Box
from xscale.model.field import make_field
from xscale.model.settings import GridSettings, ModelSettings
from xscale.render.uncertainty import corner_weights
from xscale_comparisons.fields import VertexField, budget

GRID = GridSettings(
    levels=4, log2_table_size=10, coarsest_resolution=4, finest_resolution=32, initial_range=0.5
)
RIVALS = ("vertex", "texture", "volume")
SMALL = ["optim.batch=1500", "model.grid.levels=6", "model.grid.log2_table_size=12"]


@pytest.fixture(scope="module")
def mesh(asymmetric):
    return Mesh.from_world(asymmetric.vertices, asymmetric.faces)


@pytest.fixture(scope="module")
def surface(mesh):
    return build_surface(mesh)


@pytest.fixture(scope="module")
def samples(asymmetric, mesh, surface):
    camera = next(iter(asymmetric.cameras.values())).recentred(mesh.origin)
    packed = torch.from_numpy(camera.packed())
    return build_gbuffer(surface, packed, camera.width, camera.height)[0]


@pytest.fixture(params=RIVALS)
def field(request, surface):
    settings = ModelSettings(encoding=request.param, grid=GRID)
    box = Box.around(surface.vertices.amin(0), surface.vertices.amax(0), False)
    generator = torch.Generator().manual_seed(1)
    made = make_field(settings, box, torch.device("cpu"), generator, surface=surface)
    made.begin(lambda line: None)
    return made


@pytest.mark.parametrize("log2_rows", [8, 9, 10, 11, 20])
def test_vertices_have_as_many_features_as_the_shader_takes(surface, log2_rows):
    grid = dataclasses.replace(GRID, log2_table_size=log2_rows)
    channels = VertexField(grid, surface=surface, generator=None).channels
    assert channels % 4 == 0
    wanted = budget(grid) / len(surface.vertices)
    assert 4 <= channels <= 64
    assert abs(channels - min(max(wanted, 4), 64)) <= 2


def test_barycentrics_rebuild_the_points(surface, samples):
    rows, weights = corner_weights(surface, samples.face_id, samples.position)
    rebuilt = (weights[:, :, None] * surface.vertices[rows]).sum(1)
    assert (rebuilt - samples.position).abs().max() < 1e-5
    assert weights.min() >= 0
    assert (weights.sum(1) - 1).abs().max() < 1e-6


def test_gradient_is_that_of_finite_differences_and_marks_its_rows(field, samples):
    torch.manual_seed(2)
    wanted = torch.randn(len(samples.position), field.channels)
    grad = torch.zeros_like(field.table)
    touched = torch.zeros((len(field.table) + 7) // 8, dtype=torch.uint8)
    field.backward(wanted, samples, grad, touched)
    start, step = field.table.clone(), 1e-2 * torch.randn_like(field.table)
    values = []
    for sign in (1, -1):
        field.table.copy_(start + sign * step)
        values.append((field.features(samples).double() * wanted.double()).sum())
    field.table.copy_(start)
    expected = (values[0] - values[1]) / 2
    assert float((grad.double() * step.double()).sum()) == pytest.approx(float(expected), rel=1e-3)
    marked = np.unpackbits(touched.numpy(), bitorder="little")[: len(grad)].astype(bool)
    assert marked[(grad != 0).any(1).numpy()].all()
    assert marked.sum() < len(grad) or len(grad) < 64


@pytest.mark.parametrize("field", ["texture"], indirect=True)
def test_neighbours_in_a_texture_share_texels_only_inside_their_chart(field, samples):
    corner_uv = field.fixed()["field.corner_uv"]
    assert corner_uv.min() >= 0
    assert corner_uv.max() <= 1
    a, b, c = corner_uv.unbind(1)
    one, two = b - a, c - a
    area = (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).abs() / 2
    assert (area > 0).all()
    assert area.sum() <= 1


def test_volume_of_a_field_that_is_one_everywhere_is_one(surface, samples):
    settings = ModelSettings(encoding="volume", grid=dataclasses.replace(GRID, footprint_scale=0))
    box = Box.around(surface.vertices.amin(0), surface.vertices.amax(0), False)
    field = make_field(settings, box, torch.device("cpu"), surface=surface)
    field.table.fill_(1)
    assert (field.features(samples) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("field", ["texture", "volume"], indirect=True)
def test_budgets_are_the_grids_where_the_mesh_does_not_set_the_number(field):
    assert field.table.numel() == pytest.approx(budget(GRID), rel=0.15)


@pytest.mark.parametrize("field", ["vertex"], indirect=True)
def test_a_mesh_of_few_vertices_gets_the_most_channels_and_spends_less(field, surface):
    assert field.table.shape == (len(surface.vertices), 64)
    assert field.table.numel() < budget(GRID)


@pytest.mark.parametrize("encoding", RIVALS)
def test_a_run_resumes_to_the_same_bits_renders_and_is_not_exported(
    asymmetric_folder, trained_through_and_in_parts, encoding
):
    scene = xscale.Scene.open(asymmetric_folder)
    settings = [*SMALL, f"model.encoding={encoding}"]
    straight, _ = trained_through_and_in_parts(scene, stop=5, steps=12, settings=settings)
    frame = straight.render(straight.camera(straight.names("test")[0]))
    assert frame.colour[frame.coverage].float().std() > 1
    with pytest.raises(UsageError, match=encoding):
        SurfaceColour(straight)
