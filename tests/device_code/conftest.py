"""The interpreter alone, and all ops' device code; both are built once and kept in build/."""

from __future__ import annotations

import pytest

from tests.device_code.build import ROOT, Built, compiler_missing
from tests.device_code.device import Device, Interpreter

# Tests of the emulation that find on device code what another one finds too; `make test-long` runs
# them.
_AGAIN = (
    "sizes0-1]", "sizes0-32]", "sizes1-32]", "sizes2-1]", "sizes2-32]", "sizes2-333]", "-8-128]",
    "charbonnier", "give_the_step_of_the_cpu[90-1-", "give_the_step_of_the_cpu[90-2-",
    "-reference]",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        ours = item.path.parts[-2:] == ("device_code", "test_ops.py")
        if ours and any(part in item.name for part in _AGAIN):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def built() -> Built:
    return Built(ROOT / "build" / "device_code")


@pytest.fixture(scope="session")
def library(built):
    import shutil

    if shutil.which("g++") is None:
        pytest.skip("g++ is not on PATH: the interpreter cannot be built")
    return Interpreter(built.interpreter_alone())


@pytest.fixture
def interpreter(library):
    library.reports()
    return library


@pytest.fixture(scope="session")
def device(built) -> Device:
    missing = compiler_missing()
    if missing:
        pytest.skip(f"{missing}: no device code can be made")
    return Device(built)


@pytest.fixture(params=[90, pytest.param(80, marks=pytest.mark.slow)])
def device_code(device, request):
    """Ops run their device code; what the interpreter finds wrong fails the test."""
    from xscale import ops

    device.reports()
    with device.ops(request.param), ops.use_backend("emulated"):
        yield device
    assert device.reports() == []


@pytest.fixture
def device_code_of_80(device):
    """The same, with the code for compute capability 8.0 of the ops that add to rows."""
    from xscale import ops

    device.reports()
    with device.ops(90), ops.use_backend("emulated"):
        device.architecture(80, ("encode", "fused"))
        yield device
    assert device.reports() == []
