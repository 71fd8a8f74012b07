"""Shaders against eager PyTorch in float32.

The ceiling makes as many multiply-adds on registers (three times the forward's in training),
without loads, biases or activations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks._timing import Work, milliseconds, row
from xscale import ops
from xscale.ops.shade import shade_reference
from xscale_comparisons import ceiling

RAYS = 1 << 15


def _relu_case(rays: int, features: int, photos: int) -> tuple:
    generator = torch.Generator().manual_seed(0)
    layout = ops.ReluShaderLayout(features)
    weights = ops.relu_shader_init(layout, generator)
    x = torch.randn(rays, features, generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    photo = torch.randint(0, photos, (rays,), generator=generator).int()
    return x, direction, weights, layout, ops.identity_exposure(photos), photo


def _film_case(rays: int, features: int, photos: int) -> tuple:
    generator = torch.Generator().manual_seed(0)
    layout, codes = ops.FilmShaderLayout(features), ops.FilmCodeLayout()
    weights = ops.film_shader_init(layout, generator)
    code_weights = ops.film_code_init(codes, generator)
    light = ops.film_light(ops.film_codes_init(1, 8, generator)[0], code_weights, codes)
    exposure = ops.film_exposure(ops.film_codes_init(photos, 4, generator), code_weights, codes)
    x, direction, *_, photo = _relu_case(rays, features, photos)
    return x, direction, weights, layout, exposure, photo, light


def _eager_train(reference: Callable, case: tuple, target: torch.Tensor) -> None:
    """Forward, L1 and backward by autograd, gradients in features, weights and per-photo rows."""
    leaves = [
        argument.detach().requires_grad_()
        if isinstance(argument, torch.Tensor) and argument.is_floating_point() and index != 1
        else argument
        for index, argument in enumerate(case)
    ]
    ops.shade_loss(reference(*leaves), target, "l1").sum().backward()


def rows() -> list[dict[str, object]]:
    """Time both shaders, forwards and in training."""
    relu, film = _relu_case(RAYS, 32, 100), _film_case(RAYS, 128, 100)
    target = torch.rand(RAYS, 3, generator=torch.Generator().manual_seed(1))
    film_train = (*film[:4], target, *film[4:])
    relu_train = (*relu[:4], target, *relu[4:])
    cases = [
        ("shade_relu forward", "32 features, hidden 64", relu, 1,
         lambda: ops.shade(*relu), lambda: shade_reference(*relu)),
        ("shade_relu train", "32 features, hidden 64", relu, 3,
         lambda: ops.shade_train(*relu_train),
         lambda: _eager_train(shade_reference, relu, target)),
        ("shade_film forward", "128 features, hidden 64", film, 1,
         lambda: ops.shade(*film), lambda: shade_reference(*film)),
        ("shade_film train", "128 features, hidden 64", film, 3,
         lambda: ops.shade_train(*film_train),
         lambda: _eager_train(shade_reference, film, target)),
    ]  # fmt: skip
    return [_compare(*case) for case in cases]


def _compare(
    name: str, shape: str, case: tuple, passes: int, ours: Work, peer: Work
) -> dict[str, object]:
    products = passes * RAYS * ceiling.products(ops.FrameShader(case[2], case[3]))
    works = {
        "ours": ours, "peer": peer, "twin": lambda: ceiling.multiply(products, bfloat16=False)
    }  # fmt: skip
    with torch.set_grad_enabled("train" in name):
        times = milliseconds(works)
    made = row(name, f"{RAYS} rays, {shape}", times, peer_name="PyTorch eager float32",
               ceiling="twin")  # fmt: skip
    return {**made, "mray_per_s": RAYS / times["ours"]["median"] / 1e3}
