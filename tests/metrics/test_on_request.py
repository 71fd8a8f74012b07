"""DISTS and FLIP equal their packages; what is missing is one line."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from tests.metrics.reference_lpips import FEATURES, random_weights
from xscale.errors import IntegrityError, SetupError, UsageError
from xscale.metrics import dists, network
from xscale.metrics.dists import DistsModel
from xscale.metrics.flip import PIXELS_PER_DEGREE, FlipModel
from xscale.metrics.models import check_extras, load_models
from xscale.metrics.variants import score_photo


def pictures(rng, size=(49, 70)):
    photo = rng.random((*size, 3))
    render = np.clip(photo + rng.normal(0, 0.1, photo.shape), 0, 1)
    render[:10] = photo[:10]
    return render, photo


def package(monkeypatch):
    """Return the package's own code over a backbone with the tests' weights."""
    from tests.metrics.test_parity import Anything

    models = Anything("torchvision.models")
    features = FEATURES["vgg"]()
    features.load_state_dict({n: v.float() for n, v in random_weights("vgg").items()})
    models.vgg16 = lambda pretrained: type("Whole", (), {"features": features})
    torchvision = Anything("torchvision")
    torchvision.models = models
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    for name in [n for n in sys.modules if n.startswith("DISTS_pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    from DISTS_pytorch.DISTS_pt import DISTS

    module = DISTS(load_weights=False)
    for name, value in torch.load(dists.weights_file(), weights_only=True).items():
        getattr(module, name).data = value.data
    return module


@pytest.mark.parametrize("tile", [1024, 24])
def test_dists_equals_the_package(rng, weights_dir, monkeypatch, tile):
    if importlib.util.find_spec("DISTS_pytorch") is None:
        pytest.skip("dists-pytorch is not installed")
    theirs = package(monkeypatch)
    monkeypatch.setattr(network, "_TILE", tile)
    render, photo = pictures(rng)
    tensors = [torch.from_numpy(p).float().permute(2, 0, 1)[None] for p in (render, photo)]
    with torch.no_grad():
        expected = float(theirs(*tensors))
    ours = DistsModel(weights_dir).distances([render, photo], [(0, 1), (1, 1)])
    assert expected > 1e-3
    assert ours[0] == pytest.approx(expected, abs=2e-6)
    assert ours[1] == pytest.approx(0, abs=1e-12)


def test_flip_equals_the_package_and_counts_covered_pixels(rng):
    flip = pytest.importorskip("flip_evaluator")
    render, photo = (np.rint(255 * p).astype(np.uint8) for p in pictures(rng))
    coverage = np.zeros(photo.shape[:2], bool)
    coverage[10:, :40] = True
    scores = score_photo(render, photo, coverage, None, {"flip": FlipModel()}, None, ["flip"])
    arrays = [np.ascontiguousarray(p / 255, np.float32) for p in (photo, render)]
    errors, mean, _ = flip.evaluate(
        *arrays, "LDR", applyMagma=False, parameters={"ppd": PIXELS_PER_DEGREE}
    )
    assert scores["flip"] == pytest.approx(mean, abs=1e-6)
    assert errors.shape[:2] == photo.shape[:2]
    filled = render.copy()
    filled[~coverage] = photo[~coverage]
    again, _, _ = flip.evaluate(
        arrays[0], np.ascontiguousarray(filled / 255, np.float32), "LDR", applyMagma=False
    )
    expected = again.reshape(coverage.shape)[coverage].mean()
    assert scores["flip_covered"] == pytest.approx(expected, abs=1e-6)
    assert scores["flip_covered"] != scores["flip"]


@pytest.mark.parametrize("name", ["dists", "flip"])
def test_a_missing_package_is_one_line_with_advice(name, weights_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    monkeypatch.setattr(dists.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install .xscale\[more-metrics\]") as error:
        check_extras([name], weights_dir)
    assert "\n" not in str(error.value)


def test_unknown_metrics_are_refused_and_damaged_weights_named(weights_dir, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no metric on request is called fid; there are"):
        load_models(weights_dir, ["fid"])
    (tmp_path / "weights.pt").write_bytes(b"damaged")
    monkeypatch.setattr(dists, "weights_file", lambda: tmp_path / "weights.pt")
    with pytest.raises(IntegrityError, match=r"weights\.pt"):
        DistsModel(weights_dir)
