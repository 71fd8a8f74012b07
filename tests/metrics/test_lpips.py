import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from tests.metrics.reference_lpips import FILES, random_weights, reference
from xscale.errors import IntegrityError, SetupError, ShapeError, UsageError
from xscale.metrics import network
from xscale.metrics.lpips import LpipsModel
from xscale.metrics.lpips_loss import FeatureDistance
from xscale.metrics.lpips_weights import load_weights
from xscale.metrics.models import load_models


def three_pictures(rng, size):
    """A photo, a render, and the render with its lower part replaced by the photo's."""
    photo = rng.random((*size, 3))
    render = np.clip(photo + rng.normal(0, 0.2, photo.shape), 0, 1)
    mixed = render.copy()
    mixed[size[0] // 4 :, size[1] // 4 :] = photo[size[0] // 4 :, size[1] // 4 :]
    return photo, render, mixed


# VGG's blocks are 128, 64, 32 wide: sizes leave a rest of one, two and many pixels in some slice.
@pytest.mark.parametrize(
    ("net", "size"),
    [
        *[("alex", size) for size in ((32, 33), (71, 130))],
        *[("vgg", size) for size in ((32, 47), (129, 34), (258, 40), (33, 322))],
    ],
)
def test_distances_equal_the_lpips_package(rng, weights_dir, monkeypatch, net, size):
    theirs = reference(net, random_weights(net), monkeypatch)
    pictures = three_pictures(rng, size)
    pairs = [(1, 0), (2, 0), (0, 0)]
    ours = LpipsModel(net, weights_dir).distances(pictures, pairs)
    expected = [*(theirs(pictures[a], pictures[b]) for a, b in pairs[:2]), 0.0]
    assert min(expected[:2]) > 1e-3
    assert ours == pytest.approx(expected, abs=1e-6)
    assert ours[2] == 0.0


@pytest.mark.parametrize(
    ("net", "size", "tile"),
    [("vgg", (66, 33), 20), ("alex", (131, 200), 64)],
)
def test_tiles_give_the_distances_of_whole_pictures(rng, weights_dir, monkeypatch, net, size, tile):
    pictures = [*three_pictures(rng, size), rng.random((*size, 3))]
    pairs = [(1, 0), (2, 0), (3, 1), (3, 0)]
    model = LpipsModel(net, weights_dir)
    expected = model.distances(pictures, pairs)
    monkeypatch.setattr(network, "_TILE", tile)
    assert model.distances(pictures, pairs) == pytest.approx(expected, abs=1e-7)


def test_what_pictures_share_is_computed_once(rng, weights_dir, monkeypatch):
    model = LpipsModel("vgg", weights_dir)
    photo = rng.random((256, 256, 3))
    render = photo.copy()
    render[:20, :20] = 0.5
    calls = []
    convolve = functional.conv2d
    monkeypatch.setattr(functional, "conv2d", lambda *a: calls.append(a[1]) or convolve(*a))
    model.distances([render, photo], [(0, 1)])
    first_layer = [weight for weight in calls if weight.shape[1] == 3]
    assert len(first_layer) == 4 + 1


def test_pictures_below_the_network_have_no_distance(rng, weights_dir):
    small = rng.random((31, 80, 3))
    assert LpipsModel("alex", weights_dir).distances([small, small], [(0, 1)]) == [None]


def test_pictures_of_two_shapes_are_refused(rng, weights_dir):
    with pytest.raises(ShapeError):
        LpipsModel("alex", weights_dir).distance(np.zeros((40, 41, 3)), np.zeros((41, 40, 3)))


def test_the_weights_are_named_by_their_hash(weights_dir):
    source = load_weights("alex", weights_dir).source
    data = (weights_dir / FILES["alex"]).read_bytes()
    assert source["sha256"] == hashlib.sha256(data).hexdigest()
    assert source["file"] == FILES["alex"]
    assert len(source["heads_sha256"]) == 64


def test_the_environment_names_the_folder(weights_dir, monkeypatch):
    monkeypatch.setenv("XSCALE_LPIPS_WEIGHTS", str(weights_dir))
    models, notices = load_models()
    assert set(models) == {"vgg", "alex"}
    assert notices == []


def torchvision_cache(monkeypatch, folder):
    """A cache as torchvision leaves it: whole networks, named by the hash's start."""
    place = folder / "hub" / "checkpoints"
    place.mkdir(parents=True)
    state = {f"features.{n}": v.float() for n, v in random_weights("alex").items()}
    state["classifier.1.weight"] = torch.zeros(2, 2)
    path = place / "alexnet-owt-7be5be79.pth"
    torch.save(state, path)
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return path


def test_torchvisions_cache_is_found_and_checked_against_its_name(tmp_path, monkeypatch):
    path = torchvision_cache(monkeypatch, tmp_path / "home")
    with pytest.raises(IntegrityError, match="not the one in its name"):
        load_weights("alex")
    monkeypatch.setattr("xscale.metrics.lpips_weights.sha256_file", lambda p: "7be5be79" + "0" * 56)
    found = load_weights("alex")
    assert found.source["file"] == path.name
    expected = random_weights("alex")["3.bias"].float()
    assert torch.equal(found.convolutions[3].bias, expected)


def test_missing_weights_are_one_line_that_says_how_to_get_them(tmp_path, weights_dir):
    models, notices = load_models(tmp_path)
    assert models == {}
    assert len(notices) == 1
    for part in ("lpips_vgg", "lpips_alex", "--lpips-weights", "XSCALE_LPIPS_WEIGHTS"):
        assert part in notices[0]
    assert "\n" not in notices[0]
    assert str(tmp_path) in notices[0]
    with pytest.raises(SetupError, match="lpips_vgg not scored"):
        LpipsModel("vgg", tmp_path)


def test_one_network_is_scored_without_the_other(tmp_path, weights_dir):
    (tmp_path / FILES["alex"]).symlink_to(weights_dir / FILES["alex"])
    models, notices = load_models(tmp_path)
    assert set(models) == {"alex"}
    assert "lpips_vgg not scored" in notices[0]
    assert "lpips_alex" not in notices[0]


def test_without_the_lpips_package_one_line_names_the_extra(weights_dir, monkeypatch):
    monkeypatch.setattr("xscale.metrics.lpips_weights.importlib.util.find_spec", lambda name: None)
    models, notices = load_models(weights_dir)
    assert models == {}
    assert len(notices) == 1
    assert "xscale[metrics]" in notices[0]


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a folder; give --lpips-weights"):
        load_models(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["cut", "shape", "nan", "missing"])
def test_damaged_weights_are_named(tmp_path, damage):
    state = random_weights("alex")
    if damage == "shape":
        state["0.bias"] = torch.zeros(63)
    elif damage == "nan":
        state["0.bias"] = torch.full((64,), float("nan"))
    elif damage == "missing":
        del state["10.weight"]
    path = tmp_path / FILES["alex"]
    save_file(state, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(IntegrityError, match=FILES["alex"]):
        load_weights("alex", tmp_path)


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_as_a_loss_it_is_the_same_distance_and_has_its_slope(rng, weights_dir, monkeypatch, net):
    monkeypatch.setenv("XSCALE_LPIPS_WEIGHTS", str(weights_dir))
    first, second = (rng.random((40, 40, 3)) for _ in range(2))
    distance = FeatureDistance(net, torch.device("cpu"))
    photo, picture = (torch.from_numpy(p).float().permute(2, 0, 1)[None] for p in (first, second))
    expected = LpipsModel(net, weights_dir).distance(second, first)
    picture.requires_grad_()
    value = distance(picture, photo)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    (gradient,) = torch.autograd.grad(value, picture)
    step = 1e-2 * gradient / gradient.norm()
    ahead, behind = (float(distance(picture.detach() + s * step, photo)) for s in (1, -1))
    assert (ahead - behind) / 2 == pytest.approx(1e-2 * float(gradient.norm()), rel=0.1)
