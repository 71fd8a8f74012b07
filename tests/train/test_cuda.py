"""A training and its renders on a device, against the CPU's."""

from functools import partial

import numpy as np
import pytest
import torch

import xscale
from xscale.io.checkpoints import load_newest
from xscale.ops import CONTROL_FIELDS
from xscale.training import session
from xscale.training.trainer import Trainer

pytestmark = pytest.mark.cuda
SMALL = [
    "optim.batch=2048",
    "model.grid.levels=8",
    "model.grid.log2_table_size=12",
    "model.shader.hidden=16",
]


def _renders_as_on_the_cpu(run, device):
    camera = run.camera(run.names("test")[0])
    on_device = xscale.Run.open(run.path, device=device).render(camera)
    on_cpu = xscale.Run.open(run.path, device="cpu").render(camera)
    assert torch.equal(on_device.coverage.cpu(), on_cpu.coverage)
    apart = (on_device.colour.cpu().int() - on_cpu.colour.int()).abs().amax(-1)
    assert (apart <= 1).double().mean() > 0.999


def test_a_checkpoint_renders_alike_on_both_devices(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=200, settings=SMALL, device="cuda")
    _renders_as_on_the_cpu(run, "cuda")


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


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_recorded_steps_are_the_plain_steps_bit_for_bit(asymmetric_folder, tmp_path, preset):
    scene = xscale.Scene.open(asymmetric_folder)
    small = [*(SMALL[:3] if preset == "paper" else SMALL), "optim.dense_table=false"]
    said, tensors = [], []
    for recorded in ("true", "false"):
        run = xscale.train(
            scene, out=tmp_path / recorded, steps=40, preset=preset, device="cuda",
            settings=[*small, f"optim.graph={recorded}"], deterministic=True, on_stage=said.append,
        )  # fmt: skip
        tensors.append(load_newest(run.path / "checkpoints")[0].tensors)
    assert not any("W-GRAPH" in line for line in said)
    for name, tensor in tensors[0].items():
        assert np.array_equal(tensor, tensors[1][name]), name


@pytest.mark.parametrize("graph", ["true", "false"])
def test_steps_do_not_wait_for_the_device(asymmetric_folder, tmp_path, monkeypatch, graph):
    class Watched(Trainer):
        def train_step(self, progress):
            if 6 <= self.step < 15:  # before the first look at the losses
                torch.cuda.set_sync_debug_mode("error")
            try:
                return super().train_step(progress)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(session, "Trainer", Watched)
    scene = xscale.Scene.open(asymmetric_folder)
    settings = [*SMALL, f"optim.graph={graph}"]
    xscale.train(scene, out=tmp_path / "run", steps=20, settings=settings, device="cuda")


def test_mixed_training_learns_as_float32_does(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    loss, said = {}, []
    for precision in ("float32", "mixed"):
        trainers = []

        class Kept(Trainer):
            def __init__(self, *args, kept=trainers, **options):
                super().__init__(*args, **options)
                kept.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "Trainer", partial(Kept))
            xscale.train(
                scene, out=tmp_path / precision, steps=200, device="cuda", on_stage=said.append,
                settings=[*SMALL, f"optim.precision={precision}"],
            )  # fmt: skip
        control = dict(zip(CONTROL_FIELDS, trainers[0]._parts.control.tolist(), strict=True))
        loss[precision] = control["loss"] / control["steps"]
        assert control["overflows"] < 20
    assert not any("W-PRECISION" in line for line in said)
    assert loss["mixed"] == pytest.approx(loss["float32"], rel=0.05)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU")
def test_the_second_gpu_trains_and_renders(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=50, settings=SMALL, device="cuda:1")
    _renders_as_on_the_cpu(run, "cuda:1")
