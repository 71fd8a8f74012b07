"""A training and its renders on a device, against the CPU's."""

import pytest
import torch

import xscale

pytestmark = pytest.mark.cuda
SMALL = [
    "optim.batch=2048",
    "model.grid.levels=8",
    "model.grid.log2_table_size=12",
    "model.shader.hidden=16",
]


def test_a_checkpoint_renders_alike_on_both_devices(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=200, settings=SMALL, device="cuda")
    camera = run.camera(run.names("test")[0])
    on_device = xscale.Run.open(run.path, device="cuda").render(camera)
    on_cpu = xscale.Run.open(run.path, device="cpu").render(camera)
    assert torch.equal(on_device.coverage.cpu(), on_cpu.coverage)
    apart = (on_device.colour.cpu().int() - on_cpu.colour.int()).abs().amax(-1)
    assert (apart <= 1).double().mean() > 0.999


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_training_on_the_device_learns_as_on_the_cpu(asymmetric_folder, tmp_path, preset):
    scene = xscale.Scene.open(asymmetric_folder)
    small = SMALL[:3] if preset == "paper" else SMALL
    scores = {}
    for device in ("cpu", "cuda"):
        run = xscale.train(
            scene, out=tmp_path / device, steps=100, settings=small, device=device, preset=preset
        )
        name = run.names("test")[0]
        frame = run.render(run.camera(name))
        truth = torch.from_numpy(scene.photo(name).read()).float()
        error = (frame.colour.cpu().float() - truth)[frame.coverage.cpu()].square().mean()
        scores[device] = float(-10 * torch.log10(error / 255**2))
    assert abs(scores["cuda"] - scores["cpu"]) < 0.5
