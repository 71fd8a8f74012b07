"""The interpreter alone, and all ops' device code; both are built once and kept in build/."""

from __future__ import annotations

import pytest

from tests.device_code.build import ARCHITECTURES, ROOT, Built, compiler_missing
from tests.device_code.device import Device, Interpreter


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


@pytest.fixture(params=ARCHITECTURES)
def device_code(device, request):
    """Ops run their device code; what the interpreter finds wrong fails the test."""
    from xscale import ops

    device.reports()
    with device.ops(request.param), ops.use_backend("emulated"):
        yield device
    assert device.reports() == []
