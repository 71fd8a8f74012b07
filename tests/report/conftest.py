"""A run folder with renders, and its scores without LPIPS weights."""

import pytest

from tests.metrics.reference_lpips import write_random_weights
from tests.report.builders import NAMES, write_run
from xscale.report.score import score_renders


@pytest.fixture(autouse=True)
def _no_weights_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("XSCALE_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp("lpips"))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    return folder, write_run(folder)


@pytest.fixture
def scored(run):
    folder, photos = run
    renders, coverage = folder / "renders" / "test", folder / "renders" / "test/coverage"
    scores = score_renders(NAMES, photos.__getitem__, renders, coverage)
    return folder, photos, scores
