"""Shaders against eager PyTorch in float32: rows() measures, running the file prints them.

Both sides use the same number of threads and their calls alternate, so that a busy machine slows
them alike; each figure is the median of the repetitions. The ceiling is the float32 rate of
a 1024 x 1024 matrix product in torch,
measured in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from xscale import ops
from xscale.ops.shade_film import shade_film_reference
from xscale.ops.shade_relu import shade_relu_reference

RAYS = 1 << 15
REPEATS = 7


def _alternate(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each call; one round without the clock."""
    times: list[list[float]] = [[] for _ in calls]
    for round_number in range(repeats + 1):
        for call, seconds in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            if round_number:
                seconds.append(time.perf_counter() - begin)
    return [statistics.median(seconds) for seconds in times]


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
    return x, direction, weights, layout, light, exposure, photo


def _eager_train(reference: Callable, case: tuple, target: torch.Tensor) -> None:
    """Forward, L1 and backward by autograd, gradients in features, weights and per-photo rows."""
    leaves = [
        argument.detach().requires_grad_()
        if isinstance(argument, torch.Tensor) and argument.is_floating_point() and index != 1
        else argument
        for index, argument in enumerate(case)
    ]
    ops.shade_loss(reference(*leaves), target, "l1").sum().backward()


def _matrix_rate() -> float:
    """Float operations a second of torch's float32 product of 1024 x 1024 matrices."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    (seconds,) = _alternate([lambda: a @ b], REPEATS)
    return 2 * 1024**3 / seconds


def _multiply_adds(layout: ops.ReluShaderLayout | ops.FilmShaderLayout) -> int:
    return sum(shape[0] * shape[1] for shape in layout.shapes.values() if len(shape) == 2)


def rows() -> list[dict]:
    """Measure every case with torch's current number of threads.

    Returns:
        One row a case. ``ours`` and ``peer`` are in million rays a second, ``ratio`` is ours over
        the peer's, ``share_of_ceiling`` our arithmetic over the rate of torch's large matrix
        product in this run.
    """
    threads = torch.get_num_threads()
    ceiling = _matrix_rate()
    relu, film = _relu_case(RAYS, 32, 100), _film_case(RAYS, 128, 100)
    target = torch.rand(RAYS, 3, generator=torch.Generator().manual_seed(1))
    film_train = (*film[:5], target, *film[5:])
    relu_train = (*relu[:4], target, *relu[4:])
    cases = [
        ("shade_relu forward", "32 features, hidden 64", relu, 1,
         lambda: ops.shade_relu(*relu), lambda: shade_relu_reference(*relu)),
        ("shade_relu train", "32 features, hidden 64", relu, 3,
         lambda: ops.shade_relu_train(*relu_train),
         lambda: _eager_train(shade_relu_reference, relu, target)),
        ("shade_film forward", "128 features, hidden 64", film, 1,
         lambda: ops.shade_film(*film), lambda: shade_film_reference(*film)),
        ("shade_film train", "128 features, hidden 64", film, 3,
         lambda: ops.shade_film_train(*film_train),
         lambda: _eager_train(shade_film_reference, film, target)),
    ]  # fmt: skip
    result = []
    for name, shape, case, passes, ours, peer in cases:
        with ops.limit_threads(threads), torch.set_grad_enabled("train" in name):
            our_seconds, peer_seconds = _alternate([ours, peer], REPEATS)
        arithmetic = 2 * passes * _multiply_adds(case[3]) * RAYS
        result.append({
            "name": name, "shape": f"{RAYS} rays, {shape}", "threads": threads, "isa": ops.isa(),
            "unit": "Mray/s", "ours": RAYS / our_seconds / 1e6, "peer": RAYS / peer_seconds / 1e6,
            "peer_name": "PyTorch eager float32", "ratio": peer_seconds / our_seconds,
            "share_of_ceiling": arithmetic / our_seconds / ceiling,
        })  # fmt: skip
    return result


def main() -> None:
    """Print the rows for one and two threads."""
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for row in rows():
            print(
                f"{row['name']:20} {row['threads']} threads  {row['ours']:7.2f} {row['unit']}  "
                f"peer {row['peer']:6.3f}  x{row['ratio']:5.1f}  "
                f"{100 * row['share_of_ceiling']:3.0f} % of ceiling"
            )


if __name__ == "__main__":
    main()
