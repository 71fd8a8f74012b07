"""Where a training may run, and what is refused before any work."""

import pytest
import torch

import xscale
from xscale import ops
from xscale.errors import DeviceError, SetupError, UsageError
from xscale.ops import _ext
from xscale.training import request


def test_auto_is_the_cpu_where_the_gpu_lacks_bodies():
    needed = [op for op in ops.OPS.values() if not op.chained]
    lacking = not all(_ext.has_body(k, "cuda") for op in needed for k in op.kernels)
    wanted = "cpu" if lacking or not torch.cuda.is_available() else "cuda"
    assert ops.pick_device("auto").type == wanted
    assert ops.pick_device("cpu").type == "cpu"


def test_cuda_without_a_device_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device; use --device cpu") as caught:
        ops.pick_device("cuda")
    assert caught.value.exit_code == 6


def test_cuda_without_every_body_names_those_that_lack(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(_ext, "has_body", lambda op, device: op != "rasterize")
    with pytest.raises(DeviceError, match="no CUDA body of rasterize"):
        ops.pick_device("cuda")
    assert ops.pick_device("auto").type == "cpu"


def test_ops_that_only_join_others_need_no_body_on_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    joined = {k for op in ops.OPS.values() if op.chained for k in op.kernels}
    monkeypatch.setattr(_ext, "has_body", lambda op, device: op not in joined)
    assert "fused_step" in joined
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    said = []
    ops.pick_device("auto", said.append)
    assert not any("no CUDA body" in line for line in said)


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "CPU", ""])
def test_unknown_device_is_refused(name):
    with pytest.raises(UsageError, match=f"no device '{name}'"):
        ops.pick_device(name)


def _gpu_whose_kernels_fail(monkeypatch, message):
    """A device that torch shows but on which no kernel of ours starts."""

    def call(op, device, **fields):
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(_ext, "has_body", lambda op, device: True)
    monkeypatch.setattr(_ext, "cuda_built", lambda: True)
    monkeypatch.setattr(_ext, "call", call)
    monkeypatch.setattr(torch, "ones", lambda *sizes, device: torch.zeros(sizes))


def test_auto_leaves_a_gpu_alone_whose_kernels_fail_and_says_so_once(monkeypatch):
    _gpu_whose_kernels_fail(monkeypatch, "adam: no kernel image is available for execution")
    said = []
    assert ops.pick_device("auto", said.append).type == "cpu"
    assert len(said) == 1
    assert "no kernel image" in said[0]


def test_cuda_asked_for_by_name_fails_where_its_kernels_fail(monkeypatch):
    _gpu_whose_kernels_fail(monkeypatch, "adam: the driver is too old")
    with pytest.raises(DeviceError, match="the driver is too old"):
        ops.pick_device("cuda")
    with pytest.raises(DeviceError, match="there is no cuda:3, only 1"):
        ops.pick_device("cuda:3")


def test_tensorboard_missing_is_refused_before_anything_is_made(
    asymmetric_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(request.importlib.util, "find_spec", lambda name: None)
    scene = xscale.Scene.open(asymmetric_folder)
    with pytest.raises(SetupError, match="tensorboard"):
        xscale.train(scene, out=tmp_path / "run", steps=1, tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_the_lines_of_the_log(asymmetric_folder, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scene = xscale.Scene.open(asymmetric_folder)
    settings = ["optim.batch=512", "model.grid.levels=4", "model.grid.log2_table_size=10"]
    run = xscale.train(scene, out=tmp_path / "run", steps=8, settings=settings, tensorboard=True)
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert "test_psnr" in events.Tags()["scalars"]
    assert events.Images("preview")[0].width > 0
