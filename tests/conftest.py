"""Fixtures that every stage's tests share."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tests import builders


def pytest_collection_modifyitems(items):
    """Skip tests marked ``cuda`` where there is no GPU, so that they are counted."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and not _usable_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device, or no CUDA bodies"))


def _usable_gpu() -> bool:
    import torch

    from xscale import ops

    return torch.cuda.is_available() and ops.cuda_built()


@pytest.fixture(scope="session", autouse=True)
def heard_signals():
    """Let commands that tests start hear signals, also where the tests run behind ``nohup``.

    What is ignored when a process starts is ignored by all that it starts.
    """
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def scenes() -> Path:
    """The folder of real scenes, for tests marked ``data``."""
    beside = Path(__file__).parents[2] / "shared" / "scenes"
    folder = Path(os.environ.get("XSCALE_SCENES") or beside)
    if not folder.is_dir():
        pytest.fail(f"{folder} is not a folder: set XSCALE_SCENES to the folder of real scenes")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def asymmetric() -> builders.Built:
    return builders.asymmetric_scene()


@pytest.fixture(scope="session")
def asymmetric_template(asymmetric, tmp_path_factory) -> Path:
    return builders.write_colmap(asymmetric, tmp_path_factory.mktemp("asymmetric") / "scene")


@pytest.fixture
def asymmetric_folder(asymmetric_template, tmp_path) -> Path:
    """The asymmetric scene in COLMAP's binary layout; a copy that a test may damage."""
    return Path(shutil.copytree(asymmetric_template, tmp_path / "scene"))


@pytest.fixture
def emulated():
    """The device's kernels, run on the host."""
    from xscale import ops

    if not ops.built():
        pytest.fail("the compiled module is missing")
    with ops.use_backend("emulated"):
        yield


@pytest.fixture
def trained_through_and_in_parts(tmp_path, monkeypatch):
    """Train a scene in one go, and again stopped and resumed; both must end with the same bits."""
    from xscale.io.checkpoints import load_newest
    from xscale.training import loop
    from xscale.training.api import train

    def both(scene, *, stop, steps, **options):
        """Return the run that went through and its tensors; ``stop`` is the step of the stop."""
        options = {"steps": steps, **options}
        whole = train(scene, out=tmp_path / "whole", **options)
        with monkeypatch.context() as patch:
            # The schedule belongs to the total.
            patch.setattr(loop.Goal, "share", lambda self, at, _: 1.0 if at >= stop else at / steps)
            train(scene, out=tmp_path / "parts", **options)
        parts = train(scene, out=tmp_path / "parts", resume=True, **options)
        one, two = (load_newest(run.path / "checkpoints")[0].tensors for run in (whole, parts))
        assert one.keys() == two.keys()
        for name in one:
            assert np.array_equal(one[name], two[name]), name
        return whole, one

    return both
