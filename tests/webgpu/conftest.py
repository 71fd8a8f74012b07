"""A device under the web's default limits; without a driver the tests skip and say so."""

from __future__ import annotations

import os

import pytest

from xscale.errors import XscaleError
from xscale.webgpu.device import WEB_LIMITS, find_adapter, open_device


@pytest.fixture(scope="session")
def adapter():
    try:
        return find_adapter(None)
    except XscaleError as error:
        # CI installs a driver and then insists on these tests.
        if os.environ.get("XSCALE_WEBGPU") == "required":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def device(adapter):
    return open_device(adapter, WEB_LIMITS)
