"""Devices that are missing, too small or lost: one line, and never the CPU in silence."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from tests.render.conftest import write_tiny_run
from tests.webgpu.problems import problem
from xscale import Run
from xscale.cli import _adapters
from xscale.cli.main import main
from xscale.errors import DeviceError, SetupError, UsageError
from xscale.render import devices
from xscale.run.folder import RunFolder
from xscale.webgpu import device as module
from xscale.webgpu.device import WEB_LIMITS, open_device


@pytest.fixture(scope="module")
def run(asymmetric, tmp_path_factory):
    return write_tiny_run(asymmetric, tmp_path_factory.mktemp("devices") / "run")


def told(capsys, *argv):
    """The error that a command ends with, after checking that it is one line."""
    code = main(list(argv))
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert code != 0
    assert len(lines) == 1
    return code, lines[0]


def test_without_wgpu_the_extra_is_named_and_nothing_is_rendered(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wgpu", None)
    module.adapters.cache_clear()
    try:
        code, line = told(capsys, "render", str(run), "--device", "webgpu")
    finally:
        module.adapters.cache_clear()
    assert code == SetupError.exit_code
    assert "pip install 'xscale[webgpu]'" in line
    assert "--device cpu" in line
    assert not (run / "renders").exists()


def test_without_a_driver_it_is_named(run, monkeypatch, capsys):
    monkeypatch.setattr(module, "adapters", lambda: ())
    code, line = told(capsys, "render", str(run), "--device", "webgpu")
    assert code == DeviceError.exit_code
    assert "no driver for Vulkan" in line
    assert "--device cpu" in line


def test_an_adapter_that_does_not_exist_is_refused(run, adapter, capsys):
    _, line = told(capsys, "score", str(run), "--device", "webgpu:77")
    assert "there is no webgpu:77" in line


@pytest.mark.parametrize("name", ["webgpu:", "webgpu:-1", "webgpu:a", "webgpus", "WEBGPU"])
def test_names_that_are_none_are_refused(run, name, capsys):
    code, line = told(capsys, "render", str(run), "--device", name)
    assert code == UsageError.exit_code
    assert "webgpu:0" in line


def test_limits_that_are_too_small_are_named(adapter):
    small = replace(adapter, limits={**adapter.limits, "max-storage-buffers-per-shader-stage": 4})
    with pytest.raises(DeviceError, match=r"storage-buffers-per-shader-stage is 4.*--device cpu"):
        open_device(small)


@pytest.mark.parametrize("command", [["render"], ["export", "page"]])
def test_a_run_without_a_mesh_is_one_line(run, tmp_path, capsys, adapter, command):
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    (bare / "mesh.safetensors").unlink()
    name, *rest = command
    device = [] if rest else ["--device", f"webgpu:{adapter.number}"]
    out = ["--out", str(tmp_path / "out.html")]
    _, line = told(capsys, name, str(bare), *rest, *device, *out)
    assert "mesh" in line
    assert not (tmp_path / "out.html").exists()


def test_an_adapter_that_does_not_open_says_why(adapter):
    class Broken:
        def request_device_sync(self, **_):
            raise RuntimeError("out of luck\nmore")

    with pytest.raises(DeviceError, match="does not open: out of luck; use --device cpu"):
        open_device(replace(adapter, handle=Broken()))


def test_a_lost_device_is_one_line(adapter):
    case, lost = problem(), open_device(adapter, WEB_LIMITS)
    painter = case.painter(lost)
    case.paint(lost, painter=painter)
    lost.handle.destroy()
    with pytest.raises(DeviceError, match=r"was lost or refused its work: .*--device cpu"):
        case.paint(lost, painter=painter)


def test_auto_takes_a_graphics_chip_and_no_driver_that_computes_on_the_cpu(
    run, adapter, monkeypatch
):
    monkeypatch.setattr(devices.ops, "pick_device", lambda *_: torch.device("cpu"))
    software = replace(adapter, kind="CPU")
    chip = replace(adapter, kind="IntegratedGPU", number=1)
    monkeypatch.setattr(devices, "adapters", lambda: (software, chip))
    assert devices.pick_render_device("auto", run) == "webgpu:1"
    monkeypatch.setattr(devices, "adapters", lambda: (software,))
    assert devices.pick_render_device("auto", run) == "cpu"


def test_auto_leaves_the_chip_alone_where_webgpu_does_not_draw_the_run(
    asymmetric, adapter, tmp_path, monkeypatch
):
    path = with_encoding(write_tiny_run(asymmetric, tmp_path / "run"), "vertex")
    monkeypatch.setattr(devices, "adapters", lambda: (replace(adapter, kind="IntegratedGPU"),))
    lines = []
    assert devices.pick_render_device("auto", path, lines.append) == "cpu"
    assert [line.split(":")[0] for line in lines] == ["W-DEVICE"]
    with pytest.raises(UsageError, match=r"model.encoding=vertex; use --device cpu"):
        Run.open(path, "webgpu")


def test_training_by_webgpu_is_refused(tmp_path, capsys):
    code, line = told(
        capsys, "train", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "webgpu"
    )
    assert code == UsageError.exit_code
    assert "renders; it does not train; use --device cpu or cuda" in line


def test_doctor_lists_the_adapters_with_limits_and_draws_on_each(adapter):
    found = _adapters.examine()
    row = found["adapters"][adapter.number]
    assert row["passed"]
    assert 0 <= row["error"] <= row["allowed"]
    assert row["binding_bytes"] >= 1 << 27
    assert _adapters.wrong(found) == []
    json.dumps(found)


def test_doctor_names_an_adapter_that_draws_wrong(adapter, monkeypatch):
    from xscale.webgpu import selftest

    monkeypatch.setattr(selftest, "self_test", lambda device: 0.5)
    assert _adapters.wrong(_adapters.examine()) == [f"webgpu:{adapter.number}"]


def with_encoding(path, encoding):
    folder = RunFolder(path)
    settings = json.loads(json.dumps(folder.manifest.settings))
    settings["model"]["encoding"] = encoding
    manifest = replace(folder.manifest, settings=settings)
    folder.manifest_file.unlink()
    folder.write_manifest(manifest)
    return path
