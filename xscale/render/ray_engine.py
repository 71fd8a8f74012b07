"""A job on an existing Ray cluster: what the local engine does, on many machines.

A task renders one frame into the shared folder and returns its record; nothing of value lives in
Ray's memory. Ray repeats the tasks of lost workers, which is harmless: a frame that is rendered
twice is published under the same name with the same bytes. The driver alone writes the journal.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import xscale
from xscale.errors import ClusterError, ResourceError, XscaleError
from xscale.io import storage
from xscale.render.batch import Engine, Outcome, attempt
from xscale.render.job import Job
from xscale.render.run import Run
from xscale.render.sinks import module

_RETRIES = 5
_PATIENCE = 20.0
_IN_FLIGHT = 2
"""Tasks a worker has waiting, so that none idles between frames."""
_SPARE_MEMORY = 1 << 30

_held: dict[tuple[str, str, bool], Run] = {}
"""In a worker: the run, loaded by its first task."""


def ray_engine(address: str = "auto", workers: int | None = None) -> Engine:
    """Return an engine that renders on a Ray cluster.

    Args:
        address: Of the cluster; ``auto`` finds the one of this machine.
        workers: How many frames at a time; one for each GPU, or for each CPU, where not given.

    Raises:
        SetupError: Ray is not installed.
    """
    ray = module("ray", "--engine ray", "cluster")

    def engine(run: Run, job: Job, pending: Sequence[int], folder: Path) -> Iterator[Outcome]:
        started = not ray.is_initialized()
        if started:
            _connect(ray, address)
        try:
            yield from _render(ray, run, job, pending, folder.resolve(), workers)
        finally:
            if started:
                ray.shutdown()

    return engine


def _connect(ray: ModuleType, address: str) -> None:
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdigit() and "/" not in host:
            # Ray itself tries for minutes before it says so.
            socket.create_connection((host, int(port)), _PATIENCE).close()
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"there is no Ray cluster at {address}: {error}",
            advice="start one (ray start --head) or give its --address",
        ) from error


def _render(
    ray: ModuleType,
    run: Run,
    job: Job,
    pending: Sequence[int],
    folder: Path,
    workers: int | None,
) -> Iterator[Outcome]:
    resources = ray.cluster_resources()
    gpu = run.device.type == "cuda"
    available = int(resources.get("GPU" if gpu else "CPU", 0))
    if not available:
        raise ClusterError(f"the cluster has no {'GPU' if gpu else 'CPU'}")
    workers = workers or available
    probe = folder / f".probe-{secrets.token_hex(8)}"
    storage.write_text(probe, job.hash)
    # Ray shuts workers of other tasks out of a CPU; the memory asked for keeps a node from
    # taking more tasks than models fit.
    task = ray.remote(
        num_cpus=0 if gpu else max(1, available // workers),
        num_gpus=1 if gpu else 0,
        memory=run.model_bytes() + _SPARE_MEMORY,
        max_retries=_RETRIES,
        retry_exceptions=[OSError],
    )(_task)
    shared = ray.put(job)
    source = (str(run.path.resolve()), str(run.device), run.photos_at_render)
    waiting = list(pending)[::-1]
    running: dict = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers * _IN_FLIGHT:
                index = waiting.pop()
                running[task.remote(source, shared, index, str(folder), str(probe))] = index
            ready, _ = ray.wait(list(running))
            for reference in ready:
                index = running.pop(reference)
                yield index, _fetched(ray, reference)
    finally:
        for reference in running:
            ray.cancel(reference)
        storage.remove_file(probe)


def _fetched(ray: ModuleType, reference: object) -> dict | XscaleError:
    """Return what a task gave.

    Raises:
        ClusterError: Its workers were lost again and again, or it failed in a way that is no
            frame's fault.
    """
    try:
        outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, XscaleError):
            raise cause from error
        raise ClusterError(f"a worker failed: {type(cause).__name__}: {cause}") from error
    except ray.exceptions.OutOfMemoryError as error:
        raise ResourceError(
            "a node of the cluster has too little memory", advice="give fewer --workers"
        ) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"a frame's worker was lost {_RETRIES + 1} times: {error}",
            advice="finished frames are listed; run the command again",
        ) from error
    if "error" in outcome:
        kind, message = outcome["error"]
        return next((c for c in _kinds() if c.__name__ == kind), XscaleError)(message)
    return outcome


def _kinds() -> list[type[XscaleError]]:
    from xscale import errors

    kinds = [v for v in vars(errors).values() if isinstance(v, type)]
    return [v for v in kinds if issubclass(v, XscaleError)]


def _task(source: tuple[str, str, bool], job: Job, index: int, folder: str, probe: str) -> dict:
    """Render one frame in a worker; errors of the frame come back as words.

    ``source``: the run's folder, the device, and whether colours are corrected by its photos.
    """
    if not Path(probe).is_file():
        raise ClusterError(
            "a worker does not see the job's folder", where=folder, advice="use a shared folder"
        )
    run = _held.get(source)
    if run is None:
        path, device, at_hand = source
        run = Run.open(path, device, photos_at_render=at_hand)
        if run.fingerprint != job.run:
            raise ClusterError("a worker found another run than the driver", where=path)
        if job.description()["xscale"] != xscale.__version__:
            raise ClusterError("a worker has another version of xscale than the driver")
        _held.clear()
        _held[source] = run
    outcome = attempt(run, job, index, Path(folder))
    if isinstance(outcome, XscaleError):
        return {"error": (type(outcome).__name__, str(outcome))}
    return outcome
