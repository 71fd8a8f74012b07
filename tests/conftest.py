"""Fixtures that every stage's tests share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import builders


def _devices() -> list:
    """The one place that decides whether a test also runs on a GPU."""
    gpu = [pytest.param("cuda", marks=pytest.mark.gpu)] if Path("/dev/nvidia0").exists() else []
    return ["cpu", *gpu]


@pytest.fixture(params=_devices())
def device(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def scenes() -> Path:
    """The folder of real scenes, for tests marked ``data``."""
    beside = Path(__file__).parents[2] / "shared" / "scenes"
    folder = Path(os.environ.get("XSCALE_SCENES") or beside)
    if not folder.is_dir():
        pytest.fail(f"{folder} is no folder: set XSCALE_SCENES to the folder of real scenes")
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
