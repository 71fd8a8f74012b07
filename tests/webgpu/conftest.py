"""A device under the web's default limits, exported pages, one browser; each is made once.

Without a driver the tests of devices skip and say so.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch

from tests.render.conftest import write_tiny_run
from tests.webgpu.browser import Browser
from xscale import Run
from xscale.errors import XscaleError
from xscale.export.web_page import PageOptions, write_page
from xscale.model.background import Background
from xscale.render.new_run import write_background
from xscale.run.folder import RunFolder
from xscale.webgpu.device import WEB_LIMITS, find_adapter, open_device

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


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


@pytest.fixture(scope="session")
def run_with_background(asymmetric, tmp_path_factory):
    """A run with a learned background."""
    path = write_tiny_run(asymmetric, tmp_path_factory.mktemp("page") / "run")
    folder = RunFolder(path)
    manifest = folder.manifest
    settings = json.loads(json.dumps(manifest.settings))
    settings["model"]["background"] = "learned"
    generator = torch.Generator().manual_seed(3)
    texture = torch.randint(0, 256, (16, 32, 3), generator=generator, dtype=torch.uint8)
    low, high = torch.tensor([-3.0, -3, -2]), torch.tensor([3.0, 3, 4])
    write_background(folder, manifest.run, Background(texture, "box", low, high))
    folder.manifest_file.unlink()
    folder.write_manifest(replace(manifest, settings=settings))
    return path


@pytest.fixture(scope="session")
def pages(run_with_background, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages")
    opened = Run.open(run_with_background)
    options = {"title": HOSTILE, "credit": HOSTILE, "unit": "m"}
    write_page(opened, out / "one.html", PageOptions(**options))
    write_page(opened, out / "folder", PageOptions(folder=True, **options))
    return out


@pytest.fixture(scope="session")
def browser():
    found = Browser()
    yield found
    found.close()
