"""The ReLU shader's own rules."""

import torch

from xscale.model.settings import ShaderSettings
from xscale.model.shader import ReluShader


def test_only_the_weights_of_the_view_direction_decay():
    shader = ReluShader(ShaderSettings(), 8, 2, torch.device("cpu"), torch.Generator())
    before = shader.weights.clone()
    shader.after_step(0.25)
    layout = shader.layout
    was, now = layout.unpack(before), layout.unpack(shader.weights)
    assert torch.equal(now["W2"][:, layout.hidden :], was["W2"][:, layout.hidden :] * 0.75)
    was["W2"][:, layout.hidden :] *= 0.75
    assert torch.equal(shader.weights, before)  # nothing else moved
    features, up = torch.rand(5, 8), torch.tensor([[0.0, 0.0, 1.0]]).repeat(5, 1)
    for _ in range(200):
        shader.after_step(0.25)
    assert torch.equal(shader.shade(features, up), shader.shade(features, -up))
