"""Backbone weights that tests may use: random, of the true shapes."""

import pytest

from tests.metrics.reference_lpips import write_random_weights


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp("lpips"))


@pytest.fixture(autouse=True)
def _no_weights_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("XSCALE_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))
