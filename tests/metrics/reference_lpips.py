"""The lpips package's own code, run without torchvision.

It takes two backbones from torchvision. Here a stand-in builds them from torchvision's published
layer lists with given weights, so the reference needs no torchvision that fits the torch at hand.
"""

import functools
import sys
import types
import warnings

import torch
from safetensors.torch import save_file
from torch import nn

_VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def vgg16_features():
    layers, channels = [], 3
    for item in _VGG16:
        if item == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU(inplace=True)]
            channels = item
    return nn.Sequential(*layers)


def alexnet_features():
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
    )  # fmt: skip


FEATURES = {"vgg": vgg16_features, "alex": alexnet_features}
FILES = {"vgg": "vgg16_features.safetensors", "alex": "alexnet_features.safetensors"}


@functools.cache
def _random_weights(net):
    generator = torch.Generator().manual_seed(5)
    with torch.device("meta"):
        state = FEATURES[net]().state_dict()
    for name, value in state.items():
        fan_in = value[0].numel() if name.endswith("weight") else 100
        state[name] = (torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5).half()
    return state


def random_weights(net):
    """Weights of a backbone's size that keep activations alive in every layer, as float16."""
    return dict(_random_weights(net))


def write_random_weights(folder):
    """Write both backbones' files into a folder, and return it."""
    for net, name in FILES.items():
        save_file(random_weights(net), folder / name)
    return folder


def reference(net, state, monkeypatch):
    """Return the package's LPIPS module, with its own heads, over a backbone of these weights."""

    def build(pretrained):
        # On the meta device layers are made without spending seconds on random values.
        with torch.device("meta"):
            features = FEATURES[net]()
        values = {name: value.float() for name, value in state.items()}
        features.load_state_dict(values, assign=True)
        return types.SimpleNamespace(features=features)

    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    torchvision.models = models
    models.vgg16 = models.alexnet = build
    for name in [n for n in sys.modules if n == "lpips" or n.startswith("lpips.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    # Training code, which needs more packages; nothing of it takes part in a distance.
    monkeypatch.setitem(sys.modules, "lpips.trainer", types.ModuleType("lpips.trainer"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        module = lpips.LPIPS(net=net, version="0.1", verbose=False)
    for name in [n for n in sys.modules if n == "lpips" or n.startswith("lpips.")]:
        monkeypatch.delitem(sys.modules, name)
    # Its code looks its helpers up in the package at every call.
    monkeypatch.setitem(sys.modules, "lpips", lpips)

    @torch.no_grad()
    def distance(render, photo):
        a, b = (torch.from_numpy(2 * p - 1).float().permute(2, 0, 1)[None] for p in (render, photo))
        return float(module(a, b))

    return distance
