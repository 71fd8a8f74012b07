"""nvdiffrast and tiny-cuda-nn behind the ops, played by the references on the CPU."""

import sys
from types import ModuleType

import pytest
import torch

from xscale import ops
from xscale.errors import BackendError, SetupError, UsageError
from xscale.ops._grid import encode_reference
from xscale.ops._selftest import _one_cluster, frame_problem
from xscale.ops.rasterize import rasterize_reference
from xscale_comparisons import nvdiffrast, tcnn


class Rasterizer(ModuleType):
    """Draws clip-space triangles by the reference, as nvdiffrast documents what it gives."""

    def __init__(self):
        super().__init__("nvdiffrast.torch")
        self.calls = []

    def RasterizeCudaContext(self, device):  # noqa: N802
        return "context"

    def rasterize(self, context, clip, faces, resolution, grad_db):
        height, width = resolution
        self.calls.append((height, width))
        # Clip space as a pinhole: x and y run to w at the right and lower border.
        x, y, z, w = clip[0].double().unbind(1)
        camera = torch.zeros(32, dtype=torch.float64)
        camera[[0, 4, 8]] = 1
        camera[12:16] = torch.tensor([width / 2, height / 2, width / 2, height / 2])
        points = torch.stack([x, y, w], 1).float()
        ids = torch.arange(len(faces), dtype=torch.int32)
        found, depth = rasterize_reference(
            points, faces, ids, camera, (0, 0, width, height), (0.5, 0.5)
        )
        # z / w is linear in 1 / w here, so it follows from the depth.
        ndc = 1 - (w - z)[0] / depth
        ndc = torch.where(found >= 0, ndc, torch.zeros_like(ndc)).float()
        out = torch.stack([ndc, ndc, ndc, (found + 1).float()], -1)
        return out[None], None


class Encoding(torch.nn.Module):
    """tiny-cuda-nn's hash grid by its definition, which is the reference's."""

    def __init__(self, inputs, settings, dtype):
        super().__init__()
        assert inputs == 3
        self.layout = ops.grid_layout(
            settings["n_levels"],
            settings["n_features_per_level"],
            settings["log2_hashmap_size"],
            settings["base_resolution"],
            settings["per_level_scale"],
        )
        self.how = settings["interpolation"].lower()
        rows = self.layout.rows * self.layout.features_per_level
        self.params = torch.nn.Parameter(torch.zeros(rows))

    def forward(self, position):
        table = self.params.reshape(self.layout.rows, -1)
        return encode_reference(
            position, table, self.layout, interpolation=self.how, footprint=None, footprint_scale=0
        )


@pytest.fixture
def installed(monkeypatch):
    """Both packages, as fakes; the adapters' own question for a GPU is answered with yes."""
    raster, package = Rasterizer(), ModuleType("tinycudann")
    package.Encoding = Encoding
    monkeypatch.setitem(sys.modules, "nvdiffrast", ModuleType("nvdiffrast"))
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", raster)
    monkeypatch.setitem(sys.modules, "tinycudann", package)
    for module in (nvdiffrast, tcnn):
        monkeypatch.setattr(module, "on_gpu", lambda tensor: True)
    monkeypatch.setattr(nvdiffrast, "_contexts", {})
    monkeypatch.setattr(tcnn, "_encodings", {})
    return raster


def _rasterize(mesh, camera, rect, offset=(0.5, 0.5)):
    points, corners, ids, *clusters = _one_cluster(*mesh)
    return ops.rasterize(points, corners.flip(0), ids.flip(0), *clusters, camera, rect, offset)


@pytest.mark.parametrize("rect", [(0, 0, 150, 86), (37, 21, 45, 30)])
@pytest.mark.parametrize("offset", [(0.5, 0.5), (0.25, 0.75)])
def test_nvdiffrast_gives_our_faces_and_depths(installed, rect, offset):
    mesh, camera, *_ = frame_problem("relu")
    camera = camera.clone()
    camera[16], camera[17] = 0.7, 1e-3
    face, depth = _rasterize(mesh, camera, rect, offset)
    with ops.use_peers(rasterizer="nvdiffrast"):
        theirs, their_depth = _rasterize(mesh, camera, rect, offset)
    assert installed.calls == [(-(-rect[3] // 8) * 8, -(-rect[2] // 8) * 8)]
    assert theirs.shape == face.shape
    assert (face >= 0).any()
    assert (theirs != face).double().mean() < 1e-3  # float32 vertices move some edges
    same = (theirs == face) & (face >= 0)
    assert torch.allclose(their_depth[same], depth[same], rtol=1e-3)
    assert torch.isinf(their_depth[theirs < 0]).all()


@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
def test_tiny_cuda_nn_gives_our_features_and_gradients(installed, interpolation):
    generator = torch.Generator().manual_seed(3)
    layout = ops.grid_layout(6, 2, 12, 4, 1.6)
    table = torch.randn(layout.rows, 2, generator=generator)
    position = torch.rand(200, 3, generator=generator)
    footprint = 0.2 * torch.rand(200, generator=generator)
    grad = torch.randn(200, 12, generator=generator)
    how = {"interpolation": interpolation, "footprint": footprint, "footprint_scale": 0.4}

    def both():
        grad_table = torch.ones(layout.rows, 2)
        touched = torch.zeros(layout.rows // 8, dtype=torch.uint8)
        ops.encode_backward(grad, position, layout, grad_table=grad_table, touched=touched, **how)
        return ops.encode(position, table, layout, **how), grad_table, touched

    ours = both()
    with ops.use_peers(encoding="tcnn"):
        theirs = both()
        assert ops.encoding() == "tcnn"
    assert torch.allclose(ours[0], theirs[0], atol=1e-5)
    assert torch.allclose(ours[1], theirs[1], atol=1e-5)
    # Ours marks rows whose gradient cancels or is tiny too.
    assert not (theirs[2] & ~ours[2]).any()
    assert theirs[2].any()


def test_without_the_packages_one_line_says_how_to_install_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", None)
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    with (
        pytest.raises(SetupError, match="nvdiffrast is not installed; pip install"),
        ops.use_peers(rasterizer="nvdiffrast"),
    ):
        pass
    with (
        pytest.raises(SetupError, match="tcnn is not installed; pip install"),
        ops.use_peers(encoding="tcnn"),
    ):
        pass
    assert ops.encoding() == "xscale"


def test_unknown_names_tensors_on_the_cpu_and_bending_lenses_are_refused(installed, monkeypatch):
    with pytest.raises(UsageError, match="no rasterizer 'opengl'; there are auto, xscale, nvd"):
        ops.use_peers(rasterizer="opengl").__enter__()
    mesh, camera, *_ = frame_problem("relu")
    bent = camera.clone()
    bent[18] = 2
    with ops.use_peers(rasterizer="nvdiffrast"):
        with pytest.raises(BackendError, match="pinholes only"):
            _rasterize(mesh, bent, (0, 0, 8, 8))
        monkeypatch.setattr(nvdiffrast, "_MOST_FACES", 3)
        with pytest.raises(BackendError, match="takes 3 faces at most"):
            _rasterize(mesh, camera, (0, 0, 8, 8))
        monkeypatch.undo()
        with pytest.raises(BackendError, match="on a GPU only"):
            _rasterize(mesh, camera, (0, 0, 8, 8))
