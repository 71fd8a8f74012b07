"""``xscale doctor``: what this machine has, and whether every op computes what it should."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import xscale
from xscale.cli import _adapters, _machine, _viewer
from xscale.cli._console import parse, print_json, print_table, result, say

_EXTRAS = {
    "lpips": "metrics",
    "torchvision": "metrics",
    "dracopy": "formats",
    "imagecodecs": "formats",
    "openexr": "formats",
    "tifffile": "formats",
    "tensorboard": "tensorboard",
    "open3d-cpu": "bench",
    "imgui-bundle": "viewer",
    "glfw": "viewer",
    "wgpu": "webgpu",
}
# The references are written for the reader and run in float32 here: they round more than a body.
_REFERENCE_SLACK = 10
_WEIGHTS = ("alexnet", "vgg16")


@dataclass(frozen=True)
class Options:
    """Print what xscale found on this machine and test every op on every backend, in seconds.

    Begin a bug report with its output. The exit code is 0, or 13 if something does not work.
    """

    json: bool = False
    """Print one JSON document instead of tables."""
    fetch_lpips: bool = False
    """First download the missing LPIPS networks. Nothing else in xscale connects to another
    machine."""


def run(argv: list[str]) -> int:
    """Look, test, print."""
    options = parse(Options, argv, "doctor")
    if options.fetch_lpips:
        from xscale.metrics.lpips_weights import fetch_backbones

        fetch_backbones(say)
    found = examine()
    if options.json:
        print_json(found)
    else:
        _print(found)
    return 0 if found["healthy"] else 13


def examine() -> dict[str, object]:
    """Return everything that ``doctor`` prints, as plain values."""
    tests = self_tests()
    machine = _machine.describe()
    webgpu = _adapters.examine()
    failed = [row for row in tests if not row["passed"]]
    failed += [{"op": "picture", "backend": name} for name in _adapters.wrong(webgpu)]
    verdict, healthy = _verdict(machine, failed)
    return {
        "xscale": xscale.__version__,
        "commit": _machine.commit(),
        "machine": machine,
        "kernels": _kernels(),
        "bodies": _bodies(),
        "self_tests": tests,
        "webgpu": webgpu,
        "packages": _packages(),
        "lpips_weights": _lpips_weights(),
        "viewer": _viewer.describe(),
        "healthy": healthy,
        "verdict": verdict,
    }


def self_tests() -> list[dict[str, object]]:
    """Run every op's small problem on every backend that this machine has."""
    import torch

    from xscale import ops
    from xscale.ops._selftest import SELF_TESTS

    devices = {"reference": torch.device("cpu")}
    if ops.built():
        devices["cpu"] = torch.device("cpu")
    if ops.cuda_built() and torch.cuda.is_available():
        devices["cuda"] = torch.device("cuda")
    rows = []
    for name, test in SELF_TESTS.items():
        for backend, device in devices.items():
            if backend != "reference" and not _has(name, backend):
                continue
            error, failure = None, None
            try:
                with ops.use_backend(backend):
                    error = test(device)
            except Exception as caught:  # whatever it is, the others are still worth testing
                failure = f"{type(caught).__name__}: {caught}"
            slack = _REFERENCE_SLACK if backend == "reference" else 1
            tolerance = slack * ops.OPS[name].float32_tolerance
            rows.append(
                {
                    "op": name,
                    "backend": backend,
                    "error": error,
                    "tolerance": tolerance,
                    "passed": error is not None and error <= tolerance,
                    "failure": failure,
                }
            )
    return rows


def _has(op: str, backend: str) -> bool:
    """Whether this build holds the op's bodies for a backend."""
    from xscale import ops
    from xscale.ops import has_body

    return all(has_body(kernel, backend) for kernel in ops.OPS[op].kernels)


def _kernels() -> dict[str, object]:
    from xscale import ops

    return {
        "built": ops.built(),
        "module": ops.module_path(),
        "missing_because": ops.import_failure(),
        "isa": ops.isa(),
        "cuda_built": ops.cuda_built(),
    }


def _bodies() -> list[dict[str, str]]:
    """Say for each op which body tensors on the CPU and on a GPU would get."""
    import torch

    from xscale import ops
    from xscale.errors import XscaleError

    def choice(name: str, device: str) -> str:
        try:
            return ops.choice(name, torch.device(device))
        except XscaleError:
            return "none"

    return [{"op": n, "cpu": choice(n, "cpu"), "cuda": choice(n, "cuda")} for n in ops.OPS]


