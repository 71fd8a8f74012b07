"""A small scene, and the same prepared for the benchmark."""

import pytest

from tests import builders
from tests.metrics.reference_lpips import write_random_weights
from xscale import Scene
from xscale.giganvs.prepare import prepare

PHOTOS = 9


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    built = builders.asymmetric_scene(photos=PHOTOS, width=64, height=48)
    return builders.write_colmap(built, tmp_path_factory.mktemp("source") / "office")


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    return prepare(Scene.open(source), root / "office")


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp("lpips"))
