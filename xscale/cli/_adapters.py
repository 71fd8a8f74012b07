"""WebGPU in ``xscale doctor``: adapters, their limits, and a small picture on each."""

from __future__ import annotations

from xscale.cli._console import print_table, result
from xscale.errors import XscaleError

_LIMITS = {
    "binding_bytes": "max-storage-buffer-binding-size",
    "buffer_bytes": "max-buffer-size",
    "storage_buffers": "max-storage-buffers-per-shader-stage",
    "picture_edge": "max-texture-dimension-2d",
}


def examine() -> dict[str, object]:
    """Return the adapters with their limits and the error of each one's picture."""
    from xscale.webgpu.device import adapters

    try:
        found = adapters()
    except XscaleError as error:
        return {"missing_because": str(error), "adapters": []}
    rows = [_row(adapter) for adapter in found]
    reason = None if rows else "there is no driver for Vulkan, Metal or D3D12"
    return {"missing_because": reason, "adapters": rows}


def wrong(found: dict) -> list[str]:
    """Return the adapters that draw wrong pictures; those that do not open are left alone."""
    rows = found["adapters"]
    return [r["device"] for r in rows if r["failure"] is None and not r["passed"]]


def show(found: dict) -> None:
    """Print what ``examine`` gave."""
    if found["missing_because"]:
        result(f"{'WebGPU':<10} {found['missing_because']}")
        return
    rows = [
        (
            row["device"],
            f"{row['name']} ({row['kind']})",
            row["backend"],
            f"{row['storage_buffers']} x {row['binding_bytes'] / 2**20:.0f} MiB",
            "yes" if row["half"] else "no",
            row["error"],
            row["allowed"],
            "ok" if row["passed"] else row["failure"] or "WRONG",
        )
        for row in found["adapters"]
    ]
    columns = ("device", "adapter", "by", "bindings", "float16", "error", "allowed", "")
    print_table("WebGPU: adapters, and a small picture on each", columns, rows)


def _row(adapter: object) -> dict[str, object]:
    from xscale.webgpu.device import open_device
    from xscale.webgpu.selftest import TOLERANCE, self_test

    error, failure = None, None
    try:
        error = self_test(open_device(adapter))
    except Exception as caught:  # whatever a driver does, the others are still worth testing
        failure = str(caught) if isinstance(caught, XscaleError) else repr(caught)
    return {
        "device": f"webgpu:{adapter.number}",
        "name": adapter.name,
        "kind": adapter.kind,
        "backend": adapter.backend,
        "driver": adapter.driver,
        **{name: adapter.limits[limit] for name, limit in _LIMITS.items()},
        "half": "shader-f16" in adapter.features,
        "error": error,
        "allowed": TOLERANCE,
        "passed": error is not None and error <= TOLERANCE,
        "failure": failure,
    }