def _packages() -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = [
        {"package": name, "version": _machine.version(name), "install": None}
        for name in ("torch", "numpy", "imageio", "pillow", "safetensors", "rich", "tyro")
    ]
    for name, extra in _EXTRAS.items():
        found = _machine.version(name)
        install = None if found else f"pip install xscale[{extra}]"
        rows.append({"package": name, "version": found, "install": install})
    return rows


def _lpips_weights() -> dict[str, str | None]:
    """Return where the file of each LPIPS backbone is, without reading it."""
    folders = [Path(torch_home) / "hub/checkpoints" for torch_home in [_torch_home()]]
    if "XSCALE_LPIPS_WEIGHTS" in os.environ:
        folders.insert(0, Path(os.environ["XSCALE_LPIPS_WEIGHTS"]))
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return {
        name: next((str(path) for path in files if path.name.startswith(name)), None)
        for name in _WEIGHTS
    }


def _torch_home() -> str:
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", f"{cache}/torch"))  # noqa: PTH111


def _verdict(machine: dict, failed: list[dict]) -> tuple[str, bool]:
    """Sum up in one sentence."""
    import torch

    from xscale import ops

    reason = None
    if ops.cuda_built() and (machine["gpu"] is not None or machine["driver"] is not None):
        reason = ops.why_unusable(torch.device("cuda"))
    if reason is not None:
        # Ops that fail on a GPU whose kernels do not start are not wrong results.
        failed = [row for row in failed if row["backend"] != "cuda"]
    if failed:
        names = ", ".join(f"{row['op']} ({row['backend']})" for row in failed)
        return f"Something computes wrong results here: {names}. Please report this page.", False
    if not ops.built():
        return (
            "xscale works, slowly: the compiled module is missing "
            f"({ops.import_failure()}). Install a C++17 compiler and reinstall.",
            False,
        )
    if reason is not None:
        return (
            f"xscale is ready on the CPU; the GPU is not used: {reason}. Advice: "
            f"{ops.unusable_advice(reason)}.",
            True,
        )
    if machine["gpu"] is None:
        return f"xscale is ready: every op runs its {ops.isa()} kernels on the CPU.", True
    if not ops.cuda_built():
        return (
            "xscale is ready on the CPU; a GPU is here, but this build has no CUDA bodies: "
            "put nvcc on PATH and reinstall to use it.",
            True,
        )
    return "xscale is ready: ops run on the GPU and, for tensors there, on the CPU.", True


def _print(found: dict) -> None:
    machine, kernels = found["machine"], found["kernels"]
    gpu = machine["gpu"]
    memory = machine["memory_bytes"]
    lines = {
        "xscale": f"{found['xscale']} ({(found['commit'] or 'installed')[:12]})",
        "system": f"{machine['os']}, Python {machine['python']}",
        "processor": f"{machine['cpu']}, {machine['cores']:g} cores usable",
        "memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB",
        "GPU": "none that torch can use"
        if gpu is None
        else f"{gpu['name']}, {gpu['memory_bytes'] / 2**30:.0f} GiB, driver {gpu['driver']}",
        "kernels": f"{kernels['isa']}, CUDA bodies {'yes' if kernels['cuda_built'] else 'no'}: "
        f"{kernels['module'] or kernels['missing_because']}",
    }
    for label, text in lines.items():
        result(f"{label:<10} {text}")
    for backbone, path in found["lpips_weights"].items():
        advice = "none found: give --lpips-weights FOLDER or set XSCALE_LPIPS_WEIGHTS"
        result(f"{'LPIPS':<10} {backbone}: {path or advice}")
    result(f"{'viewer':<10} {found['viewer']}")
    bodies = [(row["op"], row["cpu"], row["cuda"]) for row in found["bodies"]]
    print_table("Body of each op", ("op", "CPU tensors", "GPU tensors"), bodies)
    tests = [
        (
            row["op"],
            row["backend"],
            row["error"],
            row["tolerance"],
            "ok" if row["passed"] else row["failure"] or "WRONG",
        )
        for row in found["self_tests"]
    ]
    columns = ("op", "backend", "error", "allowed", "")
    print_table("Self-test against the float64 reference", columns, tests)
    _adapters.show(found["webgpu"])
    packages = [
        (row["package"], row["version"] or f"missing: {row['install']}")
        for row in found["packages"]
    ]
    print_table("Packages", ("package", "version"), packages)
    result(found["verdict"])
