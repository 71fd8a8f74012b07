"""A process that runs xscale's commands in forks of itself, with a storage that fails on request.

It is started with the shim loaded, imports everything once, and answers lines of JSON on standard
input: a command's words, the call that fails, and how. Each fork is a process of its own that dies
of SIGKILL as a whole command would.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

MODULES = (
    "xscale.cli.main",
    "xscale.cli.train",
    "xscale.training.api",
    "xscale.scoring",
    "xscale.render.render_job",
    "xscale.cli.export",
    "xscale.cli.giganvs",
    "xscale.cli.inspect",
    "xscale.cli.path",
    "xscale.cli.convert",
)


def main() -> None:
    """Answer requests until there are no more."""
    shim = ctypes.CDLL(None)
    shim.fault_arm.argtypes = ctypes.c_long, ctypes.c_int, ctypes.c_int
    shim.fault_calls.restype = shim.fault_networks.restype = ctypes.c_long
    for name in MODULES:
        importlib.import_module(name)
    _decode_here()
    answers = os.dup(1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _forked(shim, request)
        os.write(answers, json.dumps(answer).encode() + b"\n")


def _decode_here() -> None:
    """Let photos be decoded without processes of their own, which would take most of the time."""
    from xscale.io.photo import decode_apart

    def read_pixels_safely(path, size, mark=None, on_out_of_range=None, **options):
        return decode_apart.read_pixels(path, on_out_of_range=on_out_of_range, **options)

    for module in list(sys.modules.values()):
        if getattr(module, "read_pixels_safely", None) is decode_apart.read_pixels_safely:
            module.read_pixels_safely = read_pixels_safely
    decode_apart.start_ahead = lambda: None


def _forked(shim: ctypes.CDLL, request: dict) -> dict:
    """Run one command in a fork; return its code, its lines and how many calls it made."""
    told = Path(request["told"])
    child = os.fork()
    if child == 0:
        _run(shim, request, told)
    end = time.monotonic() + request.get("seconds", 120)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            said = told.read_text(errors="replace")
            return {"code": None, "said": said, "calls": 0, "networks": 0}
        time.sleep(0.002)
    calls = told.with_suffix(".calls")
    made, networks = map(int, calls.read_text().split()) if calls.exists() else (0, 0)
    calls.unlink(missing_ok=True)
    said, code = told.read_text(errors="replace"), os.waitstatus_to_exitcode(status)
    return {"code": code, "said": said, "calls": made, "networks": networks}


def _limit_memory(room: int) -> None:
    """Leave this process so many bytes of addresses beyond those that it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _run(shim: ctypes.CDLL, request: dict, told: Path) -> None:
    file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(told.parent)
    code = 1
    try:
        from xscale.cli import main as cli

        if "room" in request:
            _limit_memory(request["room"])
        if request.get("network"):
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        # Never reached where nothing shall fail: the calls are counted all the same.
        shim.fault_arm(request.get("call") or 1 << 60, request.get("error", 0),
                       int(request.get("lasting", False)))  # fmt: skip
        code = cli.main(request["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        made, networks = shim.fault_calls(), shim.fault_networks()
        shim.fault_arm(0, 0, 0)
        told.with_suffix(".calls").write_text(f"{made} {networks}")
        os._exit(code)


if __name__ == "__main__":
    main()
