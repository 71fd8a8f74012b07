"""Backbone weights that tests may use: random, of the true shapes."""

import pytest
from safetensors.torch import save_file

from tests.metrics.reference_lpips import FILES, random_weights


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lpips")
    for net, name in FILES.items():
        save_file(random_weights(net), folder / name)
    return folder


@pytest.fixture(autouse=True)
def _no_weights_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("XSCALE_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))
