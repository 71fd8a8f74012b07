"""PSNR, SSIM and LPIPS equal those of the programs that others measure with."""

import sys
import types

import numpy as np
import pytest
import torch

from tests.metrics.reference_lpips import FEATURES, random_weights
from xscale.metrics.lpips import LpipsModel
from xscale.metrics.psnr import psnr
from xscale.metrics.ssim import ssim

SIZES = [(64, 80), (97, 61), (33, 200)]


def pair(rng, size):
    """A photo with structure and a darker, noisy render, 8-bit."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    photo = np.dstack([x, 0.5 + 0.4 * np.sin(20 * y), 0.5 * (x + y)])
    photo = np.clip(photo + rng.normal(0, 0.05, photo.shape), 0, 1)
    render = np.clip(0.8 * photo + 0.05 + rng.normal(0, 0.03, photo.shape), 0, 1)
    return np.rint(255 * render).astype(np.uint8), np.rint(255 * photo).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_psnr_and_ssim_equal_scikit_image(rng, size):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    render, photo = (p / 255 for p in pair(rng, size))
    expected = peak_signal_noise_ratio(photo, render, data_range=1)
    assert psnr(render, photo) == pytest.approx(expected, abs=1e-5)
    expected = structural_similarity(
        photo, render, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(render, photo) == pytest.approx(expected, abs=1e-5)


class Anything(types.ModuleType):
    """A module of which every name can be imported."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.filterwarnings("ignore")
def test_psnr_and_ssim_equal_torchmetrics(rng, size, monkeypatch):
    # It imports torchvision where that is installed, and these two need nothing of it.
    for name in ("", ".models", ".models.feature_extraction", ".ops", ".transforms"):
        monkeypatch.setitem(sys.modules, f"torchvision{name}", Anything(f"torchvision{name}"))
    image = pytest.importorskip("torchmetrics.functional.image")
    render, photo = (p / 255 for p in pair(rng, size))
    theirs = [torch.from_numpy(p).permute(2, 0, 1)[None] for p in (render, photo)]
    expected = float(image.peak_signal_noise_ratio(*theirs, data_range=1.0))
    assert psnr(render, photo) == pytest.approx(expected, abs=1e-5)
    _, whole = image.structural_similarity_index_measure(
        *theirs, data_range=1.0, return_full_image=True
    )
    # Its own mean counts the outer pixels too, whose windows hang over the edge.
    expected = float(whole[..., 5:-5, 5:-5].mean())
    assert ssim(render, photo) == pytest.approx(expected, abs=1e-5)


def stand_in(monkeypatch):
    """Put torchvision's two backbones in place, with the tests' weights."""
    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    torchvision.models = models

    def build(net):
        def make(pretrained=True):
            features = FEATURES[net]()
            features.load_state_dict({n: v.float() for n, v in random_weights(net).items()})
            return types.SimpleNamespace(features=features)

        return make

    models.vgg16, models.alexnet = build("vgg"), build("alex")
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


@pytest.mark.parametrize("size", SIZES[:1])
@pytest.mark.filterwarnings("ignore")
def test_all_figures_equal_nerfbaselines(rng, size, weights_dir, monkeypatch):
    pytest.importorskip("nerfbaselines")
    stand_in(monkeypatch)
    from nerfbaselines import metrics
    from nerfbaselines.evaluation import compute_metrics

    render, photo = pair(rng, size)
    theirs = compute_metrics(render[None], photo[None], run_lpips_vgg=True)
    metrics.clear_cache()
    ours = {
        "psnr": psnr(render / 255, photo / 255),
        "ssim": ssim(render / 255, photo / 255),
        "lpips": LpipsModel("alex", weights_dir).distance(render, photo),
        "lpips_vgg": LpipsModel("vgg", weights_dir).distance(render, photo),
    }
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], abs=1e-4), name
